"""What a configuration takes: workers, processes, database connections, memory. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from queuemaster.channels import Tree
from queuemaster.config.compiled import Settings

# Resident, as measured on Python 3.11 and x86-64, rounded up: an interpreter with queuejobs and psycopg2; a process of
# ours (the master has 19 MiB, the dispatcher 36).
BARE = 28 << 20
OURS = 45 << 20


@dataclass(frozen=True)
class Sizing:
    """How much of everything. ``most``: with all workers that may be forked on demand."""

    pools: Mapping[str, int]  # workers kept ready, by channel
    ready: int  # their sum
    most: int
    processes: Mapping[str, int]  # beside the workers
    connections: int  # to each database, at most
    sessions: int = 1  # of a worker in a database

    @property
    def processes_at_most(self) -> int:
        """All together."""
        return sum(self.processes.values()) + self.most


@dataclass(frozen=True)
class Server:
    """What a PostgreSQL server has room for."""

    databases: tuple[str, ...]  # of ours on it
    max_connections: int
    reserved: int  # for superusers
    in_use: int  # by others than us, now


@dataclass(frozen=True)
class Memory:
    """``resident``: of an interpreter with the application, bytes."""

    resident: int
    measured: bool  # else it is a guess, without the application
    problem: str = ""  # why it was not measured


def sizing(settings: Settings, embedded: bool) -> Sizing:
    """For as long as nothing is reloaded: then there are two templates for a while."""
    tree = Tree(settings.channels)
    ready = sum(settings.pools.values())
    wanted = sum(tree.effective(channel.name) for channel in tree)
    processes = {"master": 1, "template": 1, "dispatcher": 1}
    if settings.http:
        processes["exporter"] = 1
    if embedded:
        processes["server"] = 1
    most = max(ready, min(settings.max_workers, wanted))
    # each worker has a session in each database it has worked on, beside Odoo another one of Odoo's; the dispatcher has
    # one, the exporter one
    sessions = 2 if settings.odoo else 1
    connections = most * sessions + 1 + bool(settings.http)
    return Sizing(settings.pools, ready, most, processes, connections, sessions)


def needed(size: Sizing, server: Server) -> int:
    """Connections to one server: workers go from one of its databases to the other and keep their sessions."""
    return size.connections * len(server.databases)


def room(server: Server) -> int:
    """Connections that it has for us."""
    return server.max_connections - server.reserved - server.in_use


def at_most(size: Sizing, memory: Memory) -> int:
    """Bytes, if no worker shared anything any more: each as large as the whole application, before its jobs."""
    processes = sum(count for name, count in size.processes.items() if name not in ("template", "server"))
    return memory.resident * (1 + size.most) + OURS * processes


def shortages(size: Sizing, servers: Sequence[Server]) -> list[str]:
    """A warning for each server that has not got enough connections."""
    return [
        f"server of {', '.join(server.databases)}: {needed(size, server)} connections may be needed, and it has room"
        f" for {max(room(server), 0)} (max_connections {server.max_connections}, {server.reserved} of them reserved,"
        f" {server.in_use} used by others); raise it, or lower capacities or max_workers"
        for server in servers
        if needed(size, server) > room(server)
    ]
