"""Advisory lock classes: the first of two int keys. The SQL functions name the same numbers."""

LEADER = 1363935232  # (LEADER, 0): the session of the leading dispatcher
CLAIMS = 1363935233  # (CLAIMS, 0): shared by each claim until its commit, exclusive while a leader takes over
WORKER = 1363935234  # (WORKER, id): a worker's session lives
IDENTITY = 1363935236  # (IDENTITY, hash of a key): who stores a job of this identity, until the commit
SCHEMA = 1363935235  # (SCHEMA, 0): an upgrade of the schema
