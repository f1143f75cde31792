"""Where the configuration comes from: flags, environment, one INI file, defaults, in this order.

Every value keeps its source: ``check`` shows it, an error names it. Only the command line imports this module; the
other processes get the plain ``compiled.Settings``.
"""

from __future__ import annotations

import configparser
import difflib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from queuemaster.channels import Parsed
from queuemaster.config import odoo_conf, paths
from queuemaster.config.compiled import DatabaseConfig, Settings
from queuemaster.config.dsn import MASK, mask_dsn
from queuemaster.config.odoo_conf import OdooFile
from queuemaster.config.option_values import SECRETS, ConfigurationError, OptionText, OptionValue
from queuemaster.config.options import ALIASES, OF_OCA, Options

SECTION = "queue_job"
PREFIX = "QUEUEMASTER_"
OCA_PREFIX = "ODOO_QUEUE_JOB_"
# variables that are no options: the embedded server reads them
_OTHER_VARIABLES = frozenset((f"{PREFIX}PG_BINDIR", f"{PREFIX}DATA_DIR"))
_BY_OCA = ("channels",)
_SHADOW_WITHOUT_ODOO = (
    "option shadow: there is no other runner to compare with; expected Odoo's configuration file (-c odoo.conf,"
    " with its section [options]), and no app"
)


@dataclass(frozen=True)
class Compiled:
    """The whole configuration, checked."""

    settings: Settings
    off: bool  # root:0: there is nothing to run
    values: tuple[OptionValue, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()  # beside Odoo: nothing to change, but worth knowing
    # False beside Odoo when no source has the option channels: the addon's runner then reads limits in its forms, which
    # we do not
    channels_given: bool = True


@dataclass
class _Collected:
    """What the sources say: the strongest text of each option, and what is odd or wrong about the rest."""

    options: dict[str, OptionText] = field(default_factory=dict)
    # options of the addon's runner that are none of ours
    addon: dict[str, OptionText] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    channels_given: bool = True  # False: they come from max_capacity, or from nowhere

    def add_source(self, texts: Iterable[OptionText]) -> None:
        """All options of one source; they replace those of weaker sources, hence the weakest source comes first."""
        names: dict[str, OptionText] = {}
        for written in texts:
            option = ALIASES.get(written.option, written.option)
            first = names.setdefault(option, written)
            if first.option != written.option:
                self.problems.append(
                    f"options {first.option} (from {first.source}) and {written.option} (from {written.source}) are two"
                    f" names of one option; expected {option} alone"
                )
            self._add(replace(written, option=option))

    def _add(self, text: OptionText) -> None:
        if text.option in Options.model_fields:
            self.options[text.option] = text
        elif text.option in OF_OCA:
            self.addon[text.option] = text
        else:
            self.warnings.append(
                f"unknown option {text.option} (from {text.source}), ignored; {nearest(text.option)}"
            )


def nearest(option: str) -> str:
    """``did you mean …?`` for an unknown option, or all options there are."""
    close = difflib.get_close_matches(
        option.lower().replace("-", "_"), sorted([*Options.model_fields, *ALIASES]), n=1
    )
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(Options.model_fields)}"


