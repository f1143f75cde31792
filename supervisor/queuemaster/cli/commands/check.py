"""``queuemaster check``: is the configuration right, and what does it mean."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text
from rich.tree import Tree as Drawing

from queuemaster.channels import Tree
from queuemaster.channels.channel import ChannelConfig
from queuemaster.channels.keys import show_rate, show_size
from queuemaster.cli.estimate.report import Takes, what_it_takes
from queuemaster.cli.flags import channels_option, compiled, configured, databases_option
from queuemaster.cli.live_limits import Live, limits, reachable, words_of
from queuemaster.cli.odoo.checks import beside
from queuemaster.cli.output import Refusal, console, note, print_json, printable, warn
from queuemaster.config.compiled import Settings
from queuemaster.config.option_values import ConfigurationError
from queuemaster.config.sources import Compiled
from queuemaster.words import counted, lasting

LONG = 10_000  # seconds that nobody can read any more
# option → how its value is shown
_SHOWN: dict[str, Callable[[Any], str]] = {
    "throttle": lambda seconds: f"{seconds:g} s",
    "rate": show_rate,
    "timeout": lambda seconds: f"{seconds:g} s",
    "memory": show_size,
    "cpu": lambda seconds: f"{seconds:g} s",
    "retention": lambda seconds: lasting(seconds) if seconds else "for ever",
    "failed_retention": lambda seconds: lasting(seconds) if seconds else "for ever",
}


@click.command()
@configured
@channels_option
@databases_option
@click.option("--strict", is_flag=True, help="Warnings are errors: exit code 2.")
@click.option(
    "--explain", is_flag=True, help="Say what each channel and option means, and what it all takes."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def check(
    file: Path | None,
    assignments: tuple[str, ...],
    channels: str | None,
    database: tuple[str, ...],
    strict: bool,
    explain: bool,
    as_json: bool,
) -> None:
    """Validate the configuration; print the channel tree and every option with its source.

    When databases are named and can be reached, what was changed live in them (queuemaster channel) is shown too.
    Beside Odoo (-c odoo.conf, no app): whether its interpreter imports it, which databases there are, and how each
    stands. Nothing is altered.

    --explain imports the application in a process of its own, to see how large it is, and counts workers, processes
    and database connections.
    """
    try:
        found = compiled(file, assignments, {"channels": channels, "database": database})
    except ConfigurationError as error:
        if as_json:
            print_json({"valid": False, "errors": list(error.problems), "warnings": []})
        raise
    odoo = None
    if found.settings.odoo:
        odoo = beside(found.settings)
        found = replace(
            found, settings=odoo.settings, warnings=(*found.warnings, *odoo.warnings(found.channels_given))
        )
    found = replace(
        found, warnings=(*found.warnings, *refused_niceness(found.settings), *idle_batches(found.settings))
    )
    asked = odoo.served() if odoo is not None else found.settings.databases
    live = Live(found.settings.channels, reachable(asked))
    served = replace(found.settings, databases=tuple(asked))
    takes = what_it_takes(served) if explain and not found.off else None
    if takes is not None:
        found = replace(found, warnings=(*found.warnings, *takes.warnings()))
    if as_json:
        more = {
            **({"odoo": odoo.document()} if odoo else {}),
            **({"takes": takes.document()} if takes else {}),
        }
        print_json({**document(found, live, strict, explain), **more})
    else:
        draw(found, live, explain, takes)
        if odoo is not None:
            console().print(odoo.table())
    for said in found.notes:
        note(said)
    warn(found.warnings)
    if strict and found.warnings:
        count = len(found.warnings)
        raise Refusal(f"{count} warning{'s' if count > 1 else ''}, and --strict allows none")


def refused_niceness(settings: Settings) -> list[str]:
    """Going below 0 is root's, and root's workers run as the option user says."""
    if os.geteuid() == 0 and settings.user in ("", "root", "0"):
        return []
    return [
        f"channel {channel.name}: nice={channel.nice}: only root's workers may go below 0;"
        " without CAP_SYS_NICE these run with the usual niceness"
        for channel in settings.channels
        if channel.nice < 0
    ]


def idle_batches(settings: Settings) -> list[str]:
    """Odoo's jobs have a transaction each."""
    return [
        f"channel {channel.name}: batch={channel.batch} has no effect beside Odoo"
        for channel in settings.channels
        if settings.odoo and channel.batch > 1
    ]


