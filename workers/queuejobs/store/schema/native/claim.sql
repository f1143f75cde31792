-- Claims one ready job of a stored channel. p_job: this job (sequential channels); else the one with the least key,
-- or the least key from (p_priority, p_created, p_id) on. No row when the grant's epoch is over, nothing is ready, or
-- the job p_job is locked. Plan: index scan of queue_job_ready from the bound, no sort. A session keeps its plans,
-- and they may have been made while the table was empty: hence the settings. jit is off because a plan that must use
-- what is switched off costs more than any threshold, and would be compiled each time.
create function claim(p_epoch bigint, p_channel text, p_worker integer, p_pid integer, p_job bigint default null,
                      p_priority integer default null, p_created timestamp default null, p_id bigint default null)
returns setof queue_job language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off as $$
declare
    v_id bigint;
begin
    -- a crash of the server that loses this commit ends the worker's session too, before the job has begun
    perform set_config('synchronous_commit', 'off', true);
    -- false when a new leader holds the exclusive lock, or waits for it
    if not pg_try_advisory_xact_lock_shared(1363935233, 0) then
        return;
    end if;
    if (select epoch from queuemaster.leader) is distinct from p_epoch then
        return;
    end if;
    if p_job is not null then
        begin
            select id into v_id from queuemaster.queue_job
             where id = p_job and state = 'pending' and eta is null for update nowait;
        exception when lock_not_available then
            return;  -- waiting would delay a new leader; the grant goes back
        end;
    elsif p_id is not null then
        select id into v_id from queuemaster.queue_job
         where state = 'pending' and eta is null and channel = p_channel
           and (priority, date_created, id) >= (p_priority, p_created, p_id)
         order by channel, priority, date_created, id limit 1 for update skip locked;
    else
        select id into v_id from queuemaster.queue_job
         where state = 'pending' and eta is null and channel = p_channel
         order by channel, priority, date_created, id limit 1 for update skip locked;
    end if;
    return query
        update queuemaster.queue_job
           set state = 'started', date_started = queuemaster.utc_now(), worker_id = p_worker, worker_pid = p_pid,
               attempt = attempt + 1, retry = retry + 1
         where id = v_id returning *;
end $$;
