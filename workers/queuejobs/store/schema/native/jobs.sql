-- The queue. Its columns have the names that they have in the table of Odoo's addon queue_job.
create table queue_job (
    id                  bigint generated always as identity primary key,
    uuid                text not null unique,
    graph_uuid          text,
    user_id             integer,
    company_id          integer,
    name                text,
    model_name          text not null,
    method_name         text not null,
    records             json not null,
    args                json not null default '[]',
    kwargs              json not null default '{}',
    func_string         text,
    state               text not null default 'pending' check (state in
        ('wait_dependencies', 'pending', 'enqueued', 'started', 'done', 'cancelled', 'failed')),
    priority            integer not null default 10,
    exc_name            text,
    exc_message         text,
    exc_info            text,
    result              text,
    date_created        timestamp not null default (clock_timestamp() at time zone 'UTC'),
    date_enqueued       timestamp,
    date_started        timestamp,
    date_done           timestamp,
    date_cancelled      timestamp,
    exec_time           double precision,
    eta                 timestamp,
    retry               integer not null default 0,
    max_retries         integer not null default 5 check (max_retries >= 0),
    channel_method_name text,
    channel             text not null default 'root' check (length(channel) between 1 and 500),
    identity_key        text,
    worker_pid          integer,
    -- from here on columns that the addon's table does not have
    attempt             integer not null default 0,
    worker_id           integer,
    timeout             double precision check (timeout >= 0),
    cancel_requested    boolean not null default false,
    unknown_since       timestamp,  -- since when no worker has known its model or method
    concurrency_retries integer not null default 0,
    deaths              integer not null default 0,  -- workers in a row that died running it
    cpu                 double precision check (cpu >= 0),  -- limit: seconds of processor time, 0: none
    memory              bigint check (memory >= 0),         -- limit: bytes, 0: none
    on_fail             boolean not null default false,     -- its function has an on_fail_method
    doomed              boolean not null default false,     -- it has failed, see recover_run()
    check ((state = 'started') = (worker_id is not null))
) with (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500,
    autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0
);

-- Ready jobs, in the order in which they are claimed.
create index queue_job_ready on queue_job (channel, priority, date_created, id)
    where state = 'pending' and eta is null;
-- Jobs with an eta: those that are due next, and those that block a sequential channel.
create index queue_job_eta on queue_job (eta) where state = 'pending' and eta is not null;
create index queue_job_eta_order on queue_job (channel, priority, date_created, id)
    where state = 'pending' and eta is not null;
-- A failed job, which blocks a sequential channel.
create index queue_job_failed on queue_job (channel) where state = 'failed';
-- Running jobs, by worker. No more than there are workers.
create index queue_job_started on queue_job (worker_id) where state = 'started';
-- Jobs that wait for their parents, and rows left enqueued.
create index queue_job_waiting on queue_job (id) where state in ('wait_dependencies', 'enqueued');
-- At most one job of an identity key waits or is ready.
create unique index queue_job_identity on queue_job (identity_key)
    where identity_key is not null and state in ('wait_dependencies', 'pending', 'enqueued');
create index queue_job_graph on queue_job (graph_uuid) where graph_uuid is not null;
-- Jobs that have ended, in the order in which they are removed. A channel whose jobs are all kept is passed over in
-- one step, however many they are. Every job pays for it with one entry, at its end: see docs/benchmarks.md.
create index queue_job_ended on queue_job (state, channel, coalesce(date_cancelled, date_done, date_created), id)
    where state in ('done', 'cancelled', 'failed');

-- A child waits until all its parents are done.
create table queue_job_edge (
    parent_id bigint not null references queue_job on delete cascade,
    child_id  bigint not null references queue_job on delete cascade,
    primary key (parent_id, child_id)
);
create index queue_job_edge_child on queue_job_edge (child_id);
