"""Replacing the records' key, while others read and write."""

import threading

import pytest
import sqlalchemy as sa

from hetagent.errors import StoreError
from hetagent.learn.keys import EnvironmentKeys, FolderKeys, Key
from hetagent.learn.store import Custodian, Reader, Store
from hetagent.learn.store.database import Database
from hetagent.learn.store.rotation import KeyRing


class Interrupted(Exception):
    pass


def held(keys: FolderKeys, purpose: str = "records"):
    (file,) = keys.folder.glob(f"*.{purpose}.key")
    return keys.load(file.name.split(".")[0], purpose).all


def used_keys(place):
    database = Database(place)
    with database.read() as connection:
        found = list(connection.execute(sa.text("SELECT DISTINCT key_id FROM call_records")))
    database.close()
    return {row[0] for row in found}


def test_rotation_replaces_the_key_of_every_record(place, keys, record):
    made = [record(f"said {n}") for n in range(450)]
    with Store(place, keys=keys) as store:
        store.append(made)
    (old,), origins = held(keys), held(keys, "origins")
    with KeyRing(place, keys=keys) as ring:
        told = []
        done = ring.rotate(progress=told.append)
        assert (done.records, done.retired) == (450, (old.id,))
        assert told[-1] == 450
        (new,) = held(keys)
        assert done.key_id == new.id != old.id
        assert used_keys(place) == {new.id}
        uses = {use.id: use for use in ring.uses()}
        assert uses[new.id].records == 450
        assert uses[origins[0].id].records is None
        assert all(use.here for use in uses.values())
        assert old.id not in uses
    assert held(keys, "origins") == origins
    with Reader(place, keys=keys) as reader:
        assert {one.id: one for one in reader.records()} == {one.id: one for one in made}


def test_an_interrupted_rotation_goes_on_with_the_same_key(place, keys, record):
    with Store(place, keys=keys) as store:
        store.append([record() for _ in range(900)])
    (old,) = held(keys)

    def stop(done):
        if done >= 400:
            raise Interrupted

    with KeyRing(place, keys=keys) as ring:
        with pytest.raises(Interrupted):
            ring.rotate(progress=stop)
        new, kept = held(keys)
        assert kept == old
        assert used_keys(place) == {old.id, new.id}
        # In between, all is readable and writable.
        with Store(place, keys=keys) as store, Reader(place, keys=keys) as reader:
            store.append([record()])
            assert len(list(reader.records())) == 901
        done = ring.rotate()
    assert done.key_id == new.id
    assert 0 < done.records < 901
    assert held(keys) == (new,)
    assert used_keys(place) == {new.id}


def test_old_keys_can_be_kept(place, keys, record):
    with Store(place, keys=keys) as store:
        store.append([record()])
    (old,) = held(keys)
    with KeyRing(place, keys=keys) as ring:
        ring.rotate(keep_old=True)
        assert held(keys)[1:] == (old,)
        second = ring.rotate()
    assert held(keys)[0].id == second.key_id
    assert len(held(keys)) == 1


def test_a_writer_that_was_there_before_goes_on_with_the_new_key(place, keys, record):
    with Store(place, keys=keys) as store, Reader(place, keys=keys) as reader:
        store.append([record()])
        assert len(list(reader.records())) == 1
        with KeyRing(place, keys=keys) as ring:
            new = ring.rotate().key_id
        store.append([record() for _ in range(3)])
        assert used_keys(place) == {new}
        # So does a reader that was.
        assert len(list(reader.records())) == 4


def test_a_writer_without_the_new_key_is_refused_and_loses_nothing_before(place, tmp_path, record):
    old, new, origins = Key.new(), Key.new(), Key.new()
    variables = {
        "HETAGENT_RECORDS_KEY": old.to_text(),
        "HETAGENT_ORIGINS_KEY": origins.to_text(),
    }
    later = variables | {"HETAGENT_RECORDS_KEY": f"{new.to_text()},{old.to_text()}"}
    with Store(place, keys=EnvironmentKeys(environment=variables)) as store:
        store.append([record()])
        with KeyRing(place, keys=EnvironmentKeys(environment=variables)) as ring:
            with pytest.raises(StoreError, match="HETAGENT_RECORDS_KEY") as caught:
                ring.rotate()
            assert "new-key" in caught.value.hint
        with KeyRing(place, keys=EnvironmentKeys(environment=later)) as ring:
            done = ring.rotate()
            assert (done.key_id, done.retired) == (new.id, (old.id,))
        with pytest.raises(StoreError, match="key"):
            store.append([record()])
    with Reader(place, keys=EnvironmentKeys(environment=later)) as reader:
        assert len(list(reader.records())) == 1


def test_rotation_under_load_leaves_no_record_behind(place, keys, record):
    stop, written, failed = threading.Event(), [], []

    def write(store):
        while not stop.is_set():
            some = [record() for _ in range(5)]
            try:
                store.append(some)
            except StoreError as error:
                failed.append(error)
                return
            written.extend(some)

    with Store(place, keys=keys) as store:
        store.append([record() for _ in range(400)])
        threads = [threading.Thread(target=write, args=(store,)) for _ in range(4)]
        for one in threads:
            one.start()
        try:
            with KeyRing(place, keys=keys) as ring:
                new = ring.rotate().key_id
        finally:
            stop.set()
            for one in threads:
                one.join()
    assert not failed
    assert used_keys(place) == {new}
    with Reader(place, keys=keys) as reader:
        found = {one.id for one in reader.records()}
    assert {one.id for one in written} <= found
    assert len(found) == 400 + len(written)


def test_rotation_without_the_old_key_is_refused_before_anything_is_changed(
    place, keys, tmp_path, record
):
    with Store(place, keys=keys) as store:
        store.append([record()])
    (old,) = held(keys)
    for other in (FolderKeys(tmp_path / "none"), EnvironmentKeys(environment=variables(Key.new()))):
        with KeyRing(place, keys=other) as ring, pytest.raises(StoreError, match=old.id):
            ring.rotate()
    assert used_keys(place) == {old.id}


def variables(key: Key) -> dict[str, str]:
    return {"HETAGENT_RECORDS_KEY": key.to_text()}


def test_a_key_that_is_not_the_stores_is_passed_over(place, record):
    names = ("HETAGENT_RECORDS_KEY", "HETAGENT_ORIGINS_KEY")
    right = {name: Key.new().to_text() for name in names}
    with Store(place, keys=EnvironmentKeys(environment=right)) as store:
        store.append([record(client_id="alice")])
    both = {name: f"{Key.new().to_text()},{key}" for name, key in right.items()}
    source = EnvironmentKeys(environment=both)
    with Store(place, keys=source) as store:
        store.append([record(client_id="alice")])
    with Custodian(place, keys=source) as custodian:
        assert custodian.forget("alice") == 2


def test_one_key_for_both_purposes_is_refused(place):
    key = Key.new().to_text()
    both = {"HETAGENT_RECORDS_KEY": key, "HETAGENT_ORIGINS_KEY": key}
    with pytest.raises(StoreError, match="already that of origins"):
        Store(place, keys=EnvironmentKeys(environment=both))
