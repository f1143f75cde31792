SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE SCHEMA queuemaster;
CREATE TYPE queuemaster.claimed AS (
	id bigint,
	uuid text,
	attempt bigint,
	worker_id integer,
	model_name text,
	method_name text,
	records text,
	args text,
	kwargs text,
	user_id integer,
	company_id integer,
	channel text,
	priority integer,
	retry integer,
	max_retries integer,
	date_created timestamp without time zone,
	date_enqueued timestamp without time zone,
	date_started timestamp without time zone,
	eta timestamp without time zone,
	graph_uuid text,
	identity_key text,
	has_dependents boolean,
	timeout double precision,
	unknown_since timestamp without time zone,
	concurrency_retries integer,
	doom_name text,
	doom_message text,
	doom_info text
);
CREATE FUNCTION queuemaster.appended(p_old text, p_new text) RETURNS text
    LANGUAGE sql IMMUTABLE
    AS $$ select right(concat_ws(e'\n\n', nullif(p_old, ''), p_new), 262144) $$;
CREATE FUNCTION queuemaster.begin_run(p_id bigint, p_attempt bigint, p_worker integer) RETURNS boolean
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
    perform from queuemaster.run where job_id = p_id and attempt = p_attempt and worker_id = p_worker;
    if not found then
        return false;
    end if;
    perform from public.queue_job_lock where queue_job_id = p_id for no key update skip locked;
    if not found then
        return false;
    end if;
    return true;
end $$;
CREATE FUNCTION queuemaster.cancel_descendants(p_id bigint) RETURNS integer
    LANGUAGE plpgsql
    AS $$
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
end $$;
CREATE FUNCTION queuemaster.cancel_job(p_uuid text) RETURNS text
    LANGUAGE plpgsql
    AS $$
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
CREATE FUNCTION queuemaster.claim(p_epoch bigint, p_channel text, p_worker integer, p_pid integer, p_job bigint DEFAULT NULL::bigint, p_priority integer DEFAULT NULL::integer, p_created timestamp without time zone DEFAULT NULL::timestamp without time zone, p_id bigint DEFAULT NULL::bigint, p_start boolean DEFAULT true) RETURNS SETOF queuemaster.claimed
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    SET jit TO 'off'
    AS $$
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
    if p_start then
        insert into public.queue_job_lock (id, queue_job_id) values (v_id, v_id) on conflict (id) do nothing;
    end if;
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
CREATE FUNCTION queuemaster.depose(p_seconds double precision) RETURNS boolean
    LANGUAGE sql
    AS $$
    select coalesce(bool_or(pg_terminate_backend(activity.pid)), false)
      from queuemaster.leader
      join pg_stat_activity activity on activity.pid = leader.session_pid
                                    and activity.backend_start = leader.session_started
     where leader.beat < queuemaster.utc_now() - make_interval(secs => p_seconds)
       and leader.session_pid <> pg_backend_pid()
       and exists (select from pg_locks where locktype = 'advisory' and classid = 1363935232 and objid = 0
                      and objsubid = 2 and granted and pg_locks.pid = leader.session_pid
                      and database = (select oid from pg_database where datname = current_database()))
$$;
CREATE FUNCTION queuemaster.document(p_text text) RETURNS json
    LANGUAGE sql IMMUTABLE
    AS $$ select case when p_text like '"%' then p_text::json #>> '{}' else nullif(p_text, '') end::json $$;
CREATE FUNCTION queuemaster.doom(p_id bigint, p_name text, p_message text, p_info text) RETURNS void
    LANGUAGE sql
    AS $$
    insert into queuemaster.run (job_id, attempt, doom_name, doom_message, doom_info)
    values (p_id, nextval('queuemaster.attempt'), p_name, p_message, p_info)
        on conflict (job_id) do update
            set worker_id = null, doom_name = p_name, doom_message = p_message, doom_info = p_info;
    update public.queue_job
       set state = 'pending', eta = null, worker_pid = null, date_enqueued = null, date_started = null,
           retry = coalesce(retry, 0) + 1
     where id = p_id
$$;
CREATE FUNCTION queuemaster.end_run(p_id bigint, p_attempt bigint, p_worker integer) RETURNS boolean
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
    delete from queuemaster.run where job_id = p_id and attempt = p_attempt and worker_id = p_worker;
    return found;
