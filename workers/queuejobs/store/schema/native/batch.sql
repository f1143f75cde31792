-- Batches: several jobs in one transaction (option batch of a channel).

-- Claims the next job of a batch, in the transaction of the jobs before it; p_priority, p_created, p_id are the key
-- of the one before. Nobody else sees that the job is started before it is done, and when the session ends it is as
-- it was. So no lock against a new leader is needed: the start of the batch's first job is committed and holds its
-- slot.
-- Returns no row, which ends the batch, when the next job is one of these:
--   * it was run before: its trouble must not be repeated together with other jobs;
--   * it belongs to a graph: children are locked in an order that holds for one parent at a time;
--   * it has an identity key: who stores another job with that key must see that this one has started;
--   * it was stored after the transaction began: it may come from this very transaction, which is not committed yet.
create function claim_next(p_channel text, p_worker integer, p_pid integer, p_priority integer, p_created timestamp,
                           p_id bigint) returns setof queue_job language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off as $$
declare
    v_row record;
begin
    set local idle_in_transaction_session_timeout to default;  -- finish() of the job before shortened it
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


-- Marks a job that was rolled back alone, out of its batch: its next run is another attempt, and joins no batch.
-- Nothing happens when another worker has started it already.
create function leave_batch(p_id bigint) returns void language sql set enable_seqscan = off set jit = off as $$
    with left_over as (
        select id from queuemaster.queue_job where id = p_id and state = 'pending' and attempt = 0
           for update skip locked)
    update queuemaster.queue_job set attempt = 1 where id = (select id from left_over)
$$;