def compile_settings(
    file: Path | None, flags: Mapping[str, str], assignments: Sequence[str], environ: Mapping[str, str]
) -> Compiled:
    """Read all sources and check them.

    ``file``: the INI file, None if none is named. ``flags``: option → text of the flags of its own name.
    ``assignments``: ``OPTION=VALUE`` of ``--set``. Raises :class:`ConfigurationError` with everything that is wrong.
    """
    collected = _Collected()
    sections = _read_file(file, collected.problems) if file is not None else {}
    readable = not collected.problems
    collected.add_source(_texts_of_file(file, sections))
    collected.add_source(_texts_of_environment(environ))
    collected.add_source(_texts_of_assignments(assignments, flags, collected.problems))
    collected.add_source(
        OptionText(option, text, f"--{option.replace('_', '-')}") for option, text in flags.items()
    )
    odoo = _odoo_of(file, sections, collected)
    if odoo is not None:
        collected.problems += odoo.problems()
        collected.channels_given = "channels" in collected.options
        for text in (*odoo.limits(), odoo.capacity()):
            if text is not None:
                collected.options.setdefault(text.option, text)
    elif readable:
        collected.warnings += _odd_without_odoo(file, sections, collected)
    options = _validate(collected)
    if options is not None:
        collected.problems += options.http_problems()
    if options is None or collected.problems:
        raise ConfigurationError(collected.problems)
    if not options.pidfile:
        options = options.model_copy(update={"pidfile": str(default_pidfile(environ))})
    if odoo is not None:
        return _beside_odoo(options, odoo, collected, environ)
    if options.shadow:
        raise ConfigurationError([_SHADOW_WITHOUT_ODOO])
    warnings = [*collected.warnings, *(f"channel {text}" for text in options.channels.warnings)]
    values = _values(options, collected.options)
    return Compiled(options.settings(), options.channels.off, values, tuple(warnings))


def _odoo_of(
    file: Path | None, sections: Mapping[str, Mapping[str, str]], collected: _Collected
) -> OdooFile | None:
    """Odoo's file, when its databases are served: it has Odoo's section, and no app names a native queue."""
    app = collected.options.get("app")
    if file is None or odoo_conf.SECTION not in sections or (app is not None and app.text.strip()):
        return None
    return OdooFile(file.absolute(), sections[odoo_conf.SECTION], collected.addon)


def _odd_without_odoo(
    file: Path | None, sections: Mapping[str, Mapping[str, str]], collected: _Collected
) -> list[str]:
    """Warnings for a native queue: options that only the addon has, a file that says nothing."""
    odd = [
        f"option {text.option} (from {text.source}) {OF_OCA[text.option]}"
        for text in collected.addon.values()
    ]
    if file is not None and SECTION not in sections:
        odd.insert(0, f"configuration file {file} has no section [{SECTION}]: nothing was read")
    return odd


def _beside_odoo(
    options: Options, odoo: OdooFile, collected: _Collected, environ: Mapping[str, str]
) -> Compiled:
    """Complete what Odoo's file leaves open: its interpreter, the databases."""
    texts, warnings, discovery = dict(collected.options), list(collected.warnings), None
    if not options.python:
        python = odoo_conf.interpreter(environ.get("PATH"), options.odoo_path)
        if python is not None:
            texts["python"] = python
            options = options.model_copy(update={"python": python.text})
    named = odoo.named()
    if options.database:
        databases = odoo.on_its_server(options.database)
    elif named is not None:
        databases = odoo.databases()
        texts["database"] = named
    else:
        databases = ()
        discovery, discovery_warnings = odoo.discovery()
        warnings += discovery_warnings
        texts["database"] = OptionText("database", "", "asked of the server: all that the user owns")
    problems = odoo_conf.ambiguous(databases)
    if problems:
        raise ConfigurationError(problems)
    options = options.model_copy(update={"database": databases})
    settings = replace(options.settings(), odoo=str(odoo.path), discovery=discovery)
    warnings += odoo.warnings(environ)
    warnings += [f"channel {text}" for text in options.channels.warnings]
    values = (*_values(options, texts), *odoo.values())
    notes = _notes_beside_odoo(texts, collected)
    return Compiled(settings, options.channels.off, values, tuple(warnings), notes, collected.channels_given)


