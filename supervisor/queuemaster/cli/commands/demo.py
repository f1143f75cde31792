"""``queuemaster demo``: sample jobs on a database of their own, which is removed afterwards."""

from __future__ import annotations

import sys

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from queuemaster import embedded
from queuemaster.channels import ChannelSyntaxError, parse_channels
from queuemaster.cli.output import Failure, Refusal, console, print_json, warn
from queuemaster.demo.run import DemoFailed
from queuemaster.demo.run import run as run_demo

DEFAULT_CHANNELS = "root:4,root.mail:2,root.export:1:sequential"
_MEANING = {
    "done": "jobs that ended well, each with its effect",
    "failed": "jobs that fail for good, as they must",
    "retried": "jobs that needed more than one attempt",
    "lost": "jobs without their effect or in a wrong state",
    "duplicated": "effects that are there twice",
    "killed_workers": "workers ended with kill -9 meanwhile",
}


@click.command()
@click.option(
    "--jobs", type=click.IntRange(1, 1_000_000), default=2000, show_default=True, help="How many jobs."
)
@click.option(
    "--channels", metavar="STRING", default=DEFAULT_CHANNELS, show_default=True, help="Their channels."
)
@click.option(
    "--kill", type=click.IntRange(0, 10_000), default=5, show_default=True, help="Workers to SIGKILL."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def demo(jobs: int, channels: str, kill: int, as_json: bool) -> None:
    """Run sample jobs while workers are killed, and count their effects. Exit code 1 if any is missing or surplus."""
    try:
        parsed = parse_channels(channels)
    except ChannelSyntaxError as error:
        raise Refusal(f"--channels {channels!r}: {error}") from error
    warn(parsed.warnings)
    if parsed.off:
        raise Refusal(
            f"--channels {channels!r}: capacity 0 of root switches everything off; expected 1 or more"
        )
    if kill > jobs:
        raise Refusal(f"--kill {kill}: expected at most as many as there are jobs ({jobs})")
    bars = _Bars()
    try:
        with bars.display:
            result = run_demo(jobs, parsed.channels, channels, kill, bars.enqueued, bars.progress)
    except (DemoFailed, embedded.EmbeddedError) as error:
        raise Failure(str(error)) from error
    if as_json:
        print_json(result)
    else:
        _summary(result)
    if result["lost"] or result["duplicated"]:
        raise Failure(f"{result['lost']} jobs lost, {result['duplicated']} effects duplicated")


class _Bars:
    """One progress bar for each channel, on stderr if that is a terminal."""

    def __init__(self) -> None:
        self.display = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=Console(stderr=True), disable=not sys.stderr.isatty(),
        )  # fmt: skip
        self._tasks: dict[str, TaskID] = {}

    def enqueued(self, counts: dict[str, int]) -> None:
        for channel, count in counts.items():
            self._tasks[channel] = self.display.add_task(channel, total=count)

    def progress(self, counts: dict[str, int]) -> None:
        for channel, count in counts.items():
            self.display.update(self._tasks[channel], completed=count)


def _summary(result: dict[str, object]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(justify="right")
    table.add_column()
    table.add_column()
    for name, meaning in _MEANING.items():
        table.add_row(str(result[name]), name.replace("_", " "), meaning)
    out = console()
    out.print(f"{result['jobs']} jobs in {result['seconds']} s, {result['jobs_per_second']} jobs a second")
    out.print(table)
