"""``queuemaster check``: whether the configuration is right, and what it means."""

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
from queuemaster.cli.estimate.report import Estimate, estimate
from queuemaster.cli.flags import channels_option, compiled, configured, databases_option
from queuemaster.cli.live_limits import LiveLimits, limit_words, limits_document, read_overrides
from queuemaster.cli.odoo.checks import check_odoo
from queuemaster.cli.output import Refusal, console, note, print_json, printable, warn
from queuemaster.config.compiled import Settings
from queuemaster.config.option_values import ConfigurationError
from queuemaster.config.sources import Compiled
from queuemaster.words import counted, lasting

LONG = 10_000  # seconds; a longer duration is shown in days and hours
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
    "--explain", is_flag=True, help="Say what each channel and option means; estimate memory and connections."
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

    When databases are named and can be reached, limits that were changed live (queuemaster channel) are shown too.
    Beside Odoo (-c odoo.conf, no app) it shows whether the interpreter can import Odoo, which databases there are,
    and the state of each. Nothing is altered.

    --explain imports the application in a process of its own, to measure its size, and counts workers, processes and
    database connections.
    """
    try:
        configuration = compiled(file, assignments, {"channels": channels, "database": database})
    except ConfigurationError as error:
        if as_json:
            print_json({"valid": False, "errors": list(error.problems), "warnings": []})
        raise
    odoo = None
    warnings = list(configuration.warnings)
    if configuration.settings.odoo:
        odoo = check_odoo(configuration.settings)
        configuration = replace(configuration, settings=odoo.settings)
        warnings += odoo.warnings(configuration.channels_given)
    settings = configuration.settings
    warnings += [*refused_niceness(settings), *idle_batches(settings)]
    served = odoo.served() if odoo is not None else settings.databases
    live = LiveLimits(settings.channels, read_overrides(served))
    needs = None
    if explain and not configuration.off:
        needs = estimate(replace(settings, databases=tuple(served)))
        warnings += needs.warnings()
    configuration = replace(configuration, warnings=tuple(warnings))
    if as_json:
        more = {
            **({"odoo": odoo.document()} if odoo else {}),
            **({"takes": needs.document()} if needs else {}),
        }
        print_json({**document(configuration, live, strict, explain), **more})
    else:
        draw(configuration, live, explain, needs)
        if odoo is not None:
            console().print(odoo.table())
    for text in configuration.notes:
        note(text)
    warn(warnings)
    if strict and warnings:
        raise Refusal(f"{counted(len(warnings), 'warning')}, and --strict allows none")


def refused_niceness(settings: Settings) -> list[str]:
    """Warnings: only root may give workers a niceness below 0, and they run as the option user."""
    if os.geteuid() == 0 and settings.user in ("", "root", "0"):
        return []
    return [
        f"channel {channel.name}: nice={channel.nice}: only root's workers may go below 0;"
        " without CAP_SYS_NICE these run with the usual niceness"
        for channel in settings.channels
        if channel.nice < 0
    ]


def idle_batches(settings: Settings) -> list[str]:
    """Warnings: a batch is one transaction, and each job of Odoo's has its own."""
    return [
        f"channel {channel.name}: batch={channel.batch} has no effect beside Odoo"
        for channel in settings.channels
        if settings.odoo and channel.batch > 1
    ]


def document(configuration: Compiled, live: LiveLimits, strict: bool, explain: bool) -> dict[str, Any]:
    """The answer of ``--json``. A capacity of null is unlimited, within the channels above.

    Channels are shown as configured; one that was changed live also has ``live``, its limits in force.
    """
    tree = live.configured
    channels = []
    for channel in configuration.settings.channels:
        entry: dict[str, Any] = {
            "name": channel.name,
            "capacity": channel.capacity,
            "effective": tree.effective(channel.name),
            "options": options_of(channel),
        }
        if explain:
            entry["explanation"] = explanation(channel, tree)
        if channel.name in live.changed:
            entry["live"] = limits_document(live.tree, channel.name)
        channels.append(entry)
    options: dict[str, Any] = {}
    for value in configuration.values:
        options[value.option] = {"value": value.value, "source": value.source}
        if explain:
            options[value.option]["meaning"] = value.meaning
    return {
        "valid": not (strict and configuration.warnings),
        "off": configuration.off,
        "channels": channels,
        "options": options,
        "warnings": list(configuration.warnings),
        "notes": list(configuration.notes),
        "errors": [],
    }


def draw(configuration: Compiled, live: LiveLimits, explain: bool, needs: Estimate | None) -> None:
    """Print the channels as a tree, the estimate, and the options as a table."""
    tree = live.configured
    branches: dict[str, Drawing] = {}
    for channel in configuration.settings.channels:
        label = Text(printable(label_of(channel, tree.effective(channel.name))))
        if channel.name in live.changed:
            label.append(f"  (live: {', '.join(limit_words(live.tree, channel.name))})", style="bold")
        if explain:
            label.append(f"\n{printable(explanation(channel, tree))}", style="dim")
        if needs is not None:
            label.append(
                f"\n{counted(needs.size.pools.get(channel.name, 0), 'worker')} kept ready", style="dim"
            )
        parent = branches.get(channel.parent or "")
        branches[channel.name] = parent.add(label) if parent is not None else Drawing(label)
    out = console()
    out.print(branches[configuration.settings.channels[0].name])
    if configuration.off:
        out.print("switched off: root has capacity 0")
    out.print()
    if needs is not None:
        out.print(needs.table())
        out.print()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("option", "value", "source", *(("meaning",) if explain else ())):
        table.add_column(heading, overflow="fold")
    for value in configuration.values:
        shown = ", ".join(value.value) if isinstance(value.value, list) else value.value
        if isinstance(shown, float):
            # every option that is a float is a duration
            shown = f"{shown:g} s" if shown < LONG else lasting(shown)
        cells = [value.option, str(shown).replace("\n", " ").strip(), value.source]
        table.add_row(*(Text(printable(cell)) for cell in [*cells, *([value.meaning] if explain else [])]))
    out.print(table)


def options_of(channel: ChannelConfig) -> dict[str, Any]:
    """The keys of a channel that are not at their defaults, without its capacity."""
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
    """What the limits of a channel mean for its jobs, in words."""
    effective = tree.effective(channel.name)
    jobs = "1 job" if effective == 1 else f"{effective} jobs"
    parts = [f"at most {jobs} at a time, here and below" if effective else "no job ever starts here"]
    if channel.capacity is None or effective < channel.capacity:
        bound = next(name for name in tree.path(channel.name) if tree[name].capacity == effective)
        parts.append(f"bounded by {bound}")
    if channel.sequential:
        parts.append("one after the other, a failed one holds the rest")
    if channel.throttle:
        parts.append(f"{channel.throttle:g} s between two starts")
    if channel.rate:
        parts.append(f"{show_rate(channel.rate)} starts, up to {channel.burst} of them at once")
    if channel.batch > 1:
        parts.append(f"up to {channel.batch} jobs in one transaction")
    if channel.paused:
        parts.append("paused: nothing starts")
    for seconds, states in ((channel.retention, "done and cancelled"), (channel.failed_retention, "failed")):
        if seconds is not None:
            end = f"removed after {lasting(seconds)}" if seconds else "kept for ever"
            parts.append(f"{states} jobs are {end}")
    return "; ".join(parts)
