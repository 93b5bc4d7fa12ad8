"""Prometheus metrics of a server: requests, their duration, and each model's queue."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pinxit.serve.inference.registry import ModelRegistry


class Metrics:
    """The metrics of /metrics."""

    def __init__(self, models: ModelRegistry) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "pinxit_requests", "Completed requests.", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "pinxit_request_seconds",
            "Time until the response is complete.",
            ["route"],
            registry=self.registry,
        )
        self.running = Gauge("pinxit_running", "Requests in progress.", registry=self.registry)
        self.registry.register(QueueCollector(models))


class QueueCollector(Collector):
    """Queue length and number of batches of each model, read at each scrape."""

    def __init__(self, models: ModelRegistry) -> None:
        self.models = models

    def collect(self) -> Iterator[Metric]:
        rows = GaugeMetricFamily("pinxit_queue_rows", "Rows in the queue.", labels=["model"])
        batches = CounterMetricFamily("pinxit_batches", "Completed batches.", labels=["model"])
        for name, run in self.models.runs.items():
            rows.add_metric([name], run.worker.num_queued_rows)
            batches.add_metric([name], run.worker.num_batches)
        yield rows
        yield batches
