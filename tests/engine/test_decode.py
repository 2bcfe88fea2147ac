"""Scoring choices and decoding records, against a brute-force computation of the same numbers."""

import asyncio
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, create_model

from hetagent import LlamaCpp, constraint, skill
from hetagent.confidence import free_tokens, score
from hetagent.constraint import bounded
from hetagent.errors import ConstraintError, OutputError, UnsupportedTypeError
from hetagent.models.base import Completion, Message, Request
from hetagent.schema import OutputType
from tests.support.alone import Alone
from tests.support.random_types import labels, output_types
from tests.support.reference import Reference
from tests.support.rule import Decided, decode


class Booking(BaseModel):
    day: Literal["today", "tomorrow", "to be said"]
    time: str | None = Field(max_length=8)
    people: int = Field(ge=1, le=40)
    outside: bool


class Flat(BaseModel):
    name: str = Field(max_length=10)
    count: int = Field(ge=0, le=500)


def complete(model: LlamaCpp, request: Request) -> Completion:
    return asyncio.run(model.complete(request))


def ask(kind: Any, text: str = "Two of us tomorrow at eight", *, max_tokens: int = 60) -> Request:
    messages = (Message("system", "Read the message."), Message("user", text))
    return Request(messages, OutputType.of(kind), max_tokens)


@pytest.fixture(scope="module")
def reference(f32_path: Path) -> Iterator[Reference]:
    model = Reference(f32_path)
    yield model
    model.close()


@pytest.fixture(scope="module")
def alone(f32_path: Path) -> Iterator[Alone]:
    made = Alone(f32_path)
    yield made
    made.close()


# --- choices


MANY = [
    f"{kind} {number}" for kind in ("bank card", "bank", "travel", "card") for number in range(38)
]
SETS: list[list[str]] = [
    ["book", "cancel", "hours", "other"],
    ["a", "ab", "abc", "abcd"],
    ["", "yes", "yes please"],
    ["straße", "日本語", "日本", "é"],
    [" leading", "leading", "trailing ", "trailing"],
    ["card_arrival", "card_linking", "card_not_working", "card", "cash"],
    ["one"],
]


@pytest.mark.parametrize("names", SETS, ids=lambda names: names[0] or "empty")
def test_choices_agree_with_brute_force(f32: LlamaCpp, reference: Reference, names: list[str]):
    request = ask(Literal[tuple(names)])
    answer = complete(f32, request)
    assert answer.choices is not None
    prompt = reference.render(request.messages)
    expected = reference.label_probabilities(prompt, names, "<|im_end|>")
    assert answer.choices == pytest.approx(expected, abs=1e-4)
    assert answer.text == max(expected, key=lambda label: expected[label])
    assert sum(answer.choices.values()) == pytest.approx(1, abs=1e-6)


def test_150_labels(f32: LlamaCpp, reference: Reference):
    names = MANY[:150]
    request = ask(Literal[tuple(names)])
    answer = complete(f32, request)
    assert answer.choices is not None
    assert list(answer.choices) == names
    assert sum(answer.choices.values()) == pytest.approx(1, abs=1e-6)
    # Brute force over all would take minutes: one path each of several branches.
    prompt = reference.render(request.messages)
    start = reference.tokenize(prompt)
    paths = reference.paths(prompt, names, "<|im_end|>")
    for name in (names[0], names[45], names[149], answer.text):
        rows = reference.logits([*start, *paths[name]])
        product = 1.0
        for depth, token in enumerate(paths[name]):
            here = paths[name][:depth]
            children = sorted({p[depth] for p in paths.values() if p[:depth] == here})
            row = rows[len(start) - 1 + depth][children]
            weights = np.exp(row - row.max())
            product *= weights[children.index(token)] / weights.sum()
        assert answer.choices[name] == pytest.approx(product, abs=1e-4)


def test_mass_outside_a_choice(f32: LlamaCpp, reference: Reference):
    request = ask(Literal["x1", "y2"])
    answer = complete(f32, request)
    start = reference.tokenize(reference.render(request.messages))
    first = [reference.tokenize("x1")[0], reference.tokenize("y2")[0]]
    row = reference.logits(start)[-1]
    inside = np.exp(row[first]).sum() / np.exp(row).sum()
    assert answer.outside == pytest.approx(1 - inside, abs=1e-4)


@settings(max_examples=25)
@given(labels())
def test_any_labels_make_a_distribution(smol: LlamaCpp, names: list[str]):
    answer = complete(smol, ask(Literal[tuple(names)]))
    assert answer.choices is not None
    assert list(answer.choices) == names
    assert sum(answer.choices.values()) == pytest.approx(1, abs=1e-6)
    assert all(0 <= p <= 1 for p in answer.choices.values())
    assert answer.text == max(names, key=lambda name: answer.choices[name])
    assert 0 <= (answer.outside or 0) <= 1


