-- PostgreSQL reads the conditions of a table's triggers anew at each statement, which took a fifth of the time of a claim
-- or of the end of a run. Those are most of all statements, and they have nothing to tell: one short condition lets
-- them pass, and what it leaves is looked at in the function.
drop trigger notify_ready on queue_job;
drop trigger notify_delayed on queue_job;
drop trigger notify_unblocked on queue_job;
drop function notify_ready();
drop function notify_delayed();
drop function notify_unblocked();

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
