-- Marks a run done, in the job's own transaction. False: the run was taken away, roll back.
create function finish(p_id bigint, p_attempt integer, p_worker integer, p_result text, p_exec_time double precision,
                       p_release boolean default true)
returns boolean language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
begin
    -- a worker that is frozen before its COMMIT must not hold the row and its children for long
    perform set_config('idle_in_transaction_session_timeout', '5s', true);
    update queuemaster.queue_job
       set state = 'done', date_done = queuemaster.utc_now(), result = p_result, exec_time = p_exec_time,
           worker_id = null, cancel_requested = false, exc_name = null, exc_message = null,
           unknown_since = null, concurrency_retries = 0, deaths = 0
     where id = p_id and state = 'started' and worker_id = p_worker and attempt = p_attempt;
    if not found then
        return false;
    end if;
    if p_release then
        perform queuemaster.release_children(p_id);
    end if;
    return true;
end $$;
