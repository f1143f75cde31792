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
CREATE FUNCTION queuemaster.appended(p_old text, p_new text) RETURNS text
    LANGUAGE sql IMMUTABLE
    AS $$ select right(concat_ws(e'\n\n', nullif(p_old, ''), p_new), 262144) $$;
CREATE FUNCTION queuemaster.awaited(p_ids bigint[]) RETURNS bigint[]
    LANGUAGE sql STABLE
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET jit TO 'off'
    AS $$
    with recursive below(id) as (
        select child_id from queuemaster.queue_job_edge where parent_id = any(p_ids)
        union
        select edge.child_id from below join queuemaster.queue_job_edge edge on edge.parent_id = below.id),
    above(id) as (
        select below.id from below join queuemaster.queue_job child on child.id = below.id
         where child.state = 'wait_dependencies'
        union
        select edge.parent_id from above join queuemaster.queue_job_edge edge on edge.child_id = above.id)
    select coalesce(array_agg(id), '{}') from above where id = any(p_ids)
$$;
CREATE FUNCTION queuemaster.cancel_descendants(p_id bigint) RETURNS integer
    LANGUAGE plpgsql
    AS $$
declare
    v_ids bigint[];
begin
    with recursive below(id) as (
        select child_id from queuemaster.queue_job_edge where parent_id = p_id
        union
        select edge.child_id from below join queuemaster.queue_job_edge edge on edge.parent_id = below.id)
    select array_agg(id) into v_ids from below;
    if v_ids is null then
        return 0;
    end if;
    perform 1 from queuemaster.queue_job
      where id = any(v_ids) and state = 'wait_dependencies' order by id for no key update;
    update queuemaster.queue_job set state = 'cancelled', date_cancelled = queuemaster.utc_now()
     where id = any(v_ids) and state = 'wait_dependencies';
    return (select count(*) from queuemaster.queue_job where id = any(v_ids) and state = 'cancelled');
