-- Live limits: whoever changes them, by whatever means, wakes the dispatchers. A payload that is no list (a key) is an
-- object that says what to read again.
create function notify_control() returns trigger language plpgsql as $$
begin
    perform pg_notify('queue_job', json_build_object('control', true)::text);
    return null;
end $$;

create trigger notify_control after insert or update or delete or truncate on control
    for each statement execute function notify_control();
