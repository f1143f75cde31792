-- The end of a good run, and the claim of the next job of its channel in the same transaction, which is a commit less and
-- a round trip less. Only while the worker's grant lasts: p_epoch is the grant's, the next job's key lies between the
-- grant's bound and p_until, where the turn is another's. Fenced like claim(), but the commit is a durable one. The run is
-- done whatever becomes of the claim. Plan: as in claim().
create function finish_and_claim(p_id bigint, p_attempt integer, p_worker integer, p_result text,
                                 p_exec_time double precision, p_epoch bigint, p_channel text, p_pid integer,
                                 p_priority integer, p_created timestamp, p_least bigint, p_until_priority integer,
                                 p_until_created timestamp, p_until bigint)
returns table (finished boolean, following queue_job) language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off as $$
declare
    v_id bigint;
begin
    finished := queuemaster.finish(p_id, p_attempt, p_worker, p_result, p_exec_time);
    if finished and pg_try_advisory_xact_lock_shared(1363935233, 0)
       and (select epoch from queuemaster.leader) = p_epoch then
        begin
            select id into v_id from queuemaster.queue_job
             where state = 'pending' and eta is null and channel = p_channel
               and (priority, date_created, id) >= (p_priority, p_created, p_least)
               and (priority, date_created, id) < (p_until_priority, p_until_created, p_until)
             order by channel, priority, date_created, id limit 1 for update skip locked;
            update queuemaster.queue_job
               set state = 'started', date_started = queuemaster.utc_now(), worker_id = p_worker, worker_pid = p_pid,
                   attempt = attempt + 1, retry = retry + 1
             where id = v_id returning * into following;
        exception when others then
            raise log 'queuemaster: % is done, but the next job could not be claimed: %', p_id, sqlerrm;
            following := null;
        end;
    end if;
    return next;
end $$;
