-- Ends a run that is not done: pending again (after p_delay seconds; null: at once), failed or cancelled. A job that
-- was to be cancelled gets cancelled. False: the run was taken away.
-- p_counted false gives the try back.
-- p_mark: 'concurrency' counts a concurrency error of PostgreSQL; 'unknown' keeps the time since when no worker has
-- known the model or method; 'death' counts a worker that died running the job; 'interrupted' leaves the count of
-- deaths.
-- When another job has taken the identity key meanwhile, this one loses its key. A doomed job that becomes pending
-- stays doomed.
create function settle(p_id bigint, p_attempt integer, p_worker integer, p_state text,
                       p_delay double precision, p_counted boolean, p_exc_name text, p_exc_message text,
                       p_exc_info text, p_mark text default null)
returns boolean language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
    v_state text;
begin
    begin
        update queuemaster.queue_job
           set state = case when cancel_requested then 'cancelled' else p_state end,
               worker_id = null, cancel_requested = false,
               doomed = doomed and p_state = 'pending' and not cancel_requested,
               eta = case when p_state = 'pending' and p_delay > 0 and not cancel_requested
                          then queuemaster.utc_now() + make_interval(secs => p_delay) end,
               date_done = case when p_state = 'failed' and not cancel_requested then queuemaster.utc_now() end,
               date_cancelled = case when cancel_requested or p_state = 'cancelled' then queuemaster.utc_now() end,
               retry = case when p_counted then retry else greatest(retry - 1, 0) end,
               exc_name = coalesce(p_exc_name, exc_name), exc_message = coalesce(p_exc_message, exc_message),
               exc_info = queuemaster.appended(exc_info, p_exc_info),
               concurrency_retries = concurrency_retries + (p_mark is not distinct from 'concurrency')::integer,
               deaths = case p_mark when 'death' then deaths + 1 when 'interrupted' then deaths else 0 end,
               unknown_since = case when p_mark = 'unknown' then coalesce(unknown_since, date_started) end
         where id = p_id and state = 'started' and worker_id = p_worker and attempt = p_attempt
        returning state into v_state;
    exception when unique_violation then
        update queuemaster.queue_job set identity_key = null
         where id = p_id and state = 'started' and worker_id = p_worker and attempt = p_attempt;
        return queuemaster.settle(p_id, p_attempt, p_worker, p_state, p_delay, p_counted,
                                  p_exc_name, p_exc_message, p_exc_info, p_mark);
    end;
    if v_state = 'cancelled' then
        perform queuemaster.cancel_descendants(p_id);
    end if;
    return v_state is not null;
end $$;
