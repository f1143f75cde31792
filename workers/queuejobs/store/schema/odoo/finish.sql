-- Marks a run done, in the job's own transaction. False: the run was taken away, roll back.
create function finish(p_id bigint, p_attempt bigint, p_worker integer, p_result text, p_exec_time double precision,
                       p_release boolean default true)
returns boolean language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
begin
    perform set_config('idle_in_transaction_session_timeout', '5s', true);
    -- deleted, not read: under REPEATABLE READ a read would still see a row that has gone meanwhile
    if not queuemaster.end_run(p_id, p_attempt, p_worker) then
        return false;
    end if;
    update public.queue_job
       set state = 'done', date_done = queuemaster.utc_now(), exec_time = p_exec_time, result = p_result,
           exc_name = null, exc_message = null, exc_info = null, retry = coalesce(retry, 0) + 1
     where id = p_id and state = 'started';
    if not found then
        return false;
    end if;
    if p_release then
        perform queuemaster.release_children(p_id);
    end if;
    return true;
end $$;


-- Forgets a run whose end the addon has stored itself. False: the run was taken away.
create function end_run(p_id bigint, p_attempt bigint, p_worker integer) returns boolean language plpgsql
set enable_seqscan = off set jit = off as $$
begin
    delete from queuemaster.run where job_id = p_id and attempt = p_attempt and worker_id = p_worker;
    return found;
end $$;
