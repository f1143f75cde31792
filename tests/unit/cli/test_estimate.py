"""How ``check --explain`` reports an estimate: warnings, a document, a table."""

from __future__ import annotations

from rich.console import Console

from queuemaster.channels import Tree, parse_channels
from queuemaster.cli.estimate.report import Estimate
from queuemaster.cli.estimate.sizing import OURS, Memory, Server, sizing
from queuemaster.config.compiled import Settings

MIB = 1 << 20
MEASURED = Memory(100 * MIB, True)


def estimated(memory: Memory = MEASURED, *servers: Server, odoo: str = "", http: str = "") -> Estimate:
    channels = parse_channels("root:4:prefork=1,mail:2").channels
    settings = Settings(channels, (), Tree(channels).pool_sizes(64), odoo=odoo, http=http)
    return Estimate(sizing(settings, embedded=False), list(servers), memory)


def text_of(estimate: Estimate) -> str:
    out = Console(width=300, no_color=True, highlight=False, markup=False, emoji=False)
    with out.capture() as capture:
        out.print(estimate.table())
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def test_the_document_has_the_counts_and_bytes() -> None:
    document = estimated(MEASURED, Server(("a", "b"), 100, 3, 7)).document()
    assert document["pools"] == {"root": 1, "root.mail": 2}
    assert document["workers"] == {"ready": 3, "at_most": 6}
    assert document["processes"] == {"master": 1, "template": 1, "dispatcher": 1, "at_most": 9}
    assert document["connections"] == {
        "each_database": 7,
        "servers": [{"databases": ["a", "b"], "needed": 14, "room": 90, "max_connections": 100}],
    }
    assert document["memory"] == {
        "interpreter": 100 * MIB, "measured": True, "at_most": 7 * 100 * MIB + 2 * OURS,
    }  # fmt: skip


def test_only_what_may_go_wrong_is_a_warning() -> None:
    assert estimated(MEASURED, Server(("a",), 100, 3, 0)).warnings() == []
    guess = Memory(MIB, False, "the application cannot be imported: no such module")
    full = Server(("a",), 20, 3, 11)
    shortage, problem = estimated(guess, full).warnings()
    assert shortage.startswith("server of a: 7 connections may be needed, and it has room for 6 ")
    assert problem == guess.problem


def test_a_server_that_is_full_has_no_room_rather_than_less_than_none() -> None:
    (warning,) = estimated(MEASURED, Server(("a",), 20, 3, 30)).warnings()
    assert "it has room for 0 (max_connections 20" in warning


def test_people_are_told_where_the_connections_go() -> None:
    native = text_of(estimated(MEASURED, Server(("a",), 100, 3, 0)))
    assert "3 kept ready, 6 at most on demand" in native
    assert "7 to each database at most: one a worker, one of the dispatcher\n" in native
    assert "a: 7 needed, room for 97 (max_connections 100)" in native
    assert "100 MiB an interpreter with the application (measured)" in native
    beside = text_of(estimated(Memory(MIB, False, "no"), odoo="/etc/odoo.conf", http="127.0.0.1:8079"))
    assert "two a worker, ours and Odoo's, one of the dispatcher, one of the exporter" in beside
    assert "without the application (a guess)" in beside
