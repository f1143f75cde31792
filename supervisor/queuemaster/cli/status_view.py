"""The status of a supervisor for people: processes, databases, channels, workers. Pure: document → tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from queuejobs.shared.standing import Standing
from queuemaster.cli.output import printable
from queuemaster.words import counted, lasting

NARROW = 96  # columns; on a narrower terminal the workers are shown without their channels

Document = Mapping[str, Any]


def view(document: Document, width: int, most: int | None = None) -> Group:
    """The whole status. ``most``: workers that are shown, for a screen that does not scroll; idle ones never are."""
    busy = [worker for worker in document["workers"] if worker["state"] != "idle"]
    busy.sort(key=lambda worker: (worker["job"] is None, -(worker["since"] or 0.0)))
    shown = busy if most is None else busy[: max(most, 1)]
    parts: list[Table | Text] = [
        _processes(document),
        Text(),
        _databases(document),
        Text(),
        _channels(document),
    ]
    if shown:
        parts += [Text(), _workers(shown, width)]
    if len(shown) < len(busy):
        parts.append(Text(f"and {counted(len(busy) - len(shown), 'worker')} more"))
    return Group(*parts)


def _table(*columns: str, folds: Iterable[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        # a number that is cut would be a wrong number
        table.add_column(
            column, no_wrap=column not in folds, overflow="fold" if column in folds else "ellipsis"
        )
    return table


def _row(table: Table, *cells: str | Text) -> None:
    table.add_row(*(cell if isinstance(cell, Text) else Text(printable(cell)) for cell in cells))


def _processes(document: Document) -> Table:
    master, table = document["master"], _table("process", "pid", "", folds=[""])
    runs = master["phase"] == "running"
    since = ""
    if master["since"] is not None:
        # the time counts from the start: a draining master has not been draining for so long
        age = lasting(master["since"])
        since = f" for {age}" if runs else f", started {age} ago"
    version = f", version {master['version']}" if master["version"] else ""
    state = Text(f"{master['phase']}{since}{version}", style="" if runs else "yellow")
    _row(table, "master", str(master["pid"]), _with_silence(state, master["silent"].get("master")))
    for role, child in document["processes"].items():
        if not child["pid"]:
            wait = child["backoff_seconds"]
            state = Text(
                f"not running, starts in {lasting(wait)}" if wait else "not running", style="bold red"
            )
        else:
            state = Text("ready") if child["ready"] else Text("starting", style="yellow")
        silent = master["silent"].get(role) if child["pid"] else None
        _row(table, role, str(child["pid"] or "-"), _with_silence(state, silent))
    return table


def _with_silence(state: Text, silent: float | None) -> Text:
    return state if silent is None else state.append(f", silent for {lasting(silent)}", style="bold red")


def _databases(document: Document) -> Table:
    table = _table("database", "", folds=[""])
    for name, database in document["databases"].items():
        _row(table, name, _database_state(database))
    return table


def _database_state(database: Document | None) -> Text:
    if database is None:
        return Text("not known yet", style="yellow")
    if database["leader"]:
        return Text(f"we lead, epoch {database['epoch']}")
    if database["standing_by"]:
        return Text("another supervisor leads, standing by", style="yellow")
    if database["standing"] == Standing.NOT_SERVED:
        return Text("not served: there is no queue in it")
    if database["standing"] == Standing.QUARANTINED:
        return Text("in quarantine: it refuses our statements, the log says which", style="bold red")
    return (
        Text("connected, does not lead yet", style="yellow")
        if database["up"]
        else Text("away", style="bold red")
    )


def _channels(document: Document) -> Table:
    table = _table("channel", "slots", "workers", "", folds=["channel", ""])
    for name, channel in document["channels"].items():
        workers = channel["workers"]
        slots = "-" if channel["in_use"] is None else f"{channel['in_use']}/{channel['effective']}"
        full = channel["in_use"] is not None and 0 < channel["effective"] <= channel["in_use"]
        pool = f"{workers['alive']}, {workers['busy']} busy"
        _row(table, name, Text(slots, style="bold" if full else ""), pool, _remarks(channel))
    return table


def _remarks(channel: Document) -> Text:
    """What is unusual about a channel: pauses, missing workers, restarts."""
    workers, remarks = channel["workers"], []
    if channel["paused"]:
        remarks.append(("paused", "yellow"))
    if workers["backoff"]:
        remarks.append((f"workers die, the next in {lasting(workers['backoff'])}", "bold red"))
    elif workers["alive"] < workers["target"]:
        remarks.append((f"{workers['target']} wanted", "yellow"))
    restarts = ", ".join(f"{cause} {count}" for cause, count in workers["restarts"].items() if count)
    if restarts:
        remarks.append((f"restarts: {restarts}", ""))
    text = Text()
    for remark, style in remarks:
        text.append("; " if text else "").append(remark, style=style)
    return text


def _workers(workers: Iterable[Document], width: int) -> Table:
    narrow = width < NARROW
    columns = ("worker", "since", "job") if narrow else ("worker", "channel", "since", "job")
    table = _table(*columns, folds=["job"])
    for worker in workers:
        since = "" if worker["since"] is None else lasting(worker["since"])
        cells = {
            "worker": str(worker["pid"] or "-"), "channel": worker["channel"], "since": since,
            "job": _job(worker, narrow),
        }  # fmt: skip
        _row(table, *(cells[column] for column in columns))
    return table


def _job(worker: Document, narrow: bool) -> str:
    job = worker["job"]
    if job is None:
        return str(worker["state"])
    words = [job["uuid"] or f"job {job['id']}", job["call"] or ""]
    if job["attempt"] > 1:
        words.append(f"(attempt {job['attempt']})")
    return (
        f"{words[0]}\n{' '.join(words[1:])}".rstrip() if narrow else " ".join(word for word in words if word)
    )
