"""A store's workloads: found, kept beside it, told each record; new records are told online."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hetagent.errors import StoreError
from hetagent.learn.cluster import Workloads, kept, workloads
from hetagent.learn.cluster.kept import (
    AssigningStore,
    assign_workloads,
    find_workloads,
    found_before,
)
from hetagent.learn.cluster.sample import Sample
from hetagent.learn.pipeline import Pipeline
from hetagent.learn.store import Custodian, Query, Reader, Store
from hetagent.learn.store.attached import WORKLOADS, attached_path
from hetagent.learn.store.database import Database
from hetagent.learn.store.rotation import KeyRing
from tests.support import workload_calls as calls

pytest.importorskip("wordllama")
pytest.importorskip("sklearn")


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """What PostgreSQL's store has beside it lies in the user's folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def store(place, keys):
    return filled(place, keys)


@pytest.fixture
def file_store(tmp_path, keys):
    """Where the kind of database makes no difference."""
    return filled(str(tmp_path / "records.db"), keys)


def filled(place, keys):
    some = calls.shop(40) + calls.orders(40) + calls.talk(20)
    with Store(place, keys=keys) as opened:
        opened.append([one.with_(client_id=f"c{number % 3}") for number, one in enumerate(some)])
        people = [one.with_(interactive=True) for one in calls.talk(5, seed=8)]
        opened.append([*people, calls.shop(1, seed=9)[0].with_(workload="mine")])
    return place


def sizes(place, keys):
    with Reader(place, keys=keys) as reader:
        return {one.name: one.calls for one in reader.totals()}


def file_of(place):
    database = Database(place)
    try:
        return attached_path(database, WORKLOADS)
    finally:
        database.close()


def test_what_was_found_is_kept_and_told_each_record(store, keys):
    stages = []
    found = find_workloads(store, keys=keys, progress=lambda stage, *_: stages.append(stage))
    assert found.total == 101
    assert found.left_out == {"interactive": 5}
    assert found.trainable == {"unknown": 101}
    known = {one.name: one.size for one in found}
    assert sorted(known.values()) == [1, 40, 40]
    assert known["mine"] == 1  # as its caller said
    assert sizes(store, keys) == {**known, None: 25}
    assert stages[-1] == "telling records"
    before = found_before(store, keys=keys)
    assert before.told
    assert before.workloads.to_dict() == found.to_dict()


def test_what_is_kept_says_nothing_to_who_has_no_key(file_store, keys):
    find_workloads(file_store, keys=keys)
    file = file_of(file_store)
    assert file.stat().st_mode & 0o777 == 0o600
    for word in (b"household", b"refund", b"order"):
        assert word not in file.read_bytes()


def test_new_records_are_assigned_and_others_left_alone(store, keys):
    name = find_workloads(store, keys=keys).assign(calls.orders(1, seed=5)[0])
    with Store(store, keys=keys) as opened:
        opened.append([*calls.orders(7, seed=5), *calls.talk(3, seed=6)])
    done = assign_workloads(store, keys=keys)
    assert dict(done.workloads) == {name: 7}
    assert done.unassigned == 23
    assert done.left_out == {"interactive": 5}
    assert assign_workloads(store, keys=keys).workloads == {}
    assert assign_workloads(store, keys=keys, again=True).records == 111


