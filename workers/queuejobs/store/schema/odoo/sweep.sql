-- Repairs what no worker of ours will: runs of Odoo's own workers that have died, rows left enqueued, jobs that wait
-- for no unfinished parent. Returns how many of each. Without the addon's table queue_job_lock nothing shows whether
-- one of Odoo's own workers still runs a started job, so these are left alone.
create function sweep(out requeued integer, out doomed integer, out released integer) language plpgsql
set jit = off as $$
declare
    v_row record;
begin
    requeued := 0; doomed := 0; released := 0;
    perform set_config('lock_timeout', '200ms', true);
    for v_row in
        select id, state, coalesce(retry, 0) as retry, coalesce(max_retries, 0) as max_retries from public.queue_job job
         -- if queue_job_lock
         where state in ('enqueued', 'started')
         -- else
         where state = 'enqueued'
         -- end
           and coalesce(date_enqueued, date_started, '-infinity') < queuemaster.utc_now() - interval '10 seconds'
           and not exists (select from queuemaster.run where run.job_id = job.id and run.worker_id is not null)
         order by id for no key update skip locked loop
        -- if queue_job_lock
        if exists (select from public.queue_job_lock where queue_job_id = v_row.id) then
            perform from public.queue_job_lock where queue_job_id = v_row.id for no key update skip locked;
            if not found then
                continue;
            end if;
        end if;
        -- end
        if v_row.state = 'started' and v_row.max_retries > 0 and v_row.retry + 1 >= v_row.max_retries then
            perform queuemaster.doom(v_row.id, 'WorkerDied',
                format('Max. retries (%s) reached: its worker is gone', v_row.max_retries), null);
            doomed := doomed + 1;
        else
            update public.queue_job
               set state = 'pending', worker_pid = null, date_enqueued = null, date_started = null,
                   retry = coalesce(retry, 0) + (v_row.state = 'started')::integer
             where id = v_row.id;
            requeued := requeued + 1;
        end if;
    end loop;
    -- each is looked at before it is locked: thousands may wait, and a job that ends locks some of them
    for v_row in
        select id from public.queue_job job
         where state = 'wait_dependencies'
           and not exists (select from queuemaster.related(job.dependencies, 'depends_on') wanted(uuid)
                             join public.queue_job parent on parent.uuid = wanted.uuid where parent.state <> 'done')
         order by id loop
        perform from public.queue_job where id = v_row.id for no key update skip locked;
        if found then
            released := released + queuemaster.release(v_row.id)::integer;
        end if;
    end loop;
    delete from queuemaster.run where worker_id is null
       and not exists (select from public.queue_job job
                        where job.id = run.job_id and job.state not in ('done', 'cancelled'));
end $$;
