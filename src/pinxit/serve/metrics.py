"""Prometheus metrics of the server."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Figures:
    """What /metrics tells."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "pinxit_requests", "Answered requests.", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "pinxit_request_seconds", "Time to the answer's end.", ["route"], registry=self.registry
        )
        self.running = Gauge("pinxit_running", "Requests being answered.", registry=self.registry)

    def watch(self, painters: Any) -> None:
        """The rows that wait and the batches done of each model."""
        queued = Gauge("pinxit_queued", "Rows waiting.", ["model"], registry=self.registry)
        batches = Gauge("pinxit_batches", "Batches done.", ["model"], registry=self.registry)
        for name, one in painters.served.items():
            queued.labels(name).set_function(lambda one=one: one.worker.queued)
            batches.labels(name).set_function(lambda one=one: one.worker.batches)