end $$;
CREATE FUNCTION queuemaster.ended_channels(p_state text, p_after text, p_limit integer) RETURNS TABLE(channel text, oldest double precision)
    LANGUAGE sql STABLE
    AS $$
    select coalesce(job.channel, 'root'),
           extract(epoch from queuemaster.utc_now()
                              - min(coalesce(date_cancelled, date_done, date_created)))::double precision
      from public.queue_job job
     where state = p_state and state in ('done', 'cancelled', 'failed') and coalesce(job.channel, 'root') > p_after
     group by 1 order by 1 limit p_limit
$$;
CREATE FUNCTION queuemaster.finish(p_id bigint, p_attempt bigint, p_worker integer, p_result text, p_exec_time double precision, p_release boolean DEFAULT true) RETURNS boolean
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
    perform set_config('idle_in_transaction_session_timeout', '5s', true);
    -- deleted, not read: under REPEATABLE READ a read would still see a row that has gone meanwhile
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
end $$;
CREATE FUNCTION queuemaster.key_time(p_time timestamp without time zone) RETURNS text
    LANGUAGE sql IMMUTABLE
    AS $$ select to_char(p_time, 'YYYY-MM-DD"T"HH24:MI:SS.US') $$;
CREATE FUNCTION queuemaster.lead(p_host text) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
begin
    perform pg_advisory_xact_lock(1363935233, 0);
    update queuemaster.leader
       set epoch = epoch + 1, host = p_host, beat = queuemaster.utc_now(), session_pid = pg_backend_pid(),
           session_started = (select backend_start from pg_stat_activity where pid = pg_backend_pid());
    return (select epoch from queuemaster.leader);
end $$;
CREATE FUNCTION queuemaster.notify_control() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    perform pg_notify('queue_job', json_build_object('control', true)::text);
    return null;
end $$;
CREATE FUNCTION queuemaster.odoo_signal() RETURNS text
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
    return concat_ws(' ', '', (select max(id) from public.orm_signaling_registry));
end $$;
CREATE FUNCTION queuemaster.promote(p_limit integer) RETURNS integer
    LANGUAGE plpgsql
    AS $$
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
end $$;
CREATE FUNCTION queuemaster.purge_jobs(p_state text, p_channel text, p_seconds double precision, p_ended timestamp without time zone, p_id bigint, p_limit integer, OUT removed integer, OUT looked_at integer, OUT ended timestamp without time zone, OUT id bigint) RETURNS record
    LANGUAGE plpgsql
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    AS $_$
declare
    v_ids integer[];
    v_waiting text[];
    v_trace record;
    v_cutoff timestamp := queuemaster.utc_now() - make_interval(secs => p_seconds);
begin
    removed := 0;
    ended := p_ended;
    with old as (
        select job.id from public.queue_job job
         where job.id > p_id and state = p_state and state in ('done', 'cancelled', 'failed')
           and coalesce(date_cancelled, date_done, date_created) < v_cutoff
           and coalesce(channel, 'root') = p_channel
         order by job.id limit p_limit for update skip locked)
    select array_agg(old.id), max(old.id) into v_ids, id from old;
    looked_at := coalesce(cardinality(v_ids), 0);
    if looked_at < p_limit then
        id := null;
    end if;
    if looked_at = 0 then
        return;
    end if;
    select coalesce(array_agg(distinct graph_uuid::text), '{}') into v_waiting
      from public.queue_job where state = 'wait_dependencies' and graph_uuid is not null;
    with gone as (
        delete from public.queue_job job
         where job.id = any(v_ids) and (graph_uuid is null or graph_uuid <> all(v_waiting)) returning job.id)
    select array_agg(gone.id), count(*) into v_ids, removed from gone;
    -- messages, followers and activities name their record in two columns, without a foreign key
    for v_trace in
        values ('mail_message', 'model'), ('mail_followers', 'res_model'), ('mail_activity', 'res_model') loop
        if to_regclass('public.' || v_trace.column1) is not null then
            execute format('delete from public.%I where %I = ''queue.job'' and res_id = any($1)',
                           v_trace.column1, v_trace.column2) using v_ids;
        end if;
    end loop;
    delete from queuemaster.run where job_id = any(v_ids);
end $_$;
CREATE FUNCTION queuemaster.recover(p_worker integer, p_job bigint, p_attempt bigint, p_cause text, p_detail text DEFAULT NULL::text, p_kind text DEFAULT 'death'::text, p_poison integer DEFAULT 0, p_max_backoff double precision DEFAULT 3600) RETURNS integer
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    AS $$
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
CREATE FUNCTION queuemaster.register_worker(p_host text, p_boot_id text, p_pid integer, p_start_time bigint, p_channel text) RETURNS integer
    LANGUAGE plpgsql
    AS $$
