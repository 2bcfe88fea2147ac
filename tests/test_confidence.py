"""From tokens to the confidence of fields and values."""

import json
import math
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from hetagent.confidence import Ledger, free_tokens, score
from hetagent.errors import OutputError
from hetagent.models.base import Completion, Token
from hetagent.schema import OutputType
from hetagent.spans import spans
from tests.support.random_types import json_values


class Pair(BaseModel):
    a: str
    b: list[int]


ANYTHING: OutputType[Any] = OutputType(None, {}, "json", {}, None)  # type: ignore[arg-type]


def completion(tokens: list[Token], **more: Any) -> Completion:
    text = b"".join(token.text for token in tokens).decode()
    return Completion(text=text, model="m", tokens=tuple(tokens), **more)


def token(text: str, probability: float, *, free: int = 0, outside: float = 0.0) -> Token:
    return Token(1, text.encode(), math.log(probability), outside, free)


def forced(text: str) -> Token:
    """A forced token's own probability must not count, whatever it is."""
    return Token(1, text.encode(), math.log(0.5), 0.25, len(text.encode()))


def test_a_choice_is_its_labels_probability():
    answer = Completion("b", "m", choices={"a": 0.25, "b": 0.75}, outside=0.1)
    result = score(answer, OutputType.of(Literal["a", "b"]))
    assert (result.confidence, result.outside, result.fields) == (0.75, 0.1, {})


def test_a_record():
    tokens = [
        forced('{"a": "'),
        token("x", 0.9, outside=0.2),
        token('y"', 0.8),
        forced(', "b": ['),
        token("1", 0.7),
        token("2,", 0.6),
        token(" 3", 0.5, free=1),
        token("]}", 0.4),
        token("", 0.3),
    ]
    result = score(completion(tokens), OutputType.of(Pair))
    assert result.fields["a"].confidence == pytest.approx(0.72)
    assert result.fields["a"].value == "xy"
    assert result.fields["a"].outside == pytest.approx(0.2)
    assert result.fields["b[0]"].confidence == pytest.approx(0.7 * 0.6)
    assert result.fields["b[0]"].value == 12
    assert result.fields["b[1]"].confidence == pytest.approx(0.5 * 0.4), "its end is its own"
    assert result.confidence == pytest.approx(0.9 * 0.8 * 0.7 * 0.6 * 0.5 * 0.4 * 0.3)
    assert list(result.fields) == ["a", "b[0]", "b[1]"]


def test_the_length_of_a_list_is_a_field_of_its_own():
    tokens = [forced('["'), token('x"', 0.5), token(', "', 0.9), token('y"', 0.8), token("]", 0.7)]
    result = score(completion([forced('{"b": '), *tokens, forced("}")]), ANYTHING)
    assert result.fields["b"].confidence == pytest.approx(0.9 * 0.7)
    assert result.fields["b"].value == ["x", "y"]
    assert result.fields["b[1]"].confidence == pytest.approx(0.8)


def test_forced_tokens_contribute_nothing():
    result = score(completion([forced('{"a": 1}'), forced("")]), ANYTHING)
    # The end of turn counts only where something else was allowed: its probability is then 1.
    assert result.fields["a"].confidence == 1.0
    assert result.confidence == pytest.approx(0.5)


def test_free_tokens_and_their_offsets():
    tokens = (forced("ab"), token("é!", 0.5, free=2), token("c", 0.5), token("", 0.5))
    assert [at for at, _ in free_tokens(tokens)] == [4, 5, 6]


def test_bare_values_have_no_fields():
    result = score(
        completion([token("1", 0.5), token("2", 0.5), token("", 0.5)]), OutputType.of(int)
    )
    assert result.fields == {}
    assert result.confidence == pytest.approx(0.125)


def test_a_list_at_the_root_has_fields():
    result = score(completion([forced("["), token("1", 0.5), token("]", 0.5)]), ANYTHING)
    assert result.fields["[0]"].confidence == pytest.approx(0.25)


