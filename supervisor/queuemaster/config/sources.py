"""Where the configuration comes from: flags, environment, one INI file, defaults, in this order.

Every value keeps its source, so that ``check`` can show it and an error can name it. Only the command line
imports this; the other processes get the plain ``compiled.Settings``.
"""

from __future__ import annotations

import configparser
import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from queuemaster.channels import Parsed
from queuemaster.config import odoo_conf, paths
from queuemaster.config.compiled import DatabaseConfig, Settings
from queuemaster.config.dsn import MASK, mask_dsn
from queuemaster.config.odoo_conf import OdooFile
from queuemaster.config.option_values import SECRETS, ConfigurationError, Given, Value
from queuemaster.config.options import OF_OCA, Options

SECTION = "queue_job"
PREFIX = "QUEUEMASTER_"
OCA_PREFIX = "ODOO_QUEUE_JOB_"
# read by other parts, hence no options: the directory of PostgreSQL's programs
_OTHER_VARIABLES = frozenset((f"{PREFIX}PG_BINDIR", f"{PREFIX}DATA_DIR"))
_BY_OCA = ("channels",)
_SHADOW_OF_NOBODY = (
    "option shadow: there is no other runner to compare with; expected Odoo's configuration file (-c odoo.conf,"
    " with its section [options]), and no app"
)


