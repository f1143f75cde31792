"""The pages: metrics for Prometheus, health for probes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from flask import Flask, Response, jsonify
from gevent.lock import RLock
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from queuejobs.shared.scoreboard import Scoreboard
from queuemaster.channels import Tree
from queuemaster.config.compiled import Settings
from queuemaster.status_board import StatusBoard

from . import health, memory, metrics, snapshot
from .channel_labels import Names
from .job_counts import QueueRows, refresh_all
from .login import login, required
from .rate_limiter import Pace

# seconds that a text is good for: whoever hammers us costs the machine an answer, not a look at everything
FRESH = 0.5
# the classic format: in OpenMetrics the gauge jobs and the counter jobs_total would be one name
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class QueueCollector(Collector):
    """Reads everything anew each time."""

    def __init__(self, settings: Settings, status: StatusBoard, scoreboard: Scoreboard) -> None:
        self._tree = Tree(settings.channels)
        self._names = Names(self._tree.names)
        self._status, self._scoreboard = status, scoreboard
        self._databases = [QueueRows(database) for database in settings.databases]

    def collect(self) -> Iterable[Metric]:
        """The metrics of now; nothing while the master is starting."""
        refresh_all(self._databases)
        found = snapshot.look(self._status, self._scoreboard)
        if found is None:
            return []
        jobs = {database.name: database.rows for database in self._databases}
        resident = memory.resident(found.master)
        return list(metrics.families(self._tree, self._names, found, jobs, resident))


class Remembered:
    """A text that several ask for at once is made once, and again when it is old."""

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._make = make
        self._lock = RLock()
        self._text, self._until = b"", 0.0

    def get(self) -> bytes:
        """The text as it was at most FRESH ago."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._text = self._make()
                self._until = time.monotonic() + FRESH
            return self._text


def application(settings: Settings, status: StatusBoard, scoreboard: Scoreboard) -> Flask:
    """Probes need no login, but are told reasons only with it: those name databases."""
    app = Flask("queuemaster.exporter")
    registry = CollectorRegistry()
    registry.register(QueueCollector(settings, status, scoreboard))
    text, pace = Remembered(lambda: generate_latest(registry)), Pace()
    auth, protected = login(settings), required(settings)
    databases = [database.name for database in settings.databases]

    def verdict(reasons: list[str], word: str) -> tuple[Response, int]:
        if not protected or auth.current_user():
            return jsonify({word: not reasons, "reasons": reasons}), 503 if reasons else 200
        return jsonify({word: not reasons}), 503 if reasons else 200

    @app.get("/metrics")
    @auth.login_required(optional=not protected)  # type: ignore[untyped-decorator,unused-ignore]
    def show_metrics() -> Response:
        pace.wait()  # probes do not: they are cheap, and somebody acts on their silence
        return Response(text.get(), content_type=CONTENT_TYPE)

    @app.get("/healthz")
    @auth.login_required(optional=True)  # type: ignore[untyped-decorator,unused-ignore]
    def healthz() -> tuple[Response, int]:
        return verdict(health.ailing(status.master.age()), "healthy")

    @app.get("/readyz")
    @auth.login_required(optional=True)  # type: ignore[untyped-decorator,unused-ignore]
    def readyz() -> tuple[Response, int]:
        return verdict(health.unready(snapshot.look(status, scoreboard), databases), "ready")

    @app.errorhandler(snapshot.Unsettled)
    def unsettled(error: snapshot.Unsettled) -> tuple[Response, int]:
        return jsonify({"error": str(error)}), 503

    return app
