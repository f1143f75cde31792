-- As in the native queue. In addition the worker's other session, in which Odoo ran the job, has to be gone: it holds
-- its locks until the server notices that the worker is dead.
create function recover(p_worker integer, p_job bigint, p_attempt bigint, p_cause text, p_detail text default null,
                        p_kind text default 'death', p_poison integer default 0,
                        p_max_backoff double precision default 3600)
returns integer language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
    v_row record;
    v_named boolean;
    v_end text;  -- why it fails, null: it does not
    v_info text;
    v_settled integer := 0;
    v_left integer := 0;
begin
    if not pg_try_advisory_xact_lock(1363935234, p_worker) then
        return null;
    end if;
    perform pg_terminate_backend(pid) from pg_stat_activity
      where application_name = 'queuemaster: job ' || p_worker and datname = current_database()
        and usename = current_user and pid <> pg_backend_pid();
    if found then
        return null;
    end if;
    perform set_config('lock_timeout', '200ms', true);
    for v_row in select job_id, attempt, deaths from queuemaster.run where worker_id = p_worker order by job_id + 0 loop
        begin
            declare
                v_job record;
            begin
                select id, coalesce(retry, 0) as retry, coalesce(max_retries, 0) as max_retries into v_job
                  from public.queue_job where id = v_row.job_id and state in ('enqueued', 'started') for no key update;
                if not found then  -- ended, or deleted
                    delete from queuemaster.run where job_id = v_row.job_id;
                    continue;
                end if;
                v_named := p_cause is not null
                           and (p_job = 0 or v_row.job_id = p_job and v_row.attempt = p_attempt);
                v_info := format('run %s: %s', v_row.attempt,
                                 case when v_named then concat_ws(e'\n', p_cause, p_detail)
                                      else format('interrupted: the session of worker %s is gone', p_worker) end);
                v_end := case
                    when not v_named then null
                    when v_job.max_retries > 0 and v_job.retry + 1 >= v_job.max_retries
                        then format('Max. retries (%s) reached', v_job.max_retries)
                    when p_kind = 'death' and p_poison > 0 and v_row.deaths + 1 >= p_poison
                        then format('its worker died %s times in a row', v_row.deaths + 1) end;
                if v_end is not null
                   and not (select cancel_requested from queuemaster.run where job_id = v_row.job_id) then
                    perform queuemaster.doom(
                        v_row.job_id, case p_kind when 'limit' then 'JobKilled' else 'WorkerDied' end,
                        concat_ws(': ', v_end, p_cause), v_info);
                else
                    perform queuemaster.settle(
                        v_row.job_id, v_row.attempt, p_worker, 'pending',
                        case when v_named and p_kind = 'limit'
                             then least(10 * 2.0 ^ least(v_job.retry, 30), p_max_backoff) end,
                        v_named,
                        case when v_named then case p_kind when 'limit' then 'JobKilled' else 'WorkerDied' end end,
                        case when v_named then p_cause end, v_info,
                        case when not v_named then 'interrupted' when p_kind = 'death' then 'death' end);
                end if;
                v_settled := v_settled + 1;
            end;
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
