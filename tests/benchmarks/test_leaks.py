"""The search for raw values: it finds them in any encoding, and none after real calls."""

from __future__ import annotations

import base64
import json
import shutil
import tempfile
import zlib
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.leaks.cases import Case, all_cases, case_of
from benchmarks.leaks.run import run
from benchmarks.leaks.search import Search

MAIL = "maria.keller@web.de"
ENCODINGS = {
    "text": lambda value: value.encode(),
    "capitals": lambda value: value.upper().encode() if value.isascii() else value.encode(),
    "utf-16": lambda value: value.encode("utf-16-le"),
    "json": lambda value: json.dumps(value).encode(),
    "json in json": lambda value: json.dumps(json.dumps({"a": value})).encode(),
    "url": lambda value: quote(value, safe="").encode(),
    "repr": lambda value: repr(value).encode(),
    "hex": lambda value: value.encode().hex().encode(),
    **{
        f"base64, shifted by {shift}": lambda value, shift=shift: base64.b64encode(
            b"x" * shift + value.encode() + b" and more"
        )
        for shift in range(3)
    },
}


@pytest.mark.parametrize("name", ENCODINGS)
@given(
    before=st.binary(max_size=30),
    after=st.binary(max_size=30),
    value=st.sampled_from([MAIL, "Grüße 14b, Köln", 'p"w\\d/1+2 3', "4539 1256 3823 1297"]),
)
def test_a_value_is_found_in_every_encoding(name, before, after, value):
    data = ENCODINGS[name](value)
    found = Search([value, "somebody else"]).bytes(before + data + after, where="here")
    assert {hit.value for hit in found} == {value}


@given(data=st.binary(max_size=2000))
def test_nothing_is_found_where_nothing_is(data):
    assert Search(["a value that nobody draws", MAIL]).bytes(data, where="here") == []


def test_a_value_across_the_parts_of_a_large_file_is_found():
    data = b"x" * ((1 << 21) - 7) + MAIL.encode() + b"y" * 100
    assert len(Search([MAIL]).bytes(data, where="here")) > 0


def test_packed_files_are_read(tmp_path):
    import gzip

    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(
        pa.table({"said": [f"write to {MAIL}"] * 3}), tmp_path / "a.parquet", compression="zstd"
    )
    (tmp_path / "b.gz").write_bytes(gzip.compress(MAIL.encode()))
    (tmp_path / "c.txt").write_bytes(zlib.compress(MAIL.encode()))
    search = Search([MAIL])
    assert search.file(tmp_path / "a.parquet")
    assert search.file(tmp_path / "b.gz")
    assert not search.file(tmp_path / "c.txt")


def test_short_values_and_surrogates_of_others_are_told_of_by_record_alone():
    assert Search(["1234", "Zo"]).values == frozenset()


def test_every_case_is_told_from_the_others():
    cases = all_cases()
    assert [case_of(f"x {case.marked} y") for case in cases] == list(range(len(cases)))
    assert {case.half for case in cases} == {"dev", "heldout", "fresh"}
    assert sum(len(case.values) for case in cases) > 500


def some_cases() -> list[Case]:
    """Few cases with long values of many kinds."""
    wanted = ("BEGIN", "card", "IBAN", "password", "SSN", "Regards", "@", "sk-", "Straße", "DNI")
    found: dict[str, Case] = {}
    for case in all_cases():
        for word in wanted:
            if word in case.text and len(case.values) > 1:
                found.setdefault(word, case)
    return list({case.number: case for case in found.values()}.values())


def test_recording_leaves_no_raw_value_but_one_that_it_is_told_to_keep():
    """All ways in, with everything logged; SQLite's log is searched before it is emptied."""
    cases = some_cases()
    kept = next(value for case in cases for value in case.values if "@" in value)
    # Without Presidio the processes start in less than half the time.
    redaction = f"presidio = false\nkeep = [{json.dumps(kept)}]\n"
    folder = Path(tempfile.mkdtemp(prefix="leaks-"))
    try:
        result = run(folder, cases, outputs=False, redaction=redaction)
        logs = b"".join(path.read_bytes() for path in (folder / "logs").iterdir())
    finally:
        shutil.rmtree(folder)
    assert result.in_files == []
    assert {leak.value for leak in result.in_records} == {kept}
    assert result.lost == 0
    assert result.records == sum(result.calls.values()) >= 30
    assert result.values > 10
    assert b"DEBUG:" in logs
    assert set(result.read) == {"while it runs", "closed"}
