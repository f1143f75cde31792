"""Recordsets that hold ids, and one model whose methods the tests call as jobs."""

import os
import time

MODELS = {}


class BaseModel:
    _name = "base"
    _fields = {}

    def __init_subclass__(cls):
        MODELS[cls._name] = cls

    def __init__(self, env, ids):
        self.env, self.ids = env, list(ids)

    def browse(self, ids=()):
        return type(self)(self.env, ids)

    def with_env(self, env):
        return type(self)(env, self.ids)

    def with_context(self, *args, **overrides):
        context = dict(args[0]) if args else dict(self.env.context)
        return self.with_env(self.env(context={**context, **overrides}))

    def with_user(self, user):
        return self.with_env(self.env(user=user, su=False))

    def with_company(self, _company):
        return self

    def sudo(self, flag=True):
        return self.with_env(self.env(su=flag))

    def exists(self):
        return self

    def flush(self):
        pass

    def __bool__(self):
        return bool(self.ids)

    def __len__(self):
        return len(self.ids)


Model = BaseModel
MODELS["base"] = BaseModel


class Partner(BaseModel):
    """Each method leaves a row in the table ``effect``, which the test has created."""

    _name = "res.partner"

    def _leave(self, what):
        self.env.cr.execute(
            "insert into effect (job, what) values (%s, %s)", (self.env.context.get("job_uuid"), what)
        )

    def work(self, *args):
        self._leave("work")
        return (args and str(args[0])) or None

    def slow(self, seconds):
        self._leave("slow")
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(0.01)

    def broken(self):
        self._leave("broken")
        raise ValueError("it is broken")

    def again(self):
        from .addons.queue_job.exception import RetryableJobError

        self._leave("again")
        raise RetryableJobError("not yet", seconds=1)

    def commits(self):
        self._leave("commits")
        self.env.cr.commit()

    def dies(self):
        os._exit(3)

    def on_failure(self, **values):
        self._leave(f"on_fail {values.get('exc_name')}")
