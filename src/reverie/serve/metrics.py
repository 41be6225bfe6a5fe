"""Metrics in Prometheus' form, and the log: a line of JSON for each request, without what was asked."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reverie.types import Step

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STEP_BUCKETS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)

log = logging.getLogger("reverie.serve.requests")


class Metrics:
    """The figures of one server. worker: tells of its steps, and is asked for its queue when somebody looks."""

    def __init__(self, worker: Any) -> None:
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("reverie_requests", "HTTP requests.", ["method", "route", "status"], **own)
        self.jobs = Counter("reverie_jobs", "Jobs that ended.", ["state"], **own)
        self.tokens = Counter("reverie_tokens", "Tokens written.", **own)
        self.step_seconds = Histogram("reverie_step_seconds", "From step to step.", buckets=STEP_BUCKETS, **own)
        for name, what in (("waiting", worker.waiting), ("running", worker.running)):
            Gauge(f"reverie_{name}", f"Generations {name}.", **own).set_function(partial(_size, what))
        beat = Gauge("reverie_worker_beat_seconds", "The age of the worker's last sign of life.", **own)
        beat.set_function(lambda: worker.beat_seconds)
        worker.listen(self._count)

    def text(self) -> bytes:
        """All figures."""
        return generate_latest(self.registry)

    def _count(self, step: Step, seconds: float) -> None:
        self.step_seconds.observe(seconds)
        if "token" in step.info:
            self.tokens.inc()


def _size(what: Callable[[], int | Iterable[Any]]) -> float:
    found = what()
    return float(found) if isinstance(found, int) else float(len(list(found)))


class Watch:
    """Wraps an app: counts each request and writes a line about it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, began = 499, time.monotonic()  # 499: the client went away before an answer

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            facts = {"method": _method(scope), "route": getattr(scope.get("route"), "path", "other"), "status": status}
            self.metrics.requests.labels(*map(str, facts.values())).inc()
            log.info("request", extra={"facts": {**facts, "seconds": round(time.monotonic() - began, 4)}})


def _method(scope: Scope) -> str:
    """Of the few there are, so that strangers cannot make up labels without end."""
    known = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
    return scope["method"] if scope["method"] in known else "other"


class JsonLines(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {"time": round(record.created, 3), "level": record.levelname.lower(), "event": record.getMessage()}
        line |= getattr(record, "facts", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)
