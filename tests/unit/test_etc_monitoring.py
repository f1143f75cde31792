"""Alert rules and dashboard query only metrics that exist, and the alerts fire when they must."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from queuemaster.channels import Tree
from queuemaster.channels.channel import ChannelConfig
from queuemaster.exporter import metrics
from queuemaster.exporter.channel_labels import ChannelLabels
from queuemaster.exporter.snapshot import Snapshot
from queuemaster.status_board import MasterStatus
from support.programs import program

ROOT = Path(__file__).parents[2]
RULES = ROOT / "etc" / "prometheus-rules.yml"
TESTS = ROOT / "tests" / "prometheus" / "rules.test.yml"
DASHBOARD = json.loads((ROOT / "etc" / "grafana-dashboard.json").read_text())
MASTER: MasterStatus = {
    "pid": 1, "version": "1", "phase": "running", "started": 0.0, "pools": {}, "workers": [], "children": {},
    "restarts": {}, "counters": {},
}  # fmt: skip


def exported() -> dict[str, set[str]]:
    """The labels of each series of the exporter, by its full name."""
    snapshot = Snapshot(MASTER, 0.0, None, False, {}, Counter())
    tree = Tree([ChannelConfig("root", 4)])
    labels: dict[str, set[str]] = {}
    for family in metrics.families(tree, ChannelLabels(["root"]), snapshot, {"one": []}, {"master": 1}):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


SERIES = exported()


def expressions() -> list[tuple[str, str]]:
    """Every query of the rules and the dashboard, with its place."""
    rules = re.findall(r"^\s+(?:expr: (?!>)|  )(\S.*queuemaster_.*)$", RULES.read_text(), re.MULTILINE)
    panels = [
        (panel["title"], target["expr"])
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())
    ]
    return [*(("rules", rule) for rule in rules), *panels]


@pytest.mark.parametrize(("where", "expression"), expressions())
def test_each_asks_for_what_there_is(where: str, expression: str) -> None:
    named = re.findall(r"(queuemaster_\w+)(?:\{([^}]*)\})?", expression)
    assert named, where
    for name, matchers in named:
        assert name in SERIES, f"{where}: no metric {name}"
        labels = set(re.findall(r"(\w+)\s*[=!]~?", matchers or "")) - {"instance"}
        assert labels <= SERIES[name], f"{where}: {name} has no label {labels - SERIES[name]}"
    grouped = {
        word for words in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression) for word in words.split(", ")
    }
    assert grouped - {"instance"} <= set.union(*(SERIES[name] for name, _ in named)), where


def test_nothing_is_forgotten() -> None:
    """The dashboard shows every metric."""
    text = json.dumps(DASHBOARD)
    plain = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in SERIES}
    assert [name for name in sorted(plain) if name not in text] == []


def test_the_dashboard_can_be_imported_anywhere() -> None:
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    sources = {panel["datasource"]["uid"] for panel in panels if panel["type"] != "row"}
    assert sources == {"${datasource}"}, "the dashboard names a data source of one machine"
    cells = Counter(
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    )
    assert cells.most_common(1)[0][1] == 1, "panels overlap"
    assert max(x for x, _ in cells) < 24


def test_every_alert_is_tested_and_says_what_to_do() -> None:
    alerts = re.findall(r"^\s+- alert: (\w+)$", RULES.read_text(), re.MULTILINE)
    assert len(alerts) > 8
    page = (ROOT / "docs" / "monitoring.md").read_text()
    assert sorted(re.findall(r"`(Queuemaster\w+)`", page)) == sorted(alerts)
    tested = TESTS.read_text()
    assert [name for name in alerts if tested.count(f"alertname: {name}") < 2] == [], (
        "each alert needs a test in which it fires and one in which it does not"
    )
    for block in RULES.read_text().split("- alert: ")[1:]:
        for part in ("severity: ", "summary: ", "action: "):
            assert part in block, block.splitlines()[0]


@pytest.mark.parametrize("arguments", [("check", "rules", RULES), ("test", "rules", TESTS)])
def test_promtool_agrees(arguments: tuple[str | Path, ...]) -> None:
    result = subprocess.run(
        [program("promtool", "prometheus"), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
