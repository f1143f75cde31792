-- What a worker gets to run a job.
create type claimed as (
    id bigint, uuid text, attempt bigint, worker_id integer, model_name text, method_name text, records text, args text,
    kwargs text, user_id integer, company_id integer, channel text, priority integer, retry integer,
    max_retries integer, date_created timestamp, date_enqueued timestamp, date_started timestamp, eta timestamp,
    graph_uuid text, identity_key text, has_dependents boolean, timeout double precision, unknown_since timestamp,
    concurrency_retries integer, doom_name text, doom_message text, doom_info text);


-- As in the native queue. p_start false leaves the job enqueued, for the addon to start it itself. retry stays: the
-- addon counts a try when the job is performed, and so does finish().
create function claim(p_epoch bigint, p_channel text, p_worker integer, p_pid integer, p_job bigint default null,
                      p_priority integer default null, p_created timestamp default null, p_id bigint default null,
                      p_start boolean default true)
returns setof queuemaster.claimed language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off as $$
declare
    v_id bigint;
    v_attempt bigint;
begin
    -- a crash of the server that loses this commit ends the worker's session too, before the job has begun
    perform set_config('synchronous_commit', 'off', true);
    if not pg_try_advisory_xact_lock_shared(1363935233, 0) then
        return;
    end if;
    if (select epoch from queuemaster.leader) is distinct from p_epoch then
        return;
    end if;
    if p_job is not null then
        begin
            select id into v_id from public.queue_job
             where id = p_job and state = 'pending' and eta is null for update nowait;
        exception when lock_not_available then
            return;
        end;
    elsif p_id is not null then
        select id into v_id from public.queue_job
         where state = 'pending' and eta is null and channel = p_channel
           and (priority, date_created, id) >= (p_priority, p_created, p_id)
         order by channel, priority, date_created, id limit 1 for update skip locked;
    else
        select id into v_id from public.queue_job
         where state = 'pending' and eta is null and channel = p_channel
         order by channel, priority, date_created, id limit 1 for update skip locked;
    end if;
    if v_id is null then
        return;
    end if;
    v_attempt := nextval('queuemaster.attempt');
    insert into queuemaster.run (job_id, attempt, worker_id) values (v_id, v_attempt, p_worker)
        on conflict (job_id) do update set attempt = v_attempt, worker_id = p_worker, cancel_requested = false;
    -- if queue_job_lock
    if p_start then
        insert into public.queue_job_lock (id, queue_job_id) values (v_id, v_id) on conflict (id) do nothing;
    end if;
    -- end
    -- the addon's own sweep finds only jobs with a date_enqueued
    return query
        update public.queue_job job
           set state = case when p_start then 'started' else 'enqueued' end, date_enqueued = queuemaster.utc_now(),
               date_started = case when p_start then queuemaster.utc_now() end,
               worker_pid = case when p_start then p_pid end
          from queuemaster.run where job.id = v_id and run.job_id = v_id
        returning job.id::bigint, job.uuid::text, run.attempt, run.worker_id, job.model_name::text,
               job.method_name::text, job.records::text, job.args::text, job.kwargs::text, job.user_id, job.company_id,
               job.channel::text, job.priority, coalesce(job.retry, 0), coalesce(job.max_retries, 0), job.date_created,
               job.date_enqueued, coalesce(job.date_started, job.date_enqueued), job.eta, job.graph_uuid::text,
               job.identity_key::text, exists (select from queuemaster.related(job.dependencies, 'reverse_depends_on')),
               null::double precision, null::timestamp, 0, run.doom_name, run.doom_message, run.doom_info;
end $$;


-- The first statement of a run's own transaction: locks the job as the addon does, until the transaction ends. False:
-- the run was taken away.
create function begin_run(p_id bigint, p_attempt bigint, p_worker integer) returns boolean language plpgsql
set enable_seqscan = off set jit = off as $$
begin
    perform from queuemaster.run where job_id = p_id and attempt = p_attempt and worker_id = p_worker;
    if not found then
        return false;
    end if;
    -- if queue_job_lock
    perform from public.queue_job_lock where queue_job_id = p_id for no key update skip locked;
    if not found then
        return false;
    end if;
    -- end
    return true;
end $$;
