"""The processes and connections that a configuration needs, counted from the settings alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from queuemaster.channels import Tree, parse_channels
from queuemaster.cli.estimate.sizing import OURS, Memory, Server, Sizing, at_most, needed, shortages, sizing
from queuemaster.config.compiled import Settings


def sized(channels: str, max_workers: int = 64, http: str = "", embedded: bool = False) -> Sizing:
    parsed = parse_channels(channels).channels
    pools = Tree(parsed).pool_sizes(max_workers)
    return sizing(Settings(parsed, (), pools, http=http, max_workers=max_workers), embedded)


def test_workers_ready_and_on_demand() -> None:
    assert (sized("root:4,mail:2").ready, sized("root:4,mail:2").most) == (6, 6)
    assert (sized("root:4:prefork=1,mail:2").ready, sized("root:4:prefork=1,mail:2").most) == (3, 6)
    assert (sized("root:4,mail:4", max_workers=5).ready, sized("root:4,mail:4", max_workers=5).most) == (5, 5)


def test_processes_and_connections() -> None:
    plain, all_of_it = sized("root:4"), sized("root:4", http="127.0.0.1:8079", embedded=True)
    assert list(plain.processes) == ["master", "template", "dispatcher"]
    assert (plain.processes_at_most, plain.connections) == (7, 5)
    assert list(all_of_it.processes)[3:] == ["exporter", "server"]
    assert (all_of_it.processes_at_most, all_of_it.connections) == (9, 6)


def test_a_server_with_several_databases_needs_them_all() -> None:
    size = sized("root:4")
    enough = Server(("a", "b"), 20, 3, 7)
    assert needed(size, enough) == 10
    assert shortages(size, [enough]) == []
    (message,) = shortages(size, [Server(("a", "b"), 20, 3, 8)])
    assert message.startswith(
        "server of a, b: 10 connections may be needed, and it has room for 9 (max_connections 20"
    )


@given(st.integers(1, 200), st.integers(1, 200), st.integers(1, 128))
def test_bounds(root: int, mail: int, max_workers: int) -> None:
    size = sized(f"root:{root},mail:{mail}", max_workers)
    assert size.ready <= size.most <= max_workers
    assert size.connections == size.most + 1
    assert at_most(size, Memory(1 << 20, True)) == (size.most + 1 << 20) + 2 * OURS


def test_beside_odoo_a_worker_has_a_session_of_odoos_too() -> None:
    settings = Settings(
        parse_channels("root:4").channels, (), {"root": 4}, http="", odoo="/etc/odoo/odoo.conf"
    )
    assert sizing(settings, embedded=False).connections == 9
