"""Writing and reading records, the same on SQLite and PostgreSQL."""

import json
import os
import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from hetagent.errors import StoreError
from hetagent.learn.keys import FolderKeys, Key, Keys
from hetagent.learn.pipeline import Pipeline, RecordStore
from hetagent.learn.record import CallError, CallRecord, Usage, new_id
from hetagent.learn.store import Custodian, Query, Reader, Store
from hetagent.learn.store.database import Database

START = datetime(2026, 1, 1, tzinfo=UTC)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
    | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
ANY_TEXT = st.text(st.characters())  # NULs and lone surrogates among them
COUNT = st.none() | st.integers(-(2**70), 2**70)
REAL = st.none() | st.floats(allow_nan=False) | st.just(-0.0)
RECORDS = st.builds(
    CallRecord,
    id=st.builds(new_id),
    time=st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5))])),
    form=st.sampled_from(["openai.chat", "anthropic.messages"]),
    source=st.sampled_from(["gateway", "import"]),
    model=ANY_TEXT | st.just("x" * 3000),
    request=st.dictionaries(ANY_TEXT, JSON, max_size=3),
    response=st.none() | st.dictionaries(st.text(), JSON, max_size=3),
    error=st.none() | st.builds(CallError, ANY_TEXT, st.none() | st.integers(0, 599), ANY_TEXT),
    served_model=st.none() | ANY_TEXT,
    reason=ANY_TEXT,
    usage=st.builds(Usage, COUNT, COUNT, COUNT, COUNT),
    cost_usd=REAL,
    seconds=REAL,
    first_token_seconds=REAL,
    attempts=st.integers(0, 9),
    streamed=st.booleans(),
    complete=st.booleans(),
    workload=st.none() | ANY_TEXT,
    trainable=st.sampled_from(["trainable", "no-train", "unknown"]),
    interactive=st.booleans(),
    tags=st.dictionaries(st.text(), st.text(), max_size=3),
    redacted=st.none() | st.dictionaries(st.text(), st.integers(0, 9), max_size=3),
)


@pytest.fixture
def store(place, keys):
    with Store(place, keys=keys) as opened:
        yield opened


@pytest.fixture
def reader(store, place, keys):
    with Reader(place, keys=keys) as opened:
        yield opened


def run_sql(place, text, **values):
    database = Database(place)
    try:
        with database.write() as connection:
            return connection.execute(sa.text(text), values).rowcount
    finally:
        database.close()


def test_a_store_is_what_a_pipeline_writes_to(store, reader, record):
    assert isinstance(store, RecordStore)
    with Pipeline(store, redact=lambda one: one.with_(redacted={})) as pipeline:
        one = record()
        pipeline.submit(one).result(30)
        assert reader.get(one.id) == one.with_(redacted={})


@settings(max_examples=40)
@given(made=st.lists(RECORDS, min_size=1, max_size=4))
def test_any_record_comes_back_as_it_was(store, reader, made):
    store.append(made)
    for one in made:
        # As JSON, in which minus zero and zero differ and NaN is itself.
        back = reader.get(one.id)
        assert back == one.with_(time=one.time.astimezone(UTC))


def test_nan_and_infinity_come_back(store, reader, record):
    one = record(seconds=float("nan"), cost_usd=float("inf"))
    store.append([one])
    back = reader.get(one.id)
    assert back.seconds != back.seconds
    assert back.cost_usd == float("inf")


def test_origins_are_hashed_alike_and_cannot_be_read(store, reader, record, place, keys):
    first = record(client_id="alice", trace_id="t1", conversation_id="c1")
    second = record(client_id="alice", trace_id="t2", conversation_id="alice")
    store.append([first, second])
    one, two = reader.get(first.id), reader.get(second.id)
    assert one.client_id == two.client_id
    assert one.trace_id != two.trace_id
    # The same name is another pseudonym as another kind of origin.
    assert two.conversation_id != two.client_id
    for name in (one.client_id, one.trace_id, two.conversation_id):
        assert len(name) == 32
        int(name, 16)
    with Custodian(place, keys=keys) as custodian:
        assert custodian.pseudonym("alice") == one.client_id
        assert custodian.pseudonym("t1", origin="trace") == one.trace_id
        assert custodian.identify(["bob", "alice"]) == {one.client_id: "alice"}


def test_stores_have_keys_and_pseudonyms_of_their_own(tmp_path, keys, record):
    names = []
    for file in ("a.db", "b.db"):
        one = record(client_id="alice")
        with Store(tmp_path / file, keys=keys) as store:
            store.append([one])
        with Reader(tmp_path / file, keys=keys) as reader:
            names.append(reader.get(one.id).client_id)
    assert names[0] != names[1]
    assert len(list(keys.folder.iterdir())) == 4


