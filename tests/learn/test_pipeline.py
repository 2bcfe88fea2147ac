"""Records are redacted and written by one thread, and what is lost is counted."""

import asyncio
import multiprocessing
import os
import threading
import time
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


def test_neither_the_log_nor_the_count_of_losses_says_what_was_said(caplog):
    said = "I am Maria Keller"

    def fails(*_):
        raise ValueError(f"cannot read {said}")

    store = Memory()
    with caplog.at_level("DEBUG"), Pipeline(store, redact=fails) as pipeline:
        for made in (record(), fails):
            with pytest.raises(ValueError, match=said):
                pipeline.submit(made).result(5)
            assert said not in str(pipeline.kept)
    store.error = ValueError(said)
    with caplog.at_level("DEBUG"), Pipeline(store, redact=same) as pipeline:
        assert pipeline.submit(record()).exception(5) is store.error
        assert pipeline.kept.last_error.startswith("ValueError in ")
    assert said not in caplog.text
    assert caplog.text.count("was not recorded: ValueError in") == 2


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


def test_what_is_handed_over_is_written_lost_or_waiting():
    store = Memory()
    store.go.clear()
    with Pipeline(store, redact=same) as pipeline:
        pipeline.submit(record())
        until = time.monotonic() + 5
        while pipeline._queue and time.monotonic() < until:  # until it is in the thread's hand
            time.sleep(0.001)
        pipeline.submit(record())
        assert pipeline.kept.waiting == 2
        store.go.set()
    assert (pipeline.kept.written, pipeline.kept.waiting) == (2, 0)


def test_who_gives_up_waiting_for_a_record_does_not_end_recording():
    store = Memory()
    store.go.clear()

    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(pipeline.submit(record())), 0.01)

    with Pipeline(store, redact=same) as pipeline:
        asyncio.run(impatient())
        store.go.set()
        pipeline.submit(record()).result(5)
    assert len(store.kept) == 2


def test_no_record_is_forgotten_by_a_pipeline_that_is_closed_meanwhile():
    for _ in range(50):
        pipeline = Pipeline(Memory(), redact=same)
        started, futures = threading.Event(), []

        def hand_over(pipeline=pipeline, started=started, futures=futures):
            for _ in range(50):
                futures.append(pipeline.submit(record()))
                started.set()

        thread = threading.Thread(target=hand_over)
        thread.start()
        started.wait(5)
        pipeline.close()
        thread.join()
        for one in futures:
            one.exception(5)
        assert pipeline.kept.written + pipeline.kept.lost == 50


class Lines:
    """Writes what it is given into a file, a line for each."""

    def __init__(self, path):
        self.path = path

    def append(self, records):
        with open(self.path, "a") as file:
            file.writelines(
                f"{os.getpid()} {one.request['messages'][0]['content']}\n" for one in records
            )


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of forking with threads
def test_a_forked_process_records_by_a_thread_of_its_own(tmp_path):
    path = tmp_path / "lines"
    slow = threading.Event()

    def redact(one):
        slow.set()
        time.sleep(0.02)
        return one

    pipeline = Pipeline(Lines(path), redact=redact)
    for _ in range(20):
        pipeline.submit(record("parent"))
    slow.wait(5)
    child = multiprocessing.get_context("fork").Process(
        target=lambda: [pipeline.submit(record("child")) for _ in range(5)]
    )
    child.start()
    child.join(10)
    assert child.exitcode == 0
    pipeline.close()
    lines = path.read_text().split("\n")
    assert lines.count(f"{os.getpid()} parent") == 20
    assert lines.count(f"{child.pid} child") == 5
