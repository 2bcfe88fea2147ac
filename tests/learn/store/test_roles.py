"""PostgreSQL's roles: each may do its own part, and no other."""

from datetime import UTC, datetime, timedelta

import pytest

from hetagent.errors import StoreError
from hetagent.learn.store import Custodian, Query, Reader, Store
from hetagent.learn.store.roles import role_grants
from hetagent.learn.store.rotation import KeyRing


@pytest.fixture
def places(postgres, keys, record):
    """The address of each role's account, of a store that its owner has made."""
    owner = postgres.database()
    with Store(owner, keys=keys) as store:
        store.append([record(client_id="alice", time=datetime.now(UTC) - timedelta(days=9))])
    postgres.sql(role_grants("t"))
    postgres.sql(role_grants("t"))  # twice is once
    for role in ("writer", "reader", "custodian"):
        postgres.sql(f"DROP ROLE IF EXISTS a_{role}; CREATE ROLE a_{role} LOGIN IN ROLE t_{role}")
    return {
        role: postgres.address(user=f"a_{role}") for role in ("writer", "reader", "custodian")
    } | {"owner": owner}


def test_a_writer_writes_and_reads_nothing(places, keys, record):
    one = record()
    with Store(places["writer"], keys=keys) as store:
        store.append([one])
        store.append([one])
        store.assign({one.id: "w"})
        store.unassign(Query(interactive=True))
    with Reader(places["writer"], keys=keys) as reader:
        for use in (lambda: reader.get(one.id), lambda: list(reader.rows()), reader.totals):
            with pytest.raises(StoreError, match="does not allow") as caught:
                use()
            assert "roles" in caught.value.hint
    with Custodian(places["writer"], keys=keys) as custodian:
        with pytest.raises(StoreError, match="does not allow"):
            custodian.forget("alice")
        with pytest.raises(StoreError, match="does not allow"):
            custodian.retain(1)
    with Reader(places["owner"], keys=keys) as reader:
        assert reader.get(one.id).workload == "w"
        assert reader.count() == 2


def test_a_reader_reads_and_changes_nothing(places, keys, record):
    with Reader(places["reader"], keys=keys) as reader:
        assert len(list(reader.records())) == 1
        assert reader.totals()[0].calls == 1
    with Store(places["reader"], keys=keys) as store:
        with pytest.raises(StoreError, match="does not allow"):
            store.append([record()])
        with pytest.raises(StoreError, match="does not allow"):
            store.assign({"x": "w"})
    with (
        Custodian(places["reader"], keys=keys) as custodian,
        pytest.raises(StoreError, match="does not allow"),
    ):
        custodian.forget("alice")
    with (
        KeyRing(places["reader"], keys=keys) as ring,
        pytest.raises(StoreError, match="does not allow"),
    ):
        ring.rotate()


@pytest.mark.parametrize("how", ["forget", "retain"])
def test_a_custodian_erases_and_reads_no_text(places, keys, record, how):
    with Reader(places["custodian"], keys=keys) as reader:
        with pytest.raises(StoreError, match="does not allow"):
            list(reader.records())
        with pytest.raises(StoreError, match="does not allow"):
            reader.totals()
    with (
        Store(places["custodian"], keys=keys) as store,
        pytest.raises(StoreError, match="does not allow"),
    ):
        store.append([record()])
    with Custodian(places["custodian"], keys=keys) as custodian:
        assert list(custodian.identify(["alice", "bob"]).values()) == ["alice"]
        assert (custodian.forget("alice") if how == "forget" else custodian.retain(1)) == 1


@pytest.mark.parametrize("prefix", ["", "A", "x;y", "1a", "a b", "x" * 60])
def test_what_cannot_begin_a_roles_name_is_refused(prefix):
    with pytest.raises(StoreError, match="name of a role"):
        role_grants(prefix)
