"""Retrieved examples: the nearest last, as turns, as many as the context holds."""

import asyncio

import numpy as np
import pytest

from hetagent import Answer, LlamaCpp, Orchestrator, Scripted
from hetagent.errors import InputError, InputTooLongError
from hetagent.fingerprint import fingerprint
from hetagent.learn.select.retrieve import Retrieved, examples_of
from hetagent.models.base import Completion, Token

FORTY = "Could you perhaps hold a table for the four of us on the terrace on Saturday? " * 4


def test_the_nearest_comes_last_between_the_instructions_and_the_question(guests, train):
    inner = Scripted(Answer("hours"))
    model = Retrieved(inner, examples_of(guests, train), k=3)
    Orchestrator(model).run(guests, "Is the kitchen open on Mondays?")
    (asked,) = inner.requests
    plain = guests.request("Is the kitchen open on Mondays?")
    assert asked.messages[0] == plain.messages[0]
    assert asked.messages[-1] == plain.messages[-1]
    shown = asked.messages[1:-1]
    assert [one.role for one in shown] == ["user", "assistant"] * 3
    assert "Is the restaurant open on Mondays?" in shown[-2].content
    assert shown[-1].content == "hours"
    assert asked.fixed == 1
    nearest = model.nearest(plain.messages[-1].content)
    assert [one.question for one in nearest] == [one.content for one in shown[::2]]


def test_vectors_decide_what_is_near(guests):
    pairs = [("one", "book"), ("two", "cancel"), ("three", "hours")]
    places = {"one": [1.0, 0.0], "two": [0.9, 0.4], "three": [0.0, 1.0]}

    def embed(texts):
        return np.array([places[text] for text in texts], np.float32)

    texts = [one._replace(question=name) for one, (name, _) in
             zip(examples_of(guests, pairs), pairs, strict=True)]  # fmt: skip
    model = Retrieved(Scripted(Answer("book")), texts, k=2, embed=embed)
    assert [one.question for one in model.nearest("one")] == ["two", "one"]
    assert [one.question for one in model.nearest("three")] == ["two", "three"]


def test_its_identity_is_of_the_examples_and_the_model(guests, train, smol):
    texts = examples_of(guests, train)
    first = fingerprint(guests, Retrieved(smol, texts, k=2))
    assert first["model"] == fingerprint(guests, smol)["model"]
    assert first == fingerprint(guests, Retrieved(smol, texts, k=2))
    for other in (Retrieved(smol, texts, k=3), Retrieved(smol, texts[1:], k=2)):
        assert fingerprint(guests, other) != first


def test_fewer_examples_are_shown_where_the_context_is_short(guests, tiny_path):
    pairs = [(f"{FORTY} {number}", "book") for number in range(5)]
    texts = examples_of(guests, pairs)
    with LlamaCpp(tiny_path, context=400) as inner, pytest.raises(InputTooLongError):
        asyncio.run(inner.complete(with_all(guests, texts)))
    with LlamaCpp(tiny_path, context=400) as inner:
        outcome = Orchestrator(Retrieved(inner, texts, k=5), policy=0.0).run(guests, "A table?")
    assert outcome.served_by == "slm"
    assert 150 < outcome.usage.prompt_tokens < 400


def with_all(guests, texts):
    inner = Scripted(Answer("book"))
    Orchestrator(Retrieved(inner, texts, k=5)).run(guests, "A table?")
    return inner.requests[0]


def test_an_answer_that_had_no_room_is_asked_for_again_with_fewer_examples(guests, train):
    asked = []

    class Cramped:
        name = "cramped"

        async def complete(self, request):
            asked.append(len(request.messages))
            if len(request.messages) > 4:
                return Completion("bo", "cramped", "length", (Token(1, b"bo", 0.0, 0.0, 0),))
            return Completion("book", "cramped", choices={"book": 1.0, "cancel": 0, "hours": 0})

    model = Retrieved(Cramped(), examples_of(guests, train), k=3)
    assert Orchestrator(model, policy=0.0).run(guests, "A table?").value == "book"
    assert asked == [8, 6, 4]


def test_the_fixed_part_is_still_shared(guests, train, tiny_path):
    with LlamaCpp(tiny_path, context=1024) as inner:
        agent = Orchestrator(Retrieved(inner, examples_of(guests, train), k=2), policy=0.0)
        first, second = (agent.run(guests, text) for text in ("A table?", "Are you open?"))
        assert inner.stats().prefixes == 1
    assert first.usage.cached_tokens == 0
    assert 20 < second.usage.cached_tokens < second.usage.prompt_tokens


def test_the_real_model_follows_its_examples(guests, train, judged, smol):
    model = Retrieved(smol, examples_of(guests, train), k=2)
    rows = judged[1::4]
    outcomes = Orchestrator(model, policy=0.0, progress=False).map(guests, [row for row, _ in rows])
    assert sum(one.value == label for one, (_, label) in zip(outcomes, rows, strict=True)) >= 2
    assert all(sum(one.choices.values()) == pytest.approx(1) for one in outcomes)


def test_there_must_be_something_to_show(guests, train):
    with pytest.raises(InputError):
        Retrieved(Scripted(Answer("book")), [])
    with pytest.raises(InputError):
        Retrieved(Scripted(Answer("book")), examples_of(guests, train), k=0)
