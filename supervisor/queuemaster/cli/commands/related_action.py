"""``queuemaster related-action``: what a person can open from a job, as the application defines it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

import queuejobs.worker
from queuejobs.store.jobs import by_uuid
from queuemaster.cli.databases import opened, require_native
from queuemaster.cli.flags import compiled, configured, databases_option
from queuemaster.cli.output import Failure, Refusal, print_json, warn
from queuemaster.cli.targets import target_databases
from queuemaster.config.compiled import DatabaseConfig, Settings
from queuemaster.config.dsn import describe

_BOOTSTRAP = Path(queuejobs.worker.__file__).with_name("bootstrap.py")


@click.command("related-action")
@click.argument("uuid")
@databases_option
@configured
@click.option(
    "--app", metavar="MODULE", multiple=True, help="A module that registers the models; repeatable."
)
@click.option("--python", metavar="PATH", help="The application's interpreter. Default: this one.")
@click.option("--json", "as_json", is_flag=True, help="The output is JSON in any case.")
def related_action(
    uuid: str, file: Path | None, assignments: tuple[str, ...], database: tuple[str, ...],
    app: tuple[str, ...], python: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Run the related action of a job in the application's interpreter; print what it returns as JSON.

    null: there is nothing to open.
    """
    configuration = compiled(file, assignments, {"database": database, "app": app, "python": python})
    warn(configuration.warnings)
    if configuration.settings.odoo:
        raise Refusal("the related action of a job of Odoo's is opened in Odoo: the button on the job's form")
    with target_databases(configuration) as databases:
        for config in databases:
            if _has(config, uuid):
                print_json(_ask(configuration.settings, config, uuid))
                return
    where = ", ".join(describe(config) for config in databases)
    raise Failure(f"no job has the uuid {uuid} in {where}")


def _has(database: DatabaseConfig, uuid: str) -> bool:
    with opened(database) as connection:
        require_native(database, connection)
        with connection.cursor() as cursor:
            return bool(by_uuid(cursor, [uuid]))


def _ask(settings: Settings, database: DatabaseConfig, uuid: str) -> Any:
    """The action, from the application's interpreter. The DSN goes through a pipe, since ps shows arguments."""
    python = settings.python or sys.executable
    request = json.dumps({"dsn": database.dsn, "uuid": uuid, "app": settings.app})
    receive, send = os.pipe()
    with os.fdopen(receive) as stream:
        try:
            try:
                process = subprocess.Popen(
                    [python, str(_BOOTSTRAP), "related-action", str(send)],
                    stdin=subprocess.PIPE, stdout=sys.__stderr__, pass_fds=[send], text=True,
                )  # fmt: skip
            finally:
                os.close(send)
        except OSError as error:
            raise Refusal(
                f"the application's interpreter {python} cannot be started: {error.strerror}"
            ) from error
        with process:
            assert process.stdin is not None
            process.stdin.write(request)
            process.stdin.close()
            text = stream.read()
    if not text:
        raise Failure(
            f"the application's interpreter {python} ended with code {process.returncode}, without an answer"
        )
    answer: dict[str, Any] = json.loads(text)
    if "error" in answer:
        raise Failure(answer["error"])
    return answer["action"]
