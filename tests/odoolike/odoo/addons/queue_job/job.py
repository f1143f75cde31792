"""The addon's ``Job``: it is loaded from a row, changed, and stored back."""

import json
import os
from collections import namedtuple
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta

from ...models import BaseModel
from ...release import version_info
from .exception import FailedJobError, NoSuchJobError, RetryableJobError
from .fields import JobDecoder

PENDING, ENQUEUED, STARTED, DONE, FAILED = "pending", "enqueued", "started", "done", "failed"
WAIT_DEPENDENCIES, CANCELLED = "wait_dependencies", "cancelled"
RETRY_INTERVAL = 600
_STORED = (
    "state", "retry", "exc_name", "exc_message", "exc_info", "result", "date_enqueued", "date_started", "date_done",
    "date_cancelled", "eta", "worker_pid",
)  # fmt: skip
# in 14, 15 and 17 any job may commit
_FORBIDS = version_info[0] in (16, 18, 19)
Config = namedtuple(
    "Config",
    [*(["allow_commit"] if _FORBIDS else []), "retry_pattern", "on_fail_method_name", "job_function_id"],
)


def _unwrapped(text):
    return json.loads(text) if text.startswith('"') else text


class QueueJob(BaseModel):
    _name = "queue.job"

    def write(self, values):
        names = list(values)
        self.env.cr.execute(
            f"update queue_job set {', '.join(f'{name} = %s' for name in names)} where id = any(%s)",
            [*(values[name] for name in names), self.ids],
        )


class QueueJobFunction(BaseModel):
    """The configuration that a test wants, by the name of the method."""

    _name = "queue.job.function"

    def job_config(self, name):
        commits = name.endswith((".commits>", ".commits"))
        on_fail = "on_failure" if name.endswith(".broken") or name.endswith(".dies") else None
        rest = ({}, on_fail if version_info[0] >= 18 else None, None)
        return Config(commits, *rest) if _FORBIDS else Config(*rest)

    @staticmethod
    def job_function_name(model, method):
        return f"<{model}>.{method}"


class Job:
    @classmethod
    def load(cls, env, uuid):
        env.cr.execute(
            "select id, records::text, args::text, kwargs::text, method_name, graph_uuid, max_retries, identity_key,"
            f" dependencies, name, company_id, channel, priority, exec_time, {', '.join(_STORED)}"
            " from queue_job where uuid = %s",
            (uuid,),
        )
        row = env.cr.fetchone()
        if row is None:
            raise NoSuchJobError(f"Job {uuid} does no longer exist in the storage.")
        return cls(env, uuid, dict(zip((column[0] for column in env.cr.description), row, strict=True)))

    def __init__(self, env, uuid, row):
        self.uuid, self.id = uuid, row["id"]
        self.recordset, self.args, self.kwargs = (
            json.loads(_unwrapped(row[name]), cls=JobDecoder, env=env)
            for name in ("records", "args", "kwargs")
        )
        self.recordset = self.recordset.with_env(self.recordset.env(cr=env.cr))
        self.method_name, self.max_retries = row["method_name"], row["max_retries"]
        self.graph_uuid = row["graph_uuid"]
        for name in _STORED:
            setattr(self, name, row[name])
        self._children = json.loads(row["dependencies"] or "{}").get("reverse_depends_on", [])
        self.job_config = self.env["queue.job.function"].job_config(self.job_function_name)
        self.on_fail_method_name = self.job_config.on_fail_method_name

    @property
    def env(self):
        return self.recordset.env

    @env.setter
    def env(self, env):
        self.recordset = self.recordset.with_env(env)

    @property
    def job_function_name(self):
        return f"<{self.recordset._name}>.{self.method_name}"

    @property
    def model_name(self):
        return self.recordset._name

    @property
    def func(self):
        return getattr(self.recordset.with_context(job_uuid=self.uuid), self.method_name)

    @contextmanager
    def in_temporary_env(self):
        with self.env.registry.cursor() as cr:
            env = self.env
            try:
                self.env = env(cr=cr)
                yield
            finally:
                self.env = env

    def perform(self):
        self.retry += 1
        try:
            with (
                self.in_temporary_env() if getattr(self.job_config, "allow_commit", False) else nullcontext()
            ):
                self.result = self.func(*self.args, **self.kwargs)
        except RetryableJobError as error:
            if error.ignore_retry:
                self.retry -= 1
                raise
            if self.max_retries and self.retry >= self.max_retries:
                raise FailedJobError(f"Max. retries ({self.max_retries}) reached: {error}") from error
            raise
        return self.result

    if version_info[0] >= 16:

        def add_lock_record(self):
            self.env.cr.execute(
                "insert into queue_job_lock (id, queue_job_id) values (%s, %s) on conflict (id) do nothing",
                (self.id, self.id),
            )

        def lock(self):
            self.env.cr.execute(
                "select 1 from queue_job_lock where queue_job_id in"
                " (select id from queue_job where id = %s and state = 'started') for no key update skip locked",
                (self.id,),
            )
            return bool(self.env.cr.fetchall())

    def should_check_dependents(self):
        return bool(self._children)

    def enqueue_waiting(self):
        for child in sorted(self._children):
            self.env.cr.execute(
                "update queue_job set state = 'pending' where uuid = %s and state = 'wait_dependencies' and not exists"
                " (select from json_array_elements_text(dependencies::json -> 'depends_on') wanted(uuid)"
                "    join queue_job parent on parent.uuid = wanted.uuid where parent.state <> 'done')",
                (child,),
            )

    def db_record(self):
        return self.env["queue.job"].browse([self.id])

    def store(self):
        values = {name: getattr(self, name) for name in _STORED}
        if self.date_done and self.date_started:
            values["exec_time"] = (self.date_done - self.date_started).total_seconds()
        values["result"] = str(self.result) if self.result else None
        self.db_record().write(values)

    def set_pending(self, result=None, reset_retry=True):
        self.state = PENDING
        self.date_enqueued = self.date_started = self.date_done = self.worker_pid = None
        if reset_retry:
            self.retry = 0
        if result is not None:
            self.result = result

    def set_started(self):
        self.state, self.date_started, self.worker_pid = STARTED, datetime.now(), os.getpid()
        if version_info[0] >= 16:
            self.add_lock_record()

    def set_done(self, result=None):
        self.state, self.exc_name, self.exc_info, self.date_done = DONE, None, None, datetime.now()
        if result is not None:
            self.result = result

    def set_cancelled(self, result=None):
        self.state, self.date_cancelled = CANCELLED, datetime.now()

    def set_failed(self, **values):
        self.state = FAILED
        for name, value in values.items():
            if value is not None:
                setattr(self, name, value)

    if version_info[0] >= 18:

        def on_fail(self, values):
            if self.on_fail_method_name:
                getattr(self.recordset.with_context(job_uuid=self.uuid), self.on_fail_method_name)(**values)

    def postpone(self, result=None, seconds=None):
        self.eta = datetime.now() + timedelta(seconds=seconds or RETRY_INTERVAL)
        self.exc_name = self.exc_info = None
        if result is not None:
            self.result = result
