-- Retention by channel: what ended long ago is found by state, stored channel and time. A channel that keeps its jobs
-- for ever, however many they are, is passed over in one step.
drop index queue_job_ended;
create index queue_job_ended on queue_job (state, channel, coalesce(date_cancelled, date_done, date_created), id)
    where state in ('done', 'cancelled', 'failed');


-- The stored channels after p_after that have jobs which ended in this state, and since how many seconds the oldest of
-- each has. A loose scan: one descent of queue_job_ended a channel, however many jobs it has.
create function ended_channels(p_state text, p_after text, p_limit integer)
returns table (channel text, oldest double precision) language sql stable
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off as $$
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


drop function purge_jobs(text, double precision, timestamp, bigint, integer, text);

-- One batch: of the jobs of this stored channel in this state that ended more than p_seconds ago, the oldest p_limit
-- after the place (p_ended, p_id) are gone. Those that waiting jobs still depend on stay, whatever their age, and those
-- that somebody holds locked. looked_at: how many there were; ended, id: the last of them, to go on from, null when there
-- is no more. Plan: a range of queue_job_ended, no sort.
create function purge_jobs(p_state text, p_channel text, p_seconds double precision, p_ended timestamp, p_id bigint,
                           p_limit integer, out removed integer, out looked_at integer, out ended timestamp,
                           out id bigint)
language plpgsql set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off as $$
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
        -- in a variable: a condition would call it for each row
        v_awaited := queuemaster.awaited(v_ids);
        delete from queuemaster.queue_job job where job.id = any(v_ids) and job.id <> all(v_awaited);
        get diagnostics removed = row_count;
    end if;
end $$;
