-- Removal of jobs that ended long ago, when a person asks for it: Odoo's own scheduled action removes them all the
-- time, one record after the other, through the ORM. What the ORM would remove along with a job is removed here too.

-- As in the native queue, but without an index: the table is read as a whole, once.
create function ended_channels(p_state text, p_after text, p_limit integer)
returns table (channel text, oldest double precision) language sql stable as $$
    select coalesce(job.channel, 'root'),
           extract(epoch from queuemaster.utc_now()
                              - min(coalesce(date_cancelled, date_done, date_created)))::double precision
      from public.queue_job job
     where state = p_state and state in ('done', 'cancelled', 'failed') and coalesce(job.channel, 'root') > p_after
     group by 1 order by 1 limit p_limit
$$;


-- As in the native queue, but in the order of ids, and jobs stay as long as a job of their graph waits. ended is
-- returned as it came; id is the last one in the batch. Plan: the primary key from p_id on; where few jobs are old it
-- is read to its end, once for each channel.
create function purge_jobs(p_state text, p_channel text, p_seconds double precision, p_ended timestamp, p_id bigint,
                           p_limit integer, out removed integer, out looked_at integer, out ended timestamp,
                           out id bigint)
language plpgsql set enable_bitmapscan = off set jit = off as $$
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
end $$;
