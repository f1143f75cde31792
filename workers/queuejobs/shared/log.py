"""The log: one line for each event, with time, level, process, event and then its context as key=value.

The context of a record is its attribute ``ctx``; :func:`event` sets it.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from typing import Any, Dict, Optional, Sequence

from .logfile import LogFile, Owner


class JobContext(logging.Filter):
    """Tags every record, the application's too, with the job that its worker runs."""

    def __init__(self) -> None:
        super().__init__()
        # job_uuid, model, method, channel, attempt, db, job, worker; empty between jobs
        self.job: Dict[str, Any] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets every record through."""
        if self.job:
            vars(record).update(self.job)
            record.ctx = {**self.job, **getattr(record, "ctx", {})}
        return True


job_context = JobContext()


def event(logger: logging.Logger, level: int, text: str, **context: Any) -> None:
    """Log ``text``, a stable wording, with its context: db, channel, job, worker, …"""
    logger.log(level, "%s", text, extra={"ctx": {k: v for k, v in context.items() if v is not None}})


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        context = " ".join(f"{key}={_quoted(value)}" for key, value in getattr(record, "ctx", {}).items())
        line = f"{_stamp(record)} {record.levelname} {record.process} {record.name}: {record.getMessage()}"
        line = f"{line} {context}" if context else line
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields: Dict[str, Any] = {
            "time": _stamp(record),
            "level": record.levelname,
            "pid": record.process,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "ctx", {}),
        }
        if record.exc_info:
            fields["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(fields, default=str)


def configure(
    level: str, form: str, path: str = "", handlers: Sequence[str] = (), owner: Optional[Owner] = None
) -> None:
    """Log to ``path`` (standard error when empty) as "text" or "json"; ``handlers`` are "LOGGER:LEVEL".

    ``owner``: the user who shall own the file; for root.
    """
    # appending: processes that share the file write whole lines
    stream: logging.Handler = LogFile(path, owner) if path else logging.StreamHandler(sys.stderr)
    stream.setFormatter(_Json() if form == "json" else _Text())
    stream.addFilter(job_context)
    root = logging.getLogger()
    root.handlers[:] = [stream]
    root.setLevel(level)
    for item in handlers:
        name, _, wanted = item.rpartition(":")
        logging.getLogger(name).setLevel(wanted)


def reopen() -> None:
    """Open the log file by its name again, if there is one."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LogFile):
            handler.reopen()


def follow() -> None:
    """Open the log file by its name again if it was moved: a silent process must not keep the old one open."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LogFile):
            handler.follow()


def _stamp(record: logging.LogRecord) -> str:
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{moment}.{int(record.msecs):03d}Z"


def _quoted(value: Any) -> str:
    text = str(value)
    return json.dumps(text) if not text or any(c in text for c in ' "\n\t=') else text
