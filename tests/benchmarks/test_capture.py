"""The capture benchmark's own parts, run small: its reports have what is asked of them."""

from argparse import Namespace

import pytest

from benchmarks.capture import full, killed, locked, million, writing
from benchmarks.capture.__main__ import PARTS, parser
from benchmarks.capture.made import records
from benchmarks.report import Report


@pytest.fixture
def small(monkeypatch):
    """Two writers for a moment, into SQLite."""
    for part in (writing, killed, locked):
        monkeypatch.setattr(part, "DATABASES", ("sqlite",))
    return Namespace(writers=2, seconds=0.5, rounds=1, records=300)


def test_made_records_are_the_same_again_but_for_their_ids():
    first, second = (list(records(50, seed=3)) for _ in range(2))
    assert len({one.id for one in first + second}) == 100
    assert [one.with_(id="") for one in first] == [one.with_(id="") for one in second]
    assert [one.time for one in first] == sorted(one.time for one in first)


def test_every_part_can_be_chosen():
    assert parser().parse_args([]).parts == list(PARTS)
    assert parser().parse_args(["--parts", "full"]).parts == ["full"]


def test_writing_reports_records_per_second(small):
    report = Report()
    writing.measure(report, small)
    rows = [row for row in report.rows if not row.get("raw")]
    assert len(rows) == 4
    assert all(row["median"] > 0 for row in rows)
    assert len(report.targets) == 3


def test_killed_writers_lose_nothing(small, monkeypatch):
    monkeypatch.setattr(killed, "_killed", sqlite_only(killed._killed))
    report = Report()
    killed.measure(report, small)
    assert report.rows[0]["acknowledged"] > 0
    assert report.targets[0]["holds"]


def sqlite_only(killed_by):
    return lambda database, *rest: killed_by(database, *rest) if database == "sqlite" else None


def test_a_full_and_a_locked_database_are_survived(small):
    report = Report()
    full.measure(report, small)
    locked.measure(report, small)
    assert all(target["holds"] for target in report.targets)
    assert [row["not_kept"] > 0 for row in report.rows] == [True, True]


def test_many_records_are_summed_up(small):
    report = Report()
    million.measure(report, small)
    assert report.targets[0]["holds"]
    assert {row["records"] for row in report.rows if "totals" in row["step"]} == {300}
