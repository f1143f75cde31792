-- The addon's jobs under the names of the native queue: a query on these columns works on both.

-- The addon's JSON: text, or in a column of JSON one string that holds it.
create function document(p_text text) returns json language sql immutable as
$$ select case when p_text like '"%' then p_text::json #>> '{}' else nullif(p_text, '') end::json $$;

create view queue_job as
select job.id::bigint as id, job.uuid::text, job.graph_uuid::text, job.user_id, job.company_id, job.name::text,
       job.model_name::text, job.method_name::text, queuemaster.document(job.records::text) as records,
       queuemaster.document(job.args::text) as args, queuemaster.document(job.kwargs::text) as kwargs,
       job.func_string::text, job.state, job.priority, job.exc_name::text, job.exc_message::text, job.exc_info,
       job.result, job.date_created, job.date_enqueued, job.date_started, job.date_done,
       job.date_cancelled, job.exec_time::double precision, job.eta, coalesce(job.retry, 0) as retry,
       coalesce(job.max_retries, 0) as max_retries, job.channel_method_name::text, job.channel,
       job.identity_key::text, job.worker_pid, coalesce(run.attempt, 0) as attempt, run.worker_id,
       null::double precision as timeout, coalesce(run.cancel_requested, false) as cancel_requested,
       null::timestamp as unknown_since, 0 as concurrency_retries, coalesce(run.deaths, 0) as deaths,
       null::double precision as cpu, null::bigint as memory, false as on_fail,
       run.doom_name is not null as doomed
  from public.queue_job job left join queuemaster.run on run.job_id = job.id;

create view queue_job_edge as
select parent.id::bigint as parent_id, child.id::bigint as child_id
  from public.queue_job child
 cross join lateral json_array_elements_text(
           coalesce(nullif(child.dependencies, '')::json -> 'depends_on', '[]')) wanted(uuid)
  join public.queue_job parent on parent.uuid = wanted.uuid;
