-- What a job may use, said by itself or by its function: processor time in seconds and bytes of memory, 0 for no limit,
-- null where its channel or the service says it.
alter table queue_job
    add column cpu double precision check (cpu >= 0),
    add column memory bigint check (memory >= 0);
