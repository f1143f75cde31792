-- Triggers that wake the dispatchers. A payload is a JSON list: [channel, priority, date_created, id] of the least
-- ready key, [channel] for "read this channel again", or [null, eta] for a job that is due at that time.
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


-- One trigger with a short condition: PostgreSQL reads the conditions of all triggers of a table anew for each
-- statement, and with three of them that took a fifth of the time of a claim. Claims and ends of runs are most of all
-- statements, and have nothing to notify. It is a trigger for each row, because a condition cannot see a table of
-- changed rows.
create function notify_changed() returns trigger language plpgsql as $$
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

create trigger notify_changed after update on queue_job for each row
    when (new.state not in ('started', 'done') or old.state not in ('pending', 'started') or old.eta is not null)
    execute function notify_changed();
