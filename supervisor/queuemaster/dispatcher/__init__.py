"""The process that decides which worker starts which job. It never forks; it may crash or lose a database any time."""
