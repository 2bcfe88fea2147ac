"""Parquet exports and DuckDB's totals over them."""

import json
import stat
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest

from hetagent.errors import StoreError
from hetagent.learn.record import CallError, Usage
from hetagent.learn.store import Custodian, Query, Reader, Store
from hetagent.learn.store.parquet import export_parquet, forget_in_parquet, parquet_totals

START = datetime(2026, 3, 1, 22, tzinfo=UTC)


@pytest.fixture
def reader(place, keys, record):
    made = [
        record(
            f"MARK {n}", time=START + timedelta(hours=n), workload="a" if n % 3 else None,
            usage=Usage(100, n), seconds=float(n), cost_usd=0.25, client_id=f"client-{n % 4}",
            error=CallError("Timeout", 504, "MARK") if n == 4 else None,
            tags={"note": "MARK"},
        )
        for n in range(30)
    ]  # fmt: skip
    with Store(place, keys=keys) as store:
        store.append(made)
        store.assign({made[3].id: "b"})
    with Reader(place, keys=keys) as opened:
        yield opened


def rows_of(folder):
    return [
        row
        for file in sorted(folder.glob("*/*"))
        for row in pq.ParquetFile(file).read().to_pylist()
    ]


def test_an_export_has_a_file_for_each_day_with_all_plain_columns(reader, tmp_path):
    folder = tmp_path / "out"
    told = []
    done = export_parquet(reader, folder, progress=told.append)
    assert (done.records, done.days) == (30, 3)
    assert told == [2, 26, 30]
    assert sorted(path.name for path in folder.iterdir()) == [
        "day=2026-03-01",
        "day=2026-03-02",
        "day=2026-03-03",
    ]
    assert rows_of(folder) == list(reader.rows())
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*.parquet")}
    assert modes == {0o600}
    assert all(b"MARK" not in path.read_bytes() for path in folder.rglob("*.parquet"))


def test_text_is_exported_only_when_asked_for(reader, tmp_path):
    export_parquet(reader, tmp_path / "out", text=True)
    rows = rows_of(tmp_path / "out")
    assert json.loads(rows[7]["request"])["messages"][0]["content"] == "MARK 7"
    assert json.loads(rows[7]["tags"]) == {"note": "MARK"}
    assert rows[4]["error_message"] == "MARK"
    assert rows[5]["error_message"] is None
    texts = {"request", "response", "tags", "error_message"}
    without = [{k: v for k, v in row.items() if k not in texts} for row in rows]
    assert without == list(reader.rows())


def test_exporting_again_replaces_days_and_leaves_others(reader, tmp_path):
    folder = tmp_path / "out"
    export_parquet(reader, folder)
    later = Query(since=datetime(2026, 3, 2, tzinfo=UTC), workload="a")
    done = export_parquet(reader, folder, query=later)
    assert done.days == 2
    rows = rows_of(folder)
    assert len(rows) == 2 + done.records
    assert {row["workload"] for row in rows[2:]} == {"a"}
    with pytest.raises(StoreError, match="rising time"):
        export_parquet(reader, folder, query=Query(newest_first=True))


@pytest.mark.parametrize("by", ["workload", "model", "form"])
def test_totals_of_an_export_are_those_of_the_store(reader, tmp_path, by):
    export_parquet(reader, tmp_path / "out")
    from_files = parquet_totals(tmp_path / "out", by=by)
    key = lambda one: (one.name is None, one.name)  # noqa: E731
    for ours, theirs in zip(
        sorted(from_files, key=key), sorted(reader.totals(by=by), key=key), strict=True
    ):
        assert ours.median_seconds is not None
        assert ours.p95_seconds >= ours.median_seconds
        for name in ("name", "calls", "failed", "prompt_tokens", "completion_tokens", "first",
                     "last"):  # fmt: skip
            assert getattr(ours, name) == getattr(theirs, name), name
        for name in ("share", "seconds", "cost_usd"):
            assert getattr(ours, name) == pytest.approx(getattr(theirs, name)), name


def test_days_are_summed_up_from_an_export(reader, tmp_path):
    export_parquet(reader, tmp_path / "out")
    days = {one.name: one.calls for one in parquet_totals(tmp_path / "out", by="day")}
    assert days == {"2026-03-01": 2, "2026-03-02": 24, "2026-03-03": 4}


def test_a_client_is_erased_from_an_export(reader, tmp_path, place, keys):
    folder = tmp_path / "out"
    export_parquet(reader, folder)
    before = rows_of(folder)
    with Custodian(place, keys=keys) as custodian:
        name = custodian.pseudonym("client-2")
    assert forget_in_parquet(folder, name) == 7
    assert rows_of(folder) == [row for row in before if row["client"] != name]
    assert all(name.encode() not in path.read_bytes() for path in folder.rglob("*.parquet"))
    assert forget_in_parquet(folder, name) == 0


def test_a_folder_without_an_export_is_told(tmp_path):
    for use in (parquet_totals, lambda folder: forget_in_parquet(folder, "x")):
        with pytest.raises(StoreError, match="no export"):
            use(tmp_path)
    (tmp_path / "day=2026-01-01").mkdir()
    (tmp_path / "day=2026-01-01" / "records.parquet").write_text("no parquet")
    with pytest.raises(StoreError, match="cannot be read"):
        parquet_totals(tmp_path)


def test_an_export_that_cannot_be_written_leaves_the_old_one(reader, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(StoreError, match="cannot be written"):
        export_parquet(reader, tmp_path / "out")
