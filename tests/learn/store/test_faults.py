"""What goes wrong under a store, and that nothing acknowledged is lost by it."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hetagent.errors import StoreError
from hetagent.learn.store import Reader, Store

ROOT = Path(__file__).parents[2]
WRITER = """
    import sys, threading
    from datetime import datetime, UTC
    from hetagent.errors import StoreError
    from hetagent.learn.keys import FolderKeys
    from hetagent.learn.record import CallRecord, new_id
    from hetagent.learn.store import Store

    def some(count, size):
        return [
            CallRecord(
                id=new_id(), time=datetime.now(UTC), form="openai.chat", source="gateway",
                model="m", request={"text": "x" * size},
            )
            for _ in range(count)
        ]

    def acknowledge(records):
        # One write, so that no line is torn.
        sys.stdout.write("".join(f"{one.id}\\n" for one in records))
        sys.stdout.flush()

    place, keys = sys.argv[1], FolderKeys(sys.argv[2])
"""
LOAD = """
    def write(store):
        while True:
            records = some(3, 2000)
            store.append(records)
            acknowledge(records)

    store = Store(place, keys=keys)
    for _ in range(4):
        threading.Thread(target=write, args=(store,), daemon=True).start()
    threading.Event().wait()
"""
FILL = """
    store = Store(place, keys=keys)
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))
    try:
        while True:
            records = some(8, 4000)
            store.append(records)
            acknowledge(records)
    except StoreError as error:
        print("full:", error, file=sys.stderr)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    records = some(2, 10)
    store.append(records)
    acknowledge(records)
"""


def start(code, place, keys, **options):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER) + textwrap.dedent(code), str(place),
         str(keys.folder)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=ROOT,
        text=True,
        **options,
    )  # fmt: skip


def ids(place, keys):
    with Reader(place, keys=keys) as reader:
        return [one.id for one in reader.records()]


@pytest.mark.parametrize("writers", [1, 3])
def test_what_was_acknowledged_survives_killing_the_writers(place, keys, writers):
    with Store(place, keys=keys):
        pass
    running = [start(LOAD, place, keys) for _ in range(writers)]
    said = []
    try:
        for one in running:
            said += [one.stdout.readline().strip() for _ in range(60)]
    finally:
        for one in running:
            one.send_signal(signal.SIGKILL)
    for one in running:
        rest = one.communicate()[0]
        assert one.returncode == -signal.SIGKILL
        said += [line for line in rest.split("\n")[:-1] if line]
    found = ids(place, keys)
    assert len(set(found)) == len(found)
    assert set(said) <= set(found)
    assert len(said) >= 60 * writers
    # Whoever comes next goes on writing.
    with Store(place, keys=keys):
        pass


def test_a_full_disk_is_told_and_what_was_acknowledged_stays(tmp_path, keys):
    """The limit of a file's size stands in for the disk: the system refuses to write more."""
    place = tmp_path / "r.db"
    with start(FILL, place, keys, stderr=subprocess.PIPE) as writer:
        out, told = writer.communicate(timeout=200)
    assert writer.returncode == 0, told
    assert "full:" in told
    assert "disk" in told
    said = out.split()
    assert len(said) > 50
    # All before and after; the refused append has left nothing.
    assert sorted(ids(place, keys)) == sorted(said)


def test_sqlite_that_is_full_takes_nothing_by_halves_and_goes_on_when_there_is_room(
    tmp_path, keys, record
):
    place = tmp_path / "r.db"
    with Store(place, keys=keys) as store:
        store.append([record()])
        limit(store, 60)
        store.append([record("x" * 3000) for _ in range(4)])
        with pytest.raises(StoreError, match="full") as caught:
            store.append([record("x" * 3000) for _ in range(400)])
        assert caught.value.retryable
        assert "space" in caught.value.hint
        with Reader(place, keys=keys) as reader:
            assert reader.count() == 5
            limit(store, 1_000_000)
            store.append([record()])
            assert reader.count() == 6


def limit(store, pages):
    """Of the database's size, for the connections that the store has."""
    with store._database.write() as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")


def test_a_locked_database_is_told_and_nothing_is_lost(tmp_path, keys, record):
    place = tmp_path / "r.db"
    with Store(place, keys=keys, timeout=0.2) as store:
        store.append([record()])
        holder = sqlite3.connect(place, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked") as caught:
            store.append([record()])
        assert caught.value.retryable
        assert "timeout" in caught.value.hint
        # Reading goes on meanwhile.
        assert len(ids(place, keys)) == 1
        holder.execute("ROLLBACK")
        holder.close()
        store.append([record()])
        assert len(ids(place, keys)) == 2


def test_a_locked_table_of_postgresql_is_told(postgres, keys, record):
    import psycopg

    place = postgres.database()
    with Store(place, keys=keys, timeout=0.3) as store:
        store.append([record()])
        with psycopg.connect(place) as holder:
            holder.execute("LOCK TABLE call_records IN EXCLUSIVE MODE")
            with pytest.raises(StoreError, match="locked") as caught:
                store.append([record()])
            assert caught.value.retryable
        store.append([record()])
        assert len(ids(place, keys)) == 2


def test_a_writer_waits_for_a_lock_that_passes(tmp_path, keys, record):
    place = tmp_path / "r.db"
    with Store(place, keys=keys, timeout=60) as store:
        holder = sqlite3.connect(place, isolation_level=None, check_same_thread=False)
        holder.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.3, holder.execute, ["ROLLBACK"])
        timer.start()
        began = time.monotonic()
        store.append([record()])
        assert time.monotonic() - began > 0.2
        timer.join()
        holder.close()


def test_connections_that_the_server_ended_are_made_anew(postgres, keys, record):
    place = postgres.database()
    with Store(place, keys=keys) as store:
        store.append([record()])
        postgres.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = 'postgres' AND pid <> pg_backend_pid()"
        )
        store.append([record()])
        assert len(ids(place, keys)) == 2


def test_sixteen_threads_write_at_once(place, keys, record):
    with Store(place, keys=keys, timeout=60) as store:

        def write(number):
            mine = [record(f"{number}-{n}") for n in range(12)]
            for one in mine[:6]:
                store.append([one])
            store.append(mine[6:])
            return {one.id for one in mine}

        with ThreadPoolExecutor(16) as pool:
            written = set().union(*pool.map(write, range(16)))
    assert len(written) == 192
    assert sorted(ids(place, keys)) == sorted(written)


def test_processes_write_at_once(place, keys):
    code = """
        with Store(place, keys=keys, timeout=120) as store:
            for _ in range(4):
                records = some(5, 100)
                store.append(records)
                acknowledge(records)
    """
    with Store(place, keys=keys):
        pass
    running = [start(code, place, keys) for _ in range(4)]
    said = []
    for one in running:
        said += one.communicate(timeout=250)[0].split()
        assert one.returncode == 0
    assert len(said) == 80
    assert sorted(ids(place, keys)) == sorted(said)
