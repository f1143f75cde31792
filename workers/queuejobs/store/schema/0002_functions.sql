-- Statements of the queue as functions: one round trip each, plans cached by the session. Every one relies on READ
-- COMMITTED: each statement inside sees what was committed before it began.
--
-- Advisory locks, two-int keys of our own class numbers:
--   (1363935232, 0)  leadership: held by the session of the leading dispatcher
--   (1363935233, 0)  claims: shared by every claim until its commit, exclusive while a new leader takes over
--   (1363935234, W)  liveness of worker W: held by its session
--   (1363935235, 0)  schema upgrades

create function utc_now() returns timestamp language sql volatile as
$$ select clock_timestamp() at time zone 'UTC' $$;

-- A timestamp as text of fixed width, so that the order of the text is the order of time.
create function key_time(p_time timestamp) returns text language sql immutable as
$$ select to_char(p_time, 'YYYY-MM-DD"T"HH24:MI:SS.US') $$;


-- Wake the dispatchers. Payload: a JSON list, [channel, priority, date_created, id] of the least ready key, or
-- [channel] for "look again", or [null, eta] for the least time to come.
create function notify_inserted() returns trigger language plpgsql as $$
begin
    perform pg_notify('queue_job', json_build_array(channel, priority, queuemaster.key_time(date_created), id)::text)
       from (select distinct on (channel) channel, priority, date_created, id from added
              where state = 'pending' and eta is null
              order by channel, priority, date_created, id) heads;
    perform pg_notify('queue_job', json_build_array(null, min(eta))::text)
       from added where state = 'pending' and eta is not null having count(*) > 0;
    return null;
end $$;

create trigger notify_inserted after insert on queue_job referencing new table as added
    for each statement execute function notify_inserted();

create function notify_ready() returns trigger language plpgsql as $$
begin
    perform pg_notify('queue_job',
        json_build_array(new.channel, new.priority, queuemaster.key_time(new.date_created), new.id)::text);
    return null;
end $$;

create function notify_delayed() returns trigger language plpgsql as $$
begin
    perform pg_notify('queue_job', json_build_array(null, new.eta)::text);
    return null;
end $$;

create function notify_unblocked() returns trigger language plpgsql as $$
begin
    perform pg_notify('queue_job', json_build_array(old.channel)::text);
    return null;
end $$;

-- A row trigger with WHEN: transition tables do not go with it, and claim and done must not pay for it.
create trigger notify_ready after update on queue_job for each row
    when (new.state = 'pending' and new.eta is null
          and (old.state, old.priority, old.channel, old.eta) is distinct from
              (new.state, new.priority, new.channel, new.eta))
    execute function notify_ready();
create trigger notify_delayed after update on queue_job for each row
    when (new.state = 'pending' and new.eta is not null
          and (old.state, old.eta) is distinct from (new.state, new.eta))
    execute function notify_delayed();
create trigger notify_unblocked after update on queue_job for each row
    when ((old.state = 'failed' and new.state <> 'failed')
          or (old.state = 'pending' and old.eta is not null and new.state not in ('pending', 'started')))
    execute function notify_unblocked();


-- A worker session begins: its id, and with it the lock that says "alive", both from this session.
create function register_worker(p_host text, p_boot_id text, p_pid integer, p_start_time bigint, p_channel text)
returns integer language plpgsql as $$
declare
    v_id integer := nextval(pg_get_serial_sequence('queuemaster.worker', 'id'));
begin
    -- the lock first: whoever sees the row must find its lock taken
    perform pg_advisory_lock(1363935234, v_id);
    insert into queuemaster.worker (id, host, boot_id, pid, start_time, channel)
    overriding system value values (v_id, p_host, p_boot_id, p_pid, p_start_time, p_channel);
    return v_id;
end $$;


-- Claim one ready job of one stored channel. p_job names it (sequential channels), else it is the least ready key at or
-- after the bound. No row when the grant is out of date, nothing is there, or the named row is locked. Plan: index scan
-- of queue_job_ready from the bound, no sort; the session's planner cannot be trusted on a table that was empty when
-- the plan was made, hence the settings. jit: a plan that must use what is switched off costs more than any threshold.
create function claim(p_epoch bigint, p_channel text, p_worker integer, p_pid integer, p_job bigint default null,
                      p_priority integer default null, p_created timestamp default null, p_id bigint default null)
returns setof queue_job language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off as $$
declare
    v_id bigint;
begin
    -- A claim that is lost with the server is lost with its worker's session as well: nothing ran yet.
    perform set_config('synchronous_commit', 'off', true);
    -- false when a new leader holds or waits for the exclusive form
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
            return;  -- waiting would hold the claim lock; the grant goes back
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


-- Children of a job that just got done (in this transaction): pending as soon as no parent is unfinished. Lock in id
-- order, then look in a new statement: in one statement READ COMMITTED strands the child of two siblings that finish
-- at once, and without the order two diamonds deadlock.
-- By single ids, and a scalar subquery instead of a join: with the settings of claim() that leaves the planner no way to
-- read more than it must, even in a session whose plans were made while the table had one page.
create function release_children(p_parent bigint) returns integer language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
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