end $$;
CREATE FUNCTION queuemaster.cancel_job(p_uuid text) RETURNS text
    LANGUAGE plpgsql
    AS $$
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
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE queuemaster.queue_job (
    id bigint NOT NULL,
    uuid text NOT NULL,
    graph_uuid text,
    user_id integer,
    company_id integer,
    name text,
    model_name text NOT NULL,
    method_name text NOT NULL,
    records json NOT NULL,
    args json DEFAULT '[]'::json NOT NULL,
    kwargs json DEFAULT '{}'::json NOT NULL,
    func_string text,
    state text DEFAULT 'pending'::text NOT NULL,
    priority integer DEFAULT 10 NOT NULL,
    exc_name text,
    exc_message text,
    exc_info text,
    result text,
    date_created timestamp without time zone DEFAULT (clock_timestamp() AT TIME ZONE 'UTC'::text) NOT NULL,
    date_enqueued timestamp without time zone,
    date_started timestamp without time zone,
    date_done timestamp without time zone,
    date_cancelled timestamp without time zone,
    exec_time double precision,
    eta timestamp without time zone,
    retry integer DEFAULT 0 NOT NULL,
    max_retries integer DEFAULT 5 NOT NULL,
    channel_method_name text,
    channel text DEFAULT 'root'::text NOT NULL,
    identity_key text,
    worker_pid integer,
    attempt integer DEFAULT 0 NOT NULL,
    worker_id integer,
    timeout double precision,
    cancel_requested boolean DEFAULT false NOT NULL,
    unknown_since timestamp without time zone,
    concurrency_retries integer DEFAULT 0 NOT NULL,
    deaths integer DEFAULT 0 NOT NULL,
    cpu double precision,
    memory bigint,
    on_fail boolean DEFAULT false NOT NULL,
    doomed boolean DEFAULT false NOT NULL,
    CONSTRAINT queue_job_channel_check CHECK (((length(channel) >= 1) AND (length(channel) <= 500))),
    CONSTRAINT queue_job_check CHECK (((state = 'started'::text) = (worker_id IS NOT NULL))),
    CONSTRAINT queue_job_cpu_check CHECK ((cpu >= (0)::double precision)),
    CONSTRAINT queue_job_max_retries_check CHECK ((max_retries >= 0)),
    CONSTRAINT queue_job_memory_check CHECK ((memory >= 0)),
    CONSTRAINT queue_job_state_check CHECK ((state = ANY (ARRAY['wait_dependencies'::text, 'pending'::text, 'enqueued'::text, 'started'::text, 'done'::text, 'cancelled'::text, 'failed'::text]))),
    CONSTRAINT queue_job_timeout_check CHECK ((timeout >= (0)::double precision))
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.01', autovacuum_vacuum_threshold='500', autovacuum_analyze_scale_factor='0.05', autovacuum_vacuum_cost_delay='0');
CREATE FUNCTION queuemaster.claim(p_epoch bigint, p_channel text, p_worker integer, p_pid integer, p_job bigint DEFAULT NULL::bigint, p_priority integer DEFAULT NULL::integer, p_created timestamp without time zone DEFAULT NULL::timestamp without time zone, p_id bigint DEFAULT NULL::bigint) RETURNS SETOF queuemaster.queue_job
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    SET jit TO 'off'
    AS $$
declare
    v_id bigint;
begin
    -- a crash of the server that loses this commit ends the worker's session too, before the job has begun
    perform set_config('synchronous_commit', 'off', true);
    -- false when a new leader holds the exclusive lock, or waits for it
    if not pg_try_advisory_xact_lock_shared(1363935233, 0) then
        return;
    end if;
    if (select epoch from queuemaster.leader) is distinct from p_epoch then
        return;
    end if;
    if p_job is not null then
        begin
            select id into v_id from queuemaster.queue_job
             where id = p_job and state = 'pending' and eta is null for update nowait;
        exception when lock_not_available then
            return;  -- waiting would delay a new leader; the grant goes back
        end;
    elsif p_id is not null then
        select id into v_id from queuemaster.queue_job
         where state = 'pending' and eta is null and channel = p_channel
           and (priority, date_created, id) >= (p_priority, p_created, p_id)
         order by channel, priority, date_created, id limit 1 for update skip locked;
    else
        select id into v_id from queuemaster.queue_job
         where state = 'pending' and eta is null and channel = p_channel
         order by channel, priority, date_created, id limit 1 for update skip locked;
    end if;
    return query
        update queuemaster.queue_job
           set state = 'started', date_started = queuemaster.utc_now(), worker_id = p_worker, worker_pid = p_pid,
               attempt = attempt + 1, retry = retry + 1
         where id = v_id returning *;
end $$;
CREATE FUNCTION queuemaster.claim_following(p_worker integer, p_pid integer, p_epoch bigint, p_channel text, p_priority integer, p_created timestamp without time zone, p_least bigint, p_until_priority integer, p_until_created timestamp without time zone, p_until bigint, OUT id bigint, OUT attempt integer) RETURNS record
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    SET jit TO 'off'
    SET lock_timeout TO '20ms'
    AS $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        return;
    end if;
    if not pg_try_advisory_xact_lock_shared(1363935233, 0) then
        return;
    end if;
    if (select epoch from queuemaster.leader) is distinct from p_epoch then
        return;
    end if;
    select job.id into claim_following.id from queuemaster.queue_job job
     where state = 'pending' and eta is null and channel = p_channel
       and (priority, date_created, job.id) >= (p_priority, p_created, p_least)
       and (priority, date_created, job.id) < (p_until_priority, p_until_created, p_until)
     order by channel, priority, date_created, job.id limit 1 for update skip locked;
    update queuemaster.queue_job job
       set state = 'started', date_started = queuemaster.utc_now(), worker_id = p_worker, worker_pid = p_pid,
           attempt = job.attempt + 1, retry = retry + 1
     where job.id = claim_following.id returning job.attempt into claim_following.attempt;
end $$;
CREATE FUNCTION queuemaster.claim_next(p_channel text, p_worker integer, p_pid integer, p_priority integer, p_created timestamp without time zone, p_id bigint) RETURNS SETOF queuemaster.queue_job
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    SET jit TO 'off'
    AS $$
declare
    v_row record;
begin
    set local idle_in_transaction_session_timeout to default;  -- finish() of the job before shortened it
    select id, attempt, graph_uuid, identity_key, date_created into v_row from queuemaster.queue_job
     where state = 'pending' and eta is null and channel = p_channel
       and (priority, date_created, id) >= (p_priority, p_created, p_id)
     order by channel, priority, date_created, id limit 1 for update skip locked;
    if v_row.id is null or v_row.attempt > 0 or v_row.graph_uuid is not null or v_row.identity_key is not null
       or v_row.date_created >= now() at time zone 'utc' then
        return;
    end if;
    return query
        update queuemaster.queue_job
           set state = 'started', date_started = queuemaster.utc_now(), worker_id = p_worker, worker_pid = p_pid,
               attempt = attempt + 1, retry = retry + 1
         where id = v_row.id returning *;
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
CREATE FUNCTION queuemaster.ended_channels(p_state text, p_after text, p_limit integer) RETURNS TABLE(channel text, oldest double precision)
    LANGUAGE sql STABLE
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    SET jit TO 'off'
    AS $$
    with recursive found(channel, ended) as (
        (select job.channel, coalesce(date_cancelled, date_done, date_created) from queuemaster.queue_job job
          where state = p_state and state in ('done', 'cancelled', 'failed') and job.channel > p_after
          order by state, job.channel, coalesce(date_cancelled, date_done, date_created), id limit 1)
        union all
        select next.channel, next.ended from found cross join lateral (
            select job.channel, coalesce(date_cancelled, date_done, date_created) as ended
              from queuemaster.queue_job job
             where state = p_state and state in ('done', 'cancelled', 'failed') and job.channel > found.channel
             order by state, job.channel, coalesce(date_cancelled, date_done, date_created), id limit 1) next)
    select channel, extract(epoch from queuemaster.utc_now() - ended)::double precision from found limit p_limit
$$;
CREATE FUNCTION queuemaster.finish(p_id bigint, p_attempt integer, p_worker integer, p_result text, p_exec_time double precision, p_release boolean DEFAULT true) RETURNS boolean
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
    -- a worker that is frozen before its COMMIT must not hold the row and its children for long
    perform set_config('idle_in_transaction_session_timeout', '5s', true);
    update queuemaster.queue_job
       set state = 'done', date_done = queuemaster.utc_now(), result = p_result, exec_time = p_exec_time,
           worker_id = null, cancel_requested = false, exc_name = null, exc_message = null,
           unknown_since = null, concurrency_retries = 0, deaths = 0
     where id = p_id and state = 'started' and worker_id = p_worker and attempt = p_attempt;
    if not found then
        return false;
    end if;
    if p_release then
        perform queuemaster.release_children(p_id);
    end if;
    return true;
end $$;
CREATE FUNCTION queuemaster.finish_and_claim(p_id bigint, p_attempt integer, p_worker integer, p_result text, p_exec_time double precision, p_epoch bigint, p_channel text, p_pid integer, p_priority integer, p_created timestamp without time zone, p_least bigint, p_until_priority integer, p_until_created timestamp without time zone, p_until bigint, OUT finished boolean, OUT id bigint, OUT attempt integer) RETURNS record
    LANGUAGE plpgsql
    AS $$
begin
    finished := queuemaster.finish(p_id, p_attempt, p_worker, p_result, p_exec_time);
    if not finished then
        return;
    end if;
    begin
        select following.id, following.attempt into finish_and_claim.id, finish_and_claim.attempt
          from queuemaster.claim_following(p_worker, p_pid, p_epoch, p_channel, p_priority, p_created, p_least,
                                           p_until_priority, p_until_created, p_until) following;
    exception when others then
        id := null;
        raise log 'queuemaster: job % is done, but the next one could not be claimed: %', p_id, sqlerrm;
    end;
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
CREATE FUNCTION queuemaster.leave_batch(p_id bigint) RETURNS void
    LANGUAGE sql
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
    with left_over as (
        select id from queuemaster.queue_job where id = p_id and state = 'pending' and attempt = 0
           for update skip locked)
    update queuemaster.queue_job set attempt = 1 where id = (select id from left_over)
$$;
CREATE FUNCTION queuemaster.notify_changed() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    if new.state = 'pending' and new.eta is null
       and (old.state, old.priority, old.channel, old.eta) is distinct from
           (new.state, new.priority, new.channel, new.eta) then
        perform pg_notify('queue_job',
            json_build_array(new.channel, new.priority, queuemaster.key_time(new.date_created), new.id)::text);
    end if;
    if new.state = 'pending' and new.eta is not null
       and (old.state, old.eta) is distinct from (new.state, new.eta) then
        perform pg_notify('queue_job', json_build_array(null, new.eta)::text);
    end if;
    if (old.state = 'failed' and new.state <> 'failed')
       or (old.state = 'pending' and old.eta is not null and new.state not in ('pending', 'started')) then
        perform pg_notify('queue_job', json_build_array(old.channel)::text);
    end if;
    return null;
end $$;
CREATE FUNCTION queuemaster.notify_control() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    perform pg_notify('queue_job', json_build_object('control', true)::text);
    return null;
end $$;
CREATE FUNCTION queuemaster.notify_inserted() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    perform pg_notify('queue_job', json_build_array(channel, priority, queuemaster.key_time(date_created), id)::text)
       from (select distinct on (channel) channel, priority, date_created, id from added
              where state = 'pending' and eta is null
              order by channel, priority, date_created, id) heads;
    perform pg_notify('queue_job', json_build_array(null, min(eta))::text)
       from added where state = 'pending' and eta is not null having count(*) > 0;
    return null;
end $$;
CREATE FUNCTION queuemaster.promote(p_limit integer) RETURNS integer
    LANGUAGE plpgsql
    AS $$
declare
    v_promoted integer;
begin
    with due as (
        select id from queuemaster.queue_job
         where state = 'pending' and eta is not null and eta <= queuemaster.utc_now()
         order by eta limit p_limit for no key update skip locked)
    update queuemaster.queue_job job set eta = null from due where job.id = due.id;
    get diagnostics v_promoted = row_count;
    return v_promoted;
end $$;
CREATE FUNCTION queuemaster.purge_jobs(p_state text, p_channel text, p_seconds double precision, p_ended timestamp without time zone, p_id bigint, p_limit integer, OUT removed integer, OUT looked_at integer, OUT ended timestamp without time zone, OUT id bigint) RETURNS record
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    SET jit TO 'off'
    AS $$
declare
    v_ids bigint[];
    v_awaited bigint[];
    v_cutoff timestamp := queuemaster.utc_now() - make_interval(secs => p_seconds);
begin
    with old as (
        select job.id, coalesce(date_cancelled, date_done, date_created) as ended from queuemaster.queue_job job
         where state = p_state and state in ('done', 'cancelled', 'failed') and channel = p_channel
           and (coalesce(date_cancelled, date_done, date_created), job.id) > (p_ended, p_id)
           and coalesce(date_cancelled, date_done, date_created) < v_cutoff
         order by state, channel, coalesce(date_cancelled, date_done, date_created), job.id
         limit p_limit for update skip locked)
    select array_agg(old.id), max(old.ended), (array_agg(old.id order by old.ended desc, old.id desc))[1]
      into v_ids, ended, id from old;
    looked_at := coalesce(cardinality(v_ids), 0);
    removed := 0;
    if looked_at < p_limit then
        ended := null;
        id := null;
    end if;
    if looked_at > 0 then
        -- in a variable: in the condition it would be called for each row
        v_awaited := queuemaster.awaited(v_ids);
        delete from queuemaster.queue_job job where job.id = any(v_ids) and job.id <> all(v_awaited);
        get diagnostics removed = row_count;
    end if;
end $$;
CREATE FUNCTION queuemaster.recover(p_worker integer, p_job bigint, p_attempt integer, p_cause text, p_detail text DEFAULT NULL::text, p_kind text DEFAULT 'death'::text, p_poison integer DEFAULT 0, p_max_backoff double precision DEFAULT 3600) RETURNS integer
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
    -- until its lock is free, the session may still be claiming
    if p_job = 0 and pg_try_advisory_xact_lock(1363935234, p_worker) then
        select id, attempt into p_job, p_attempt from queuemaster.queue_job
         where state = 'started' and worker_id = p_worker;
    end if;
    return queuemaster.recover_run(p_worker, p_job, p_attempt, p_cause, p_detail, p_kind, p_poison, p_max_backoff);
end $$;
CREATE FUNCTION queuemaster.recover_run(p_worker integer, p_job bigint, p_attempt integer, p_cause text, p_detail text DEFAULT NULL::text, p_kind text DEFAULT 'death'::text, p_poison integer DEFAULT 0, p_max_backoff double precision DEFAULT 3600) RETURNS integer
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    AS $$
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
CREATE FUNCTION queuemaster.release_children(p_parent bigint) RETURNS integer
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
    v_children bigint[];
    v_child bigint;
    v_released integer := 0;
begin
    select array_agg(child_id order by child_id) into v_children
      from queuemaster.queue_job_edge where parent_id = p_parent;
    if v_children is null then
        return 0;
    end if;
    foreach v_child in array v_children loop
        perform 1 from queuemaster.queue_job where id = v_child for no key update;
    end loop;
    foreach v_child in array v_children loop
        update queuemaster.queue_job set state = 'pending'
         where id = v_child and state = 'wait_dependencies'
           and not exists (select from queuemaster.queue_job_edge edge
                            where edge.child_id = v_child
                              and (select state from queuemaster.queue_job parent where parent.id = edge.parent_id)
                                  <> 'done');
        v_released := v_released + found::integer;
    end loop;
    return v_released;
end $$;
CREATE FUNCTION queuemaster.requeue_job(p_uuid text) RETURNS text
    LANGUAGE plpgsql
    AS $$
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
CREATE FUNCTION queuemaster.set_job_done(p_uuid text, p_result text) RETURNS text
    LANGUAGE plpgsql
    AS $$
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
CREATE FUNCTION queuemaster.settle(p_id bigint, p_attempt integer, p_worker integer, p_state text, p_delay double precision, p_counted boolean, p_exc_name text, p_exc_message text, p_exc_info text, p_mark text DEFAULT NULL::text) RETURNS boolean
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    AS $$
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
CREATE FUNCTION queuemaster.start_over(p_id bigint, p_state text) RETURNS void
    LANGUAGE sql
    AS $$
    update queuemaster.queue_job
       set state = p_state, retry = 0, deaths = 0, concurrency_retries = 0, unknown_since = null, eta = null,
           cancel_requested = false, doomed = false, result = null, exc_name = null, exc_message = null,
           exec_time = null, date_started = null, date_done = null, date_cancelled = null
     where id = p_id
$$;
CREATE FUNCTION queuemaster.utc_now() RETURNS timestamp without time zone
    LANGUAGE sql
    AS $$ select clock_timestamp() at time zone 'UTC' $$;
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
CREATE TABLE queuemaster.queue_job_edge (
    parent_id bigint NOT NULL,
    child_id bigint NOT NULL
);
ALTER TABLE queuemaster.queue_job ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME queuemaster.queue_job_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE queuemaster.schema_version (
    version integer NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied timestamp with time zone DEFAULT now() NOT NULL
);
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
INSERT INTO queuemaster.leader VALUES (true, 0, NULL, NULL, NULL, NULL);
INSERT INTO queuemaster.schema_version VALUES (1, 'schema', '74825d584515b7607bf0ab2a818a70db5f5abb1f23f4eb9d98bef63835c0a8eb', '2026-01-01 00:00:00+00');
SELECT pg_catalog.setval('queuemaster.queue_job_id_seq', 1, false);
SELECT pg_catalog.setval('queuemaster.worker_id_seq', 1, false);
ALTER TABLE ONLY queuemaster.control
    ADD CONSTRAINT control_pkey PRIMARY KEY (channel);
ALTER TABLE ONLY queuemaster.leader
    ADD CONSTRAINT leader_pkey PRIMARY KEY (only_row);
ALTER TABLE ONLY queuemaster.queue_job_edge
    ADD CONSTRAINT queue_job_edge_pkey PRIMARY KEY (parent_id, child_id);
ALTER TABLE ONLY queuemaster.queue_job
    ADD CONSTRAINT queue_job_pkey PRIMARY KEY (id);
ALTER TABLE ONLY queuemaster.queue_job
    ADD CONSTRAINT queue_job_uuid_key UNIQUE (uuid);
ALTER TABLE ONLY queuemaster.schema_version
    ADD CONSTRAINT schema_version_pkey PRIMARY KEY (version);
ALTER TABLE ONLY queuemaster.worker
    ADD CONSTRAINT worker_pkey PRIMARY KEY (id);
CREATE INDEX queue_job_edge_child ON queuemaster.queue_job_edge USING btree (child_id);
CREATE INDEX queue_job_ended ON queuemaster.queue_job USING btree (state, channel, COALESCE(date_cancelled, date_done, date_created), id) WHERE (state = ANY (ARRAY['done'::text, 'cancelled'::text, 'failed'::text]));
CREATE INDEX queue_job_eta ON queuemaster.queue_job USING btree (eta) WHERE ((state = 'pending'::text) AND (eta IS NOT NULL));
CREATE INDEX queue_job_eta_order ON queuemaster.queue_job USING btree (channel, priority, date_created, id) WHERE ((state = 'pending'::text) AND (eta IS NOT NULL));
CREATE INDEX queue_job_failed ON queuemaster.queue_job USING btree (channel) WHERE (state = 'failed'::text);
CREATE INDEX queue_job_graph ON queuemaster.queue_job USING btree (graph_uuid) WHERE (graph_uuid IS NOT NULL);
CREATE UNIQUE INDEX queue_job_identity ON queuemaster.queue_job USING btree (identity_key) WHERE ((identity_key IS NOT NULL) AND (state = ANY (ARRAY['wait_dependencies'::text, 'pending'::text, 'enqueued'::text])));
CREATE INDEX queue_job_ready ON queuemaster.queue_job USING btree (channel, priority, date_created, id) WHERE ((state = 'pending'::text) AND (eta IS NULL));
CREATE INDEX queue_job_started ON queuemaster.queue_job USING btree (worker_id) WHERE (state = 'started'::text);
CREATE INDEX queue_job_waiting ON queuemaster.queue_job USING btree (id) WHERE (state = ANY (ARRAY['wait_dependencies'::text, 'enqueued'::text]));
CREATE TRIGGER notify_changed AFTER UPDATE ON queuemaster.queue_job FOR EACH ROW WHEN (((new.state <> ALL (ARRAY['started'::text, 'done'::text])) OR (old.state <> ALL (ARRAY['pending'::text, 'started'::text])) OR (old.eta IS NOT NULL))) EXECUTE FUNCTION queuemaster.notify_changed();
CREATE TRIGGER notify_control AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON queuemaster.control FOR EACH STATEMENT EXECUTE FUNCTION queuemaster.notify_control();
CREATE TRIGGER notify_inserted AFTER INSERT ON queuemaster.queue_job REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION queuemaster.notify_inserted();
ALTER TABLE ONLY queuemaster.queue_job_edge
    ADD CONSTRAINT queue_job_edge_child_id_fkey FOREIGN KEY (child_id) REFERENCES queuemaster.queue_job(id) ON DELETE CASCADE;
ALTER TABLE ONLY queuemaster.queue_job_edge
    ADD CONSTRAINT queue_job_edge_parent_id_fkey FOREIGN KEY (parent_id) REFERENCES queuemaster.queue_job(id) ON DELETE CASCADE;
