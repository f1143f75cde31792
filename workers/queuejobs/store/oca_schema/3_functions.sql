-- The native functions, with the addon's table and its rules underneath. $features
-- The session's planner is not trusted, for the reasons that the native functions give.

-- What a worker gets to run a job.
create type claimed as (
    id bigint, uuid text, attempt bigint, worker_id integer, model_name text, method_name text, records text, args text,
    kwargs text, user_id integer, company_id integer, channel text, priority integer, retry integer,
    max_retries integer, date_created timestamp, date_enqueued timestamp, date_started timestamp, eta timestamp,
    graph_uuid text, identity_key text, has_dependents boolean, timeout double precision, unknown_since timestamp,
    concurrency_retries integer, doom_name text, doom_message text, doom_info text);


-- The uuids under a key of the addon's dependencies, which are JSON in a text column.
create function related(p_dependencies text, p_key text) returns setof text language sql immutable as
$$$$ select json_array_elements_text(coalesce(nullif(p_dependencies, '')::json -> p_key, '[]')) $$$$;


-- As in the native queue; p_start false leaves the job enqueued, for the addon to start it itself. retry stays: the addon
-- counts when it performs, and so does finish().
create function claim(p_epoch bigint, p_channel text, p_worker integer, p_pid integer, p_job bigint default null,
                      p_priority integer default null, p_created timestamp default null, p_id bigint default null,
                      p_start boolean default true)
returns setof queuemaster.claimed language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off as $$$$
declare
    v_id bigint;
    v_attempt bigint;
begin
    -- A claim that is lost with the server is lost with its worker's session as well: nothing ran yet.
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
    $lock_insert
    -- without date_enqueued the addon's own sweep would never find it
    return query
        update public.queue_job job
           set state = case when p_start then 'started' else 'enqueued' end, date_enqueued = queuemaster.utc_now(),
               date_started = case when p_start then queuemaster.utc_now() end,
               worker_pid = case when p_start then p_pid end
          from queuemaster.run where job.id = v_id and run.job_id = v_id
        returning job.id::bigint, job.uuid::text, run.attempt, run.worker_id, job.model_name::text, job.method_name::text,
               job.records::text, job.args::text, job.kwargs::text, job.user_id, job.company_id, job.channel::text,
               job.priority, coalesce(job.retry, 0), coalesce(job.max_retries, 0), job.date_created, job.date_enqueued,
               coalesce(job.date_started, job.date_enqueued), job.eta, job.graph_uuid::text, job.identity_key::text,
               exists (select from queuemaster.related(job.dependencies, 'reverse_depends_on')),
               null::double precision, null::timestamp, 0, run.doom_name, run.doom_message, run.doom_info;
end $$$$;


-- First of all in a run's own transaction: is it still ours, and the addon's lock on it for as long as it lasts.
create function begin_run(p_id bigint, p_attempt bigint, p_worker integer) returns boolean language plpgsql
set enable_seqscan = off set jit = off as $$$$
begin
    perform from queuemaster.run where job_id = p_id and attempt = p_attempt and worker_id = p_worker;
    if not found then
        return false;
    end if;
    $lock_row
    return true;
end $$$$;


-- The end of a good run, in the job's own transaction. False: the run was taken away, roll back.
create function finish(p_id bigint, p_attempt bigint, p_worker integer, p_result text, p_exec_time double precision,
                       p_release boolean default true)
returns boolean language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$$$
begin
    perform set_config('idle_in_transaction_session_timeout', '5s', true);
    -- removed, not looked at: in a transaction of one snapshot a look would see what has gone meanwhile
    if not queuemaster.end_run(p_id, p_attempt, p_worker) then
        return false;
    end if;
    update public.queue_job
       set state = 'done', date_done = queuemaster.utc_now(), exec_time = p_exec_time, result = p_result,
           exc_name = null, exc_message = null, exc_info = null, retry = coalesce(retry, 0) + 1
     where id = p_id and state = 'started';
    if not found then
        return false;
    end if;
    if p_release then
        perform queuemaster.release_children(p_id);
    end if;
    return true;
end $$$$;