def test_labels_the_vocabulary_cannot_tell_apart(smol: LlamaCpp):
    """SmolLM2 has no token for this control character, and llama.cpp leaves it out."""
    with pytest.raises(ConstraintError, match="alike"):
        complete(smol, ask(Literal["yes", "yes\x16"]))


def test_a_value_that_the_vocabulary_cannot_write(tiny: LlamaCpp):
    """It has no token for the first byte of this character."""
    with pytest.raises(ConstraintError) as caught:
        complete(tiny, ask(tuple[Literal["\U00045000"]]))
    assert "lack one of its characters" in caught.value.hint


def test_labels_longer_than_a_batch(smol: LlamaCpp):
    """Two labels that part after more tokens than llama.cpp takes at once."""
    stem = " ".join(str(number) for number in range(300))
    names = [f"{stem} yes", f"{stem} no", "short"]
    messages = (Message("user", "Choose."),)
    answer = complete(smol, Request(messages, OutputType.of(Literal[tuple(names)]), 5))
    assert answer.choices is not None
    assert sum(answer.choices.values()) == pytest.approx(1, abs=1e-6)


# --- records


class Guest(BaseModel):
    """Enums that share beginnings, with each other and with what is forced."""

    status: Literal["card", "card_arrival", "card_linking", "cash"]
    title: Literal["Mr", "Mrs", "Ms"] | None
    vip: bool | None


class Visit(BaseModel):
    guest: Guest
    extras: list[Flat] = Field(max_length=2)
    flags: tuple[bool, Literal["x", "y"]]
    note: str | None = Field(max_length=6)


Unicode = create_model(
    "Unicode",
    größe=(Literal["klein", "größer", "groß"], ...),
    menü=(Literal["日本", "日本語", "é"] | None, ...),
    preis=(Annotated[int, Field(ge=0, le=99)] | None, ...),
    wort=(Annotated[str, Field(max_length=5)], ...),
)


class Solo(BaseModel):
    """What is forced all along but for the choices; and a list that may be empty."""

    one: Literal["only"]
    marks: list[Literal["a", "b"]] = Field(max_length=1)
    level: Literal[1, 2, 30]


RECORDS = [
    Booking,
    Flat,
    Guest,
    Visit,
    Unicode,
    Solo,
    list[Flat],
    Annotated[list[Guest], Field(min_length=2, max_length=2)],
    Annotated[str, Field(max_length=12, pattern="[a-z]")],
]
NAMES = ["booking", "flat", "guest", "visit", "unicode", "solo", "list", "guests", "string"]
TEXTS = ["Two of us tomorrow at eight", '日本, größer "groß" {]: Mrs Ito, no card, 30']


def decided(reference: Reference, request: Request, answer: Completion) -> list[Decided]:
    """What the rule says of the same request."""
    assert answer.tokens is not None
    return decode(
        reference,
        reference.render(request.messages),
        bounded(request.output.schema),
        end=reference.tokenize("<|im_end|>")[0],
        hint=[token.id for token in answer.tokens],
    )


@pytest.mark.parametrize("text", TEXTS, ids=["plain", "odd"])
@pytest.mark.parametrize("kind", RECORDS, ids=NAMES)
def test_records_follow_the_rule(f32: LlamaCpp, reference: Reference, kind: Any, text: str):
    request = ask(kind, text, max_tokens=200)
    answer = complete(f32, request)
    assert answer.finish == "stop"
    assert answer.tokens is not None
    expected = decided(reference, request, answer)
    assert [token.id for token in answer.tokens] == [token.id for token in expected]
    for token, wanted in zip(answer.tokens, expected, strict=True):
        assert (token.text, token.free) == (wanted.text, wanted.free)
        assert math.exp(token.logprob) == pytest.approx(math.exp(wanted.logprob), abs=1e-4)
        assert token.outside == pytest.approx(wanted.outside, abs=1e-4)
    free = [t for t in expected if t.free < len(t.text) or not t.text]
    whole = math.exp(sum(token.logprob for token in free))
    assert score(answer, request.output).confidence == pytest.approx(whole, abs=1e-4)


@pytest.mark.parametrize("kind", [Booking, Flat, Guest])
def test_fields_agree_with_the_rule(f32: LlamaCpp, reference: Reference, kind: Any):
    """Which bytes are a field's is told by writing the record again, key by key."""
    request = ask(kind)
    answer = complete(f32, request)
    regions = {}
    text = "{"
    for key, value in json.loads(answer.text).items():
        text += ", " if text != "{" else ""
        begin = len(text.encode())
        text += f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}"
        number = isinstance(value, int) and not isinstance(value, bool)
        regions[key] = range(begin, len(text.encode()) + number)
    assert text + "}" == answer.text, "the constraint fixes the whitespace"
    expected = dict.fromkeys(regions, 1.0)
    offset = 0
    for token in decided(reference, request, answer):
        if token.free < len(token.text):
            for key, region in regions.items():
                if offset + token.free in region:
                    expected[key] *= math.exp(token.logprob)
        offset += len(token.text)
    scored = score(answer, request.output)
    got = {path: field.confidence for path, field in scored.fields.items()}
    assert got == pytest.approx(expected, abs=1e-4)
    assert scored.confidence == pytest.approx(math.prod(expected.values()), abs=1e-4)


