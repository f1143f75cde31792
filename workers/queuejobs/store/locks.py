"""Advisory lock classes: the first of two int keys. ``schema/shared/basics.sql`` has the same list."""

LEADER = 1363935232  # (LEADER, 0): held by the session of the leading dispatcher
CLAIMS = 1363935233  # (CLAIMS, 0): shared by each claim until its commit, exclusive while a leader takes over
WORKER = 1363935234  # (WORKER, id): held by a worker's session
SCHEMA = 1363935235  # (SCHEMA, 0): held by the creation or an upgrade of the schema
# (IDENTITY, hash of a key): held while a job of this identity is stored, until the commit
IDENTITY = 1363935236
