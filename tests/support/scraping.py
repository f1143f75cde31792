"""An exporter under test: asked by HTTP, its answers read as Prometheus reads them."""

from __future__ import annotations

import base64
import json
import socket
import urllib.error
import urllib.request
from typing import Any, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Answer(NamedTuple):
    """Of an HTTP server; status 0: nobody answers."""

    status: int
    body: str
    headers: dict[str, str]

    @property
    def document(self) -> Any:
        """The body, if it is JSON."""
        return json.loads(self.body)


def free_port() -> int:
    """A port of loopback that nobody has, a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Exporter:
    """Where one listens."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.port = free_port()
        self.address = f"{host}:{self.port}"

    def get(self, path: str, authorization: str = "") -> Answer:
        """Ask for a page."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}")
        if authorization:
            request.add_header("Authorization", authorization)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return Answer(response.status, response.read().decode(), dict(response.headers))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read().decode(), dict(error.headers))
        except OSError:
            return Answer(0, "", {})

    def text(self) -> str:
        """The metrics as they come; empty while nobody answers."""
        answer = self.get("/metrics")
        return answer.body if answer.status == 200 else ""

    def samples(self) -> Samples:
        """All samples by name and labels."""
        return parsed(self.text())

    def value(self, name: str, **labels: str) -> float | None:
        """One sample, without the prefix of its name; None where there is none."""
        return self.samples().get((f"queuemaster_{name}", frozenset(labels.items())))


def parsed(text: str) -> Samples:
    """All samples by name and labels; no pair may occur twice."""
    samples: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in samples, f"twice: {key}"
            samples[key] = sample.value
    return samples


def basic(user: str, password: str) -> str:
    """The header of a login."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
