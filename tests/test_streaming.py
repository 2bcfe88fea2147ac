"""Fields read from tokens as they come have the confidence that the whole completion gives them."""

import json
import math
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hetagent.confidence import score
from hetagent.models.base import Completion, Token
from hetagent.schema import OutputType
from hetagent.spans import spans
from hetagent.streaming import FieldReader
from tests.support.random_types import json_values

ANYTHING: OutputType[Any] = OutputType(None, {}, "json", {}, None)  # type: ignore[arg-type]


@st.composite
def answers(draw: st.DrawFn) -> Completion:
    """A JSON text in random tokens, some of them forced in part or whole, cut anywhere."""
    text = json.dumps(draw(json_values()), ensure_ascii=draw(st.booleans()))
    raw = text.encode()
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(raw) - 1)), max_size=12)))
    tokens = []
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        probability, outside = draw(st.floats(0.1, 1.0)), draw(st.floats(0.0, 0.5))
        free = draw(st.integers(0, end - start))
        tokens.append(Token(1, raw[start:end], math.log(probability), outside, free))
    tokens.append(Token(2, b"", math.log(0.9), 0.0, 0))
    return Completion(text, "m", tokens=tuple(tokens))


@settings(max_examples=300)
@given(answers())
def test_fields_are_those_of_the_finished_completion(completion: Completion):
    paths = [span.path for span in spans(completion.text)]
    assume(len(set(paths)) == len(paths))
    reader = FieldReader()
    found = [item for token in completion.tokens or () for item in reader.feed(token)]
    assert len({path for path, _ in found}) == len(found), "each field once"
    expected = score(completion, ANYTHING)
    assert dict(found) == expected.fields
    assert (reader.score.confidence, reader.score.outside) == (
        expected.confidence,
        expected.outside,
    )
    value = json.loads(completion.text)
    # A number at the root ends only with the text.
    assert reader.partial == (None if reader.partial is None else value)
    assert reader.partial == value or isinstance(value, int | float)


@settings(max_examples=100)
@given(answers())
def test_the_confidence_so_far_only_falls(completion: Completion):
    reader = FieldReader()
    sure = 1.0
    for token in completion.tokens or ():
        reader.feed(token)
        now = reader.score.confidence
        assert now is not None
        assert now <= sure
        assert all((f.confidence or 0.0) >= now * (1 - 1e-9) for f in reader.fields.values())
        sure = now


def text_token(text: str) -> Token:
    return Token(1, text.encode(), math.log(0.5), 0.0, 0)


def test_a_field_is_told_with_its_last_token():
    reader = FieldReader()
    steps = ['{"a": "', "x", '", "b": [', "1", "2", ", 3", "], ", '"c": nul', "l}"]
    told = [[path for path, _ in reader.feed(text_token(step))] for step in steps]
    assert told == [[], [], ["a"], [], [], ["b[0]"], ["b[1]"], [], ["c"]]
    assert reader.fields["b[0]"].confidence == pytest.approx(0.125)
    assert reader.partial == {"a": "x", "b": [12, 3], "c": None}


def test_what_decides_the_length_of_a_list_is_told_with_its_end():
    reader = FieldReader()
    steps = ['{"b": ["', 'x"', ', "', 'y"', "]", "}"]
    told = [[path for path, _ in reader.feed(text_token(step))] for step in steps]
    assert told == [[], ["b[0]"], [], ["b[1]"], ["b"], []]
    assert reader.fields["b"].confidence == pytest.approx(0.25)


def test_what_is_partial_leaves_out_what_is_not_complete():
    reader = FieldReader()
    assert reader.partial is None
    reader.feed(text_token('{"a": {'))
    assert reader.partial == {}
    reader.feed(text_token('"b": "x", "c": [1, 2'))
    assert reader.partial == {"a": {"b": "x"}}, "a list may go on"
    reader.feed(text_token('], "d": "unfini'))
    assert reader.partial == {"a": {"b": "x", "c": [1, 2]}}
    listed = FieldReader()
    listed.feed(text_token('[{"a": 1, "b": 2'))
    assert listed.partial is None


def test_a_text_that_is_not_json_gives_no_more_fields():
    reader = FieldReader()
    assert [path for path, _ in reader.feed(text_token('{"a": "x",'))] == ["a"]
    assert reader.feed(text_token(' nope "b": 1}')) == []
    assert reader.feed(text_token('{"c": "x"}')) == []
    assert list(reader.fields) == ["a"]
