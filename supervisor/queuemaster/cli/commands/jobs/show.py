"""``queuemaster jobs show``: one job with all its columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from queuejobs.store.jobs import BY_UUID, COLUMNS
from queuemaster.cli.commands.jobs.rows import DOCUMENTS, read_rows
from queuemaster.cli.flags import compiled, configured, databases_option
from queuemaster.cli.output import Failure, console, print_json, printable, warn
from queuemaster.cli.targets import target_databases
from queuemaster.config.dsn import describe


@click.command()
@click.argument("uuid")
@databases_option
@configured
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def show(
    uuid: str, file: Path | None, assignments: tuple[str, ...], database: tuple[str, ...], as_json: bool
) -> None:
    """Everything that is known of one job."""
    configuration = compiled(file, assignments, {"database": database})
    warn(configuration.warnings)
    with target_databases(configuration) as databases:
        for config in databases:
            for row in read_rows(config, BY_UUID, ([uuid],)):
                job = {"database": config.name, **row}
                if as_json:
                    print_json(job)
                else:
                    console().print(table_of(job))
                return
    where = ", ".join(describe(config) for config in databases)
    raise Failure(f"no job has the uuid {uuid} in {where}")


def table_of(job: dict[str, Any]) -> Table:
    """A line for each column that has a value."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name in ("database", *COLUMNS):
        value = job[name]
        if value is not None:
            shown = json.dumps(value, ensure_ascii=False) if name in DOCUMENTS else value
            table.add_row(name, Text(printable(shown)))
    return table