@dataclass(frozen=True)
class Compiled:
    """The whole configuration, checked."""

    settings: Settings
    off: bool  # root:0: there is nothing to run
    values: tuple[Value, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()  # beside Odoo: what is right as it is, and worth knowing
    channels_given: bool = True  # False beside Odoo: the addon's runner may take them from its forms then


@dataclass
class _Collected:
    """What the sources said: the strongest value of each option, and what is odd about the others."""

    given: dict[str, Given] = field(default_factory=dict)
    oca: dict[str, Given] = field(default_factory=dict)  # options of the addon's runner that are none of ours
    warnings: list[str] = field(default_factory=list)
    channels_given: bool = True  # by somebody, not made of max_capacity

    def add(self, option: str, text: str, source: str) -> None:
        """A value; it replaces that of a weaker source, hence the weakest come first."""
        if option in Options.model_fields:
            self.given[option] = Given(option, text, source)
        elif option in OF_OCA:
            self.oca[option] = Given(option, text, source)
        else:
            self.warnings.append(f"unknown option {option} (from {source}), ignored; {nearest(option)}")


def nearest(option: str) -> str:
    """``did you mean …?`` for an unknown option, or all there are."""
    known = sorted(Options.model_fields)
    close = difflib.get_close_matches(option.lower().replace("-", "_"), known, n=1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(Options.model_fields)}"


def compile_settings(
    file: Path | None, flags: Mapping[str, str], assignments: Sequence[str], environ: Mapping[str, str]
) -> Compiled:
    """Read all sources and check them.

    ``file``: the INI file, None if none is named. ``flags``: option → text of the flags of its own name.
    ``assignments``: ``OPTION=VALUE`` of ``--set``. Raises :class:`ConfigurationError` with all that is wrong.
    """
    collected = _Collected()
    problems: list[str] = []
    sections = _read_file(file, problems) if file is not None else {}
    for option, text in sections.get(SECTION, {}).items():
        collected.add(option, text, str(file))
    _read_environment(environ, collected)
    _read_assignments(assignments, flags, collected, problems)
    for option, text in flags.items():
        collected.add(option, text, f"--{option.replace('_', '-')}")
    odoo = _odoo_of(file, sections, collected)
    if odoo is None:
        collected.warnings += _odd_without_odoo(file, sections, collected, bool(problems))
    else:
        problems += odoo.problems()
        collected.channels_given = "channels" in collected.given
        for given in (*odoo.limits(), odoo.capacity()):
            if given is not None:
                collected.given.setdefault(given.option, given)
    options = _validate(collected.given, problems)
    if options is not None:
        problems += options.http_problems()
    if options is None or problems:
        raise ConfigurationError(problems)
    if not options.pidfile:
        options = options.model_copy(update={"pidfile": str(default_pidfile(environ))})
    if odoo is not None:
        return _beside_odoo(options, odoo, collected, environ)
    if options.shadow:
        raise ConfigurationError([_SHADOW_OF_NOBODY])
    warnings = [*collected.warnings, *(f"channel {text}" for text in options.channels.warnings)]
    values = _values(options, collected.given)
    return Compiled(options.settings(), options.channels.off, values, tuple(warnings))


def _odoo_of(
    file: Path | None, sections: Mapping[str, Mapping[str, str]], collected: _Collected
) -> OdooFile | None:
    """Beside Odoo we are when the file is Odoo's, and no application is named whose queue is meant."""
    app = collected.given.get("app")
    if file is None or odoo_conf.SECTION not in sections or (app is not None and app.text.strip()):
        return None
    return OdooFile(file.absolute(), sections[odoo_conf.SECTION], collected.oca)


def _odd_without_odoo(
    file: Path | None, sections: Mapping[str, Mapping[str, str]], collected: _Collected, unread: bool
) -> list[str]:
    odd = [f"option {one.option} (from {one.source}) {OF_OCA[one.option]}" for one in collected.oca.values()]
    if file is not None and SECTION not in sections and not unread:
        odd.insert(0, f"configuration file {file} has no section [{SECTION}]: nothing was read")
    return odd


def _beside_odoo(
    options: Options, odoo: OdooFile, collected: _Collected, environ: Mapping[str, str]
) -> Compiled:
    """Complete what Odoo's file leaves open: its interpreter, the databases."""
    given, warnings, discovery = dict(collected.given), list(collected.warnings), None
    if not options.python:
        found = odoo_conf.interpreter(environ.get("PATH"), options.odoo_path)
        if found is not None:
            given["python"] = found
            options = options.model_copy(update={"python": found.text})
    named = odoo.named()
    if options.database:
        databases = odoo.located(options.database)
    elif named is not None:
        databases = odoo.databases()
        given["database"] = named
    else:
        databases = ()
        discovery, said = odoo.discovery()
        warnings += said
        given["database"] = Given("database", "", "asked of the server: all that the user owns")
    problems = odoo_conf.ambiguous(databases)
    if problems:
        raise ConfigurationError(problems)
    options = options.model_copy(update={"database": databases})
    settings = replace(options.settings(), odoo=str(odoo.path), discovery=discovery)
    notes = [
        f"option {one.option} (from {one.source}) {OF_OCA[one.option]}"
        for one in collected.oca.values()
        if one.option not in odoo_conf.RUNNER and (one.option != "max_capacity" or collected.channels_given)
    ]
    notes += [
        f"option {name} (from {given[name].source}) counts for queuemaster jobs purge only: Odoo's own scheduled action"
        " removes old jobs"
        for name in ("retention", "failed_retention")
        if name in given
    ]
    warnings += odoo.warnings(environ)
    warnings += [f"channel {text}" for text in options.channels.warnings]
    values = (*_values(options, given), *odoo.values())
    return Compiled(
        settings, options.channels.off, values, tuple(warnings), tuple(notes), collected.channels_given
    )


def default_pidfile(environ: Mapping[str, str]) -> Path:
    """Root: ``/run/queuemaster.pid``; others: under ``$XDG_RUNTIME_DIR``, else beside the embedded data."""
    if os.geteuid() == 0:
        # not root's XDG_RUNTIME_DIR: a service does not have it, a login shell does, and they must agree
        return Path("/run/queuemaster.pid")
    if environ.get("XDG_RUNTIME_DIR"):
        return Path(environ["XDG_RUNTIME_DIR"], "queuemaster.pid")
    return paths.default_data_dir().with_name("queuemaster.pid")


def _read_file(file: Path, problems: list[str]) -> dict[str, dict[str, str]]:
    """Its sections."""
    # no interpolation: a password may contain %. No default section: its keys were not written for us.
    parser = configparser.RawConfigParser(default_section="")
    try:
        parser.read_string(file.read_text(encoding="utf-8-sig"), source=str(file))
    except OSError as error:
        problems.append(f"configuration file {file}: {error.strerror}; expected a readable INI file (-c)")
    except UnicodeDecodeError:
        problems.append(f"configuration file {file}: it is not UTF-8 text; expected an INI file (-c)")
    except configparser.MissingSectionHeaderError as error:
        problems.append(
            f"configuration file {file}, line {error.lineno}: expected a section first: [{SECTION}]"
        )
    except configparser.DuplicateOptionError as error:
        problems.append(f"configuration file {file}, line {error.lineno}: {error.option} is given twice")
    except configparser.DuplicateSectionError as error:
        problems.append(f"configuration file {file}, line {error.lineno}: [{error.section}] is there twice")
    except configparser.ParsingError as error:
        lines = ", ".join(str(number) for number, _ in error.errors)
        problems.append(f"configuration file {file}, line {lines}: expected OPTION = VALUE")
    else:
        return {section: dict(parser.items(section)) for section in parser.sections()}
    return {}


def _read_environment(environ: Mapping[str, str], collected: _Collected) -> None:
    """An empty variable counts as not set: that is how compose files and units pass on what is missing."""
    for variable in sorted(environ):
        if not environ[variable]:
            continue
        if variable.startswith(OCA_PREFIX):
            option = variable[len(OCA_PREFIX) :].lower()
            if option in _BY_OCA or option in OF_OCA:
                collected.add(option, environ[variable], f"environment {variable}")
        elif variable.startswith(PREFIX) and variable not in _OTHER_VARIABLES:
            collected.add(variable[len(PREFIX) :].lower(), environ[variable], f"environment {variable}")


def _read_assignments(
    assignments: Sequence[str], flags: Mapping[str, str], collected: _Collected, problems: list[str]
) -> None:
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        option = name.strip().replace("-", "_")
        if not equals or not option:
            problems.append(f"--set {assignment!r}: expected OPTION=VALUE")
        elif option not in Options.model_fields:
            problems.append(f"--set {option}: unknown option; {nearest(option)}")
        elif option in flags:
            problems.append(f"option {option}: given by --set and by a flag of its own; expected one")
        else:
            collected.add(option, text, f"--set {option}")


def _validate(given: Mapping[str, Given], problems: list[str]) -> Options | None:
    try:
        return Options.model_validate({option: value.text for option, value in given.items()})
    except ValidationError as error:
        for wrong in error.errors():
            value = given[str(wrong["loc"][0])]
            reason = wrong.get("ctx", {}).get("error", wrong["msg"])
            problems.append(f"option {value.option} = {value.shown()!r} (from {value.source}): {reason}")
    return None


def _values(options: Options, given: Mapping[str, Given]) -> tuple[Value, ...]:
    """Every option as it counts, also those that nobody gave."""
    values = []
    for option, description in Options.model_fields.items():
        source = given[option].source if option in given else "default"
        shown = _shown(getattr(options, option))
        if option in SECRETS and shown:
            shown = MASK
        if option == "channels" and option in given:
            shown = given[option].text
        values.append(Value(option, shown, source, description.description or ""))
    return tuple(values)


def _shown(value: Any) -> str | int | float | list[str]:
    if isinstance(value, Parsed):
        return ", ".join(f"{c.name}:{c.capacity}" for c in value.channels)
    if isinstance(value, tuple):
        return [mask_dsn(item.dsn) if isinstance(item, DatabaseConfig) else str(item) for item in value]
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return value
    return str(value)
