-- What a person may do to a job by hand. The guards are here, so that whoever asks, from wherever, cannot do more.
-- Each returns the state that the job is in afterwards, null when there is no such job; one that does not apply
-- changes nothing.

-- Waiting, ready or failed: cancelled, and with it all its waiting descendants. Running: the run is stopped first, its
-- writes are rolled back, and then it is cancelled; until then it is 'started'.
create function cancel_job(p_uuid text) returns text language plpgsql as $$
declare
    v_job queuemaster.queue_job;
begin
    select * into v_job from queuemaster.queue_job where uuid = p_uuid for no key update;
    if v_job.state = 'started' then
        update queuemaster.queue_job set cancel_requested = true where id = v_job.id;
        perform pg_notify('queue_job', json_build_object('cancel', v_job.id)::text);
    elsif v_job.state in ('wait_dependencies', 'pending', 'enqueued', 'failed') then
        update queuemaster.queue_job set state = 'cancelled', date_cancelled = queuemaster.utc_now(), eta = null
         where id = v_job.id;
        perform queuemaster.cancel_descendants(v_job.id);
        return 'cancelled';
    end if;
    return v_job.state;
end $$;


-- Failed, done or cancelled: from the beginning, as soon as it has no unfinished parent. Its identity may have been
-- taken meanwhile; then it gives it up.
create function requeue_job(p_uuid text) returns text language plpgsql as $$
declare
    v_job queuemaster.queue_job;
    v_state text;
begin
    select * into v_job from queuemaster.queue_job where uuid = p_uuid for no key update;
    if v_job.state is null or v_job.state not in ('failed', 'done', 'cancelled') then
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
           cancel_requested = false, result = null, exc_name = null, exc_message = null, exec_time = null,
           date_started = null, date_done = null, date_cancelled = null
     where id = p_id
$$;


-- Any but a running one: done, without having run; its children go on.
create function set_job_done(p_uuid text, p_result text) returns text language plpgsql as $$
declare
    v_job queuemaster.queue_job;
begin
    select * into v_job from queuemaster.queue_job where uuid = p_uuid for no key update;
    if v_job.state is null or v_job.state in ('started', 'done') then
        return v_job.state;
    end if;
    update queuemaster.queue_job
       set state = 'done', date_done = queuemaster.utc_now(), date_cancelled = null, eta = null, result = p_result
     where id = v_job.id;
    perform queuemaster.release_children(v_job.id);
    return 'done';
end $$;


-- Finished jobs of a channel that are older than p_seconds, oldest first, at most p_limit: gone. A job that still has
-- waiting descendants stays, whatever its age: they could not go on without it. Returns how many were removed.
create function purge_jobs(p_channel text, p_states text[], p_seconds double precision, p_limit integer)
returns integer language plpgsql as $$
declare
    v_removed integer;
begin
    with old as (
        select job.id from queuemaster.queue_job job
         where job.state = any(p_states) and (p_channel is null or job.channel = p_channel)
           and coalesce(job.date_done, job.date_cancelled, job.date_created)
               < queuemaster.utc_now() - make_interval(secs => p_seconds)
           and not exists (
               with recursive below(id) as (
                   select child_id from queuemaster.queue_job_edge where parent_id = job.id
                   union
                   select edge.child_id from below join queuemaster.queue_job_edge edge on edge.parent_id = below.id)
               select from below join queuemaster.queue_job child on child.id = below.id
                where child.state in ('wait_dependencies', 'pending', 'enqueued', 'started'))
         order by job.id limit p_limit for update skip locked)
    delete from queuemaster.queue_job job using old where job.id = old.id;
    get diagnostics v_removed = row_count;
    return v_removed;
end $$;
