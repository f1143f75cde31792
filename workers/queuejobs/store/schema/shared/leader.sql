-- Who leads, and since which epoch. Grants of an older epoch claim nothing.
create table if not exists leader (
    only_row        boolean primary key default true check (only_row),
    epoch           bigint not null default 0,
    host            text,
    session_pid     integer,    -- backend of the leader, with its start: pids get reused
    session_started timestamptz,
    beat            timestamp   -- every 10 s
);
insert into leader default values on conflict do nothing;


-- Makes this session the leader, and returns the new epoch. The session holds lock (1363935232, 0) already. The
-- exclusive lock on claims waits for the claims under way and turns away new ones: once this has committed, no grant
-- of an older epoch claims anything.
create function lead(p_host text) returns bigint language plpgsql as $$
begin
    perform pg_advisory_xact_lock(1363935233, 0);
    update queuemaster.leader
       set epoch = epoch + 1, host = p_host, beat = queuemaster.utc_now(), session_pid = pg_backend_pid(),
           session_started = (select backend_start from pg_stat_activity where pid = pg_backend_pid());
    return (select epoch from queuemaster.leader);
end $$;


-- Ends the session of a leader that has not written its beat for p_seconds (its host is stopped or unreachable); true
-- when one was ended. Only the session in the row is ended: another program that holds the lock writes no beat.
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
