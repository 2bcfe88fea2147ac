"""`hetagent curate` prints what each step removed, and makes the same dataset again."""

import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from hetagent.cli.app import app
from hetagent.errors import InputError
from hetagent.learn.curate.dataset import Dataset
from hetagent.learn.store import Store
from tests.support.calls import call, prose, write_records


@pytest.fixture
def calls(tmp_path):
    records = [call(at, prose(at), "yes" if at % 5 else "no") for at in range(60)]
    records += [
        call(70, "x", trainable="unknown"),
        call(71, prose(1)),
        call(72, "y", stop="length"),
    ]
    return write_records(tmp_path / "calls.jsonl", records)


def invoke(*words):
    result = CliRunner().invoke(app, ["curate", *map(str, words)])
    if isinstance(result.exception, InputError):
        raise result.exception
    return result


def test_a_table_of_steps_is_printed(calls, tmp_path):
    result = invoke(calls, "--out", tmp_path / "set")
    assert result.exit_code == 0, result.output
    lines = {line.split()[0]: line.split() for line in result.stdout.splitlines() if line.strip()}
    assert lines["provenance"][1:4] == ["63", "1", "62"]
    assert lines["response"][1:] == ["62", "1", "61", "1", "truncated"]
    assert lines["duplicates"][1:4] == ["61", "1", "60"]
    assert Dataset.load(tmp_path / "set").hash in result.stdout


def test_json_is_the_report(calls, tmp_path):
    result = invoke(calls, "--out", tmp_path / "set", "--json", "--trainable", "unknown")
    assert result.exit_code == 0
    data = json.loads(result.stdout)
    assert data["counts"] == {"train": 1, "validation": 0, "test": 0}
    assert data["recipe"]["trainable"] == ["unknown"]
    assert data["report"]["read"] == 63
    assert data["sources"][0]["file"] == "calls.jsonl"


def test_options_change_what_a_recipe_says(calls, tmp_path):
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"split": {"test": 0.3}, "balance": {"how": "cap", "cap": 9}}))
    invoke(calls, "--out", tmp_path / "a", "--recipe", recipe, "--validation", "0")
    first = Dataset.load(tmp_path / "a").recipe
    assert (first.split.test, first.split.validation, first.balance.cap) == (0.3, 0, 9)
    invoke(
        calls, "--out", tmp_path / "b", "--recipe", tmp_path / "a", "--balance", "weight",
        "--threshold", "0", "--across", "drop", "--interactive",
    )  # fmt: skip
    second = Dataset.load(tmp_path / "b").recipe
    assert (second.split.test, second.balance.how, second.balance.cap) == (0.3, "weight", None)
    assert second.near is None
    assert second.split.across == "drop"
    assert second.interactive


def test_a_dataset_is_made_again_and_other_records_are_seen(calls, tmp_path):
    invoke(calls, "--out", tmp_path / "set", "--cap", "20")
    same = invoke(calls, "--replay", tmp_path / "set")
    assert (same.exit_code, same.stdout.split(":")[0]) == (0, "The same")
    lines = calls.read_text().splitlines(keepends=True)
    calls.write_text("".join(lines[1:]))
    other = invoke(calls, "--replay", tmp_path / "set", "--json")
    assert other.exit_code == 1
    assert json.loads(other.stdout)["same"] is False
    assert sorted(one.name for one in tmp_path.iterdir()) == ["calls.jsonl", "set"]


def test_nothing_left_is_exit_code_1(tmp_path):
    calls = write_records(tmp_path / "calls.jsonl", [call(1, "x", redacted=None)])
    result = invoke(calls, "--out", tmp_path / "set")
    assert result.exit_code == 1
    assert "Nothing is left" in result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "made or made again"),
        (("--out", "set", "--replay", "set"), "made or made again"),
        (("--replay", "set", "--test", "0.2"), "by its own recipe"),
        (("--out", "set", "--recipe", "none.json"), "cannot be read"),
        (("--out", "set", "--against", "none.txt"), "cannot be read"),
        (("--out", "set", "--trainable", "maybe"), "cannot be 'maybe'"),
        (("--out", "set", "--test", "0.9", "--validation", "0.2"), "leave some to train on"),
    ],
)
def test_what_cannot_be_is_said(calls, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        invoke(calls, *words)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["calls.jsonl"]


def test_a_store_is_the_default_and_only_what_was_there_is_taken_again(tmp_path, monkeypatch):
    monkeypatch.setenv("HETAGENT_RECORDS", str(tmp_path / "records.db"))
    monkeypatch.setenv("HETAGENT_KEYS", str(tmp_path / "keys"))
    with Store() as store:
        store.append([call(at, prose(at), "yes" if at % 5 else "no") for at in range(40)])
        result = invoke("--out", tmp_path / "set")
        assert result.exit_code == 0, result.output
        later = datetime.now(UTC)
        store.append([call(90, prose(90)).with_(time=later)])
    assert "The same" in invoke("--replay", tmp_path / "set").stdout
    assert "The same" in invoke(tmp_path / "records.db", "--replay", tmp_path / "set").stdout
    (source,) = Dataset.load(tmp_path / "set").sources
    assert (source["store"], source["records"]) == (str(tmp_path / "records.db"), 40)
    data = json.loads(invoke("--out", tmp_path / "more", "--json").stdout)
    assert data["report"]["read"] == 41
