"""Beside Odoo: the options of its configuration file that we follow too.

The section ``[options]`` belongs to Odoo. It says where the databases are, which of them to serve, and the limits;
``[queue_job]`` and the environment are stronger, as for the addon's own runner. No server is asked here: when no
database is named, ``config.discovery`` finds them.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from psycopg2.extensions import make_dsn, parse_dsn

from queuemaster.config.compiled import DatabaseConfig, Discovery
from queuemaster.config.dsn import MASK
from queuemaster.config.option_values import OptionText, OptionValue
from queuemaster.config.options import ALIASES

SECTION = "options"
# Odoo's option → the option of ours that it is the default of
LIMITS = {**ALIASES, "limit_time_real": "timeout"}
# part of the connection → what it is for
_CONNECTION = {
    "host": "the database server, or the directory of its socket",
    "port": "its port",
    "user": "the user that connects, whose databases are served",
    "password": "its password",
    "sslmode": "whether the connection is encrypted",
}
# options of the addon's runner that count here too
RUNNER = {f"jobrunner_db_{part}": part for part in ("host", "port", "user", "password")}
# libpq's variable → Odoo's option
_OF_LIBPQ = {
    "PGDATABASE": "db_name", "PGHOST": "db_host", "PGPORT": "db_port", "PGUSER": "db_user", "PGPASSWORD": "db_password",
    "PGSSLMODE": "db_sslmode",
}  # fmt: skip
# how Odoo writes an option that is not set
_UNSET = frozenset(("", "false", "none"))
# A first line with env names the interpreter without its directory: it is the first one of that name on PATH.
_ENV = re.compile(r"(?:/usr)?/bin/env")


@dataclass(frozen=True)
class OdooFile:
    """An ``odoo.conf``, and the options of the addon's runner from all sources."""

    path: Path
    options: Mapping[str, str]  # the section [options], as it stands there
    # options of [queue_job] and the environment that only the addon's runner has
    runner: Mapping[str, OptionText]

    def option(self, name: str) -> OptionText | None:
        """One of Odoo's options; None when it is not set, for which Odoo writes "False"."""
        text = self.options.get(name, "").strip()
        return None if text.lower() in _UNSET else OptionText(name, text, f"{self.path} [{SECTION}] {name}")

    def limits(self) -> list[OptionText]:
        """Odoo's limits, as options of ours."""
        limits = ((ours, self.option(theirs)) for theirs, ours in LIMITS.items())
        return [replace(text, option=ours) for ours, text in limits if text is not None]

    def capacity(self) -> OptionText | None:
        """``max_capacity``, which the addon has since 18.0.4: the capacity of root, where no channels are given."""
        text = self.runner.get("max_capacity")
        return text and OptionText("channels", f"root:{text.text.strip()}", text.source)

    def connection(self) -> dict[str, OptionText]:
        """Where the server is and who connects: the parts that are set, by libpq's names."""
        parts = {}
        for part in _CONNECTION:
            runner = self.runner.get(f"jobrunner_db_{part}")
            text = runner if runner is not None and runner.text.strip() else self.option(f"db_{part}")
            if text is not None:
                parts[part] = text
        return parts

    def values(self) -> list[OptionValue]:
        """Options of Odoo's that we follow, for people: the connection without its password, and the filter."""
        values = [
            OptionValue(
                f"db_{part}", MASK if part == "password" else text.text, text.source, _CONNECTION[part]
            )
            for part, text in self.connection().items()
        ]
        pattern = None if self.named() else self.option("dbfilter")
        if pattern is not None:
            meaning = "how the names of the databases begin, when none is named"
            values.append(OptionValue("dbfilter", pattern.text, pattern.source, meaning))
        return values

    def problems(self) -> list[str]:
        """What is wrong in Odoo's section."""
        problems = []
        port = self.connection().get("port")
        if port is not None and not port.text.isdecimal():
            problems.append(
                f"option {port.option} = {port.text!r} (from {port.source}): expected a port number"
            )
        pattern = self.option("dbfilter")
        if pattern is not None:
            try:
                re.compile(pattern.text)
            except re.error as error:
                problems.append(
                    f"option dbfilter = {pattern.text!r} (from {pattern.source}): {error}; expected a regular"
                    " expression, for instance ^sales"
                )
        return problems

    def warnings(self, environ: Mapping[str, str]) -> list[str]:
        """libpq's variables that differ from the file: Odoo 19 follows them, older versions and we do not."""
        return [
            f"environment {variable} is not what {self.path} [{SECTION}] {option} says: Odoo 19 follows the"
            " environment, older ones and queuemaster the file; expected one of them only"
            for variable, option in _OF_LIBPQ.items()
            if environ.get(variable)
            and (text := self.option(option)) is not None
            and text.text != environ[variable]
        ]

    def dsn(self, name: str) -> str:
        """How to connect to a database of this name."""
        return make_dsn(dbname=name, **{part: text.text for part, text in self.connection().items()})

    def named(self) -> OptionText | None:
        """The option with the names of Odoo's databases, by comma."""
        text = self.option("db_name")
        return text if text is not None and _names(text.text) else None

    def databases(self) -> tuple[DatabaseConfig, ...]:
        """Those of :meth:`named`, sorted: dispatchers that serve the same databases compete for them in one order."""
        text = self.named()
        names = [] if text is None else _names(text.text)
        return tuple(DatabaseConfig(name, self.dsn(name)) for name in sorted(set(names)))

    def on_its_server(self, databases: Iterable[DatabaseConfig]) -> tuple[DatabaseConfig, ...]:
        """The databases of the option ``database``; a bare name means a database on Odoo's server."""
        complete = (
            DatabaseConfig(database.name, self.dsn(database.name))
            if parse_dsn(database.dsn).keys() == {"dbname"}
            else database
            for database in databases
        )
        return tuple(sorted(complete, key=lambda database: database.name))

    def discovery(self) -> tuple[Discovery, list[str]]:
        """How the databases are found when none is named, and warnings."""
        pattern, template = self.option("dbfilter"), self.option("db_template")
        warnings = []
        text = "" if pattern is None else pattern.text
        if pattern is not None and re.search("%[hd]", text):
            warnings.append(
                f"option dbfilter = {text!r} (from {pattern.source}) depends on the host of a web request, which no"
                " job has: it is not applied, all databases of this user are served; to serve some, name them with"
                " database"
            )
            text = ""
        return Discovery(self.dsn("postgres"), text, "" if template is None else template.text), warnings


