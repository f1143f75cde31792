-- A worker may die after its claim was committed and before anybody could write down which job it is. Such a death is
-- charged like any other, or a job too big to be read would kill one worker after the other and never be to blame:
-- p_job 0 names what the worker has started, which is one job. All else is as recover() was, now recover_run().
alter function recover(integer, bigint, integer, text, text, text, integer, double precision) rename to recover_run;

create function recover(p_worker integer, p_job bigint, p_attempt integer, p_cause text, p_detail text default null,
                        p_kind text default 'death', p_poison integer default 0,
                        p_max_backoff double precision default 3600)
returns integer language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
begin
    -- its session may be at the claim still: what it has started is known when its lock is free
    if p_job = 0 and pg_try_advisory_xact_lock(1363935234, p_worker) then
        select id, attempt into p_job, p_attempt from queuemaster.queue_job
         where state = 'started' and worker_id = p_worker;
    end if;
    return queuemaster.recover_run(p_worker, p_job, p_attempt, p_cause, p_detail, p_kind, p_poison, p_max_backoff);
end $$;
