"""The controller by which the addon runs a job over HTTP. In 16, 18 and 19 it can be called without a request."""

import traceback
from contextlib import contextmanager

from psycopg2 import OperationalError

from .... import http
from ....release import version_info
from ....service.model import PG_CONCURRENCY_ERRORS_TO_RETRY
from ..exception import RetryableJobError
from ..job import ENQUEUED, Job

if version_info[0] in (16, 18, 19):

    @contextmanager
    def _prevent_commit(cr):
        def forbidden(*_args, **_kwargs):
            raise RuntimeError("Commit is forbidden in queue jobs.")

        original, cr.commit = cr.commit, forbidden
        try:
            yield
        finally:
            cr.commit = original


def _failure(error, text):
    module = getattr(error, "__module__", "")  # instances of built-in classes have none
    name = f"{module}.{type(error).__name__}".lstrip(".")
    return {"exc_info": text, "exc_name": name, "exc_message": str(error)}


class RunJobController(http.Controller):
    if version_info[0] in (14, 15, 17):

        def _try_perform_job(self, env, job):
            job.set_started()
            job.store()
            env.cr.commit()
            if hasattr(job, "lock"):
                job.lock()
            job.perform()
            job.set_done()
            job.store()
            env.cr.commit()

        def _enqueue_dependent_jobs(self, _env, job):
            job.enqueue_waiting()

        def _get_failure_values(self, _job, text, error):
            return _failure(error, text)

    else:

        @classmethod
        def _acquire_job(cls, env, uuid):
            env.cr.execute(
                "select uuid from queue_job where uuid = %s and state = %s for no key update skip locked",
                (uuid, ENQUEUED),
            )
            if not env.cr.fetchone():
                return None
            job = Job.load(env, uuid)
            job.set_started()
            job.store()
            env.cr.commit()
            return job if job.lock() else None

        @classmethod
        def _try_perform_job(cls, env, job):
            with _prevent_commit(env.cr):
                job.perform()
                job.set_done()
                job.store()
                env.flush_all()
            env.cr.commit()

        @classmethod
        def _get_failure_values(cls, _job, text, error):
            return _failure(error, text)

        @classmethod
        def _enqueue_dependent_jobs(cls, _env, job):
            if job.should_check_dependents():
                job.enqueue_waiting()

        @classmethod
        def _runjob(cls, env, job):
            try:
                try:
                    cls._try_perform_job(env, job)
                except OperationalError as error:
                    if error.pgcode not in PG_CONCURRENCY_ERRORS_TO_RETRY:
                        raise
                    raise RetryableJobError(error.pgerror, seconds=5) from error
            except RetryableJobError as error:
                with job.in_temporary_env():
                    job.postpone(result=str(error), seconds=error.seconds)
                    job.set_pending(reset_retry=False)
                    job.store()
                env.cr.rollback()
                return
            except Exception as error:
                values = cls._get_failure_values(job, traceback.format_exc(), error)
                with job.in_temporary_env():
                    job.set_failed(**values)
                    job.store()
                    if version_info[0] >= 18:
                        job.on_fail(values)
                raise
            cls._enqueue_dependent_jobs(env, job)
