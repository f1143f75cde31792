"""Beside Odoo: whether its interpreter can import it, and the state of its databases."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from queuemaster.cli.databases import with_discovered_databases
from queuemaster.cli.odoo.facts import OdooFacts, facts_of
from queuemaster.cli.output import Refusal, printable
from queuemaster.cli.privileges import acting_as
from queuemaster.config.compiled import DatabaseConfig, Settings
from queuemaster.master.account import Account, UnknownAccount, account

PATIENCE = 60.0  # seconds: before 19 nearly all of Odoo is imported at once

# Importing the package alone proves nothing: installed addons make a namespace package of the same name.
_IMPORT = """
import sys
sys.path[:0] = [path for path in sys.argv[1:] if path]
import psycopg2, odoo.release
print(odoo.release.version)
"""


@dataclass(frozen=True)
class BesideOdoo:
    """The results of ``check`` beside Odoo."""

    settings: Settings  # with the databases that the server has
    version: str  # Odoo's, "" when it cannot be imported
    problems: tuple[str, ...]
    facts: Mapping[str, OdooFacts]  # by database

    def warnings(self, channels_given: bool) -> list[str]:
        """Problems, and advice about the databases."""
        return [*self.problems, *_advice(self.facts, channels_given)]

    def served(self) -> list[DatabaseConfig]:
        """The databases that have a queue."""
        return [database for database in self.settings.databases if not self.facts[database.name].problem]

    def document(self) -> dict[str, Any]:
        """The value of ``odoo`` in ``check --json``."""
        databases = {name: facts.document() for name, facts in self.facts.items()}
        return {"version": self.version or None, "databases": databases}

    def table(self) -> Table:
        """The databases for people."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("database", "state"):
            table.add_column(heading, overflow="fold")
        for name, facts in self.facts.items():
            table.add_row(Text(printable(name)), Text(printable(facts.summary())))
        table.caption = f"Odoo {self.version}" if self.version else None
        return table


def check_odoo(settings: Settings) -> BesideOdoo:
    """Ask the interpreter, the server, and each database."""
    problems: list[str] = []
    version, become = "", None
    try:
        become = account(settings.user, settings.group)
        version = odoo_version(settings, become)
    except (UnknownAccount, Refusal) as problem:
        problems.append(str(problem))
    with acting_as(become):
        try:
            settings = with_discovered_databases(settings)
        except Refusal as refusal:
            problems.append(refusal.message)
        facts = {database.name: facts_of(database) for database in settings.databases}
    return BesideOdoo(settings, version, tuple(problems), facts)


def advice(settings: Settings, channels_given: bool) -> list[str]:
    """Advice about the databases of these settings, as far as they can be reached."""
    with acting_as(account(settings.user, settings.group)):
        return _advice({database.name: facts_of(database) for database in settings.databases}, channels_given)


def _advice(facts: Mapping[str, OdooFacts], channels_given: bool) -> list[str]:
    return [
        warning
        for name, of_database in facts.items()
        for warning in of_database.warnings(name, channels_given)
    ]


def require_odoo(settings: Settings, become: Account | None) -> None:
    """Raise :class:`Refusal` unless the interpreter can import Odoo as the user of the service."""
    # of a missing interpreter require_program has told already
    if not settings.python or shutil.which(settings.python) is not None:
        odoo_version(settings, become)


def odoo_version(settings: Settings, become: Account | None) -> str:
    """Odoo's version, as the application's interpreter says it: "19.0". Raises :class:`Refusal`."""
    command = [settings.python or sys.executable, "-c", _IMPORT, settings.odoo_path]
    environment = {**os.environ, **(become.environment() if become else {})}
    environment.pop("PYTHONSAFEPATH", None)
    try:
        ran = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, env=environment,
            user=become.uid if become else None, group=become.gid if become else None,
            extra_groups=become.groups if become else None, check=False,
        )  # fmt: skip
    except OSError as error:
        raise Refusal(_wrong(settings, f"it cannot be started: {error.strerror}")) from error
    except subprocess.TimeoutExpired as error:
        raise Refusal(_wrong(settings, f"importing Odoo takes longer than {PATIENCE:g} s")) from error
    if ran.returncode != 0:
        last = next(reversed(ran.stderr.strip().splitlines()), f"status {ran.returncode}")
        raise Refusal(_wrong(settings, f"it cannot import Odoo: {last.strip()}"))
    return next(reversed(ran.stdout.strip().splitlines()), "")


def _wrong(settings: Settings, reason: str) -> str:
    tree = f", and odoo_path = {settings.odoo_path!r}" if settings.odoo_path else ""
    return (
        f"option python = {settings.python or sys.executable!r}{tree}: {reason}\n"
        "  expected the interpreter that runs Odoo (python), and for a source tree the directory with odoo-bin"
        " (odoo_path)"
    )
