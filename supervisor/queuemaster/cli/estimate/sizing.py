"""The counted part of an estimate: workers, processes, database connections, memory. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from queuemaster.channels import Tree
from queuemaster.config.compiled import Settings

# Resident bytes, as measured on Python 3.11 and x86-64, rounded up: an interpreter with queuejobs and psycopg2; a
# process of the service (the master has 19 MiB, the dispatcher 36).
BARE = 28 << 20
OURS = 45 << 20


@dataclass(frozen=True)
class Sizing:
    """The counts. ``most``: workers when all that may be forked on demand are."""

    pools: Mapping[str, int]  # workers kept ready, by channel
    ready: int  # their sum
    most: int
    processes: Mapping[str, int]  # beside the workers
    connections: int  # to each database, at most
    sessions: int = 1  # of a worker in a database

    @property
    def processes_at_most(self) -> int:
        """All processes, workers included."""
        return sum(self.processes.values()) + self.most


@dataclass(frozen=True)
class Server:
    """The connections of a PostgreSQL server."""

    databases: tuple[str, ...]  # the served ones on it
    max_connections: int
    reserved: int  # for superusers
    in_use: int  # now, by other programs


@dataclass(frozen=True)
class Memory:
    """The size of an interpreter with the application; ``resident`` in bytes."""

    resident: int
    measured: bool  # else it is a guess, without the application
    problem: str = ""  # why it was not measured


def sizing(settings: Settings, embedded: bool) -> Sizing:
    """The counts of these settings. (During a reload there is a second template for a while.)"""
    tree = Tree(settings.channels)
    ready = sum(settings.pools.values())
    wanted = sum(tree.effective(channel.name) for channel in tree)
    processes = {"master": 1, "template": 1, "dispatcher": 1}
    if settings.http:
        processes["exporter"] = 1
    if embedded:
        processes["server"] = 1
    most = max(ready, min(settings.max_workers, wanted))
    # in each database: one session of every worker that has worked there, beside Odoo another one of Odoo's; one of the
    # dispatcher, one of the exporter
    sessions = 2 if settings.odoo else 1
    connections = most * sessions + 1 + bool(settings.http)
    return Sizing(settings.pools, ready, most, processes, connections, sessions)


def needed(size: Sizing, server: Server) -> int:
    """Connections to one server: workers that go from one of its databases to another keep their sessions."""
    return size.connections * len(server.databases)


def room(server: Server) -> int:
    """Connections that the server can give us."""
    return server.max_connections - server.reserved - server.in_use


def at_most(size: Sizing, memory: Memory) -> int:
    """Bytes, if no worker shared any memory: each then has the size of the application, without its jobs."""
    processes = sum(count for name, count in size.processes.items() if name not in ("template", "server"))
    return memory.resident * (1 + size.most) + OURS * processes


def shortages(size: Sizing, servers: Sequence[Server]) -> list[str]:
    """A warning for each server without enough connections."""
    return [
        f"server of {', '.join(server.databases)}: {needed(size, server)} connections may be needed, and it has room"
        f" for {max(room(server), 0)} (max_connections {server.max_connections}, {server.reserved} of them reserved,"
        f" {server.in_use} used by others); raise it, or lower capacities or max_workers"
        for server in servers
        if needed(size, server) > room(server)
    ]
