"""What all our processes use: messages, the scoreboard, the log, the kernel. No SQL, no application code."""
