-- Limits that an operator changed while the service runs. They override the configuration until they are removed.
create table if not exists control (
    channel  text primary key,
    capacity integer check (capacity >= 0),
    rate     text,
    paused   boolean
);


-- Wakes the dispatchers, whatever changed the table. The payload is an object that says what to read again; the other
-- payloads on this channel are lists.
create function notify_control() returns trigger language plpgsql as $$
begin
    perform pg_notify('queue_job', json_build_object('control', true)::text);
    return null;
end $$;

create trigger notify_control after insert or update or delete or truncate on control
    for each statement execute function notify_control();
