"""What the database holds and the statements that reach it."""
