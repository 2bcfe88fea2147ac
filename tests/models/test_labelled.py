from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel

from hetagent import Answer, Scripted, skill
from hetagent.errors import InputError, ModelError
from hetagent.models.labelled import read_labelled


class Table(BaseModel):
    people: int
    time: str | None = None


@skill
def pick(text: str) -> Literal["a", "b"]:
    """Pick one."""


@skill
def table(text: str, day: int) -> Table:
    """Extract the table."""


def nothing(done: int, total: int) -> None:
    pass


def write(folder: Path, *rows: object) -> Path:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_rows_are_judged_by_equality_of_the_value(tmp_path: Path):
    rows = [{"input": f"t{n}", "output": "a"} for n in range(70)]
    labelled = read_labelled(write(tmp_path, *rows), pick, concurrency=2)
    model = Scripted(lambda request: Answer("b" if "7" in request.messages[-1].content else "a"))
    seen: list[tuple[int, int]] = []
    right = labelled.judge(model, on_progress=lambda *at: seen.append(at))
    assert right == ["7" not in row["input"] for row in rows]
    assert seen[-1] == (70, 70)


def test_records_are_equal_whatever_the_form_of_their_label(tmp_path: Path):
    row = {"input": {"text": "two", "day": 3}, "output": {"people": 2}}  # time has a default
    labelled = read_labelled(write(tmp_path, row), table)
    assert labelled.judge(Scripted(Answer({"people": 2, "time": None})), on_progress=nothing) == [
        True
    ]
    assert labelled.judge(Scripted(Answer({"people": 2, "time": "8"})), on_progress=nothing) == [
        False
    ]


def test_an_answer_that_is_not_valid_is_wrong(tmp_path: Path):
    labelled = read_labelled(write(tmp_path, {"input": "x", "output": "a"}), pick)
    assert labelled.judge(Scripted(Answer(raw="c")), on_progress=nothing) == [False]


def test_a_model_that_cannot_run_is_an_error_and_not_wrong(tmp_path: Path):
    labelled = read_labelled(write(tmp_path, {"input": "x", "output": "a"}), pick)
    with pytest.raises(ModelError, match="broken"):
        labelled.judge(Scripted(Answer(error=ModelError("broken"))), on_progress=nothing)


def test_rows_to_time_go_around(tmp_path: Path):
    rows = [{"input": f"t{n}", "output": "a"} for n in range(3)]
    labelled = read_labelled(write(tmp_path, *rows), pick, concurrency=1)
    model = Scripted(Answer("a"))
    assert labelled.seconds(model, begin=2, count=2) > 0
    asked = [request.messages[-1].content for request in model.requests]
    assert [text.split()[-1] for text in asked] == ["t2", "t0"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no rows"),
        ("{", "line 1 .* is not JSON"),
        ('"x"', "line 1 .* has no input and output"),
        ('{"input": "x", "output": "a"}\n\n{"input": "x", "output": "c"}', "line 3 .*'c'"),
        ('{"input": 3, "output": "a"}', "line 1 .* does not fit pick"),
    ],
)
def test_mistakes_name_the_line(tmp_path: Path, text: str, words: str):
    file = tmp_path / "rows.jsonl"
    file.write_text(text)
    with pytest.raises(InputError, match=words):
        read_labelled(file, pick)


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(InputError, match="cannot be read"):
        read_labelled(tmp_path / "none.jsonl", pick)
