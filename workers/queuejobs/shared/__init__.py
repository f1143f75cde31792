"""What every process of ours speaks: messages, the scoreboard, the log, the kernel. No SQL, no application code."""