def _names(text: str) -> list[str]:
    return [name for part in text.split(",") if (name := part.strip())]


def ambiguous(databases: Iterable[DatabaseConfig]) -> list[str]:
    """A problem for each name that two databases have, on two servers."""
    names = [parse_dsn(database.dsn).get("dbname", database.name) for database in databases]
    return [
        f"option database: there are two of the name {name!r}, and Odoo tells databases apart by their names only"
        for name in sorted({name for name in names if names.count(name) > 1})
    ]


def interpreter(path: str | None, odoo_path: str) -> OptionText | None:
    """The interpreter that runs Odoo, from the first line of Odoo's command; else ``python3``. None: there is neither.

    ``path``: where commands are looked for. A source tree (``odoo_path``) has a command of its own.
    """
    tree = Path(odoo_path, "odoo-bin") if odoo_path else None
    commands = [str(tree)] if tree is not None and tree.exists() else []
    commands += [command for name in ("odoo", "odoo-bin") if (command := shutil.which(name, path=path))]
    for command in commands:
        python = _of_first_line(Path(command), path)
        if python is not None:
            return OptionText("python", python, f"the first line of {command}")
    python = shutil.which("python3", path=path)
    return None if python is None else OptionText("python", python, "python3 on PATH")


def _of_first_line(command: Path, path: str | None) -> str | None:
    try:
        with command.open("rb") as stream:
            line = stream.readline(4096).decode(errors="replace").strip()
        words = shlex.split(line[2:]) if line.startswith("#!") else []
    except (OSError, ValueError):
        return None  # another command may name an interpreter
    if words and _ENV.fullmatch(words[0]):
        programs = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
        return shutil.which(programs[0], path=path) if programs else None
    return words[0] if words and "python" in Path(words[0]).name and Path(words[0]).exists() else None
