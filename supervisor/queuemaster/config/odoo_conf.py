"""Beside Odoo: what its configuration file says that counts for us too.

The section ``[options]`` belongs to Odoo. We take from it where the databases are, which of them, and the limits; what
``[queue_job]`` or the environment say of the same counts more, as for the addon's own runner. Nothing is asked of any
server here: which databases there are, when none is named, is found out by ``config.discovery``.
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
from queuemaster.config.option_values import Given, Value

SECTION = "options"
# Odoo's option → ours; it counts as our default
LIMITS = {
    "limit_memory_soft": "limit_memory_soft",
    "limit_memory_hard": "limit_memory_hard",
    "limit_time_cpu": "limit_time_cpu",
    "limit_time_real": "timeout",
}
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
# A name in the first line of a program says: whatever stands first on PATH.
_ENV = re.compile(r"(?:/usr)?/bin/env")


@dataclass(frozen=True)
class OdooFile:
    """An ``odoo.conf`` and what was said of the runner's connection elsewhere."""

    path: Path
    options: Mapping[str, str]  # the section [options], as it stands there
    runner: Mapping[str, Given]  # what [queue_job] and the environment say that only the addon's runner knows

    def option(self, name: str) -> Given | None:
        """An option of Odoo's, None when it is not set; Odoo writes "False" then."""
        text = self.options.get(name, "").strip()
        return None if text.lower() in _UNSET else Given(name, text, f"{self.path} [{SECTION}] {name}")

    def limits(self) -> list[Given]:
        """Odoo's limits, as options of ours."""
        found = ((ours, self.option(theirs)) for theirs, ours in LIMITS.items())
        return [replace(given, option=ours) for ours, given in found if given is not None]

    def capacity(self) -> Given | None:
        """``max_capacity``, of the addon since 18.0.4: how many jobs at a time, where no channels are given."""
        given = self.runner.get("max_capacity")
        return given and Given("channels", f"root:{given.text.strip()}", given.source)

    def connection(self) -> dict[str, Given]:
        """Where the server is and who connects: the parts that somebody gave, by libpq's names."""
        parts = {}
        for part in _CONNECTION:
            runner = self.runner.get(f"jobrunner_db_{part}")
            given = runner if runner is not None and runner.text.strip() else self.option(f"db_{part}")
            if given is not None:
                parts[part] = given
        return parts

    def values(self) -> list[Value]:
        """What is no option of ours, for people: the connection without its password, and the filter."""
        found = [
            Value(f"db_{part}", MASK if part == "password" else given.text, given.source, _CONNECTION[part])
            for part, given in self.connection().items()
        ]
        pattern = None if self.named() else self.option("dbfilter")
        if pattern is not None:
            meaning = "with what the name of a database begins, when none is named"
            found.append(Value("dbfilter", pattern.text, pattern.source, meaning))
        return found

    def problems(self) -> list[str]:
        """What is wrong with all this."""
        found = []
        port = self.connection().get("port")
        if port is not None and not port.text.isdecimal():
            found.append(
                f"option {port.option} = {port.text!r} (from {port.source}): expected a port's number"
            )
        pattern = self.option("dbfilter")
        if pattern is not None:
            try:
                re.compile(pattern.text)
            except re.error as error:
                found.append(
                    f"option dbfilter = {pattern.text!r} (from {pattern.source}): {error}; expected a regular"
                    " expression, for instance ^sales"
                )
        return found

    def warnings(self, environ: Mapping[str, str]) -> list[str]:
        """Odoo 19 lets libpq's variables override its file, older ones do not: then it is elsewhere than we."""
        return [
            f"environment {variable} is not what {self.path} [{SECTION}] {option} says: Odoo 19 follows the"
            " environment, older ones and queuemaster the file; expected one of them only"
            for variable, option in _OF_LIBPQ.items()
            if (told := environ.get(variable))
            and (given := self.option(option)) is not None
            and given.text != told
        ]

    def dsn(self, name: str) -> str:
        """How to connect to a database of this name."""
        return make_dsn(dbname=name, **{part: given.text for part, given in self.connection().items()})

    def named(self) -> Given | None:
        """The databases that Odoo is told by name, by comma."""
        given = self.option("db_name")
        return given if given is not None and _names(given.text) else None

    def databases(self) -> tuple[DatabaseConfig, ...]:
        """Those of :meth:`named`, by name: whoever wants several leaderships takes them in one order."""
        given = self.named()
        names = [] if given is None else _names(given.text)
        return tuple(DatabaseConfig(name, self.dsn(name)) for name in sorted(set(names)))

    def located(self, databases: Iterable[DatabaseConfig]) -> tuple[DatabaseConfig, ...]:
        """Databases that the option ``database`` names: a bare name lies where Odoo's databases lie."""
        found = (
            DatabaseConfig(each.name, self.dsn(each.name))
            if parse_dsn(each.dsn).keys() == {"dbname"}
            else each
            for each in databases
        )
        return tuple(sorted(found, key=lambda each: each.name))

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
    """What is wrong with databases of one name, on two servers."""
    names = [parse_dsn(each.dsn).get("dbname", each.name) for each in databases]
    return [
        f"option database: there are two of the name {name!r}, and Odoo tells databases apart by nothing else"
        for name in sorted({name for name in names if names.count(name) > 1})
    ]


def interpreter(path: str | None, odoo_path: str) -> Given | None:
    """The interpreter that runs Odoo: the first line of its command says so. None: there is no command.

    ``path``: where commands are looked for. A source tree (``odoo_path``) has a command of its own.
    """
    tree = Path(odoo_path, "odoo-bin") if odoo_path else None
    commands = [str(tree)] if tree is not None and tree.exists() else []
    commands += [found for name in ("odoo", "odoo-bin") if (found := shutil.which(name, path=path))]
    for command in commands:
        found = _of_first_line(Path(command), path)
        if found is not None:
            return Given("python", found, f"the first line of {command}")
    found = shutil.which("python3", path=path)
    return None if found is None else Given("python", found, "python3 on PATH")


def _of_first_line(command: Path, path: str | None) -> str | None:
    try:
        with command.open("rb") as stream:
            line = stream.readline(4096).decode(errors="replace").strip()
        words = shlex.split(line[2:]) if line.startswith("#!") else []
    except (OSError, ValueError):
        return None  # then it says nothing of an interpreter: another command may
    if words and _ENV.fullmatch(words[0]):
        named = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
        return shutil.which(named[0], path=path) if named else None
    return words[0] if words and "python" in Path(words[0]).name and Path(words[0]).exists() else None
