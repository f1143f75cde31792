-- What a person may do to a job by hand: the rules of the native functions with these names.
create function cancel_job(p_uuid text) returns text language plpgsql as $$
declare
    v_job record;
begin
    select id, state into v_job from public.queue_job where uuid = p_uuid for no key update;
    if v_job.state = 'started' then
        update queuemaster.run set cancel_requested = true where job_id = v_job.id and worker_id is not null;
        perform pg_notify('queue_job', json_build_object('cancel', v_job.id)::text);
    elsif v_job.state in ('wait_dependencies', 'pending', 'enqueued', 'failed') then
        update public.queue_job set state = 'cancelled', date_cancelled = queuemaster.utc_now(), eta = null
         where id = v_job.id;
        delete from queuemaster.run where job_id = v_job.id and worker_id is null;
        perform queuemaster.cancel_descendants(v_job.id);
        return 'cancelled';
    end if;
    return v_job.state;
end $$;

create function requeue_job(p_uuid text) returns text language plpgsql as $$
declare
    v_id bigint;
    v_state text;
begin
    select id, state into v_id, v_state from public.queue_job where uuid = p_uuid for no key update;
    if v_state is null or v_state not in ('failed', 'done', 'cancelled') then
        return v_state;
    end if;
    delete from queuemaster.run where job_id = v_id;
    update public.queue_job
       set state = 'wait_dependencies', retry = 0, eta = null, result = null, exc_name = null, exc_message = null,
           exc_info = null, exec_time = null, date_enqueued = null, date_started = null, date_done = null,
           date_cancelled = null, worker_pid = null
     where id = v_id;
    return case when queuemaster.release(v_id) then 'pending' else 'wait_dependencies' end;
end $$;

create function set_job_done(p_uuid text, p_result text) returns text language plpgsql as $$
declare
    v_job record;
begin
    select id, state into v_job from public.queue_job where uuid = p_uuid for no key update;
    if v_job.state is null or v_job.state in ('started', 'done') then
        return v_job.state;
    end if;
    update public.queue_job
       set state = 'done', date_done = queuemaster.utc_now(), date_cancelled = null, eta = null, result = p_result
     where id = v_job.id;
    delete from queuemaster.run where job_id = v_job.id and worker_id is null;
    perform queuemaster.release_children(v_job.id);
    return 'done';
end $$;
