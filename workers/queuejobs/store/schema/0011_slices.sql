-- The next job of a slice: claimed in the transaction of a run that has just ended. Fenced like claim(), and each check
-- in a statement of its own, so that the epoch is read after the lock is there; but the commit is a durable one. Only
-- READ COMMITTED sees what is ready by now. p_until: where the turn is another's. Plan: as in claim(). SKIP LOCKED waits
-- all the same where a row was just changed: not for long, since who does so may wait for a child that we hold.
create function claim_following(p_worker integer, p_pid integer, p_epoch bigint, p_channel text, p_priority integer,
                                p_created timestamp, p_least bigint, p_until_priority integer,
                                p_until_created timestamp, p_until bigint, out id bigint, out attempt integer)
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off set lock_timeout = '20ms' as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        return;
    end if;
    if not pg_try_advisory_xact_lock_shared(1363935233, 0) then
        return;
    end if;
    if (select epoch from queuemaster.leader) is distinct from p_epoch then
        return;
    end if;
    select job.id into claim_following.id from queuemaster.queue_job job
     where state = 'pending' and eta is null and channel = p_channel
       and (priority, date_created, job.id) >= (p_priority, p_created, p_least)
       and (priority, date_created, job.id) < (p_until_priority, p_until_created, p_until)
     order by channel, priority, date_created, job.id limit 1 for update skip locked;
    update queuemaster.queue_job job
       set state = 'started', date_started = queuemaster.utc_now(), worker_id = p_worker, worker_pid = p_pid,
           attempt = job.attempt + 1, retry = retry + 1
     where job.id = claim_following.id returning job.attempt into claim_following.attempt;
end $$;


-- The end of a good run, and the claim of the next job of its channel in the same transaction: a commit and a round trip
-- less. The run is done whatever becomes of the claim. Of the next job only the name: who reads it may die of it, and
-- that must not be the end of this run.
create function finish_and_claim(p_id bigint, p_attempt integer, p_worker integer, p_result text,
                                 p_exec_time double precision, p_epoch bigint, p_channel text, p_pid integer,
                                 p_priority integer, p_created timestamp, p_least bigint, p_until_priority integer,
                                 p_until_created timestamp, p_until bigint,
                                 out finished boolean, out id bigint, out attempt integer)
language plpgsql as $$
begin
    finished := queuemaster.finish(p_id, p_attempt, p_worker, p_result, p_exec_time);
    if not finished then
        return;
    end if;
    begin
        select following.id, following.attempt into finish_and_claim.id, finish_and_claim.attempt
          from queuemaster.claim_following(p_worker, p_pid, p_epoch, p_channel, p_priority, p_created, p_least,
                                           p_until_priority, p_until_created, p_until) following;
    exception when others then
        id := null;
        raise log 'queuemaster: job % is done, but the next one could not be claimed: %', p_id, sqlerrm;
    end;
end $$;