-- The end of a good run, in the job's own transaction. False: the row is not this run's any more, roll back.
create function finish(p_id bigint, p_attempt integer, p_worker integer, p_result text, p_exec_time double precision,
                       p_release boolean default true)
returns boolean language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
begin
    -- a worker that is frozen between here and COMMIT must not hold the row and its children for long
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


-- Diagnoses of earlier attempts stay, the newest last; the whole is cut from the front at 256 KiB.
create function appended(p_old text, p_new text) returns text language sql immutable as
$$ select right(concat_ws(e'\n\n', nullif(p_old, ''), p_new), 262144) $$;


-- All waiting descendants of a job that will never be done. Returns how many.
create function cancel_descendants(p_id bigint) returns integer language plpgsql as $$
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


-- Take a started row out of 'started': to pending (p_delay seconds from now, null: at once), failed or cancelled; where
-- somebody asked to cancel it, it gets cancelled. p_counted false gives the try back. p_mark: 'concurrency' counts a
-- PostgreSQL concurrency error, 'unknown' remembers since when the model or method has been missing, 'death' counts a
-- worker that died of it, 'interrupted' changes no count. An identity key that was taken meanwhile is given up: the
-- run never is.
create function settle(p_id bigint, p_attempt integer, p_worker integer, p_state text, p_delay double precision,
                       p_counted boolean, p_exc_name text, p_exc_message text, p_exc_info text, p_mark text default null)
returns boolean language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
    v_state text;
begin
    begin
        update queuemaster.queue_job
           set state = case when cancel_requested then 'cancelled' else p_state end,
               worker_id = null, cancel_requested = false,
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


-- Put back what worker p_worker left started. The caller has terminated its session if there was one; null: its lock
-- is still held, ask again. A cause is charged to the named job and attempt alone (its try counts); any other row
-- gives its try back. p_kind: 'death' lets the job run again at once, but fails it after p_poison deaths in a row
-- (0: never); 'limit' (it was killed for its time or memory) lets it wait, longer with each try. A row that an
-- application holds locked is left for the next call: recovery never waits for one. Else: how many rows were settled.
create function recover(p_worker integer, p_job bigint, p_attempt integer, p_cause text, p_detail text default null,
                        p_kind text default 'death', p_poison integer default 0,
                        p_max_backoff double precision default 3600)
returns integer language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
    v_row record;
    v_named boolean;
    v_end text;  -- why it fails for good
    v_settled integer := 0;
    v_left integer := 0;
begin
    if not pg_try_advisory_xact_lock(1363935234, p_worker) then
        return null;
    end if;
    perform set_config('lock_timeout', '200ms', true);
    for v_row in select id, attempt, retry, max_retries, deaths from queuemaster.queue_job
                  where state = 'started' and worker_id = p_worker
                  order by id + 0 loop  -- by id alone, the primary key might be read as a whole to save the sort
        begin
            v_named := p_cause is not null and v_row.id = p_job and v_row.attempt = p_attempt;
            v_end := case
                when not v_named then null
                when v_row.max_retries > 0 and v_row.retry >= v_row.max_retries
                    then format('Max. retries (%s) reached', v_row.max_retries)
                when p_kind = 'death' and p_poison > 0 and v_row.deaths + 1 >= p_poison
                    then format('its worker died %s times in a row', v_row.deaths + 1) end;
            perform queuemaster.settle(
                v_row.id, v_row.attempt, p_worker,
                case when v_end is null then 'pending' else 'failed' end,
                case when v_named and p_kind = 'limit'
                     then least(10 * 2.0 ^ least(v_row.retry - 1, 30), p_max_backoff) end,
                v_named,
                case when v_named then case p_kind when 'limit' then 'JobKilled' else 'WorkerDied' end end,
                case when v_named then concat_ws(': ', v_end, p_cause) end,
                format('attempt %s: %s', v_row.attempt,
                       case when v_named then concat_ws(e'\n', p_cause, p_detail)
                            else format('interrupted: the session of worker %s is gone', p_worker) end),
                case when not v_named then 'interrupted' when p_kind = 'death' then 'death' end);
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


-- Become the leader of this database. The session already holds (1363935232, 0). The exclusive claim lock waits for
-- the claims under way and turns away new ones; after this commit no grant of an older epoch claims anything.
create function lead(p_host text) returns bigint language plpgsql as $$
begin
    perform pg_advisory_xact_lock(1363935233, 0);
    update queuemaster.leader
       set epoch = epoch + 1, host = p_host, beat = queuemaster.utc_now(), session_pid = pg_backend_pid(),
           session_started = (select backend_start from pg_stat_activity where pid = pg_backend_pid());
    return (select epoch from queuemaster.leader);
end $$;


-- The leader's session when it has not beaten for p_seconds is ended (a stopped or unreachable host). Only a session
-- that the row names: another program that holds the lock and does not beat is left alone.
create function depose(p_seconds double precision) returns boolean language sql as $$
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


-- Jobs whose time has come compete as if they had none. Returns how many were promoted, at most p_limit.
create function promote(p_limit integer) returns integer language plpgsql as $$
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