def _notes_beside_odoo(texts: Mapping[str, OptionText], collected: _Collected) -> tuple[str, ...]:
    """Options that have no use, or another one than usual, where Odoo's databases are served."""
    unused = [
        f"option {text.option} (from {text.source}) {OF_OCA[text.option]}"
        for text in collected.addon.values()
        if text.option not in odoo_conf.RUNNER and (text.option != "max_capacity" or collected.channels_given)
    ]
    retentions = [
        f"option {name} (from {texts[name].source}) counts for queuemaster jobs purge only: Odoo's own scheduled action"
        " removes old jobs"
        for name in ("retention", "failed_retention")
        if name in texts
    ]
    return (*unused, *retentions)


def default_pidfile(environ: Mapping[str, str]) -> Path:
    """Root: ``/run/queuemaster.pid``; others: under ``$XDG_RUNTIME_DIR``, else beside the embedded data."""
    if os.geteuid() == 0:
        # not root's XDG_RUNTIME_DIR: a service does not have it, a login shell does, and they must agree
        return Path("/run/queuemaster.pid")
    if environ.get("XDG_RUNTIME_DIR"):
        return Path(environ["XDG_RUNTIME_DIR"], "queuemaster.pid")
    return paths.default_data_dir().with_name("queuemaster.pid")


def _read_file(file: Path, problems: list[str]) -> dict[str, dict[str, str]]:
    """The sections of the file; what is wrong with it goes to ``problems``."""
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


def _texts_of_file(file: Path | None, sections: Mapping[str, Mapping[str, str]]) -> Iterator[OptionText]:
    for name, text in sections.get(SECTION, {}).items():
        # an alias is told apart from an option of Odoo's own section
        yield OptionText(name, text, f"{file} [{SECTION}] {name}" if name in ALIASES else str(file))


def _texts_of_environment(environ: Mapping[str, str]) -> Iterator[OptionText]:
    """An empty variable counts as not set: that is how compose files and units pass on what is missing."""
    for variable in sorted(environ):  # ODOO_ before QUEUEMASTER_: ours is stronger
        text = environ[variable]
        if not text:
            continue
        if variable.startswith(OCA_PREFIX):
            name = variable[len(OCA_PREFIX) :].lower()
            if name in _BY_OCA or name in OF_OCA:
                yield OptionText(name, text, f"environment {variable}")
        elif variable.startswith(PREFIX) and variable not in _OTHER_VARIABLES:
            yield OptionText(variable[len(PREFIX) :].lower(), text, f"environment {variable}")


def _texts_of_assignments(
    assignments: Sequence[str], flags: Mapping[str, str], problems: list[str]
) -> Iterator[OptionText]:
    for assignment in assignments:
        before, equals, text = assignment.partition("=")
        name = before.strip().replace("-", "_")
        if not equals or not name:
            problems.append(f"--set {assignment!r}: expected OPTION=VALUE")
        elif name not in Options.model_fields and name not in ALIASES:
            problems.append(f"--set {name}: unknown option; {nearest(name)}")
        elif name in flags:
            problems.append(f"option {name}: given by --set and by a flag of its own; expected one")
        else:
            yield OptionText(name, text, f"--set {name}")


def _validate(collected: _Collected) -> Options | None:
    """The options; None, and all problems noted, when a text is not accepted."""
    texts = collected.options
    try:
        return Options.model_validate({option: text.text for option, text in texts.items()})
    except ValidationError as error:
        for detail in error.errors():
            text = texts[str(detail["loc"][0])]
            reason = detail.get("ctx", {}).get("error", detail["msg"])
            collected.problems.append(
                f"option {text.option} = {text.shown()!r} (from {text.source}): {reason}"
            )
    return None


def _values(options: Options, texts: Mapping[str, OptionText]) -> tuple[OptionValue, ...]:
    """Every option with the value in force, defaults included."""
    values = []
    for option, description in Options.model_fields.items():
        source = texts[option].source if option in texts else "default"
        shown = _shown(getattr(options, option))
        if option in SECRETS and shown:
            shown = MASK
        if option == "channels" and option in texts:
            shown = texts[option].text
        values.append(OptionValue(option, shown, source, description.description or ""))
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