def test_forced_tokens_are_marked(smol: LlamaCpp):
    answer = complete(smol, ask(Flat))
    assert answer.tokens is not None
    text = answer.text.encode()
    forced = b"".join(t.text[: t.free] for t in answer.tokens)
    assert forced.startswith(b'{"name": "')
    assert len(forced) < len(text)
    assert b"".join(token.text for token in answer.tokens) == text
    assert answer.tokens[-1].text == b""
    free = {token for _, token in free_tokens(answer.tokens)}
    assert all(token.free < len(token.text) or not token.text for token in free)


@settings(max_examples=60)
@given(output_types(), st.sampled_from(["Two of us tomorrow at eight", '日本 \U0001f980 {]\\"']))
def test_random_types_are_answered_with_valid_values(tiny: LlamaCpp, kind: Any, text: str):
    try:
        output: OutputType[Any] = OutputType.of(kind)
        constraint.check(output)
    except UnsupportedTypeError:
        return
    try:
        answer = complete(tiny, ask(kind, text, max_tokens=40))
    except ConstraintError as error:  # the vocabulary has not every byte
        if "lack" not in error.hint:
            raise
        return
    assert sum(answer.choices.values()) == pytest.approx(1) if answer.choices else answer.tokens
    if answer.finish == "length":
        assert len(answer.tokens or ()) == 40
        return
    data = output.json_of_text(answer.text)
    jsonschema.Draft202012Validator(output.schema).validate(data)
    output.parse(answer.text)
    confidence = score(answer, output).confidence
    assert confidence is not None
    assert 0 <= confidence <= 1


def test_the_token_limit_cuts(smol: LlamaCpp):
    answer = complete(smol, ask(Booking, max_tokens=3))
    assert answer.finish == "length"
    assert answer.usage.completion_tokens == 3
    with pytest.raises(OutputError):
        OutputType.of(Booking).parse(answer.text)


# --- one request after another


@skill(max_tokens=40)
def booking(message: str) -> Booking:
    """Read the booking."""


@skill
def intent(message: str) -> Literal["book", "book a table", "cancel", "other"]:
    """Decide what the guest wants."""


@pytest.mark.parametrize("text", ["Table for two", "\nleading newline", "Could we, " * 60])
def test_results_do_not_depend_on_what_was_asked_before(f32: LlamaCpp, alone: Alone, text: str):
    for task in (intent, booking, intent):
        answer = complete(f32, task.request(text))
        wanted = alone.complete(f32, task.request(text))
        assert answer.text == wanted.text
        assert answer.choices == (wanted.choices and pytest.approx(wanted.choices, abs=1e-4))
        for token, other in zip(answer.tokens or (), wanted.tokens or (), strict=True):
            assert (token.id, token.free) == (other.id, other.free)
            assert token.logprob == pytest.approx(other.logprob, abs=1e-4)


def test_the_same_asked_again_is_answered_exactly_the_same(smol: LlamaCpp):
    """Also on quantised weights, as long as the fixed part is in the cache and nobody else asks."""
    for task in (intent, booking):
        complete(smol, task.request("Table for two"))
        answers = [complete(smol, task.request("Eight tomorrow, outside")) for _ in range(2)]
        complete(smol, task.request("Could we, " * 60))
        answers.append(complete(smol, task.request("Eight tomorrow, outside")))
        facts = [(one.text, one.choices, one.outside, one.tokens) for one in answers]
        assert facts[0] == facts[1] == facts[2]


@skill
def elsewhere(message: str) -> Literal["here", "there"]:
    """Tell where the guest is; no other test asks this."""


def test_the_fixed_part_is_reused(smol: LlamaCpp):
    complete(smol, intent.request("Table for two"))
    again = complete(smol, intent.request("Never mind"))
    assert again.usage.cached_tokens >= 25
    assert again.usage.cached_tokens < again.usage.prompt_tokens
    other = complete(smol, elsewhere.request("Never mind"))
    assert other.usage.cached_tokens == 0


def test_usage_and_stages(smol: LlamaCpp):
    answer = complete(smol, ask(Flat))
    assert answer.usage.completion_tokens == len(answer.tokens or ())
    assert set(answer.seconds) == {"queue", "load", "prefill", "decode"}
    assert all(seconds >= 0 for seconds in answer.seconds.values())
    assert answer.usage.cost_usd == 0
