-- A job whose worker died the last time that it may, or was killed at a limit with its tries used up, fails for good
-- without a line of the application's code: only SQL sees it. Where its function has an on_fail_method it is therefore
-- doomed: pending again, with its error, for a worker that does not run it but settles it as failed and then calls that
-- method. Whoever takes a job out of pending by other ways (cancel, done, from the beginning) lifts the mark.
alter table queue_job
    add column on_fail boolean not null default false,
    add column doomed boolean not null default false;


-- Take a started row out of 'started': to pending (p_delay seconds from now, null: at once), failed or cancelled; where
-- somebody asked to cancel it, it gets cancelled. p_counted false gives the try back. p_mark: 'concurrency' counts a
-- PostgreSQL concurrency error, 'unknown' remembers since when the model or method has been missing, 'death' counts a
-- worker that died of it, 'interrupted' changes no count. An identity key that was taken meanwhile is given up: the
-- run never is. A doomed job that goes back to pending stays doomed.
create or replace function settle(p_id bigint, p_attempt integer, p_worker integer, p_state text,
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


-- Put back what worker p_worker left started. The caller has terminated its session if there was one; null: its lock
-- is still held, ask again. A cause is charged to the named job and attempt alone (its try counts); any other row
-- gives its try back. p_kind: 'death' lets the job run again at once, but fails it after p_poison deaths in a row
-- (0: never); 'limit' (it was killed for its time or memory) lets it wait, longer with each try. A row that an
-- application holds locked is left for the next call: recovery never waits for one. Else: how many rows were settled.
-- A job with an on_fail_method is doomed instead of failed; one that was doomed already gives its try back.
create or replace function recover(p_worker integer, p_job bigint, p_attempt integer, p_cause text,
                                   p_detail text default null, p_kind text default 'death',
                                   p_poison integer default 0, p_max_backoff double precision default 3600)
returns integer language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
    v_row record;
    v_named boolean;
    v_end text;  -- why it fails for good
    v_doomed boolean;
    v_settled integer := 0;
    v_left integer := 0;
begin
    if not pg_try_advisory_xact_lock(1363935234, p_worker) then
        return null;
    end if;
    perform set_config('lock_timeout', '200ms', true);
    for v_row in select id, attempt, retry, max_retries, deaths, on_fail, doomed from queuemaster.queue_job
                  where state = 'started' and worker_id = p_worker
                  order by id + 0 loop  -- by id alone, the primary key might be read as a whole to save the sort
        begin
            v_named := p_cause is not null and not v_row.doomed and v_row.id = p_job and v_row.attempt = p_attempt;
            v_end := case
                when not v_named then null
                when v_row.max_retries > 0 and v_row.retry >= v_row.max_retries
                    then format('Max. retries (%s) reached', v_row.max_retries)
                when p_kind = 'death' and p_poison > 0 and v_row.deaths + 1 >= p_poison
                    then format('its worker died %s times in a row', v_row.deaths + 1) end;
            v_doomed := v_end is not null and v_row.on_fail;
            perform queuemaster.settle(
                v_row.id, v_row.attempt, p_worker,
                case when v_end is null or v_doomed then 'pending' else 'failed' end,
                case when v_named and p_kind = 'limit' and v_end is null
                     then least(10 * 2.0 ^ least(v_row.retry - 1, 30), p_max_backoff) end,
                v_named,
                case when v_named then case p_kind when 'limit' then 'JobKilled' else 'WorkerDied' end end,
                case when v_named then concat_ws(': ', v_end, p_cause) end,
                format('attempt %s: %s', v_row.attempt,
                       case when v_named then concat_ws(e'\n', p_cause, p_detail)
                            else format('interrupted: the session of worker %s is gone', p_worker) end),
                case when not v_named then 'interrupted' when p_kind = 'death' then 'death' end);
            if v_doomed then
                -- pending no more if somebody had asked to cancel it
                update queuemaster.queue_job set doomed = true where id = v_row.id and state = 'pending';
            end if;
            v_settled := v_settled + 1;
        exception when lock_not_available then
            v_left := v_left + 1;
        end;
    end loop;
    if v_left > 0 then
        return null;
    end if;
    delete from queuemaster.worker where id = p_worker;
    return v_settled;
end $$;


-- Waiting, ready or failed: cancelled, and with it all its waiting descendants. Running: the run is stopped first, its
-- writes are rolled back, and then it is cancelled; until then it is 'started'.
create or replace function cancel_job(p_uuid text) returns text language plpgsql as $$
declare
    v_job queuemaster.queue_job;
begin
    select * into v_job from queuemaster.queue_job where uuid = p_uuid for no key update;
    if v_job.state = 'started' then
        update queuemaster.queue_job set cancel_requested = true where id = v_job.id;
        perform pg_notify('queue_job', json_build_object('cancel', v_job.id)::text);
    elsif v_job.state in ('wait_dependencies', 'pending', 'enqueued', 'failed') then
        update queuemaster.queue_job set state = 'cancelled', date_cancelled = queuemaster.utc_now(), eta = null,
               doomed = false
         where id = v_job.id;
        perform queuemaster.cancel_descendants(v_job.id);
        return 'cancelled';
    end if;
    return v_job.state;
end $$;


-- Failed, done, cancelled or doomed: from the beginning, as soon as no parent is unfinished. Its identity may have
-- been taken meanwhile; then it gives it up.
create or replace function requeue_job(p_uuid text) returns text language plpgsql as $$
declare
    v_job queuemaster.queue_job;
    v_state text;
begin
    select * into v_job from queuemaster.queue_job where uuid = p_uuid for no key update;
    if v_job.state is null or not (v_job.state in ('failed', 'done', 'cancelled')
                                   or (v_job.state = 'pending' and v_job.doomed)) then
        return v_job.state;
    end if;
    v_state := case when exists (select from queuemaster.queue_job_edge edge
                                   join queuemaster.queue_job parent on parent.id = edge.parent_id
                                  where edge.child_id = v_job.id and parent.state <> 'done')
                    then 'wait_dependencies' else 'pending' end;
    begin
        perform queuemaster.start_over(v_job.id, v_state);
    exception when unique_violation then
        update queuemaster.queue_job set identity_key = null where id = v_job.id;
        perform queuemaster.start_over(v_job.id, v_state);
    end;
    return v_state;
end $$;

create or replace function start_over(p_id bigint, p_state text) returns void language sql as $$
    update queuemaster.queue_job
       set state = p_state, retry = 0, deaths = 0, concurrency_retries = 0, unknown_since = null, eta = null,
           cancel_requested = false, doomed = false, result = null, exc_name = null, exc_message = null,
           exec_time = null, date_started = null, date_done = null, date_cancelled = null
     where id = p_id
$$;


-- Any but a running one: done, without having run; its children go on.
create or replace function set_job_done(p_uuid text, p_result text) returns text language plpgsql as $$
declare
    v_job queuemaster.queue_job;
begin
    select * into v_job from queuemaster.queue_job where uuid = p_uuid for no key update;
    if v_job.state is null or v_job.state in ('started', 'done') then
        return v_job.state;
    end if;
    update queuemaster.queue_job
       set state = 'done', date_done = queuemaster.utc_now(), date_cancelled = null, eta = null, result = p_result,
           doomed = false
     where id = v_job.id;
    perform queuemaster.release_children(v_job.id);
    return 'done';
end $$;
