-- What a person may do to a job by hand. The conditions are checked here, so no caller can do more. Each returns the
-- state that the job is in afterwards, null when there is no such job; an action that does not apply changes nothing.

-- Cancels a waiting, ready or failed job and its waiting descendants. A running one stays started until its run is
-- stopped and rolled back; then it is cancelled.
create function cancel_job(p_uuid text) returns text language plpgsql as $$
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


-- Starts a failed, done, cancelled or doomed job from the beginning, once all its parents are done. When another job
-- has taken its identity key meanwhile, it loses its key.
create function requeue_job(p_uuid text) returns text language plpgsql as $$
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

create function start_over(p_id bigint, p_state text) returns void language sql as $$
    update queuemaster.queue_job
       set state = p_state, retry = 0, deaths = 0, concurrency_retries = 0, unknown_since = null, eta = null,
           cancel_requested = false, doomed = false, result = null, exc_name = null, exc_message = null,
           exec_time = null, date_started = null, date_done = null, date_cancelled = null
     where id = p_id
$$;


-- Marks a job that does not run as done, without running it, and releases its children.
create function set_job_done(p_uuid text, p_result text) returns text language plpgsql as $$
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
