"""The pages: metrics for Prometheus, health for probes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from flask import Flask, Response, jsonify, request
from gevent.lock import RLock
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from queuejobs.shared.scoreboard import Scoreboard
from queuemaster.channels import Tree
from queuemaster.config.compiled import Settings
from queuemaster.status_board import StatusBoard

from . import health, memory, metrics, snapshot
from .channel_labels import ChannelLabels
from .job_counts import QueueRows, refresh_all
from .login import Login
from .rate_limiter import RateLimiter

# seconds for which a text is served again, so that everything is read twice a second at most
FRESH = 0.5
# the classic format: in OpenMetrics the gauge jobs and the counter jobs_total would be one name
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class QueueCollector(Collector):
    """Makes the metrics anew each time."""

    def __init__(self, settings: Settings, status: StatusBoard, scoreboard: Scoreboard) -> None:
        self._tree = Tree(settings.channels)
        self._labels = ChannelLabels(self._tree.names)
        self._status, self._scoreboard = status, scoreboard
        self._databases = [QueueRows(database) for database in settings.databases]

    def collect(self) -> Iterable[Metric]:
        """The metrics of now; none while the master is starting."""
        refresh_all(self._databases)
        now = snapshot.look(self._status, self._scoreboard)
        if now is None:
            return []
        jobs = {database.name: database.rows for database in self._databases}
        return list(metrics.families(self._tree, self._labels, now, jobs, memory.resident(now.master)))


class Remembered:
    """A text that is made once for all who ask within ``FRESH`` seconds."""

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._make = make
        self._lock = RLock()
        self._text, self._until = b"", 0.0

    def get(self) -> bytes:
        """The text as it was at most ``FRESH`` seconds ago."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._text = self._make()
                self._until = time.monotonic() + FRESH
            return self._text


def application(settings: Settings, status: StatusBoard, scoreboard: Scoreboard) -> Flask:
    """The pages. Probes need no login, but get the reasons, which name databases, only with it."""
    app = Flask("queuemaster.exporter")
    registry = CollectorRegistry()
    registry.register(QueueCollector(settings, status, scoreboard))
    text, limiter, login = Remembered(lambda: generate_latest(registry)), RateLimiter(), Login(settings)
    databases = [database.name for database in settings.databases]

    def verdict(reasons: list[str], word: str) -> tuple[Response, int]:
        answer: dict[str, object] = {word: not reasons}
        if login.admits(request.headers.get("Authorization")):
            answer["reasons"] = reasons
        return jsonify(answer), 503 if reasons else 200

    @app.get("/metrics")
    def show_metrics() -> Response:
        if not login.admits(request.headers.get("Authorization")):
            return login.refusal()
        limiter.wait()  # probes do not wait: they are cheap, and what is not answered in time is restarted
        return Response(text.get(), content_type=CONTENT_TYPE)

    @app.get("/healthz")
    def healthz() -> tuple[Response, int]:
        return verdict(health.ailing(status.master.age()), "healthy")

    @app.get("/readyz")
    def readyz() -> tuple[Response, int]:
        return verdict(health.unready(snapshot.look(status, scoreboard), databases), "ready")

    @app.errorhandler(snapshot.Unsettled)
    def unsettled(error: snapshot.Unsettled) -> tuple[Response, int]:
        return jsonify({"error": str(error)}), 503

    return app