def test_an_append_that_is_made_again_changes_nothing(store, reader, record):
    one = record("first")
    store.append([one])
    store.append([one.with_(model="another"), record()])
    assert reader.count() == 2
    assert reader.get(one.id).model == "gpt-4o"


def test_all_of_an_append_is_kept_or_none(store, reader, record):
    with pytest.raises(StoreError, match="no JSON"):
        store.append([record(), record(request={"messages": object()})])
    assert reader.count() == 0
    store.append([])
    assert reader.count() == 0


def test_one_writers_broken_record_is_not_anothers_loss(tmp_path, keys, record):
    with Store(tmp_path / "r.db", keys=keys) as store:
        bare = sqlite3.connect(tmp_path / "r.db")
        bare.execute(
            "CREATE TRIGGER t BEFORE INSERT ON call_records WHEN new.model = 'bad' "
            "BEGIN SELECT raise(ABORT, 'no bad ones'); END"
        )
        bare.close()
        barrier = threading.Barrier(8)

        def write(number):
            barrier.wait()
            store.append([record(model="bad" if number == 3 else "good")])

        with ThreadPoolExecutor(8) as pool:
            done = [pool.submit(write, number) for number in range(8)]
        failed = [one for one in done if one.exception() is not None]
        assert len(failed) == 1
        assert isinstance(failed[0].exception(), StoreError)
    with Reader(tmp_path / "r.db", keys=keys) as reader:
        assert reader.count() == 7


def test_queries_narrow_by_each_of_their_parts(store, reader, record, place, keys):
    made = [
        record(
            time=START + timedelta(hours=n),
            workload="odd" if n % 2 else None,
            model="small" if n < 3 else "large",
            client_id=f"client-{n % 3}",
            trace_id=f"trace-{n % 4}",
            conversation_id=f"conversation-{n % 5}",
            interactive=n == 7,
            error=CallError("Timeout") if n == 5 else None,
        )
        for n in range(12)
    ]
    store.append(made)
    with Custodian(place, keys=keys) as custodian:
        client = custodian.pseudonym("client-1")
        trace = custodian.pseudonym("trace-2", origin="trace")
        conversation = custodian.pseudonym("conversation-4", origin="conversation")
    expected = {
        Query(): range(12),
        Query(since=START + timedelta(hours=9)): range(9, 12),
        Query(until=START + timedelta(hours=2)): range(2),
        Query(workload="odd"): range(1, 12, 2),
        Query(unassigned=True): range(0, 12, 2),
        Query(model="small"): range(3),
        Query(client=client): range(1, 12, 3),
        Query(trace=trace): range(2, 12, 4),
        Query(conversation=conversation): range(4, 12, 5),
        Query(failed=True): [5],
        Query(failed=False): [n for n in range(12) if n != 5],
        Query(interactive=True): [7],
        Query(newest_first=True, limit=3): [11, 10, 9],
        Query(model="large", workload="odd", limit=2): [3, 5],
        Query(limit=0): [],
    }
    for query, numbers in expected.items():
        ids = [made[n].id for n in numbers]
        assert [one.id for one in reader.records(query)] == ids, query
        assert [row["id"] for row in reader.rows(query)] == ids, query
        if query.limit is None:
            assert reader.count(query) == len(ids), query


def test_records_of_one_moment_are_each_seen_once(store, reader, record):
    made = [record(time=START) for _ in range(1203)]
    store.append(made)
    for query in (Query(), Query(newest_first=True)):
        seen = [one.id for one in reader.records(query)]
        assert len(seen) == len(set(seen)) == 1203


def test_large_records_are_read_a_few_at_a_time(store, reader, record, monkeypatch):
    store.append([record("x" * 300_000, time=START + timedelta(seconds=n)) for n in range(12)])
    monkeypatch.setattr("hetagent.learn.store.reader._MOST_BYTES", 1_000_000)
    asked = []
    some = Reader._some
    monkeypatch.setattr(
        Reader, "_some", lambda self, ids, **how: asked.append(ids) or some(self, ids, **how)
    )
    assert sum(1 for _ in reader.records()) == 12
    assert [len(ids) for ids in asked] == [3, 3, 3, 3]


def test_totals_say_what_each_workload_is_of_all(store, reader, record):
    store.append(
        [
            record(
                workload="a" if n < 6 else None, usage=Usage(10, n), cost_usd=0.5,
                seconds=float(n), time=START + timedelta(days=n),
                error=CallError("E") if n == 0 else None,
            )
            for n in range(8)
        ]
        + [record(time=START)]
    )  # fmt: skip
    first, second = reader.totals()
    assert (first.name, first.calls, first.failed) == ("a", 6, 1)
    assert first.share == pytest.approx(6 / 9)
    assert (first.prompt_tokens, first.completion_tokens) == (60, 15)
    assert (first.cost_usd, first.seconds) == (3.0, 2.5)
    assert (first.first, first.last) == (START, START + timedelta(days=5))
    assert (second.name, second.calls, second.cost_usd) == (None, 3, 1.0)
    assert [one.name for one in reader.totals(by="model")] == ["gpt-4o"]
    assert reader.totals(Query(workload="none")) == []


