"""How a job is claimed, performed and finished, per kind of database."""
