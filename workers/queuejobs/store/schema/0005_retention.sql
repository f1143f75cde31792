-- Retention: what ended long ago is found by an index, so that to find nothing costs one look. Every job pays for it with
-- one entry, at its end: see docs/benchmarks.md.
create index queue_job_ended on queue_job (state, coalesce(date_cancelled, date_done, date_created), id)
    where state in ('done', 'cancelled', 'failed');


-- Of some jobs those that still have descendants which wait: down from all of them at once, then up from what waits.
-- Every edge is followed once, however the graph looks.
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


drop function purge_jobs(text, text[], double precision, integer);

-- One batch: of the jobs in this state that ended more than p_seconds ago, the oldest p_limit after the place (p_ended,
-- p_id) are gone. Those that waiting jobs still depend on stay, whatever their age, and those that somebody holds
-- locked. ended, id: the last that was looked at, to go on from; null: there is no more. p_channel: only of this
-- channel and those below it. Plan: a range of queue_job_ended, no sort.
create function purge_jobs(p_state text, p_seconds double precision, p_ended timestamp, p_id bigint, p_limit integer,
                           p_channel text default null, out removed integer, out ended timestamp, out id bigint)
language plpgsql set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off as $$
declare
    v_ids bigint[];
    v_awaited bigint[];
    v_cutoff timestamp := queuemaster.utc_now() - make_interval(secs => p_seconds);
begin
    with old as (
        select job.id, coalesce(date_cancelled, date_done, date_created) as ended from queuemaster.queue_job job
         where state = p_state and state in ('done', 'cancelled', 'failed')
           and (coalesce(date_cancelled, date_done, date_created), job.id) > (p_ended, p_id)
           and coalesce(date_cancelled, date_done, date_created) < v_cutoff
           and (p_channel is null or channel = p_channel or starts_with(channel, p_channel || '.'))
         order by state, coalesce(date_cancelled, date_done, date_created), job.id
         limit p_limit for update skip locked)
    select array_agg(old.id), max(old.ended), (array_agg(old.id order by old.ended desc, old.id desc))[1]
      into v_ids, ended, id from old;
    removed := 0;
    if v_ids is null then
        return;
    end if;
    -- in a variable: a condition would call it for each row
    v_awaited := queuemaster.awaited(v_ids);
    delete from queuemaster.queue_job job where job.id = any(v_ids) and job.id <> all(v_awaited);
    get diagnostics removed = row_count;
end $$;