def test_an_assigned_workload_gives_way_to_one_that_was_said(store, reader, record):
    said, free = record(workload="said"), record()
    store.append([said, free])
    store.assign({said.id: "found", free.id: "found"})
    assert reader.get(said.id).workload == "said"
    assert reader.get(free.id).workload == "found"
    assert [row["workload"] for row in reader.rows(Query(workload="found"))] == ["found"]
    store.assign({free.id: None})
    assert reader.get(free.id).workload is None
    store.assign({})


@pytest.mark.parametrize("column", ["model", "time_us", "client", "cost_usd", "redacted", "id"])
def test_a_row_that_was_changed_is_refused(store, reader, record, place, column):
    one = record(client_id="alice", cost_usd=1.0)
    store.append([one])
    new = {"model": "gpt-5", "time_us": 1, "client": "0" * 32, "cost_usd": 0.0,
           "redacted": True, "id": "another"}[column]  # fmt: skip
    assert run_sql(place, f"UPDATE call_records SET {column} = :new", new=new) == 1
    with pytest.raises(StoreError, match="was changed"):
        list(reader.records())


def test_text_that_was_moved_to_another_row_is_refused(store, reader, record, place):
    one, other = record("mine"), record("yours")
    store.append([one, other])
    run_sql(
        place,
        "UPDATE call_records SET payload = "
        "(SELECT payload FROM call_records WHERE id = :other) WHERE id = :one",
        one=one.id,
        other=other.id,
    )
    with pytest.raises(StoreError, match="was changed"):
        reader.get(one.id)
    assert reader.get(other.id) == other


def test_a_reader_without_the_key_reads_totals_and_no_text(store, record, place, tmp_path):
    one = record(workload="w")
    store.append([one])
    with Reader(place, keys=FolderKeys(tmp_path / "none")) as reader:
        assert reader.totals()[0].name == "w"
        assert next(reader.rows())["model"] == "gpt-4o"
        with pytest.raises(StoreError, match="not here") as caught:
            reader.get(one.id)
        assert "none" in caught.value.hint


def test_a_reader_needs_no_key_of_origins_and_a_custodian_none_of_records(
    store, record, place, keys
):
    store.append([record(client_id="alice")])
    (origins,) = keys.folder.glob("*.origins.key")
    (records,) = keys.folder.glob("*.records.key")
    kept = origins.read_bytes()
    origins.unlink()
    with Reader(place, keys=keys) as reader:
        assert len(list(reader.records())) == 1
    with Custodian(place, keys=keys) as custodian:
        with pytest.raises(StoreError, match="whose"):
            custodian.forget("alice")
        assert custodian.retain(1) == 0
    origins.touch(0o600)
    origins.write_bytes(kept)
    records.unlink()
    with Custodian(place, keys=keys) as custodian:
        assert custodian.forget("alice") == 1


def test_a_reader_can_change_nothing(store, record, place, keys):
    store.append([record()])
    with (
        Reader(place, keys=keys) as reader,
        pytest.raises(StoreError, match="not allow"),
        reader._database.write() as connection,
    ):
        connection.execute(sa.text("DELETE FROM call_records"))
    with Reader(place, keys=keys) as reader:
        assert reader.count() == 1


def test_a_store_is_not_written_with_a_key_that_is_not_its_own(store, place, keys, tmp_path):
    other = FolderKeys(tmp_path / "other")
    with pytest.raises(StoreError, match="not here"):
        Store(place, keys=other)
    assert not other.folder.exists()
    (file,) = keys.folder.glob("*.records.key")
    other.save(file.name.split(".")[0], "records", Keys((Key.new(),)))
    with pytest.raises(StoreError, match="not here"):
        Store(place, keys=other)


def test_a_store_that_is_opened_at_once_from_many_sides_is_made_once(place, keys, record):
    barrier = threading.Barrier(6)

    def opened(_):
        barrier.wait()
        with Store(place, keys=keys) as store:
            store.append([record()])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(opened, range(6)))
    with Reader(place, keys=keys) as reader:
        assert len(list(reader.records())) == 6
    assert len(list(keys.folder.iterdir())) == 2


