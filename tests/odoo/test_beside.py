"""The supervisor beside Odoo's web workers and the addon's own runner."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any

from support.processes import end_of
from support.realodoo import ADMIN, PATIENCE, Odoo
from support.waiting import wait_until


def test_the_addons_runner_stands_by_takes_over_and_stands_by_again(odoo: Odoo) -> None:
    with odoo.supervised("root:2") as service, odoo.web("root:2"):
        job = odoo.wait_for(odoo.delay("add(1)"), "done")
        assert job["worker_pid"] in [worker.pid for worker in service.children("worker")]
        everything = service.everything()
        for process in everything:
            process.kill()
        killed = time.monotonic()
        assert end_of(everything, PATIENCE) == []
        wait_until(odoo.stock_leads, PATIENCE, "the addon's runner to take over")
        assert time.monotonic() - killed < 10  # the addon's runner asks for the lock every five seconds
        addon_job = odoo.wait_for(odoo.delay("add(2)"), "done", "failed")
        assert addon_job["state"] == "done"
        with odoo.supervised("root:2") as next_service:
            wait_until(
                lambda: "leads db" in next_service.log.split("starting")[-1],
                PATIENCE,
                "our dispatcher to lead again",
            )
            for number in (3, 4):  # it goes on leading, although the addon's runner asks for the lock again
                job = odoo.wait_for(odoo.delay(f"add({number})", eta=6), "done", "failed")
                assert job["worker_pid"] in [worker.pid for worker in next_service.children("worker")]
    assert odoo.effects() == [1, 2, 3, 4]


def test_web_workers_and_jobs_see_each_others_changes(odoo: Odoo) -> None:
    key = "queuemaster.test"  # each process caches a parameter's value
    with odoo.web("root:0"), odoo.supervised("root:1"):
        for round_ in ("first", "second"):
            odoo.wait_for(odoo.delay(f"set_parameter({key!r}, '{round_}, by a job')"), "done")
            # ten calls reach both web workers
            assert {_ask(odoo, "get_param", key) for _ in range(10)} == {f"{round_}, by a job"}
            assert (
                odoo.wait_for(odoo.delay(f"get_parameter({key!r})"), "done")["result"]
                == f"{round_}, by a job"
            )
            _ask(odoo, "set_param", key, f"{round_}, by a person")
            assert (
                odoo.wait_for(odoo.delay(f"get_parameter({key!r})"), "done")["result"]
                == f"{round_}, by a person"
            )


def test_jobs_run_while_people_work(odoo: Odoo) -> None:
    with odoo.web("root:0"), odoo.supervised("root:2"):
        odoo.run("for number in range(100): env['queuemaster.effect'].with_delay().add(number)")
        calls = 0
        while len(odoo.effects()) < 100 and calls < 1000:
            _ask(odoo, "get_param", "web.base.url")
            calls += 1
        odoo.wait_until_drained()
    assert odoo.effects() == list(range(100))
    assert calls > 0


def _ask(odoo: Odoo, method: str, *arguments: str) -> Any:
    """Call a method of ir.config_parameter over HTTP; a web worker answers."""
    call = [odoo.name, ADMIN, "admin", "ir.config_parameter", method, list(arguments)]
    body = {
        "jsonrpc": "2.0",
        "method": "call",
        "params": {"service": "object", "method": "execute_kw", "args": call},
    }
    request = urllib.request.Request(
        f"http://127.0.0.1:{odoo.port}/jsonrpc",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        reply = json.load(answer)
    assert "error" not in reply, reply["error"]["data"]["message"]
    return reply["result"]
