"""Beside what an Odoo has already: its web workers, and the addon's own runner."""

from __future__ import annotations

import time
import urllib.request

from processes import end_of
from realodoo import PATIENCE, Odoo
from waiting import wait_until


def test_the_addons_runner_stands_by_takes_over_and_stands_by_again(odoo: Odoo) -> None:
    with odoo.supervised("root:2") as ours, odoo.web("root:2"):
        ran = odoo.wait_for(odoo.delay("add(1)"), "done")
        assert ran["worker_pid"] in [worker.pid for worker in ours.children("worker")]
        everything = ours.everything()
        for process in everything:
            process.kill()
        killed = time.monotonic()
        assert end_of(everything, PATIENCE) == []
        wait_until(odoo.stock_leads, PATIENCE, "the addon's runner to take over")
        assert time.monotonic() - killed < 10  # it asks for the lock every five seconds
        theirs = odoo.wait_for(odoo.delay("add(2)"), "done", "failed")
        assert theirs["state"] == "done"
        with odoo.supervised("root:2") as again:
            wait_until(lambda: "leads db" in again.log.split("starting")[-1], PATIENCE, "us to lead again")
            for number in (3, 4):  # and it stays so, although it asks again
                ran = odoo.wait_for(odoo.delay(f"add({number})", eta=6), "done", "failed")
                assert ran["worker_pid"] in [worker.pid for worker in again.children("worker")]
    assert odoo.effects() == [1, 2, 3, 4]


def test_web_workers_and_jobs_see_each_others_changes(odoo: Odoo) -> None:
    with odoo.web("root:0"), odoo.supervised("root:2"):
        _login(odoo)
        odoo.wait_for(odoo.delay("set_parameter('web.base.url.freeze', 'by a job')"), "done")
        assert (
            odoo.run("result = env['ir.config_parameter'].sudo().get_param('web.base.url.freeze')")
            == "by a job"
        )
        _login(odoo)


def _login(odoo: Odoo) -> None:
    """A page of a web worker, which needs the registry."""
    with urllib.request.urlopen(f"http://127.0.0.1:{odoo.port}/web/login", timeout=60) as answer:
        assert answer.status == 200
