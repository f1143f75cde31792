-- Slices: a worker that ends a run goes on with the next job of its channel.

-- Claims the next job, in the transaction of the run that has just ended. Fenced like claim(), with each check in a
-- statement of its own, so that the epoch is read after the lock is held; but this commit is durable. From the key
-- (p_until_priority, p_until_created, p_until) on it is another channel's turn. READ COMMITTED only: other isolation
-- levels do not see what has become ready. lock_timeout: SKIP LOCKED waits all the same for a row that was just
-- changed, and the transaction which changed it may wait for a child that we hold. Plan: as in claim().
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


-- Ends a good run and claims the next job in the same transaction: one commit and one round trip less. The run is
-- done even when the claim fails. Only the name of the next job is returned: a worker that dies reading its row must
-- not lose the end of this run.
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
