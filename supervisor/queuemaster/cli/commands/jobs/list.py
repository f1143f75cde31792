"""``queuemaster jobs list``: the newest jobs of each database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from queuejobs.store.jobs import STATES
from queuemaster.channels.parse import complete_name
from queuemaster.cli.commands.jobs.rows import read_rows
from queuemaster.cli.flags import compiled, configured, databases_option
from queuemaster.cli.output import console, note, print_json, printable, warn
from queuemaster.cli.statements import LIST_JOBS
from queuemaster.cli.targets import target_databases

# (heading, columns that a terminal must have to show it)
COLUMNS_SHOWN = (("uuid", 0), ("state", 0), ("channel", 72), ("try", 92), ("created (UTC)", 112), ("job", 64))


@click.command("list")
@databases_option
@configured
@click.option("--state", type=click.Choice(STATES), help="Only jobs in this state.")
@click.option("--channel", help="Only jobs of this channel and those below it.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def list_(
    file: Path | None,
    assignments: tuple[str, ...],
    database: tuple[str, ...],
    state: str | None,
    channel: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """The newest jobs first, from each database."""
    configuration = compiled(file, assignments, {"database": database})
    warn(configuration.warnings)
    # one row more than wanted shows whether there are more
    filters = {"state": state, "channel": complete_name(channel) if channel else None, "limit": limit + 1}
    jobs: list[dict[str, Any]] = []
    databases_with_more = []
    with target_databases(configuration) as databases:
        for config in databases:
            rows = read_rows(config, LIST_JOBS, filters)
            jobs.extend({"database": config.name, **row} for row in rows[:limit])
            if len(rows) > limit:
                databases_with_more.append(config.name)
    if as_json:
        print_json({"jobs": jobs, "more": bool(databases_with_more)})
        return
    out = console()
    out.print(table_of(jobs, out.width))
    if databases_with_more:
        note(f"only the newest {limit} of {', '.join(databases_with_more)} are shown; more with --limit")


def table_of(jobs: list[dict[str, Any]], width: int) -> Table:
    """The jobs with as many columns as the terminal has room for; uuid and state always."""
    headings = [heading for heading, least in COLUMNS_SHOWN if width >= least]
    if len({job["database"] for job in jobs}) > 1:
        headings.insert(0, "database")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        fixed = heading in ("uuid", "state", "try")
        # a uuid that is cut is of no use: it folds where it does not fit
        table.add_column(heading, no_wrap=heading != "uuid", overflow="fold" if fixed else "ellipsis")
    for job in jobs:
        cells = {
            **job,
            "try": f"{job['retry']}/{job['max_retries'] or '∞'}",
            "created (UTC)": job["date_created"][:19].replace("T", " "),
            "job": (job["name"] or job["method"]).partition("\n")[0],
        }
        table.add_row(*(Text(printable(cells[heading])) for heading in headings))
    return table