-- The addon stored this run's end itself. False: it was not ours any more.
create function end_run(p_id bigint, p_attempt bigint, p_worker integer) returns boolean language plpgsql
set enable_seqscan = off set jit = off as $$$$
begin
    delete from queuemaster.run where job_id = p_id and attempt = p_attempt and worker_id = p_worker;
    return found;
end $$$$;


-- Children of a done job that wait for nobody else. READ COMMITTED: locked in id order, looked at in a new statement.
-- In a graph of two groups every job of the first leads to all of the second. So where the done is committed already (we
-- have written nothing), children to which an unfinished job leads as well are passed over: its own release looks at them.
create function release_children(p_parent bigint) returns integer language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$$$
declare
    v_uuids text[];
    v_graph text;
    v_children bigint[];
    v_child bigint;
    v_other record;
    v_released integer := 0;
begin
    select array(select queuemaster.related(dependencies, 'reverse_depends_on')), graph_uuid into v_uuids, v_graph
      from public.queue_job where id = p_parent;
    if cardinality(v_uuids) >= 20 and v_graph is not null and pg_current_xact_id_if_assigned() is null then
        for v_other in select dependencies from public.queue_job
                        where graph_uuid = v_graph and id <> p_parent
                          and state in ('pending', 'enqueued', 'started', 'failed') limit 10 loop
            v_uuids := array(select unnest(v_uuids)
                             except select queuemaster.related(v_other.dependencies, 'reverse_depends_on'));
            exit when cardinality(v_uuids) = 0;
        end loop;
    end if;
    select array_agg(child.id order by child.id) into v_children
      from unnest(v_uuids) wanted(uuid) join public.queue_job child on child.uuid = wanted.uuid;
    if v_children is null then
        return 0;
    end if;
    foreach v_child in array v_children loop
        perform from public.queue_job where id = v_child for no key update;
    end loop;
    foreach v_child in array v_children loop
        v_released := v_released + queuemaster.release(v_child)::integer;
    end loop;
    return v_released;
end $$$$;

-- One waiting job, unless a parent of it is there and not done. The caller holds its row.
create function release(p_id bigint) returns boolean language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$$$
begin
    update public.queue_job job set state = 'pending'
     where id = p_id and state = 'wait_dependencies'
       and not exists (select from queuemaster.related(job.dependencies, 'depends_on') wanted(uuid)
                         join public.queue_job parent on parent.uuid = wanted.uuid where parent.state <> 'done');
    return found;
end $$$$;


-- All waiting descendants of a job that will never be done. Returns how many.
create function cancel_descendants(p_id bigint) returns integer language plpgsql as $$$$
declare
    v_cancelled integer;
begin
    with recursive below(id, dependencies) as (
        select id, dependencies from public.queue_job where id = p_id
        union
        select child.id, child.dependencies from below
         cross join lateral queuemaster.related(below.dependencies, 'reverse_depends_on') wanted(uuid)
          join public.queue_job child on child.uuid = wanted.uuid and child.state = 'wait_dependencies'),
    locked as (
        select job.id from public.queue_job job where job.id in (select id from below where id <> p_id)
         order by job.id for no key update)
    update public.queue_job job set state = 'cancelled', date_cancelled = queuemaster.utc_now()
      from locked where job.id = locked.id and job.state = 'wait_dependencies';
    get diagnostics v_cancelled = row_count;
    return v_cancelled;
end $$$$;


-- The end of a run that the addon has no part in: back to pending, failed, or cancelled where somebody asked for that.
create function settle(p_id bigint, p_attempt bigint, p_worker integer, p_state text, p_delay double precision,
                       p_counted boolean, p_exc_name text, p_exc_message text, p_exc_info text, p_mark text default null)
returns boolean language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$$$
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
end $$$$;


-- It will run no more: only Odoo can tell everybody, so the next worker does. The caller holds the job's row.
create function doom(p_id bigint, p_name text, p_message text, p_info text) returns void language sql as $$$$
    insert into queuemaster.run (job_id, attempt, doom_name, doom_message, doom_info)
    values (p_id, nextval('queuemaster.attempt'), p_name, p_message, p_info)
        on conflict (job_id) do update
            set worker_id = null, doom_name = p_name, doom_message = p_message, doom_info = p_info;
    update public.queue_job
       set state = 'pending', eta = null, worker_pid = null, date_enqueued = null, date_started = null,
           retry = coalesce(retry, 0) + 1
     where id = p_id
