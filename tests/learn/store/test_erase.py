"""Erasure and retention: what is erased is in no file any more."""

import os
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from hetagent.errors import StoreError
from hetagent.learn.store import Custodian, Query, Reader, Store


def files_of(folder: Path) -> bytes:
    return b"".join(p.read_bytes() for p in folder.iterdir() if p.is_file())


def ciphertexts(place) -> dict[str, bytes]:
    with sqlite3.connect(place) as bare:
        found = dict(bare.execute("SELECT id, payload FROM call_records"))
    bare.close()
    return found


def test_forgetting_a_client_erases_all_of_it_and_nothing_else(place, keys, record):
    with Store(place, keys=keys) as store:
        made = [record(client_id=f"client-{n % 3}") for n in range(2501)]
        store.append([*made, record(client_id=None)])
        with Custodian(place, keys=keys) as custodian:
            assert custodian.forget("client-1") == 834
            assert custodian.forget("client-1") == 0
            assert custodian.forget("nobody") == 0
        with Reader(place, keys=keys) as reader:
            left = {one.id for one in reader.records()}
            assert len(left) == 2502 - 834
            assert left > {one.id for one in made if one.client_id != "client-1"}


@pytest.mark.parametrize("rewrite", [False, True])
def test_no_byte_of_what_was_erased_is_left_in_sqlites_files(tmp_path, keys, record, rewrite):
    place = tmp_path / "db" / "r.db"
    with Store(place, keys=keys) as store, Custodian(place, keys=keys) as custodian:
        # Records short and long, of many appends, so that pages are split, merged and chained.
        made = [
            record("x" * (n * 37 % 9000), client_id="gone" if n % 4 == 1 else f"c{n % 7}")
            for n in range(1200)
        ]
        for start in range(0, 1200, 100):
            store.append(made[start : start + 100])
        gone = {one.id for one in made if one.client_id == "gone"}
        sealed = ciphertexts(place)
        name = custodian.pseudonym("gone")
        before = files_of(place.parent)
        assert name.encode() in before
        assert custodian.forget("gone", rewrite=rewrite) == len(gone) == 300
        # While the store is open: its log is there, and empty.
        after = files_of(place.parent)
        assert name.encode() not in after
        for one in gone:
            assert one.encode() not in after
            cipher = sealed[one]
            assert cipher[:64] not in after
            assert cipher[-64:] not in after
            for start in range(64, len(cipher) - 64, 1024):
                assert cipher[start : start + 64] not in after
        kept = next(one.id for one in made if one.id not in gone)
        assert kept.encode() in after


def test_old_records_are_erased_by_their_time(place, keys, record):
    now = datetime.now(UTC)
    with Store(place, keys=keys) as store, Custodian(place, keys=keys) as custodian:
        store.append([record(time=now - timedelta(days=n, minutes=1)) for n in range(10)])
        told = []
        assert custodian.retain(7, progress=told.append) == 3
        assert told[-1] == 3
        assert custodian.retain(7) == 0
        assert custodian.retain(0) == 7
        for wrong in (-1, float("nan")):
            with pytest.raises(StoreError, match="days old"):
                custodian.retain(wrong)
        with Reader(place, keys=keys) as reader:
            assert reader.count() == 0


def test_a_reader_in_the_middle_of_records_does_not_keep_them(place, keys, record):
    with (
        Store(place, keys=keys) as store,
        Reader(place, keys=keys) as reader,
        Custodian(place, keys=keys) as custodian,
    ):
        store.append([record(client_id="gone") for _ in range(700)])
        records = reader.records()
        next(records)
        assert custodian.forget("gone") == 700
        # What was read already may still come.
        assert len(list(records)) < 700
        assert reader.count(Query(client=custodian.pseudonym("gone"))) == 0


def test_where_somebody_holds_the_log_erasing_says_so_and_can_be_ended_later(
    tmp_path, keys, record
):
    place = tmp_path / "r.db"
    with Store(place, keys=keys) as store:
        store.append([record(client_id="gone")])
        holder = sqlite3.connect(place, isolation_level=None)
        holder.execute("BEGIN")
        holder.execute("SELECT count(*) FROM call_records").fetchone()
        with Custodian(place, keys=keys, timeout=0.2) as custodian:
            with pytest.raises(StoreError, match="write-ahead log") as caught:
                custodian.forget("gone")
            assert "again" in caught.value.hint
            assert custodian.pseudonym("gone").encode() in files_of(tmp_path)
            holder.close()
            assert custodian.forget("gone") == 0
            assert custodian.pseudonym("gone").encode() not in files_of(tmp_path)


def test_a_rewritten_table_of_postgresql_has_nothing_left(postgres, keys, record):
    place = postgres.database()
    data = postgres.folder / "data" / "base"
    with Store(place, keys=keys) as store, Custodian(place, keys=keys) as custodian:
        store.append([record(client_id="gone" if n % 2 else "stays") for n in range(400)])
        name = custodian.pseudonym("gone").encode()
        stays = custodian.pseudonym("stays").encode()

        def found(mark: bytes) -> bool:
            postgres.sql("CHECKPOINT")
            files = [Path(top) / one for top, _, some in os.walk(data) for one in some]
            return any(mark in file.read_bytes() for file in files if file.exists())

        assert found(name)
        assert custodian.forget("gone", rewrite=True) == 200
        assert not found(name)
        assert found(stays)


def test_postgresql_frees_what_was_erased_without_being_told_to_rewrite(postgres, keys, record):
    place = postgres.database()
    with Store(place, keys=keys) as store, Custodian(place, keys=keys) as custodian:
        store.append([record(client_id="gone") for _ in range(100)])
        assert custodian.forget("gone") == 100
        with store._database.read() as connection:
            size = connection.scalar(sa.text("SELECT pg_relation_size('call_records')"))
        assert size == 0
