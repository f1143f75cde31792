"""The process that owns all others: it execs, reaps and kills, and never talks to a database."""