declare
    v_id integer := nextval(pg_get_serial_sequence('queuemaster.worker', 'id'));
begin
    -- the lock before the row: a row whose lock is free is a dead worker's
    perform pg_advisory_lock(1363935234, v_id);
    insert into queuemaster.worker (id, host, boot_id, pid, start_time, channel)
    overriding system value values (v_id, p_host, p_boot_id, p_pid, p_start_time, p_channel);
    return v_id;
end $$;
CREATE FUNCTION queuemaster.related(p_dependencies text, p_key text) RETURNS SETOF text
    LANGUAGE sql IMMUTABLE
    AS $$ select json_array_elements_text(coalesce(nullif(p_dependencies, '')::json -> p_key, '[]')) $$;
CREATE FUNCTION queuemaster.release(p_id bigint) RETURNS boolean
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
    update public.queue_job job set state = 'pending'
     where id = p_id and state = 'wait_dependencies'
       and not exists (select from queuemaster.related(job.dependencies, 'depends_on') wanted(uuid)
                         join public.queue_job parent on parent.uuid = wanted.uuid where parent.state <> 'done');
    return found;
end $$;
CREATE FUNCTION queuemaster.release_children(p_parent bigint) RETURNS integer
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    AS $$
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
end $$;
CREATE FUNCTION queuemaster.requeue_job(p_uuid text) RETURNS text
    LANGUAGE plpgsql
    AS $$
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
CREATE FUNCTION queuemaster.set_job_done(p_uuid text, p_result text) RETURNS text
    LANGUAGE plpgsql
    AS $$
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
CREATE FUNCTION queuemaster.settle(p_id bigint, p_attempt bigint, p_worker integer, p_state text, p_delay double precision, p_counted boolean, p_exc_name text, p_exc_message text, p_exc_info text, p_mark text DEFAULT NULL::text) RETURNS boolean
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    AS $$
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
CREATE FUNCTION queuemaster.sweep(OUT requeued integer, OUT doomed integer, OUT released integer) RETURNS record
    LANGUAGE plpgsql
    SET jit TO 'off'
    AS $$
declare
    v_row record;
begin
    requeued := 0; doomed := 0; released := 0;
    perform set_config('lock_timeout', '200ms', true);
    for v_row in
        select id, state, coalesce(retry, 0) as retry, coalesce(max_retries, 0) as max_retries from public.queue_job job
         where state in ('enqueued', 'started')
           and coalesce(date_enqueued, date_started, '-infinity') < queuemaster.utc_now() - interval '10 seconds'
           and not exists (select from queuemaster.run where run.job_id = job.id and run.worker_id is not null)
         order by id for no key update skip locked loop
        if exists (select from public.queue_job_lock where queue_job_id = v_row.id) then
            perform from public.queue_job_lock where queue_job_id = v_row.id for no key update skip locked;
            if not found then
                continue;
            end if;
        end if;
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
    -- each is looked at before it is locked: thousands may wait, and a job that ends locks some of them
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
       and not exists (select from public.queue_job job
                        where job.id = run.job_id and job.state not in ('done', 'cancelled'));
end $$;
CREATE FUNCTION queuemaster.utc_now() RETURNS timestamp without time zone
    LANGUAGE sql
    AS $$ select clock_timestamp() at time zone 'UTC' $$;
