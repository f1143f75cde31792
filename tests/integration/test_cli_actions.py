"""``queuemaster jobs requeue|cancel|done|purge`` and ``related-action``, on a real PostgreSQL."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import queuemaster.cli.output
from queuemaster.config.compiled import ServerPlan
from support.commands import invoke
from support.postgres import new_database
from support.rows import Session, WorkerSession


def document(*arguments: str) -> Any:
    result = invoke(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def states(session: Session) -> dict[str, int]:
    return dict(session.rows("select state, count(*) from queuemaster.queue_job group by 1"))


# by name


@pytest.mark.parametrize(
    ("action", "before", "after", "message"),
    [
        ("requeue", "failed", "pending", "1 jobs requeued"),
        ("cancel", "pending", "cancelled", "1 jobs cancelled"),
        ("done", "failed", "done", "1 jobs set to done"),
    ],
)
def test_a_job_by_its_uuid(
    database: str, session: Session, action: str, before: str, after: str, message: str
) -> None:
    session.add(before, uuid="this")
    session.add(before, uuid="another")
    result = invoke("jobs", action, "this", "--database", database)
    assert (result.exit_code, result.stdout) == (0, message + "\n"), result.stderr
    assert states(session) == {before: 1, after: 1}


def test_what_cannot_be_is_said_and_the_rest_is_done(database: str, session: Session) -> None:
    session.add("done", uuid="finished")
    session.add("pending", uuid="ready")
    result = invoke("jobs", "cancel", "finished", "nobody", "ready", "--database", database)
    assert result.exit_code == 1
    assert result.stdout == "1 jobs cancelled\n"
    assert "job finished is done: " in result.stderr
    assert "no job has the uuid nobody in " in result.stderr
    assert states(session) == {"done": 1, "cancelled": 1}


def test_a_running_job_is_not_waited_for(database: str) -> None:
    worker = WorkerSession(database)
    worker.start(worker.add(uuid="running"))
    answer = document("jobs", "cancel", "running", "--database", database)
    assert (answer["changed"], answer["stopping"], answer["refused"]) == (0, 1, 0)
    assert answer["jobs"][0]["state"] == "started"
    result = invoke("jobs", "cancel", "running", "--database", database)
    assert result.stdout == "0 jobs cancelled; 1 running jobs are being stopped\n"
    worker.connection.close()


def test_a_job_is_found_in_whichever_database_it_is(
    database: str, session: Session, server: ServerPlan, template: str
) -> None:
    with new_database(server, template) as other_database:
        other_session = Session(other_database)
        other_session.add("failed", uuid="there")
        answer = document("jobs", "requeue", "there", "--database", database, "--database", other_database)
        assert answer["changed"] == 1
        assert states(other_session) == {"pending": 1}
        other_session.connection.close()


# by state


def fill(session: Session) -> None:
    for channel in ("root", "root.mail", "root.mail.bulk", "root.mailing"):
        for state in ("failed", "done"):
            session.add(state, channel=channel)


def test_all_in_a_state_of_a_channel_and_below_it(database: str, session: Session) -> None:
    fill(session)
    answer = document("jobs", "requeue", "--state", "failed", "--channel", "mail", "--database", database)
    assert answer == {"action": "requeue", "changed": 2, "stopping": 0, "refused": 0}
    assert states(session) == {"failed": 2, "pending": 2, "done": 4}
    assert (
        invoke("jobs", "done", "--state", "failed", "--database", database).stdout == "2 jobs set to done\n"
    )
    assert states(session) == {"pending": 2, "done": 6}


@pytest.mark.parametrize(("answer", "remaining"), [("n\n", 4), ("y\n", 0)])
def test_a_terminal_is_asked(
    database: str, session: Session, answer: str, remaining: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(session)

    class Terminal:
        def __getattr__(self, name: str) -> Any:
            return getattr(sys, name)

        @property
        def stdin(self) -> Any:
            sys.stdin.isatty = lambda: True  # type: ignore[method-assign]
            return sys.stdin

    monkeypatch.setattr(queuemaster.cli.output, "sys", Terminal())
    result = invoke("jobs", "requeue", "--state", "failed", "--database", database, stdin=answer)
    assert "requeue: 4 jobs that are failed. Go on?" in result.stderr
    assert result.exit_code == (1 if remaining else 0)
    assert states(session).get("failed", 0) == remaining
    fill(session)
    assert invoke("jobs", "requeue", "--state", "failed", "--yes", "--database", database).exit_code == 0
    assert "failed" not in states(session)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "name the jobs by UUID, or all in a state"),
        (["one", "--state", "failed"], "one of the two"),
        (["--channel", "mail"], "expected --state as well"),
        (["--state", "pending"], "'pending' is not one of"),
    ],
)
def test_a_selection_that_is_none(database: str, arguments: list[str], expected: str) -> None:
    result = invoke("jobs", "requeue", *arguments, "--database", database)
    assert result.exit_code == 2
    assert expected in result.stderr


# purge


def old(session: Session, days: float, state: str, **columns: Any) -> int:
    job = session.add(state, **columns)
    session.rows(
        "update queuemaster.queue_job set date_created = queuemaster.utc_now() - make_interval(secs => %s),"
        " date_done = queuemaster.utc_now() - make_interval(secs => %s) where id = %s",
        *(days * 86400 + 10, days * 86400, job),
    )
    return job


def test_purge_by_the_configured_retention(database: str, session: Session) -> None:
    for state in ("done", "cancelled", "failed", "pending"):
        for days in (40, 20):
            old(session, days, state)
    assert document("jobs", "purge", "--database", database) == {"removed": 2}
    assert Counter(states(session)) == {"done": 1, "cancelled": 1, "failed": 2, "pending": 2}
    configured = ["--set", "retention=1d", "--set", "failed_retention=30d"]
    assert invoke("jobs", "purge", "--database", database, *configured).stdout == "3 jobs removed\n"
    assert states(session) == {"failed": 1, "pending": 2}


def test_purge_by_the_retention_of_channels(database: str, session: Session) -> None:
    for channel in ("root", "root.audit.deep", "root.mail"):
        for state in ("done", "failed"):
            old(session, 40, state, channel=channel)
    configured = ["--set", "channels=root:1, audit:1:retention=0, mail:1:retention=50d:failed_retention=10d"]
    assert document("jobs", "purge", "--database", database, "--channel", "audit", *configured) == {
        "removed": 0
    }
    assert document("jobs", "purge", "--database", database, *configured) == {"removed": 2}
    query = (
        "select channel, state from queuemaster.queue_job where channel <> 'root.audit.deep' order by 1, 2"
    )
    assert session.rows(query) == [("root", "failed"), ("root.mail", "done")]


def test_purge_what_is_named(database: str, session: Session) -> None:
    for channel in ("root", "root.mail", "root.mail.bulk"):
        for state in ("done", "failed"):
            old(session, 2, state, channel=channel)
    arguments = ["jobs", "purge", "--database", database, "--older-than"]
    assert document(*arguments, "3d") == {"removed": 0}
    assert document(*arguments, "36h", "--state", "failed", "--channel", "mail") == {"removed": 2}
    assert document(*arguments, "36h") == {"removed": 3}
    assert states(session) == {"failed": 1}
    refused = invoke("jobs", "purge", "--state", "failed", "--database", database)
    assert refused.exit_code == 2
    assert "say how old with --older-than" in refused.stderr
    wrong = invoke(*arguments, "soon")
    assert wrong.exit_code == 2
    assert "expected a duration" in wrong.stderr


# related actions

APPLICATION = """
from queuejobs import Model, Queue, job_function
print("an application may print at import")

