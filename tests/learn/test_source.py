"""Records are read alike from a store, a log of any kind, and an export, as often as one likes."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from hetagent.errors import InputError, StoreError
from hetagent.integrations import sources
from hetagent.integrations.sources import kind_of, record_source
from hetagent.learn.record import CallError, Usage
from hetagent.learn.redact import Redactor
from hetagent.learn.source import until_of
from hetagent.learn.store import Reader, Store
from hetagent.learn.store.parquet import export_parquet
from tests.support.calls import call, prose, write_records

START = datetime(2026, 3, 1, tzinfo=UTC)
PAIR = {
    "timestamp": 1_760_000_000,
    "request": {"model": "m", "messages": [{"role": "user", "content": "Mail ann.lee@acme.org"}]},
    "response": {"choices": [{"message": {"role": "assistant", "content": "ann.lee@acme.org"}}]},
}


@pytest.fixture
def made(record):
    return [
        record(
            f"said {n}", time=START + timedelta(hours=9 * n), usage=Usage(7, n), client_id="ann",
            workload="mail" if n % 2 else None, tags={"a": "b"}, redacted={"name": 1},
            error=CallError("Timeout", 504, "late") if n == 4 else None,
        )
        for n in range(7)
    ]  # fmt: skip


@pytest.fixture
def store(place, keys, made):
    with Store(place, keys=keys) as opened:
        opened.append(made)
        opened.assign({made[2].id: "found"})
    return place


def test_a_store_is_read_as_often_as_one_likes(store, keys, made):
    with record_source(store, keys=keys) as source:
        assert source.kinds == ("store",)
        assert [one.id for one in source] == [one.id for one in made]
        assert [one.request for one in source] == [one.request for one in made]
        assert source.count() == 7
        assert "said" not in str(source.facts())


def test_of_a_store_nothing_later_than_its_end_is_read(store, keys, record):
    with record_source(store, keys=keys) as source, Store(store, keys=keys) as opened:
        opened.append([record("later", time=datetime.now(UTC) + timedelta(minutes=1))])
        assert len(list(source)) == 7
        end = until_of(source.facts())
    with record_source(store, keys=keys, until=end) as again:
        assert again.count() == 7
    with record_source(store, keys=keys, until=START + timedelta(hours=10)) as early:
        assert len(list(early)) == 2


def test_what_was_assigned_can_be_left_out(store, keys):
    with record_source(store, keys=keys) as source:
        assert [one.workload for one in source][:4] == [None, "mail", "found", "mail"]
    with record_source(store, keys=keys, assigned=False) as source:
        assert [one.workload for one in source][:4] == [None, "mail", None, "mail"]


def test_the_default_store_is_that_of_the_environment(tmp_path, monkeypatch, made):
    monkeypatch.setenv("HETAGENT_RECORDS", str(tmp_path / "default.db"))
    monkeypatch.setenv("HETAGENT_KEYS", str(tmp_path / "keys"))
    with pytest.raises(StoreError, match="no call records"), record_source():
        pass
    with Store() as opened:
        opened.append(made)
    with record_source() as source:
        assert source.count() == 7


def test_an_export_with_text_has_the_same_records(store, keys, tmp_path):
    with Reader(store, keys=keys) as reader:
        export_parquet(reader, tmp_path / "out", text=True)
        wanted = [one.with_(redacted={}) for one in reader.records()]
    with record_source(tmp_path / "out") as source:
        assert source.kinds == ("parquet",)
        assert list(source) == wanted
        assert list(source) == wanted
        assert [one["file"][:12] for one in source.facts()] == ["out/day=2026"] * 3
    day = next((tmp_path / "out").glob("day=2026-03-02/*"))
    with record_source(day) as source:
        assert [one.time.day for one in source] == [2, 2, 2]


def test_an_export_without_text_says_what_to_do(store, keys, tmp_path):
    with Reader(store, keys=keys) as reader:
        export_parquet(reader, tmp_path / "out")
    with record_source(tmp_path / "out") as source, pytest.raises(InputError, match="--text"):
        list(source)


def test_records_in_lines_are_as_they_are(tmp_path):
    records = [call(at, prose(at)) for at in range(3)]
    path = write_records(tmp_path / "calls.jsonl", records)
    packed = tmp_path / "calls.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for one in (path, packed):
        with record_source(one) as source:
            assert list(source) == records
            assert list(source) == records
    with record_source(path, packed) as source:
        assert list(source) == [*records, *records]
        assert [one["file"] for one in source.facts()] == ["calls.jsonl", "calls.jsonl.gz"]
        assert source.count() is None


def test_an_empty_file_has_no_records(tmp_path):
    (tmp_path / "calls.jsonl").touch()
    with record_source(tmp_path / "calls.jsonl") as source:
        assert list(source) == []


@pytest.mark.parametrize("line", ["{", "3", '{"format": 9}', '{"format": 1}', "\udcff"])
def test_a_line_that_is_no_record_is_named(tmp_path, line):
    path = tmp_path / "calls.jsonl"
    whole = call(1, "x").to_json() + "\n\n" + line + "\n"
    path.write_bytes(whole.encode(errors="surrogateescape"))
    with (
        pytest.raises(InputError, match=r"calls\.jsonl") as raised,
        record_source(path) as source,
    ):
        list(source)
    assert "Line 3" in raised.value.message or line == "\udcff"  # bytes that no text has


def test_a_log_of_another_tool_is_redacted_and_reads_alike_each_time(tmp_path, monkeypatch):
    # spaCy's model takes seconds to load, and has no part in this.
    plain = partial(Redactor, presidio=False, names=False)
    monkeypatch.setattr(sources, "_redactor", lambda key: plain(key=key))
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(PAIR) + "\n")
    with record_source(path) as source:
        (first,), (second,) = list(source), list(source)
    assert first == second
    assert first.redacted
    assert "ann.lee" not in first.to_json()
    mail = first.request["messages"][0]["content"].partition(" ")[2]
    assert first.response["choices"][0]["message"]["content"] == mail
    path.write_text(json.dumps({**PAIR, "timestamp": 1_760_000_001}) + "\n")
    with record_source(path) as source:
        (other,) = source
    assert other.request != first.request  # another file's surrogates are others


def test_what_is_nothing_is_told(tmp_path):
    for place, words in (
        (tmp_path / "none", "cannot be read"),
        (tmp_path, "no export"),
    ):
        with pytest.raises(InputError, match=words):
            kind_of(place)
    (tmp_path / "x").write_text("neither")
    with pytest.raises(InputError, match="no format"), record_source(tmp_path / "x"):
        pass