def test_nothing_is_written_until_all_are_found(file_store, keys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(kept.Workloads, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        find_workloads(file_store, keys=keys)
    assert sizes(file_store, keys) == {None: 105, "mine": 1}
    for use in (found_before, assign_workloads):
        with pytest.raises(StoreError, match="no workloads beside"):
            use(file_store, keys=keys)


def test_telling_that_was_interrupted_is_made_up_for(file_store, keys, monkeypatch):
    monkeypatch.setattr(kept, "_AT_ONCE", 10)
    real, told = Store.assign, []

    def twice(self, some):
        if len(told) == 2:
            raise KeyboardInterrupt
        told.append(some)
        real(self, some)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "assign", twice)
        with pytest.raises(KeyboardInterrupt):
            find_workloads(file_store, keys=keys)
    assert not found_before(file_store, keys=keys).told
    assert assign_workloads(file_store, keys=keys).records == 101
    assert found_before(file_store, keys=keys).told
    assert sizes(file_store, keys)[None] == 25


def test_what_was_found_before_does_not_bind_a_new_search(file_store, keys):
    find_workloads(file_store, keys=keys)
    with Store(file_store, keys=keys) as opened, Reader(file_store, keys=keys) as reader:
        opened.assign({one.id: "wrong" for one in reader.records()})
    names = {one.name for one in find_workloads(file_store, keys=keys)}
    assert "wrong" not in names | sizes(file_store, keys).keys()


def test_what_may_quote_erased_records_goes_with_them(store, keys):
    find_workloads(store, keys=keys)
    with Custodian(store, keys=keys) as custodian:
        custodian.forget("nobody")
        assert found_before(store, keys=keys).told
        custodian.forget("c1")
    with pytest.raises(StoreError, match="since records were erased"):
        found_before(store, keys=keys)


def test_it_is_encrypted_anew_with_the_records(file_store, keys):
    found = find_workloads(file_store, keys=keys)
    with KeyRing(file_store, keys=keys) as ring:
        ring.rotate()
    assert found_before(file_store, keys=keys).workloads.to_dict() == found.to_dict()


def test_another_stores_workloads_are_refused(file_store, keys, tmp_path):
    find_workloads(file_store, keys=keys)
    with Store(tmp_path / "other.db", keys=keys):
        pass
    file_of(file_store).rename(file_of(tmp_path / "other.db"))
    with pytest.raises(StoreError, match="cannot be read"):
        found_before(tmp_path / "other.db", keys=keys)


def test_a_pipeline_assigns_redacted_records_in_its_own_thread(file_store, keys):
    found = find_workloads(file_store, keys=keys)
    name = found.assign(calls.orders(1, seed=5)[0])
    begun = datetime.now(UTC)
    now = [one.with_(time=datetime.now(UTC)) for one in calls.orders(5, seed=4)]
    person = calls.orders(1, seed=3)[0].with_(time=datetime.now(UTC), interactive=True)
    said = now[0].with_(id="said", workload="mine")

    def clean(record):
        return record.with_(redacted={})

    with Store(file_store, keys=keys) as opened:
        with Pipeline(AssigningStore(opened, found), redact=clean) as pipeline:
            for one in (*now, person, said):
                pipeline.submit(one)
        assert pipeline.kept.written == 7
    with Reader(file_store, keys=keys) as reader:
        got = [one.workload for one in reader.records(Query(since=begun))]
    assert sorted(got, key=str) == [None, "mine", *[name] * 5]


def test_a_record_that_cannot_be_assigned_is_kept(file_store, keys, monkeypatch):
    found = find_workloads(file_store, keys=keys)

    def fails(self, call):
        raise ValueError("no idea")

    monkeypatch.setattr(Workloads, "assign", fails)
    (one,) = calls.orders(1, seed=4)
    with Store(file_store, keys=keys) as opened:
        AssigningStore(opened, found).append([one])
    with Reader(file_store, keys=keys) as reader:
        assert reader.get(one.id).workload is None


def test_a_sample_has_the_sizes_of_all(monkeypatch):
    some = calls.shop(90) + calls.orders(60) + calls.talk(40) + calls.shop(70, day=20, seed=2)
    some += [one.with_(workload="rare") for one in calls.tooled(2)]
    some += [one.with_(interactive=True) for one in calls.talk(4)]
    told: dict[str, str | None] = {}
    whole = Workloads.fit(some)
    monkeypatch.setattr(workloads, "_MINED", 130)
    drawn = Workloads.fit(some, assigned=told.__setitem__)
    assert (drawn.total, drawn.left_out) == (whole.total, whole.left_out)
    assert sorted((one.size, one.tokens) for one in drawn) == sorted(
        (one.size, one.tokens) for one in whole
    )
    assert drawn.unassigned == whole.unassigned == 40
    largest = next(iter(drawn))
    assert [one.calls for one in largest.drift] == [90, 70]
    assert [told[one.id] for one in some[:90]] == [largest.name] * 90
    assert len(told) == len(some) - 4


def test_a_sample_is_drawn_alike_each_time_and_bounded():
    some = calls.talk(400)
    first, again = (Sample.of(some, most=50) for _ in range(2))
    assert first == again
    assert len(first.calls) == 50
    assert (first.sums.calls, first.whole) == (400, False)
    every = Sample.of(some, most=400)
    assert every.whole
    assert [one.id for one in every.records] == [one.id for one in some]


def test_some_calls_of_each_named_workload_are_drawn():
    rare = [one.with_(workload="rare") for one in calls.orders(30)]
    drawn = Sample.of([*calls.talk(300), *rare], most=5)
    assert [one.workload for one in drawn.records].count("rare") >= 20
