from ...release import version_info


class JobError(Exception):
    pass


class FailedJobError(JobError):
    pass


class NoSuchJobError(JobError):
    pass


class RetryableJobError(JobError):
    def __init__(self, msg, seconds=None, ignore_retry=False):
        super().__init__(msg)
        self.seconds, self.ignore_retry = seconds, ignore_retry


if version_info[0] < 18:

    class NothingToDoJob(JobError):
        pass