CREATE SEQUENCE queuemaster.attempt
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE queuemaster.beside_odoo (
    only_row boolean DEFAULT true NOT NULL,
    checksum text,
    version integer DEFAULT 0 NOT NULL
);
CREATE TABLE queuemaster.control (
    channel text NOT NULL,
    capacity integer,
    rate text,
    paused boolean,
    CONSTRAINT control_capacity_check CHECK ((capacity >= 0))
);
CREATE TABLE queuemaster.leader (
    only_row boolean DEFAULT true NOT NULL,
    epoch bigint DEFAULT 0 NOT NULL,
    host text,
    session_pid integer,
    session_started timestamp with time zone,
    beat timestamp without time zone,
    CONSTRAINT leader_only_row_check CHECK (only_row)
);
CREATE TABLE queuemaster.run (
    job_id bigint NOT NULL,
    attempt bigint NOT NULL,
    worker_id integer,
    deaths integer DEFAULT 0 NOT NULL,
    cancel_requested boolean DEFAULT false NOT NULL,
    doom_name text,
    doom_message text,
    doom_info text
)
WITH (fillfactor='70');
CREATE VIEW queuemaster.queue_job AS
 SELECT (job.id)::bigint AS id,
    (job.uuid)::text AS uuid,
    (job.graph_uuid)::text AS graph_uuid,
    job.user_id,
    job.company_id,
    (job.name)::text AS name,
    (job.model_name)::text AS model_name,
    (job.method_name)::text AS method_name,
    queuemaster.document((job.records)::text) AS records,
    queuemaster.document((job.args)::text) AS args,
    queuemaster.document((job.kwargs)::text) AS kwargs,
    (job.func_string)::text AS func_string,
    job.state,
    job.priority,
    (job.exc_name)::text AS exc_name,
    (job.exc_message)::text AS exc_message,
    job.exc_info,
    job.result,
    job.date_created,
    job.date_enqueued,
    job.date_started,
    job.date_done,
    job.date_cancelled,
    job.exec_time,
    job.eta,
    COALESCE(job.retry, 0) AS retry,
    COALESCE(job.max_retries, 0) AS max_retries,
    (job.channel_method_name)::text AS channel_method_name,
    job.channel,
    (job.identity_key)::text AS identity_key,
    job.worker_pid,
    COALESCE(run.attempt, (0)::bigint) AS attempt,
    run.worker_id,
    NULL::double precision AS timeout,
    COALESCE(run.cancel_requested, false) AS cancel_requested,
    NULL::timestamp without time zone AS unknown_since,
    0 AS concurrency_retries,
    COALESCE(run.deaths, 0) AS deaths,
    NULL::double precision AS cpu,
    NULL::bigint AS memory,
    false AS on_fail,
    (run.doom_name IS NOT NULL) AS doomed
   FROM (public.queue_job job
     LEFT JOIN queuemaster.run ON ((run.job_id = job.id)));
CREATE VIEW queuemaster.queue_job_edge AS
 SELECT (parent.id)::bigint AS parent_id,
    (child.id)::bigint AS child_id
   FROM ((public.queue_job child
     CROSS JOIN LATERAL json_array_elements_text(COALESCE(((NULLIF(child.dependencies, ''::text))::json -> 'depends_on'::text), '[]'::json)) wanted(uuid))
     JOIN public.queue_job parent ON (((parent.uuid)::text = wanted.uuid)));
CREATE TABLE queuemaster.worker (
    id integer NOT NULL,
    host text NOT NULL,
    boot_id text NOT NULL,
    pid integer NOT NULL,
    start_time bigint NOT NULL,
    channel text NOT NULL,
    since timestamp without time zone DEFAULT (clock_timestamp() AT TIME ZONE 'UTC'::text) NOT NULL
);
ALTER TABLE queuemaster.worker ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME queuemaster.worker_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
    CYCLE
);
INSERT INTO queuemaster.beside_odoo VALUES (true, 'ef1c79e2cd403afcbc4bc3cf5bf191bb6a040c613abec05a52728f357f6508b9', 1);
INSERT INTO queuemaster.leader VALUES (true, 0, NULL, NULL, NULL, NULL);
SELECT pg_catalog.setval('queuemaster.attempt', 1, false);
SELECT pg_catalog.setval('queuemaster.worker_id_seq', 1, false);
ALTER TABLE ONLY queuemaster.beside_odoo
    ADD CONSTRAINT beside_odoo_pkey PRIMARY KEY (only_row);
ALTER TABLE ONLY queuemaster.control
    ADD CONSTRAINT control_pkey PRIMARY KEY (channel);
ALTER TABLE ONLY queuemaster.leader
    ADD CONSTRAINT leader_pkey PRIMARY KEY (only_row);
ALTER TABLE ONLY queuemaster.run
    ADD CONSTRAINT run_pkey PRIMARY KEY (job_id);
ALTER TABLE ONLY queuemaster.worker
    ADD CONSTRAINT worker_pkey PRIMARY KEY (id);
CREATE INDEX run_worker ON queuemaster.run USING btree (worker_id) WHERE (worker_id IS NOT NULL);
CREATE TRIGGER notify_control AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON queuemaster.control FOR EACH STATEMENT EXECUTE FUNCTION queuemaster.notify_control();
