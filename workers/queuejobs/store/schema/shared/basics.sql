-- What the other files use: times, and the texts of errors.
--
-- Rules for every file here:
--   * each statement relies on READ COMMITTED: inside a function it sees what was committed before it began;
--   * a function that changes several rows locks them in the order of their ids, or two of them deadlock;
--   * only a change to pending (and what unblocks a sequential channel) notifies, never a claim or a job's good end:
--     the server lets one notifying transaction commit at a time;
--   * attempt only grows, it tells one run of a job from another; retry counts tries, and a try may be given back.
--
-- Advisory locks have two int keys, the first of them a class number of ours:
--   (1363935232, 0)  leadership: held by the session of the leading dispatcher
--   (1363935233, 0)  claims: shared by every claim until its commit, exclusive while a new leader takes over
--   (1363935234, W)  worker W lives: held by its session
--   (1363935235, 0)  creation and upgrades of the schema
--   (1363935236, H)  identity keys with hash H: held while a job with such a key is stored

-- Every time in the tables is UTC, without a zone.
create function utc_now() returns timestamp language sql volatile as
$$ select clock_timestamp() at time zone 'UTC' $$;

-- A time as text of fixed width: such texts sort as the times do.
create function key_time(p_time timestamp) returns text language sql immutable as
$$ select to_char(p_time, 'YYYY-MM-DD"T"HH24:MI:SS.US') $$;

-- An error text with a new one below the earlier ones. The newest 256 KiB are kept.
create function appended(p_old text, p_new text) returns text language sql immutable as
$$ select right(concat_ws(e'\n\n', nullif(p_old, ''), p_new), 262144) $$;
