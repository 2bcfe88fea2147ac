"""Records are redacted and written by one thread, and what is lost is counted."""

import threading
from datetime import UTC, datetime

import pytest

from hetagent.learn.pipeline import Pipeline
from hetagent.learn.record import CallRecord, new_id


def record(text: str = "hello") -> CallRecord:
    return CallRecord(
        id=new_id(),
        time=datetime.now(UTC),
        form="openai.chat",
        source="import",
        model="m",
        request={"messages": [{"role": "user", "content": text}]},
    )


class Memory:
    def __init__(self) -> None:
        self.kept: list[CallRecord] = []
        self.error: Exception | None = None
        self.go = threading.Event()
        self.go.set()

    def append(self, records):
        self.go.wait()
        if self.error is not None:
            raise self.error
        self.kept.extend(records)


def same(one: CallRecord) -> CallRecord:
    return one


def test_a_record_is_redacted_before_it_is_written():
    store = Memory()
    with Pipeline(store, redact=lambda one: one.with_(redacted={"name": 1})) as pipeline:
        pipeline.submit(record()).result(5)
    assert [one.redacted for one in store.kept] == [{"name": 1}]


def test_what_cannot_be_redacted_is_not_written(caplog):
    def fails(one):
        raise ValueError("no idea")

    store = Memory()
    with Pipeline(store, redact=fails) as pipeline:
        done = pipeline.submit(record())
        with pytest.raises(ValueError, match="no idea"):
            done.result(5)
        assert pipeline.kept.lost == 1
    assert store.kept == []
    assert "was not recorded" in caplog.text


def test_a_store_that_fails_loses_records_and_nothing_else(caplog):
    store = Memory()
    store.error = OSError("disk full")
    with Pipeline(store, redact=same) as pipeline:
        assert isinstance(pipeline.submit(record()).exception(5), OSError)
        store.error = None
        pipeline.submit(record()).result(5)
        assert (pipeline.kept.written, pipeline.kept.lost) == (1, 1)
        assert pipeline.kept.last_error == "OSError: disk full"
    assert caplog.text.count("was not recorded") == 1


def test_where_too_many_wait_the_next_is_lost_and_nobody_waits(caplog):
    store = Memory()
    store.go.clear()
    with Pipeline(store, redact=same, most_waiting=2) as pipeline:
        futures = [pipeline.submit(record()) for _ in range(12)]
        assert pipeline.kept.lost >= 8
        store.go.set()
        for one in futures:
            one.exception(5)
        assert pipeline.kept.written + pipeline.kept.lost == 12
        assert len(store.kept) == pipeline.kept.written


def test_closing_writes_what_waits():
    store = Memory()
    pipeline = Pipeline(store, redact=same)
    for _ in range(500):
        pipeline.submit(record())
    pipeline.close()
    assert len(store.kept) == 500
    late = pipeline.submit(record())
    assert "ended" in str(late.exception(5))
