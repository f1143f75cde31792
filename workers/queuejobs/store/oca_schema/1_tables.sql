-- What we keep beside a queue of Odoo's addon queue_job: who leads, who works, which worker runs which job. Nothing of
-- the addon's is altered. The tables worker, leader and control are those of the native queue; they outlive a change
-- of this text, functions and views do not.

-- A row a job under way, and one for each that died under a worker before, until it ends.
create table if not exists run (
    job_id           bigint primary key,
    attempt          bigint not null,   -- of a sequence: no two runs have the same
    worker_id        integer,           -- null: nobody runs it now
    deaths           integer not null default 0,  -- workers in a row that died running it
    cancel_requested boolean not null default false,
    -- it has failed for good, but only Odoo can say so to everybody: the next worker stores this as its end
    doom_name        text,
    doom_message     text,
    doom_info        text
) with (fillfactor = 70);
create index if not exists run_worker on run (worker_id) where worker_id is not null;
create sequence if not exists attempt;