def test_without_probabilities_there_is_no_confidence():
    answer = Completion('{"a": "x", "b": [1]}', "m")
    result = score(answer, OutputType.of(Pair))
    assert result.confidence is None
    assert {path: f.confidence for path, f in result.fields.items()} == {"a": None, "b[0]": None}


def test_what_is_not_json_is_an_error():
    with pytest.raises(OutputError, match="not JSON"):
        score(completion([token('{"a": ', 0.5)]), OutputType.of(Pair))


def test_impossible_tokens_make_no_confidence():
    result = score(completion([Token(1, b"[1]", -math.inf, 1.0, 0)]), ANYTHING)
    assert (result.confidence, result.outside) == (0.0, 1.0)


def test_many_tokens_do_not_overflow():
    digits = [token("1", 1e-9) for _ in range(500)]
    assert score(completion(digits), OutputType.of(int)).confidence == 0.0


def owner(text: str, offset: int) -> str:
    """Path of the value that a byte decides; empty for the root and for what is behind it."""
    ledger = Ledger()
    ledger.add(offset, token("x", 0.5))
    for span in sorted(spans(text), key=lambda one: one.end):
        ledger.claim(span)
        if ledger.decides(span.path):
            return span.path
    return ""


@settings(max_examples=100)
@given(json_values())
def test_every_byte_of_a_leaf_belongs_to_it(value: Any):
    text = json.dumps(value)
    tree = spans(text)
    for span in tree:
        if span.is_leaf and sum(other.path == span.path for other in tree) == 1:
            assert all(owner(text, at) == span.path for at in range(span.start, span.end))


def test_keys_belong_to_their_values_and_commas_to_the_container():
    text = '{"a": 1, "b": ["x", "y"]}'
    owners = [owner(text, text.index(part)) for part in ('"a"', "1", "[", "y")]
    assert owners == ["a", "a", "b", "b[1]"]
    assert owner(text, text.index(", ")) == "a", "the byte behind a number ends it"
    assert owner(text, text.index('", "y') + 1) == "b", "what follows an item is the list's"
    assert owner(text, text.index("]")) == "b"
    assert owner(text, text.index("}")) == ""
    assert owner(text, len(text)) == ""


def test_the_byte_behind_a_bare_number_is_the_numbers():
    assert owner("[12]", 3) == "[0]"
    assert owner('["a"]', 4) == ""
    assert owner("[true]", 5) == ""


@settings(max_examples=150)
@given(json_values(), st.data())
def test_the_product_of_the_fields_is_the_whole(value: Any, data: st.DataObject):
    """With any cut of the text into tokens, what belongs to fields and what to none make it up."""
    text = json.dumps(value, ensure_ascii=data.draw(st.booleans()))
    raw = text.encode()
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(raw) - 1)), max_size=8)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True) if raw[a:b]]
    tokens = []
    for piece in pieces:
        free = data.draw(st.integers(0, len(piece)))
        tokens.append(Token(1, piece, math.log(data.draw(st.floats(0.1, 1.0))), 0.0, free))
    result = score(Completion(text, "m", tokens=tuple(tokens)), ANYTHING)
    whole = math.prod(math.exp(t.logprob) for t in tokens if t.free < len(t.text))
    assert result.confidence == pytest.approx(whole)
    product = math.prod(f.confidence or 0.0 for f in result.fields.values())
    assert product >= whole * (1 - 1e-9)
    if isinstance(value, dict | list) and len(value) and raw[0:1] in b"[{":
        first = next(iter(free_tokens(tuple(tokens))), None)
        if first is not None and not _in_root(text, tokens):
            assert product == pytest.approx(whole)


def _in_root(text: str, tokens: list[Token]) -> bool:
    """Whether any token belongs to the root itself, or two fields have one path."""
    paths = [span.path for span in spans(text)]
    return len(set(paths)) < len(paths) or any(
        owner(text, at) == "" for at, _ in free_tokens(tokens)
    )
