"""The estimate, as ``check --explain`` shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from queuemaster import embedded
from queuemaster.cli.databases import EMBEDDED_NAME
from queuemaster.cli.estimate.probe import measure_memory, read_servers
from queuemaster.cli.estimate.sizing import Memory, Server, Sizing, at_most, needed, room, shortages, sizing
from queuemaster.cli.output import printable
from queuemaster.config import paths
from queuemaster.config.compiled import DatabaseConfig, Settings

MIB = 1 << 20


@dataclass(frozen=True)
class Estimate:
    """What a configuration needs: counted from the settings, read from the servers, measured in an interpreter."""

    size: Sizing
    servers: list[Server]
    memory: Memory

    def warnings(self) -> list[str]:
        """Connections that a server may lack; why the application could not be measured."""
        problem = self.memory.problem
        return [*shortages(self.size, self.servers), *([problem] if problem else [])]

    def document(self) -> dict[str, Any]:
        """The value of ``takes`` in ``check --json``. Memory in bytes."""
        return {
            "pools": dict(self.size.pools),
            "workers": {"ready": self.size.ready, "at_most": self.size.most},
            "processes": {**self.size.processes, "at_most": self.size.processes_at_most},
            "connections": {
                "each_database": self.size.connections,
                "servers": [
                    {
                        "databases": list(server.databases), "needed": needed(self.size, server),
                        "room": room(server), "max_connections": server.max_connections,
                    }
                    for server in self.servers
                ],
            },
            "memory": {
                "interpreter": self.memory.resident,
                "measured": self.memory.measured,
                "at_most": at_most(self.size, self.memory),
            },
        }  # fmt: skip

    def table(self) -> Table:
        """The estimate for people."""
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, text in self._lines():
            table.add_row(name, Text(printable(text)))
        return table

    def _lines(self) -> list[tuple[str, str]]:
        size = self.size
        demand = f", {size.most} at most on demand" if size.most > size.ready else ""
        lines = [
            ("workers", f"{size.ready} kept ready{demand}"),
            ("processes", f"{size.processes_at_most} at most: {', '.join(size.processes)}, and the workers"),
        ]
        of_worker = "one a worker" if size.sessions == 1 else "two a worker, ours and Odoo's"
        of_database = f"{size.connections} to each database at most: {of_worker}, one of the dispatcher"
        of_database += ", one of the exporter" if "exporter" in size.processes else ""
        lines.append(("connections", of_database))
        for server in self.servers:
            available = f"room for {room(server)} (max_connections {server.max_connections})"
            lines.append(("", f"{', '.join(server.databases)}: {needed(size, server)} needed, {available}"))
        resident = f"{self.memory.resident // MIB} MiB"
        basis = (
            "with the application (measured)" if self.memory.measured else "without the application (a guess)"
        )
        total = f"{at_most(size, self.memory) // MIB} MiB if they shared none of it any more"
        lines.append(
            ("memory", f"{resident} an interpreter {basis}, which workers share; {total}, and what jobs need")
        )
        return lines


def estimate(settings: Settings) -> Estimate:
    """Count, ask the servers, measure the application."""
    own_server = not settings.databases and not settings.odoo
    databases = _embedded_databases() if own_server else settings.databases
    size = sizing(settings, embedded=own_server)
    return Estimate(size, read_servers(databases), measure_memory(settings))


def _embedded_databases() -> tuple[DatabaseConfig, ...]:
    """The embedded database if its server runs, else none."""
    data_dir = paths.default_data_dir()
    plan = embedded.attached(data_dir) if data_dir.exists() else None
    return () if plan is None else (DatabaseConfig(EMBEDDED_NAME, embedded.dsn(plan, EMBEDDED_NAME)),)