class Shop(Model):
    _name = "shop"

    @job_function(related_action={"func_name": "open_shop", "kwargs": {"name": "Shop"}})
    def sell(self): ...

    @job_function(related_action={"enable": False})
    def hide(self): ...

    @job_function(related_action={"func_name": "explode"})
    def burn(self): ...

    def explode(self):
        raise ZeroDivisionError("by zero")

    def close(self): ...

class Jobs(Queue):
    def open_shop(self, name):
        return {"name": name, "job": self.uuid, "ids": self.records.ids, "user": self.records.env.user_id}
"""


@pytest.fixture
def shop(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "shop.py").write_text(APPLICATION)
    monkeypatch.chdir(tmp_path)
    records = '{"_type": "odoo_recordset", "model": "shop", "ids": [7, 8], "uid": 3, "su": false}'
    for method in ("sell", "hide", "burn", "close"):
        session.add(uuid=method, model_name="shop", method_name=method, records=records)
    return "shop"


def related(database: str, uuid: str, *options: str) -> Result:
    return invoke("related-action", uuid, "--database", database, *options)


def test_a_related_action_is_run_in_the_applications_interpreter(database: str, shop: str) -> None:
    result = related(database, "sell", "--app", shop, "--python", sys.executable)
    assert json.loads(result.stdout) == {"name": "Shop", "job": "sell", "ids": [7, 8], "user": 3}
    assert "shop" not in sys.modules, "the command does not import the application"
    assert json.loads(related(database, "close", "--app", shop).stdout)["domain"] == [["id", "in", [7, 8]]]
    assert json.loads(related(database, "hide", "--app", shop).stdout) is None


def test_what_can_go_wrong_with_a_related_action(database: str, shop: str) -> None:
    for uuid, options, code, message in (
        ("burn", ["--app", shop], 1, "related action of job burn failed: ZeroDivisionError: by zero"),
        ("sell", ["--app", "absent"], 1, "module absent cannot be imported: ModuleNotFoundError"),
        ("sell", [], 1, "no model 'shop' is registered"),
        ("sell", ["--app", shop, "--python", "/nowhere/python"], 2, "/nowhere/python cannot be started"),
        ("nobody", ["--app", shop], 1, "no job has the uuid nobody"),
    ):
        result = related(database, uuid, *options)
        assert result.exit_code == code, result.stderr
        assert message in result.stderr
        assert result.stdout == ""