def test_what_is_no_store_is_told(tmp_path, keys):
    with pytest.raises(StoreError, match="no call records") as caught:
        Reader(tmp_path / "none.db", keys=keys)
    assert "--store" in caught.value.hint
    assert not (tmp_path / "none.db").exists()
    (tmp_path / "text.db").write_text("this is a text file and no database at all" * 30)
    with pytest.raises(StoreError, match="damaged"):
        Store(tmp_path / "text.db", keys=keys)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be made"):
        Store(tmp_path / "file" / "r.db", keys=keys)
    for address in ("mysql://host/name", "no such://thing"):
        with pytest.raises(StoreError, match=r"not kept|no address"):
            Store(address, keys=keys)


def test_a_server_that_is_not_there_is_told_without_its_password(keys, tmp_path):
    pytest.importorskip("psycopg")
    with pytest.raises(StoreError, match="does not answer") as caught:
        Store(f"postgresql://me:topsecret@/db?host={tmp_path}", keys=keys, timeout=1)
    assert caught.value.retryable
    assert "topsecret" not in str(caught.value)


def test_a_newer_store_is_refused(store, place, keys):
    run_sql(place, "INSERT INTO call_record_migrations VALUES ('9999_later', 0)")
    with pytest.raises(StoreError, match="9999_later"):
        Reader(place, keys=keys)


def test_the_file_is_its_owners_alone(tmp_path, keys, record):
    with Store(tmp_path / "sub" / "r.db", keys=keys) as store:
        store.append([record()])
        files = list((tmp_path / "sub").iterdir())
        assert len(files) == 3
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        assert stat.S_IMODE((tmp_path / "sub").stat().st_mode) == 0o700


def test_sqlite_is_as_durable_as_it_says(store, place):
    if store._database.path is None:
        pytest.skip("SQLite's own settings")
    with store._database.read() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}


def test_what_is_said_is_in_no_file(tmp_path, keys, record):
    marks = {
        "request": "MARK-request", "response": "MARK-response", "error": "MARK-error",
        "tag": "MARK-tag", "client": "MARK-client", "trace": "MARK-trace",
        "conversation": "MARK-conversation",
    }  # fmt: skip
    one = record(
        marks["request"],
        response={"text": marks["response"]},
        error=CallError("Timeout", None, marks["error"]),
        tags={"note": marks["tag"]},
        client_id=marks["client"],
        trace_id=marks["trace"],
        conversation_id=marks["conversation"],
    )
    with Store(tmp_path / "r.db", keys=keys) as store:
        store.append([one])
        files = [file for file in tmp_path.rglob("*") if file.is_file()]
        assert tmp_path / "r.db-wal" in files
        written = b"".join(file.read_bytes() for file in files)
    assert b"gpt-4o" in written  # the search would find what is there
    assert b"MARK" not in written


def test_errors_do_not_quote_what_a_record_says(store, place, record):
    run_sql(place, "ALTER TABLE call_records RENAME COLUMN reason TO other")
    with pytest.raises(StoreError) as caught:
        store.append([record("MARK", model="MARK", reason="MARK")])
    shown = []
    error = caught.value
    while error is not None:
        shown.append(str(error))
        error = error.__cause__
    assert "reason" in shown[0]
    assert "MARK" not in " ".join(shown)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_store_goes_on_in_a_forked_process(place, keys, record):
    with Store(place, keys=keys) as store:
        store.append([record()])
        child = os.fork()
        if child == 0:
            code = 1
            try:
                store.append([record() for _ in range(5)])
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        store.append([record()])
    with Reader(place, keys=keys) as reader:
        assert len(list(reader.records())) == 7


def test_exports_of_plain_columns_are_json_but_for_the_time(store, reader, record):
    store.append([record(trace_id="t")])
    (row,) = reader.rows()
    json.dumps(row | {"time": row["time"].isoformat()})
    assert "payload" not in row
    assert "key_id" not in row


def test_an_index_serves_each_query(tmp_path, keys):
    with Store(tmp_path / "r.db", keys=keys):
        pass
    bare = sqlite3.connect(Path(tmp_path / "r.db"))
    for where, index in {
        "time_us > 1": "call_records_by_time",
        "model = 'm' AND time_us > 1": "call_records_by_model",
        "coalesce(workload, assigned) = 'w'": "call_records_by_workload",
        "trace = 't'": "call_records_by_trace",
        "client = 'c'": "call_records_by_client",
        "conversation = 'c'": "call_records_by_conversation",
        "key_id = 'k'": "call_records_by_key",
    }.items():
        plan = bare.execute(f"EXPLAIN QUERY PLAN SELECT id FROM call_records WHERE {where}")
        assert index in plan.fetchone()[3], where
    bare.close()


def test_a_record_is_not_changed_by_being_kept(store, record):
    one = record(tags={"a": "b"})
    same = replace(one)
    store.append([one])
    assert one == same
