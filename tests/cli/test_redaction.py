"""`hetagent redact`, and what commands that make records say of redaction."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from hetagent.cli.app import app
from hetagent.cli.redaction import described, told
from hetagent.errors import InputError
from hetagent.learn.redact.config import Redaction

pytest.importorskip("presidio_analyzer")

FAST = "presidio = false\nnames = false\n"


@pytest.fixture
def fast(tmp_path):
    path = tmp_path / "redaction.toml"
    path.write_text(FAST)
    return path


def run(*words):
    return CliRunner().invoke(app, ["redact", *map(str, words)])


def test_it_shows_what_would_be_replaced_and_where(fast, tmp_path):
    text = tmp_path / "mail.txt"
    text.write_text("Hello,\nI am Maria Keller, mail m.keller@web.de\n")
    result = run(text, "--redaction", fast)
    assert result.exit_code == 0, result.output
    first, second = result.stdout.splitlines()
    assert first.startswith("2:6  person  'Maria Keller' -> ")
    assert second.startswith("2:25  email  'm.keller@web.de' -> ")
    assert "1 person, 1 email" in result.stderr


def test_a_check_fails_and_shows_no_value(fast):
    result = run("--text", "I am Maria Keller", "--check", "--redaction", fast)
    assert result.exit_code == 1
    assert result.stdout == "1:6  person\n"
    assert "Maria" not in result.output
    clean = run("--text", "a table for four", "--check", "--redaction", fast)
    assert (clean.exit_code, clean.stdout) == (0, "")
    as_json = run("--text", "I am Maria Keller", "--check", "--json", "--redaction", fast)
    assert json.loads(as_json.stdout) == {
        "found": [{"kind": "person", "start": 5, "end": 17}], "counts": {"person": 1},
    }  # fmt: skip


def test_patterns_and_kept_texts_of_the_command_count(fast):
    words = ["--pattern", r"staff=\bE-\d{6}\b", "--keep-text", "maria keller"]
    result = run("--text", "I am Maria Keller, E-104233", "--json", "--redaction", fast, *words)
    (found,) = json.loads(result.stdout)["found"]
    assert (found["kind"], found["text"]) == ("staff", "E-104233")
    assert found["instead"] != "E-104233"


def test_stdin_is_read(fast):
    result = CliRunner().invoke(app, ["redact", "-", "--redaction", str(fast)], input="m@web.de")
    assert result.stdout.startswith("1:1  email  'm@web.de'")


@pytest.mark.parametrize("words", [[], ["x.txt", "--text", "y"], ["no-such-file.txt"]])
def test_without_one_text_it_says_what_to_give(words):
    result = run(*words)
    assert isinstance(result.exception, InputError)
    assert result.exception.hint


@pytest.mark.parametrize("pattern", ["staff", "=x", "staff="])
def test_a_pattern_needs_a_name(pattern):
    with pytest.raises(InputError, match="no pattern"):
        told(None, keep=None, patterns=[pattern])


def test_what_is_not_replaced_is_said():
    assert described(Redaction(names=True)) == "all kinds"
    said = described(
        Redaction(kinds=frozenset({"email"}), names=False, keep=("x",), patterns={"staff": "y"})
    )
    assert said.startswith("all kinds but secret, card,")
    assert said.endswith("your staff; 1 texts kept; names by patterns alone")
