"""What tests of the gateway share: a store in memory, and a gateway in front of an upstream."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from hetagent.gateway import Gateway, Upstream
from hetagent.gateway.server import serving
from hetagent.learn.pipeline import Pipeline
from hetagent.learn.record import CallRecord

__all__ = ["Memory", "Served", "served"]


class Memory:
    """A store in memory, which can be made to wait or to fail."""

    def __init__(self) -> None:
        self.records: list[CallRecord] = []
        self.error: Exception | None = None
        self.go = threading.Event()
        self.go.set()

    def append(self, records: Sequence[CallRecord]) -> None:
        self.go.wait()
        if self.error is not None:
            raise self.error
        self.records.extend(records)


@dataclass
class Served:
    """A gateway that runs: its address, what it records, itself, and a client for it."""

    url: str
    store: Memory
    gateway: Gateway
    client: httpx.Client

    def records(self, count: int = 1) -> list[CallRecord]:
        """The records, once there are so many."""
        self.wait_for(lambda: len(self.store.records) >= count)
        return self.store.records

    def record_of(self, answer: httpx.Response) -> CallRecord:
        """The record of a call, by its answer."""
        name = answer.headers["x-hetagent-record"]
        self.wait_for(lambda: any(record.id == name for record in list(self.store.records)))
        return next(record for record in self.store.records if record.id == name)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until something about the records holds."""
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end, "the record did not come"
            time.sleep(0.005)

    def post(self, path: str, body: Any, **options: Any) -> httpx.Response:
        return self.client.post(path, json=body, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.client.get(path, **options)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("/gateway/status").json()
        return found


@contextmanager
def served(*upstreams: Upstream, **options: Any) -> Iterator[Served]:
    """A gateway on loopback, recording into memory."""
    store = Memory()
    pipeline = Pipeline(store, redact=lambda record: record)
    gateway = Gateway(*upstreams, pipeline=pipeline, **options)
    with serving(gateway) as url, httpx.Client(base_url=url, timeout=60, verify=False) as client:
        yield Served(url, store, gateway, client)
