"""What a redaction file can say, and that none switches redaction off."""

from __future__ import annotations

import pytest

from hetagent.errors import InputError
from hetagent.learn.redact.config import Redaction
from hetagent.learn.redact.found import DEFAULT_KINDS


def read(tmp_path, text: str) -> Redaction:
    path = tmp_path / "redaction.toml"
    path.write_text(text)
    return Redaction.read(path)


def test_what_a_file_says_is_done(tmp_path):
    redaction = read(
        tmp_path,
        r"""
        kinds = ["email", "person"]
        presidio = false
        names = false
        keep = ["Ada Lovelace"]
        [patterns]
        staff_number = '\bE-\d{6}\b'
        """,
    )
    assert "card" in redaction.left
    assert "email" not in redaction.left
    with redaction.redactor() as redactor:
        said = "Ada Lovelace, Maria Keller, E-104233, ada@web.de, card 4539 1256 3823 1297"
        kept = redactor.redact(said)
    assert kept.startswith("Ada Lovelace, ")
    assert kept.endswith("4539 1256 3823 1297")
    assert not any(one in kept for one in ("Maria", "E-104233", "ada@web.de"))


def test_an_empty_file_replaces_all_kinds(tmp_path):
    redaction = read(tmp_path, "")
    assert redaction == Redaction()
    assert redaction.kinds == DEFAULT_KINDS
    assert redaction.left == ()


def test_options_of_a_command_are_added_to_those_of_a_file(tmp_path):
    redaction = read(tmp_path, "keep = ['a']\n[patterns]\nb = 'c'\nd = 'e'")
    more = redaction.with_(keep=["f"], patterns={"d": "g"})
    assert more.keep == ("a", "f")
    assert more.patterns == {"b": "c", "d": "g"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kinds = []", "no kinds"),
        ("off = true", "'off'"),
        ("keep = 'one'", "keep is not a list"),
        ("keep = [1]", "keep is not a list"),
        ("[patterns]\na = 1", "patterns is not a table"),
        ("names = 'no'", "names is not true or false"),
        ("= 3", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        read(tmp_path, text)


def test_kinds_and_patterns_are_checked_when_it_is_used(tmp_path):
    for text in ("kinds = ['shoe']\npresidio = false", "presidio = false\n[patterns]\na = '('"):
        with pytest.raises(InputError), read(tmp_path, text).redactor():
            pass


def test_a_file_that_is_not_there_is_told_of(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        Redaction.read(tmp_path / "none.toml")
