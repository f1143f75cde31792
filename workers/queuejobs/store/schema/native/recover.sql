-- Puts back what a dead worker left started, and forgets the worker. Returns how many rows it settled; null: the
-- worker's lock is still held, or an application holds a row locked, ask again. The caller has ended the worker's
-- session.
-- The cause is charged to job p_job and attempt p_attempt, whose try counts; other rows get their try back.
-- p_kind: 'death' makes the job pending at once, and fails it after p_poison deaths in a row (0: never); 'limit'
-- (killed for the time or memory it used) makes it wait, longer with each try.
-- A job that fails here fails without a line of the application's code. If its function has an on_fail_method it is
-- doomed instead: pending with its error, for a worker that does not run it but settles it as failed and calls that
-- method. Cancelling it, requeueing it or setting it to done takes the mark off. A doomed job gets its try back.
create function recover_run(p_worker integer, p_job bigint, p_attempt integer, p_cause text,
                            p_detail text default null, p_kind text default 'death', p_poison integer default 0,
                            p_max_backoff double precision default 3600)
returns integer language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
    v_row record;
    v_named boolean;
    v_end text;  -- why it fails, null: it does not
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
                  order by id + 0 loop  -- id alone: the planner might read the whole primary key to save the sort
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
                -- a job that was to be cancelled is not pending
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


-- The same; and p_job 0 names the one job that the worker has started. A worker may die after its claim was committed
-- and before anybody knew which job it is; if such a death were charged to no job, one too big to be read would kill
-- one worker after the other.
create function recover(p_worker integer, p_job bigint, p_attempt integer, p_cause text, p_detail text default null,
                        p_kind text default 'death', p_poison integer default 0,
                        p_max_backoff double precision default 3600)
returns integer language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
begin
    -- until its lock is free, the session may still be claiming
    if p_job = 0 and pg_try_advisory_xact_lock(1363935234, p_worker) then
        select id, attempt into p_job, p_attempt from queuemaster.queue_job
         where state = 'started' and worker_id = p_worker;
    end if;
    return queuemaster.recover_run(p_worker, p_job, p_attempt, p_cause, p_detail, p_kind, p_poison, p_max_backoff);
end $$;
