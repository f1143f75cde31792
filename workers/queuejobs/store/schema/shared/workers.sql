-- One row for each database session of a worker. The session holds the advisory lock of its id as long as it lives.
create table if not exists worker (
    id         integer generated always as identity (cycle) primary key,
    host       text not null,
    boot_id    text not null,
    pid        integer not null,
    start_time bigint not null,  -- clock ticks since boot, field 22 of /proc/PID/stat
    channel    text not null,
    since      timestamp not null default (clock_timestamp() at time zone 'UTC')
);


-- Begins a worker's session: takes an id and its lock, and returns the id.
create function register_worker(p_host text, p_boot_id text, p_pid integer, p_start_time bigint, p_channel text)
returns integer language plpgsql as $$
declare
    v_id integer := nextval(pg_get_serial_sequence('queuemaster.worker', 'id'));
begin
    -- the lock before the row: a row whose lock is free is a dead worker's
    perform pg_advisory_lock(1363935234, v_id);
    insert into queuemaster.worker (id, host, boot_id, pid, start_time, channel)
    overriding system value values (v_id, p_host, p_boot_id, p_pid, p_start_time, p_channel);
    return v_id;
end $$;
