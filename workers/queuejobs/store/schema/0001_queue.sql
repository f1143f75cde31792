-- The native queue. Every time is naive UTC, as in OCA's table, whose column names these are.
-- Rules that are easy to break:
--   * only transitions into pending (and what unblocks a sequential channel) notify, never claim or done: notifying
--     commits are serialised by the server;
--   * whoever writes several rows locks them in id order;
--   * attempt only ever grows, it is the fence; retry counts tries and may be given back.

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
    -- ours
    attempt             integer not null default 0,
    worker_id           integer,
    timeout             double precision check (timeout >= 0),
    cancel_requested    boolean not null default false,
    unknown_since       timestamp,  -- when a worker first did not know its model or method
    concurrency_retries integer not null default 0,
    deaths              integer not null default 0,  -- workers in a row that died running it
    check ((state = 'started') = (worker_id is not null))
) with (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500,
    autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0
);

-- Ready jobs in claim order. The dispatcher's heads and the claim read it from its left edge.
create index queue_job_ready on queue_job (channel, priority, date_created, id)
    where state = 'pending' and eta is null;
-- Jobs that wait for their time: what the leader promotes next, and what blocks a sequential channel.
create index queue_job_eta on queue_job (eta) where state = 'pending' and eta is not null;
create index queue_job_eta_order on queue_job (channel, priority, date_created, id)
    where state = 'pending' and eta is not null;
-- A failed job blocks a sequential channel.
create index queue_job_failed on queue_job (channel) where state = 'failed';
-- What runs, for recovery: as few rows as there are workers.
create index queue_job_started on queue_job (worker_id) where state = 'started';
-- What the sweep looks at: jobs that wait for parents, rows left enqueued.
create index queue_job_waiting on queue_job (id) where state in ('wait_dependencies', 'enqueued');
-- One live job an identity.
create unique index queue_job_identity on queue_job (identity_key)
    where identity_key is not null and state in ('wait_dependencies', 'pending', 'enqueued');
create index queue_job_graph on queue_job (graph_uuid) where graph_uuid is not null;

-- A child waits until all its parents are done.
create table queue_job_edge (
    parent_id bigint not null references queue_job on delete cascade,
    child_id  bigint not null references queue_job on delete cascade,
    primary key (parent_id, child_id)
);
create index queue_job_edge_child on queue_job_edge (child_id);

-- One row a database session of a worker; the session holds the advisory lock of its id as long as it lives.
create table worker (
    id         integer generated always as identity (cycle) primary key,
    host       text not null,
    boot_id    text not null,
    pid        integer not null,
    start_time bigint not null,  -- clock ticks since boot, field 22 of /proc/PID/stat
    channel    text not null,
    since      timestamp not null default (clock_timestamp() at time zone 'UTC')
);

-- Who leads, since which epoch. Grants of an older epoch claim nothing.
create table leader (
    only_row        boolean primary key default true check (only_row),
    epoch           bigint not null default 0,
    host            text,
    session_pid     integer,    -- backend of the leader, with its start: pids get reused
    session_started timestamptz,
    beat            timestamp   -- every 10 s
);
insert into leader default values;

-- What an operator changed live. It overrides the configuration until cleared.
create table control (
    channel  text primary key,
    capacity integer check (capacity >= 0),
    rate     text,
    paused   boolean
);
