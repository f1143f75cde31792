-- Ends a run in which the addon has no part: pending again, failed, or cancelled if that was asked for.
create function settle(p_id bigint, p_attempt bigint, p_worker integer, p_state text, p_delay double precision,
                       p_counted boolean, p_exc_name text, p_exc_message text, p_exc_info text,
                       p_mark text default null)
returns boolean language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
    v_cancel boolean;
    v_state text;
begin
    select cancel_requested into v_cancel from queuemaster.run
     where job_id = p_id and attempt = p_attempt and worker_id = p_worker for update;
    if not found then
        return false;
    end if;
    v_state := case when v_cancel then 'cancelled' else p_state end;
    if p_mark = 'death' and v_state = 'pending' then
        update queuemaster.run set worker_id = null, deaths = deaths + 1 where job_id = p_id;
    else
        delete from queuemaster.run where job_id = p_id;
    end if;
    update public.queue_job
       set state = v_state, worker_pid = null, date_enqueued = null, date_started = null,
           eta = case when v_state = 'pending' and p_delay > 0
                      then queuemaster.utc_now() + make_interval(secs => p_delay) end,
           date_done = case when v_state = 'failed' then queuemaster.utc_now() end,
           date_cancelled = case when v_state = 'cancelled' then queuemaster.utc_now() end,
           retry = coalesce(retry, 0) + p_counted::integer,
           exc_name = coalesce(p_exc_name, exc_name), exc_message = coalesce(p_exc_message, exc_message),
           exc_info = queuemaster.appended(exc_info, p_exc_info)
     where id = p_id and state in ('enqueued', 'started');
    if not found then
        return false;
    end if;
    if v_state = 'cancelled' then
        perform queuemaster.cancel_descendants(p_id);
    end if;
    return true;
end $$;


-- Marks a job as failed. Only Odoo can tell everybody, so the job becomes pending, and the next worker stores the
-- error through the addon. The caller holds the job's row.
create function doom(p_id bigint, p_name text, p_message text, p_info text) returns void language sql as $$
    insert into queuemaster.run (job_id, attempt, doom_name, doom_message, doom_info)
    values (p_id, nextval('queuemaster.attempt'), p_name, p_message, p_info)
        on conflict (job_id) do update
            set worker_id = null, doom_name = p_name, doom_message = p_message, doom_info = p_info;
    update public.queue_job
       set state = 'pending', eta = null, worker_pid = null, date_enqueued = null, date_started = null,
           retry = coalesce(retry, 0) + 1
     where id = p_id
$$;
