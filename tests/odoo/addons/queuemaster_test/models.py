"""Jobs of every kind. Each writes its effects as rows of one model."""

import json
import os
import signal
import subprocess
import time

from odoo import fields, models
from odoo.addons.queue_job.exception import FailedJobError, RetryableJobError


class Effect(models.Model):
    _name = "queuemaster.effect"
    _description = "What a job has written"

    number = fields.Integer()
    note = fields.Char()

    def init(self):
        # a sequence is not rolled back, so it counts runs that leave no other trace
        self.env.cr.execute("create sequence if not exists queuemaster_runs")

    def _run_number(self):
        self.env.cr.execute("select nextval('queuemaster_runs')")
        return self.env.cr.fetchone()[0]

    def noop(self):
        return None

    def stamp(self):
        return repr(time.time())

    def add(self, number, note=None):
        self.create({"number": number, "note": note})
        return f"added {number}"

    def on_records(self):
        return f"{self.ids} {self.mapped('number')}"

    def fail(self, number):
        self.create({"number": number})
        raise ValueError("planned failure")

    def note_failure(self, exc_name, exc_message, exc_info):
        self.create({"number": -1, "note": f"{exc_name}: {exc_message}: {'Traceback' in exc_info}"})

    def fail_finally(self):
        raise FailedJobError("no use")

    def again(self, number, until=2, **options):
        self.create({"number": number})
        if self._run_number() < until:
            raise RetryableJobError("not yet", **options)

    def conflict(self, number):
        self.create({"number": number})
        if self._run_number() < 2:
            self.env.cr.execute("do $$ begin raise serialization_failure; end $$")

    def commit_midway(self, number):
        self.create({"number": number})
        self.env.cr.commit()
        self.create({"number": number + 1})

    def where(self):
        env = self.env
        facts = {"uid": env.uid, "su": env.su, "company": env.company.id, "context": dict(env.context)}
        return json.dumps(facts)

    def sleep(self, seconds):
        time.sleep(seconds)

    def sleep_in_sql(self, seconds):
        self.env.cr.execute("select pg_sleep(%s)", (seconds,))

    def spin(self, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                sum(range(10_000))
            except Exception:  # like application code that swallows every exception
                continue

    def eat(self, mebibytes):
        eaten = []
        for _ in range(mebibytes):
            eaten.append(os.urandom(1 << 20))
            time.sleep(0.001)
        time.sleep(60)
        return len(eaten)

    def die_once(self, number):
        self.create({"number": number})
        if self._run_number() < 2:
            os.kill(os.getpid(), signal.SIGKILL)

    def die(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def sleep_with_a_child(self, seconds):
        child = subprocess.Popen(["sleep", "600"])
        # visible to other sessions although nothing is committed
        self.env.cr.execute("select setval('queuemaster_runs', %s)", (child.pid,))
        time.sleep(seconds)

    def set_parameter(self, key, value):
        self.env["ir.config_parameter"].sudo().set_param(key, value)

    def get_parameter(self, key):
        return self.env["ir.config_parameter"].sudo().get_param(key)

    def close_cursor(self):
        self.env.cr.close()

    def exit(self):
        raise SystemExit(3)
