-- Our tables beside the table queue_job of Odoo's addon, which stays as it is. They outlive a change of this text: a
-- column that comes later is added below its table, with "alter table ... add column if not exists". Functions and
-- views are made anew.

-- A row for each job under way, and for each one that a worker died of, until it ends.
create table if not exists run (
    job_id           bigint primary key,
    attempt          bigint not null,   -- from a sequence: no two runs have the same
    worker_id        integer,           -- null: no worker runs it now
    deaths           integer not null default 0,  -- workers in a row that died running it
    cancel_requested boolean not null default false,
    -- a job that has failed, see doom(): the error that the next worker stores
    doom_name        text,
    doom_message     text,
    doom_info        text
) with (fillfactor = 70);
create index if not exists run_worker on run (worker_id) where worker_id is not null;
create sequence if not exists attempt;
