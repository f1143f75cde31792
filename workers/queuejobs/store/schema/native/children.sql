-- What becomes of the children of a job that has ended.

-- Releases the children of a job that this transaction has marked done: a child becomes pending as soon as all its
-- parents are done. Returns how many. The rows are locked first, in the order of their ids (two graphs that share
-- children would deadlock), and looked at in a later statement: within one statement, two parents that end at once
-- each see the other one unfinished, and the child waits for ever. Single ids and a subquery instead of joins leave
-- the planner no way to read the whole table, even in a session whose plans were made while the table was nearly
-- empty.
create function release_children(p_parent bigint) returns integer language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
    v_children bigint[];
    v_child bigint;
    v_released integer := 0;
begin
    select array_agg(child_id order by child_id) into v_children
      from queuemaster.queue_job_edge where parent_id = p_parent;
    if v_children is null then
        return 0;
    end if;
    foreach v_child in array v_children loop
        perform 1 from queuemaster.queue_job where id = v_child for no key update;
    end loop;
    foreach v_child in array v_children loop
        update queuemaster.queue_job set state = 'pending'
         where id = v_child and state = 'wait_dependencies'
           and not exists (select from queuemaster.queue_job_edge edge
                            where edge.child_id = v_child
                              and (select state from queuemaster.queue_job parent where parent.id = edge.parent_id)
                                  <> 'done');
        v_released := v_released + found::integer;
    end loop;
    return v_released;
end $$;


-- Cancels all waiting descendants of a job that will never be done. Returns how many descendants are cancelled now.
create function cancel_descendants(p_id bigint) returns integer language plpgsql as $$
declare
    v_ids bigint[];
begin
    with recursive below(id) as (
        select child_id from queuemaster.queue_job_edge where parent_id = p_id
        union
        select edge.child_id from below join queuemaster.queue_job_edge edge on edge.parent_id = below.id)
    select array_agg(id) into v_ids from below;
    if v_ids is null then
        return 0;
    end if;
    perform 1 from queuemaster.queue_job
      where id = any(v_ids) and state = 'wait_dependencies' order by id for no key update;
    update queuemaster.queue_job set state = 'cancelled', date_cancelled = queuemaster.utc_now()
     where id = any(v_ids) and state = 'wait_dependencies';
    return (select count(*) from queuemaster.queue_job where id = any(v_ids) and state = 'cancelled');
end $$;
