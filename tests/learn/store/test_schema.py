"""Migrations are append-only, and make what the code expects."""

import hashlib

import pytest
import sqlalchemy as sa

from hetagent.errors import StoreError
from hetagent.learn.store import Reader, Store
from hetagent.learn.store import schema as store_schema
from hetagent.learn.store.database import Database
from hetagent.learn.store.schema import MIGRATIONS, Migration, applied

# A released migration is never changed: append another one, and its hash here.
HASHES = {
    "0001_records": "4b267129eee0265f",
    "0002_indexes": "291f9adb7fd7e051",
}


def test_no_migration_was_changed_or_taken_out():
    found = {
        one.name: hashlib.sha256("\n".join(one.statements).encode()).hexdigest()[:16]
        for one in MIGRATIONS
    }
    assert found == HASHES
    assert list(found) == sorted(found)


def test_the_tables_are_what_the_code_expects(place, keys):
    with Store(place, keys=keys) as store, store._database.read() as connection:
        inspector = sa.inspect(connection)
        for table in store_schema._metadata.sorted_tables:
            there = {one["name"]: one for one in inspector.get_columns(table.name)}
            assert list(there) == [column.name for column in table.c]
            for column in table.c:
                assert there[column.name]["nullable"] == column.nullable, column.name
                assert there[column.name]["type"]._type_affinity is column.type._type_affinity or (
                    isinstance(column.type, sa.Double | sa.Boolean | sa.BigInteger)
                ), column.name
        assert applied(connection) == [one.name for one in MIGRATIONS]


def test_a_store_of_an_older_version_is_brought_to_this_one(place, keys, record, monkeypatch):
    one = record()
    with Store(place, keys=keys) as store:
        store.append([one])
    later = Migration("9000_later", ("ALTER TABLE call_records ADD COLUMN later TEXT",))
    monkeypatch.setattr(store_schema, "MIGRATIONS", (*MIGRATIONS, later))
    monkeypatch.setattr("hetagent.learn.store.database.MIGRATIONS", (*MIGRATIONS, later))
    with pytest.raises(StoreError, match="older hetagent") as caught:
        Reader(place, keys=keys)
    assert "records init" in caught.value.hint
    with Store(place, keys=keys) as store:
        store.append([record()])
    with Reader(place, keys=keys) as reader:
        assert reader.get(one.id) == one


def test_a_migration_that_fails_leaves_nothing(place, keys, monkeypatch):
    with Store(place, keys=keys):
        pass
    broken = Migration(
        "9000_broken", ("CREATE TABLE half (id TEXT)", "CREATE TABLE half (id TEXT)")
    )
    with monkeypatch.context() as patch:
        patch.setattr(store_schema, "MIGRATIONS", (*MIGRATIONS, broken))
        patch.setattr("hetagent.learn.store.database.MIGRATIONS", (*MIGRATIONS, broken))
        with pytest.raises(StoreError):
            Store(place, keys=keys)
    database = Database(place)
    with database.read() as connection:
        assert not sa.inspect(connection).has_table("half")
        assert "9000_broken" not in applied(connection)
    database.close()
