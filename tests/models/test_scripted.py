"""`Scripted`: the public fake answers exactly as told."""

import asyncio
import doctest
import time
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from hetagent import Answer, Model, Orchestrator, Scripted, StreamingModel, Usage, skill
from hetagent.confidence import score
from hetagent.errors import ModelError, RateLimitError
from hetagent.models import scripted
from hetagent.models.base import Completion, Token


class Order(BaseModel):
    dish: str
    count: int
    notes: list[str]


@skill
def intent(message: str) -> Literal["a", "b", "c"]:
    """Decide."""


@skill
def order(message: str) -> Order:
    """Read the order."""


@skill
def word(message: str) -> str:
    """Say a word."""


def ask(model: Scripted, task: Any = intent, text: str = "x") -> Completion:
    return asyncio.run(model.complete(task.request(text)))


def test_it_is_a_model():
    model = Scripted(Answer("a"), name="fake")
    assert isinstance(model, Model)
    assert (model.name, repr(model)) == ("fake", "Scripted('fake')")


def test_one_answer_to_everything():
    model = Scripted(Answer("b"))
    assert [ask(model, text=text).text for text in "xyz"] == ["b"] * 3
    assert [request.messages[-1].content for request in model.requests] == ["x", "y", "z"]


def test_a_sequence():
    model = Scripted([Answer("a"), Answer("b")])
    assert [ask(model).text, ask(model).text] == ["a", "b"]
    with pytest.raises(ModelError, match="no answer left"):
        ask(model)


def test_a_mapping():
    model = Scripted({"x": Answer("a"), "y": Answer("b")})
    assert ask(model, text="y").text == "b"
    with pytest.raises(ModelError, match="no answer to 'z'"):
        ask(model, text="z")


def test_a_function():
    model = Scripted(lambda request: Answer(request.messages[-1].content))
    assert ask(model, text="c").text == "c"


def test_choices():
    even = ask(Scripted(Answer("b", confidence=0.6, outside=0.1)))
    assert even.choices == pytest.approx({"a": 0.2, "b": 0.6, "c": 0.2})
    assert (even.tokens, even.outside) == (None, 0.1)
    given = {"a": 0.5, "b": 0.3, "c": 0.2}
    assert ask(Scripted(Answer("b", choices=given))).choices == given
    with pytest.raises(ModelError, match="none to its answer 'b'"):
        ask(Scripted(Answer("b", choices={"a": 1.0})))


def test_fields():
    value = {"dish": "é soup", "count": 2, "notes": ["hot"]}
    answer = ask(Scripted(Answer(value, fields={"dish": 0.5, "notes[0]": 0.4})), order)
    result = score(answer, order.output)
    got = {path: field.confidence for path, field in result.fields.items()}
    assert got == pytest.approx({"dish": 0.5, "count": 1.0, "notes[0]": 0.4})
    assert result.confidence == pytest.approx(0.2)
    assert b"".join(token.text for token in answer.tokens or ()) == answer.text.encode()


def test_the_confidence_of_other_types():
    value = Order(dish="soup", count=1, notes=[])
    for task, given in ((order, value), (word, "hello")):
        answer = ask(Scripted(Answer(given, confidence=0.3)), task)
        assert score(answer, task.output).confidence == pytest.approx(0.3)
    assert score(ask(Scripted(Answer("hi", confidence=0.0)), word), word.output).confidence == 0.0


def test_raw_and_truncated():
    answer = ask(Scripted(Answer(raw="{", truncated=True)), order)
    assert (answer.text, answer.finish) == ("{", "length")
    assert ask(Scripted(Answer("nonsense"))).text == "nonsense"


def test_failures_delays_and_usage():
    error = RateLimitError("slow down")
    with pytest.raises(RateLimitError) as caught:
        ask(Scripted(Answer(error=error)))
    assert caught.value is error
    began = time.perf_counter()
    answer = ask(Scripted(Answer("a", delay=0.1, usage=Usage(1, 2, 3, 0.5))))
    assert time.perf_counter() - began >= 0.1
    assert answer.usage == Usage(1, 2, 3, 0.5)


def test_the_example_in_its_documentation():
    result = doctest.testmod(scripted)
    assert (result.failed, result.attempted > 2) == (0, True)


def test_callers_at_once_take_one_answer_each():
    model = Scripted([Answer(label) for label in "abc" * 10])
    outcomes = Orchestrator(slm=model, concurrency=8).map(intent, ["x"] * 30)
    assert sorted(str(outcome.value) for outcome in outcomes) == sorted("abc" * 10)


def test_a_stream_gives_the_tokens_of_the_completion_and_then_it():
    answer = Answer(Order(dish="soup", count=1, notes=[]), fields={"dish": 0.5}, delay=0.1)
    model = Scripted(answer)
    assert isinstance(model, StreamingModel)

    async def read(model: Scripted, task: Any) -> list[tuple[float, Token | Completion]]:
        began = time.perf_counter()
        request = task.request("x")
        return [(time.perf_counter() - began, piece) async for piece in model.stream(request)]

    *tokens, (took, completion) = asyncio.run(read(model, order))
    assert completion == ask(model, order)
    assert isinstance(completion, Completion)
    assert tuple(piece for _, piece in tokens) == completion.tokens
    assert [at >= 0.1 * n / 3 for n, (at, _) in enumerate(tokens, start=1)] == [True] * 3
    assert took >= 0.1
    assert len(model.requests) == 2
    ((took, choice),) = asyncio.run(read(Scripted(Answer("a", delay=0.1)), intent))
    assert isinstance(choice, Completion)
    assert took >= 0.1


def test_a_stream_that_fails():
    async def read() -> None:
        async for _ in Scripted(Answer(error=ModelError("broken"))).stream(order.request("x")):
            raise AssertionError

    with pytest.raises(ModelError, match="broken"):
        asyncio.run(read())
