-- Removal of jobs that ended long ago.

-- The stored channels after p_after with jobs that ended in this state, and how many seconds ago the oldest of each
-- ended. It descends queue_job_ended once for each channel, however many jobs the channel has.
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


-- Which of these jobs have descendants that wait: from the jobs down to all descendants, and from those that wait up
-- again. Every edge is followed once, whatever the shape of the graph.
create function awaited(p_ids bigint[]) returns bigint[] language sql stable
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
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


-- Removes a batch: of the jobs of this channel in this state that ended more than p_seconds ago, the first p_limit
-- after (p_ended, p_id). Jobs that others wait for stay, and jobs that are locked. looked_at: the size of the batch;
-- ended, id: the last job in it, from which to go on, null when it was the last batch. Plan: a range of
-- queue_job_ended, no sort.
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
        -- in a variable: in the condition it would be called for each row
        v_awaited := queuemaster.awaited(v_ids);
        delete from queuemaster.queue_job job where job.id = any(v_ids) and job.id <> all(v_awaited);
        get diagnostics removed = row_count;
    end if;
end $$;
