"""The process that decides who may start what. It never forks; it may crash or lose a database at any time."""
