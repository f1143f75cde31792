-- What becomes of the children of a job that has ended.

-- The uuids under a key of the addon's column dependencies, which is text that holds JSON.
create function related(p_dependencies text, p_key text) returns setof text language sql immutable as
$$ select json_array_elements_text(coalesce(nullif(p_dependencies, '')::json -> p_key, '[]')) $$;


-- As in the native queue. In a graph of two groups every job of the first leads to all jobs of the second; so where
-- the parent's end is committed already (this transaction has written nothing), children of another unfinished job
-- are passed over: when that job ends, it looks at them.
create function release_children(p_parent bigint) returns integer language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
    v_uuids text[];
    v_graph text;
    v_children bigint[];
    v_child bigint;
    v_other record;
    v_released integer := 0;
begin
    select array(select queuemaster.related(dependencies, 'reverse_depends_on')), graph_uuid into v_uuids, v_graph
      from public.queue_job where id = p_parent;
    if cardinality(v_uuids) >= 20 and v_graph is not null and pg_current_xact_id_if_assigned() is null then
        for v_other in select dependencies from public.queue_job
                        where graph_uuid = v_graph and id <> p_parent
                          and state in ('pending', 'enqueued', 'started', 'failed') limit 10 loop
            v_uuids := array(select unnest(v_uuids)
                             except select queuemaster.related(v_other.dependencies, 'reverse_depends_on'));
            exit when cardinality(v_uuids) = 0;
        end loop;
    end if;
    select array_agg(child.id order by child.id) into v_children
      from unnest(v_uuids) wanted(uuid) join public.queue_job child on child.uuid = wanted.uuid;
    if v_children is null then
        return 0;
    end if;
    foreach v_child in array v_children loop
        perform from public.queue_job where id = v_child for no key update;
    end loop;
    foreach v_child in array v_children loop
        v_released := v_released + queuemaster.release(v_child)::integer;
    end loop;
    return v_released;
end $$;


-- Makes one waiting job pending, unless one of its parents exists and is not done. The caller holds its row.
create function release(p_id bigint) returns boolean language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
begin
    update public.queue_job job set state = 'pending'
     where id = p_id and state = 'wait_dependencies'
       and not exists (select from queuemaster.related(job.dependencies, 'depends_on') wanted(uuid)
                         join public.queue_job parent on parent.uuid = wanted.uuid where parent.state <> 'done');
    return found;
end $$;


-- Cancels all waiting descendants of a job that will never be done. Returns how many.
create function cancel_descendants(p_id bigint) returns integer language plpgsql as $$
declare
    v_cancelled integer;
begin
    with recursive below(id, dependencies) as (
        select id, dependencies from public.queue_job where id = p_id
        union
        select child.id, child.dependencies from below
         cross join lateral queuemaster.related(below.dependencies, 'reverse_depends_on') wanted(uuid)
          join public.queue_job child on child.uuid = wanted.uuid and child.state = 'wait_dependencies'),
    locked as (
        select job.id from public.queue_job job where job.id in (select id from below where id <> p_id)
         order by job.id for no key update)
    update public.queue_job job set state = 'cancelled', date_cancelled = queuemaster.utc_now()
      from locked where job.id = locked.id and job.state = 'wait_dependencies';
    get diagnostics v_cancelled = row_count;
    return v_cancelled;
end $$;