def document(found: Compiled, live: Live, strict: bool, explain: bool) -> dict[str, Any]:
    """The answer of ``--json``. A capacity of null is unlimited, within the channels above.

    All is as configured, but for ``live``, where the channel was changed: what counts now.
    """
    tree = live.configured
    channels = []
    for channel in found.settings.channels:
        entry: dict[str, Any] = {
            "name": channel.name,
            "capacity": channel.capacity,
            "effective": tree.effective(channel.name),
            "options": options_of(channel),
        }
        if explain:
            entry["explanation"] = explanation(channel, tree)
        if live.changed(channel.name):
            entry["live"] = limits(live.tree, channel.name)
        channels.append(entry)
    options: dict[str, Any] = {}
    for value in found.values:
        options[value.option] = {"value": value.value, "source": value.source}
        if explain:
            options[value.option]["meaning"] = value.meaning
    return {
        "valid": not (strict and found.warnings),
        "off": found.off,
        "channels": channels,
        "options": options,
        "warnings": list(found.warnings),
        "notes": list(found.notes),
        "errors": [],
    }


def draw(found: Compiled, live: Live, explain: bool, takes: Takes | None) -> None:
    """The same for people."""
    tree = live.configured
    branches: dict[str, Drawing] = {}
    for channel in found.settings.channels:
        label = Text(printable(label_of(channel, tree.effective(channel.name))))
        if live.changed(channel.name):
            label.append(f"  (live: {', '.join(words_of(live.tree, channel.name))})", style="bold")
        if explain:
            label.append(f"\n{printable(explanation(channel, tree))}", style="dim")
        if takes is not None:
            label.append(
                f"\n{counted(takes.size.pools.get(channel.name, 0), 'worker')} kept ready", style="dim"
            )
        above = branches.get(channel.parent or "")
        branches[channel.name] = above.add(label) if above is not None else Drawing(label)
    out = console()
    out.print(branches[found.settings.channels[0].name])
    if found.off:
        out.print("switched off: root has capacity 0")
    out.print()
    if takes is not None:
        out.print(takes.table())
        out.print()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("option", "value", "source", *(("meaning",) if explain else ())):
        table.add_column(heading, overflow="fold")
    for value in found.values:
        shown = ", ".join(value.value) if isinstance(value.value, list) else value.value
        if isinstance(shown, float):
            # every option that is a float is a duration
            shown = f"{shown:g} s" if shown < LONG else lasting(shown)
        cells = [value.option, str(shown).replace("\n", " ").strip(), value.source]
        table.add_row(*(Text(printable(cell)) for cell in [*cells, *([value.meaning] if explain else [])]))
    out.print(table)


def options_of(channel: ChannelConfig) -> dict[str, Any]:
    """What a channel has beside its capacity."""
    return {
        option.name: value
        for option in fields(channel)
        if option.name not in ("name", "capacity")
        and (value := getattr(channel, option.name)) != option.default
    }


def label_of(channel: ChannelConfig, effective: int) -> str:
    """``root.mail  capacity 8, effective 4, throttle 5 s``."""
    words = ["unlimited" if channel.capacity is None else f"capacity {channel.capacity}"]
    if effective != channel.capacity:
        words.append(f"effective {effective}")
    for name, value in options_of(channel).items():
        words.append(name if value is True else f"{name} {_SHOWN.get(name, str)(value)}")
    return f"{channel.name}  {', '.join(words)}"


def explanation(channel: ChannelConfig, tree: Tree) -> str:
    """What a channel's line means for its jobs."""
    effective = tree.effective(channel.name)
    jobs = "1 job" if effective == 1 else f"{effective} jobs"
    said = [f"at most {jobs} at a time, here and below" if effective else "no job ever starts here"]
    if channel.capacity is None or effective < channel.capacity:
        narrow = next(name for name in tree.path(channel.name) if tree[name].capacity == effective)
        said.append(f"bounded by {narrow}")
    if channel.sequential:
        said.append("one after the other, a failed one holds the rest")
    if channel.throttle:
        said.append(f"{channel.throttle:g} s between two starts")
    if channel.rate:
        said.append(f"{show_rate(channel.rate)} starts, up to {channel.burst} of them at once")
    if channel.batch > 1:
        said.append(f"up to {channel.batch} jobs in one transaction")
    if channel.paused:
        said.append("paused: nothing starts")
    for name, which in (("retention", "done and cancelled"), ("failed_retention", "failed")):
        seconds = getattr(channel, name)
        if seconds is not None:
            how = f"removed after {lasting(seconds)}" if seconds else "kept for ever"
            said.append(f"{which} jobs are {how}")
    return "; ".join(said)
