"""A JSON text read in pieces gives what the whole text gives."""

import doctest
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetagent import scanner as module
from hetagent.errors import OutputError
from hetagent.scanner import Scanner, Span
from hetagent.spans import spans
from tests.support.random_types import json_values

LAYOUTS: list[dict[str, Any]] = [
    {},
    {"ensure_ascii": False},
    {"indent": 2},
    {"separators": (",", ":")},
]


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def expected_awaiting(text: str) -> dict[int, tuple[str | int, ...]]:
    """By an independent reader: the offsets directly before a value, white space included."""
    found: dict[int, tuple[str | int, ...]] = {}
    decoder = json.JSONDecoder()

    def note(at: int, keys: tuple[str | int, ...]) -> int:
        found[at] = keys
        while at < len(text) and text[at] in " \t\n\r":
            at += 1
            found[at] = keys
        return at

    def skip(at: int) -> int:
        while at < len(text) and text[at] in " \t\n\r":
            at += 1
        return at

    def value(at: int, keys: tuple[str | int, ...]) -> int:
        at = note(at, keys)
        if text[at] == "[":
            number, at = 0, at + 1
            if text[skip(at)] == "]":
                at = note(at, (*keys, 0))
            while text[at] != "]":
                at = skip(value(at, (*keys, number)))
                number += 1
                at += text[at] == ","
            return at + 1
        if text[at] == "{":
            at = skip(at + 1)
            while text[at] != "}":
                key, at = decoder.raw_decode(text, at)
                at = skip(value(skip(at) + 1, (*keys, key)))
                at = skip(at + 1) if text[at] == "," else at
            return at + 1
        return decoder.raw_decode(text, at)[1]

    value(0, ())
    return found


@settings(max_examples=300)
@given(json_values(), st.sampled_from(LAYOUTS), st.lists(st.integers(0, 10_000)))
def test_pieces_give_the_spans_of_the_whole(value: Any, layout: dict[str, Any], cuts: list[int]):
    text = json.dumps(value, **layout)
    scanner = Scanner()
    found: list[Span] = []
    read = 0
    for piece in pieces(text.encode(), cuts):
        new = scanner.feed(piece)
        read += len(piece)
        assert all(span.end <= read for span in new)
        assert all(span.end > read - len(piece) - 1 for span in new), "told as soon as it is known"
        found += new
    found += scanner.finish()
    assert sorted(found, key=lambda span: span.start) == spans(text)
    ends = [span.end for span in found]
    assert ends == sorted(ends), "in order of completion"
    assert found[-1].path == ""
    assert found[-1].value == value
    assert scanner.awaiting is None


@settings(max_examples=150)
@given(json_values(), st.sampled_from(LAYOUTS))
def test_awaiting_names_the_next_value(value: Any, layout: dict[str, Any]):
    text = json.dumps(value, **layout)
    if not text.isascii():  # the independent reader counts characters
        text = json.dumps(value)
    scanner = Scanner()
    expected = expected_awaiting(text)
    seen = {0: scanner.awaiting}
    for at, byte in enumerate(text.encode()):
        scanner.feed(bytes([byte]))
        seen[at + 1] = scanner.awaiting
    assert {at: keys for at, keys in seen.items() if keys is not None} == expected


@settings(max_examples=100)
@given(json_values(), st.integers(0, 10_000))
def test_a_copy_is_independent(value: Any, cut: int):
    data = json.dumps(value).encode()
    head, tail = pieces(data, [cut])
    scanner = Scanner()
    before = scanner.feed(head)
    other = scanner.copy()
    assert other.awaiting == scanner.awaiting
    after = scanner.feed(tail) + scanner.finish()
    assert other.feed(tail) + other.finish() == after
    assert sorted(before + after, key=lambda s: s.start) == spans(data.decode())


def test_awaiting_as_the_text_grows():
    scanner = Scanner()
    seen = []
    for piece in ['{"a', '.b":', ' "x", "l', '": [', " 1", ", ", "2", "]", ' , "n": ', "{}}"]:
        scanner.feed(piece.encode())
        seen.append(scanner.awaiting)
    lists = [("l", 0), None, ("l", 1), None, None]
    assert seen == [None, ("a.b",), None, *lists, ("n",), None]


def test_a_number_is_complete_with_the_byte_behind_it():
    scanner = Scanner()
    assert scanner.feed(b'{"a": 1') == []
    assert scanner.feed(b"2") == []
    assert scanner.feed(b" ") == [Span("a", 1, 8, 12, True)]
    bare = Scanner()
    assert bare.feed(b"-1.5e3") == []
    assert bare.finish() == [Span("", 0, 6, -1500.0, True)]


def test_literals_and_strings_are_complete_with_their_last_byte():
    scanner = Scanner()
    assert scanner.feed(b"[tru") == []
    assert scanner.feed(b"e") == [Span("[0]", 1, 5, True, True)]
    assert scanner.feed(b', "\\') == []
    assert scanner.feed(b'"') == []
    assert scanner.feed(b'"') == [Span("[1]", 7, 11, '"', True)]


def test_a_key_that_comes_twice_has_its_last_value():
    assert Scanner().feed(b'{"a": "x", "a": "y"}')[-1].value == {"a": "y"}


@pytest.mark.parametrize(
    "text", ["nope ", "[1,]", '{"a" 1}', "{,", "[}", "1.2.3 ", "{}{", '"\t"', "\x00", '["\xff', "]"]
)
def test_what_is_not_json_is_an_error(text: str):
    scanner = Scanner()
    with pytest.raises(OutputError, match="not JSON"):
        scanner.feed(text.encode("latin-1")) + scanner.feed(b'"]') + scanner.finish()


@pytest.mark.parametrize("text", ["", "[", '{"a": 1', '"x', "tru"])
def test_a_text_that_ends_too_early_is_an_error(text: str):
    scanner = Scanner()
    scanner.feed(text.encode())
    with pytest.raises(OutputError, match="not JSON"):
        scanner.finish()


def test_nesting_has_no_limit():
    scanner = Scanner()
    depth = 3_000
    scanner.feed(b"[" * depth)
    assert len(scanner.awaiting or ()) == depth
    assert len(scanner.feed(b"]" * depth)) == depth


def test_the_example_in_its_documentation():
    result = doctest.testmod(module)
    assert (result.failed, result.attempted > 2) == (0, True)
