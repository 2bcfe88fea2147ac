"""What is to be trained on is what decoding takes, token for token."""

import asyncio
import json
from typing import Literal

import pytest
from pydantic import BaseModel

from hetagent import skill
from hetagent.errors import OutputError


class Booking(BaseModel):
    date: str | None
    party: int | None
    place: Literal["inside", "outside", "bar"] | None


@skill
def booking(message: str) -> Booking:
    """Extract the booking."""


@skill
def intent(message: str) -> Literal["book", "book a room", "cancel"]:
    """Decide what the guest wants."""


@skill
def summary(message: str) -> str:
    """Say it in three words."""


@pytest.fixture
def model(smol):
    return smol.load()


def text_of(model, tokens):
    piece = model._engine.vocabulary.piece
    return b"".join(map(piece, tokens)).decode()


@pytest.mark.parametrize(
    "value",
    [
        {"date": "next friday", "party": 12, "place": "outside"},
        {"date": None, "party": None, "place": None},
        {"date": 'the "7th", ünder 日本', "party": 4, "place": "bar"},
        {"date": "", "party": 0, "place": "inside"},
    ],
)
def test_a_record_is_spelled_and_what_is_forced_is_known(model, value):
    text = booking.output.encode(Booking(**value))
    one = model.lesson(booking.request("a table on friday"), text)
    assert text_of(model, one.answer) == text
    assert len(one.answer) == len(one.free)
    free = [token for token, is_free in zip(one.answer, one.free, strict=True) if is_free]
    forced = text_of(
        model, [t for t, is_free in zip(one.answer, one.free, strict=True) if not is_free]
    )
    assert 3 <= len(free) < len(one.answer)
    assert '"date"' in forced
    assert (
        one.prompt[: one.fixed] == model.lesson(booking.request("hello"), text).prompt[: one.fixed]
    )


@pytest.mark.parametrize("label", ["book", "book a room", "cancel"])
def test_a_choice_has_the_end_of_turn(model, label):
    one = model.lesson(intent.request("please cancel"), label)
    assert text_of(model, one.answer[:-1]) == label
    assert one.answer[-1] == model._decoder.end_of_turn
    assert one.free[0]


def test_a_text_ends_where_the_model_says(model):
    one = model.lesson(summary.request("it is late"), "go home now")
    assert text_of(model, one.answer) == "go home now"
    assert all(one.free)


@pytest.mark.parametrize("message", ["Table for 4 outside on May 3rd", "two at the bar", "hello"])
def test_what_the_model_answers_is_a_lesson_of_the_same_tokens(model, message):
    request = booking.request(message)
    given = asyncio.run(model.complete(request))
    one = model.lesson(request, given.text)
    assert list(one.answer) == [token.id for token in given.tokens]
    certain = [token.logprob == 0.0 for token in given.tokens]
    assert all(is_free or sure for is_free, sure in zip(one.free, certain, strict=True))


@pytest.mark.parametrize("text", ['{"date": 3}', json.dumps({"date": "x"}), "nonsense", ""])
def test_an_answer_that_cannot_be_is_refused(model, text):
    with pytest.raises(OutputError, match="cannot be decoded"):
        model.lesson(booking.request("a table"), text)
    with pytest.raises(OutputError, match="cannot be decoded"):
        model.lesson(intent.request("a table"), text)
