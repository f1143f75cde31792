-- The next job of a batch (a channel's key batch), in the transaction of the jobs before it: nobody sees that it is started
-- before it is done. So it needs no lock against a new leader: the first job of the batch, whose start is committed, keeps
-- its slot, and when the worker's session ends this job is as it was. p_priority, p_created, p_id: the key of the job before.
-- Not passed over, since it is the turn of no other, but left for a grant of its own: what was run before (its trouble must
-- not be repeated in company); jobs of graphs (children are locked in an order that holds for one parent at a time); jobs
-- with an identity key (who stores another one must see that this one has started); what came after the transaction began
-- (it may be the work of this very transaction, which nobody else sees yet).
create function claim_next(p_channel text, p_worker integer, p_pid integer, p_priority integer, p_created timestamp,
                           p_id bigint) returns setof queue_job language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off as $$
declare
    v_row record;
begin
    set local idle_in_transaction_session_timeout to default;  -- finish() of the job before has shortened it
    select id, attempt, graph_uuid, identity_key, date_created into v_row from queuemaster.queue_job
     where state = 'pending' and eta is null and channel = p_channel
       and (priority, date_created, id) >= (p_priority, p_created, p_id)
     order by channel, priority, date_created, id limit 1 for update skip locked;
    if v_row.id is null or v_row.attempt > 0 or v_row.graph_uuid is not null or v_row.identity_key is not null
       or v_row.date_created >= now() at time zone 'utc' then
        return;
    end if;
    return query
        update queuemaster.queue_job
           set state = 'started', date_started = queuemaster.utc_now(), worker_id = p_worker, worker_pid = p_pid,
               attempt = attempt + 1, retry = retry + 1
         where id = v_row.id returning *;
end $$;


-- It was run in a batch, and rolled back: its next run has another attempt, and has company no more. Unless somebody else
-- runs it already.
create function leave_batch(p_id bigint) returns void language sql set enable_seqscan = off set jit = off as $$
    with left_over as (
        select id from queuemaster.queue_job where id = p_id and state = 'pending' and attempt = 0
           for update skip locked)
    update queuemaster.queue_job set attempt = 1 where id = (select id from left_over)
$$;