$$$$;


-- Put back what worker p_worker left; null: ask again. As in the native queue, and before that the worker's other
-- session, in which Odoo ran the job, has to be gone: its locks live until the server notices that nobody is there.
-- p_job 0: the job that it was claiming.
create function recover(p_worker integer, p_job bigint, p_attempt bigint, p_cause text, p_detail text default null,
                        p_kind text default 'death', p_poison integer default 0,
                        p_max_backoff double precision default 3600)
returns integer language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$$$
declare
    v_row record;
    v_named boolean;
    v_end text;  -- why it fails for good
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
                if v_end is not null and not (select cancel_requested from queuemaster.run where job_id = v_row.job_id) then
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
end $$$$;


-- Jobs whose time has come compete as if they had none. Returns how many were promoted, at most p_limit.
create function promote(p_limit integer) returns integer language plpgsql as $$$$
declare
    v_promoted integer;
begin
    with due as (
        select id from public.queue_job
         where state = 'pending' and eta is not null and eta <= queuemaster.utc_now()
         order by eta limit p_limit for no key update skip locked)
    update public.queue_job job set eta = null from due where job.id = due.id;
    get diagnostics v_promoted = row_count;
    return v_promoted;
end $$$$;


-- The net under everything that is none of our workers': runs of Odoo's own workers that nobody runs any more, rows left
-- enqueued, jobs that wait for nobody. Returns what was done to how many.
create function sweep(out requeued integer, out doomed integer, out released integer) language plpgsql
set jit = off as $$$$
declare
    v_row record;
begin
    requeued := 0; doomed := 0; released := 0;
    perform set_config('lock_timeout', '200ms', true);
    for v_row in
        select id, state, coalesce(retry, 0) as retry, coalesce(max_retries, 0) as max_retries from public.queue_job job
         where $stray
           and coalesce(date_enqueued, date_started, '-infinity') < queuemaster.utc_now() - interval '10 seconds'
           and not exists (select from queuemaster.run where run.job_id = job.id and run.worker_id is not null)
         order by id for no key update skip locked loop
        $stray_locked
        if v_row.state = 'started' and v_row.max_retries > 0 and v_row.retry + 1 >= v_row.max_retries then
            perform queuemaster.doom(v_row.id, 'WorkerDied',
                format('Max. retries (%s) reached: its worker is gone', v_row.max_retries), null);
            doomed := doomed + 1;
        else
            update public.queue_job
               set state = 'pending', worker_pid = null, date_enqueued = null, date_started = null,
                   retry = coalesce(retry, 0) + (v_row.state = 'started')::integer
             where id = v_row.id;
            requeued := requeued + 1;
        end if;
    end loop;
    -- looked at before any is locked: thousands may wait, and who ends a job wants to lock some of them
    for v_row in
        select id from public.queue_job job
         where state = 'wait_dependencies'
           and not exists (select from queuemaster.related(job.dependencies, 'depends_on') wanted(uuid)
                             join public.queue_job parent on parent.uuid = wanted.uuid where parent.state <> 'done')
         order by id loop
        perform from public.queue_job where id = v_row.id for no key update skip locked;
        if found then
            released := released + queuemaster.release(v_row.id)::integer;
        end if;
    end loop;
    delete from queuemaster.run where worker_id is null
       and not exists (select from public.queue_job job where job.id = run.job_id and job.state not in ('done', 'cancelled'));
end $$$$;


-- What a person may do to a job by hand; the rules of the native functions of these names.
create function cancel_job(p_uuid text) returns text language plpgsql as $$$$
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
end $$$$;

create function requeue_job(p_uuid text) returns text language plpgsql as $$$$
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
end $$$$;

create function set_job_done(p_uuid text, p_result text) returns text language plpgsql as $$$$
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
end $$$$;


-- Changes whenever one of Odoo's processes told the others that the registry or a cache is not what it was.
create function odoo_signal() returns text language plpgsql set enable_seqscan = off set jit = off as $$$$
begin
    return concat_ws(' ', $signals);
end $$$$;
