"""`LiteLLM` against a real HTTP server on loopback that answers and fails as scripted."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, field_validator

from hetagent.errors import (
    ConnectError,
    CredentialsError,
    HetagentError,
    InputError,
    InputTooLongError,
    ModelError,
    ModelTimeoutError,
    OutputError,
    ProviderError,
    RateLimitError,
    UnknownModelError,
)
from hetagent.models.base import Completion, Message, Model, PricedModel, Request
from hetagent.models.litellm import LiteLLM
from hetagent.schema import OutputType
from tests.support.openai_server import OpenAIServer, Reply

KEY = "sk-test-0123456789abcdef"
Intent = Literal["book", "cancel", "other"]


class Booking(BaseModel):
    date: str | None = Field(description="as the guest wrote it")
    people: int | None = Field(ge=1, le=40)


class Node(BaseModel):
    name: str
    children: list[Node]


class Even(BaseModel):
    number: int

    @field_validator("number")
    @classmethod
    def is_even(cls, number: int) -> int:
        if number % 2:
            raise ValueError("the number must be even")
        return number


class Colour(Enum):
    RED = "r"
    BLUE = 7


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.endswith("_API_KEY"):
            monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as running:
        yield running


def request(annotation: Any = Intent, *, content: str = "Hello", max_tokens: int = 32) -> Request:
    messages = (Message("system", "Decide."), Message("user", content))
    return Request(messages, OutputType.of(annotation), max_tokens)


def remote(server: OpenAIServer, name: str = "openai/served", **options: Any) -> LiteLLM:
    options = {"timeout": 5.0, "max_retries": 0, "backoff": 0.0, **options}
    return LiteLLM(name, api_base=server.base_url, **options)


def complete(model: Model, asked: Request | None = None) -> Completion:
    return asyncio.run(model.complete(asked or request()))


def wrapped(value: Any) -> str:
    return json.dumps({"answer": value})


# Answers


@pytest.mark.parametrize(
    ("annotation", "content", "text"),
    [
        (Intent, wrapped("cancel"), "cancel"),
        (bool, wrapped(True), "true"),
        (Colour, wrapped(7), "7"),
        (Literal["a"] | None, wrapped(None), "null"),
        (int, wrapped(42), "42"),
        (float, wrapped(2.5), "2.5"),
        (str, wrapped('say "hi"\nto Zoë'), 'say "hi"\nto Zoë'),
        (list[int], wrapped([1, 2]), "[1, 2]"),
        (Booking | None, wrapped(None), "null"),
        (Booking, '{"date":"9 May","people":4}', '{"date": "9 May", "people": 4}'),
        (
            Node,
            wrapped({"name": "a", "children": [{"name": "b", "children": []}]}),
            '{"name": "a", "children": [{"name": "b", "children": []}]}',
        ),
    ],
)
def test_an_answer_comes_in_the_output_types_own_form(
    server: OpenAIServer, annotation: Any, content: str, text: str
) -> None:
    server.answer(content)
    done = complete(remote(server), request(annotation))
    assert done.text == text
    assert OutputType.of(annotation).encode(OutputType.of(annotation).parse(done.text)) == text
    assert (done.model, done.finish, done.attempts) == ("openai/served", "stop", 1)
    assert done.tokens is None
    assert done.choices is None
    assert done.seconds["request"] > 0


@pytest.mark.parametrize(
    "content",
    [
        '```json\n{"answer": "book"}\n```',
        'Sure! {not json} Here it is: {"answer": "book"} Anything else?',
        '<think>{"answer": "cancel"}? No, they want a table.</think>\n{"answer": "book"}',
        " book\n",
    ],
)
def test_what_surrounds_the_json_is_passed_over(server: OpenAIServer, content: str) -> None:
    server.answer(content)
    done = complete(remote(server))
    assert (done.text, done.attempts) == ("book", 1)


def test_the_request_carries_prompt_limits_and_schema(server: OpenAIServer) -> None:
    server.answer(wrapped("book"))
    complete(remote(server, api_key=KEY, extra={"seed": 7}), request(max_tokens=9))
    (got,) = server.requests
    assert got.headers["authorization"] == f"Bearer {KEY}"
    assert got.body["model"] == "served"
    assert got.body["messages"] == [
        {"role": "system", "content": "Decide."},
        {"role": "user", "content": "Hello"},
    ]
    assert (got.body["max_tokens"], got.body["temperature"], got.body["seed"]) == (9, 0.0, 7)
    assert got.body["response_format"] == {
        "type": "json_schema",
        "json_schema": {
            "name": "answer",
            "strict": True,
            "schema": {
                "type": "object",
                "properties": {"answer": {"enum": ["book", "cancel", "other"]}},
                "required": ["answer"],
                "additionalProperties": False,
            },
        },
    }


def test_definitions_move_to_the_root_and_references_stand_alone(server: OpenAIServer) -> None:
    class Pair(BaseModel):
        left: Node = Field(description="the first one")

    server.answer(wrapped([]))
    complete(remote(server), request(list[Pair]))
    schema = server.requests[0].body["response_format"]["json_schema"]["schema"]
    assert schema["type"] == "object"
    assert schema["properties"]["answer"]["items"] == {"$ref": "#/$defs/Pair"}
    assert set(schema["$defs"]) == {"Node", "Pair"}
    assert schema["$defs"]["Pair"]["properties"]["left"] == {"$ref": "#/$defs/Node"}
    assert "$schema" not in schema


@pytest.mark.parametrize("system", [True, False])
def test_schema_in_the_prompt(server: OpenAIServer, system: bool) -> None:
    asked = request()
    if not system:
        asked = Request(asked.messages[1:], asked.output, asked.max_tokens)
    server.answer(wrapped("book"))
    assert complete(remote(server, structured="prompt"), asked).text == "book"
    body = server.requests[0].body
    assert "response_format" not in body
    first, *others = body["messages"]
    assert first["role"] == "system"
    assert first["content"].startswith("Decide.\n\n") == system
    assert '"properties":{"answer":{"enum":["book","cancel","other"]}}' in first["content"]
    assert others == [{"role": "user", "content": "Hello"}]


def test_an_answer_cut_off_is_marked_and_not_repaired(server: OpenAIServer) -> None:
    server.answer('{"date": "the ninth of', finish_reason="length")
    done = complete(remote(server), request(Booking))
    assert (done.finish, done.text) == ("length", '{"date": "the ninth of')
    assert len(server.requests) == 1


def test_the_same_model_serves_several_event_loops(server: OpenAIServer) -> None:
    server.answer(wrapped("book"))
    model = remote(server)
    assert [complete(model).text for _ in range(3)] == ["book"] * 3


def test_calls_run_at_once(server: OpenAIServer) -> None:
    def handler(body: dict[str, Any]) -> Reply:
        assert server.wait_for_requests(16)  # nobody is answered before all have asked
        return Reply(wrapped(body["messages"][-1]["content"]))

    server.handler = handler
    model = remote(server, timeout=30.0)

    async def all_of_them() -> list[Completion]:
        asked = (request(str, content=f"number {i}") for i in range(16))
        return await asyncio.gather(*map(model.complete, asked))

    done = asyncio.run(all_of_them())
    assert [one.text for one in done] == [f"number {i}" for i in range(16)]
    assert server.most_at_once == 16


# Usage and cost


def test_cost_from_the_bundled_price_list(server: OpenAIServer) -> None:
    server.answer(wrapped("book"), prompt_tokens=1000, completion_tokens=100, cached_tokens=400)
    usage = complete(remote(server, "openai/gpt-4o-mini")).usage
    assert (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens) == (1000, 400, 100)
    # 0.15 and 0.60 US dollars a million, 0.075 where cached
    assert usage.cost_usd == pytest.approx((600 * 0.15 + 400 * 0.075 + 100 * 0.6) / 1e6)


def price_of(model: LiteLLM, **more: Any) -> float | None:
    return asyncio.run(model.price(request(**more)))


def test_the_price_of_an_answer_is_known_beforehand_and_no_answer_costs_more(
    server: OpenAIServer,
) -> None:
    """A tokeniser that works on bytes makes no more tokens than there are bytes."""

    def dearest(body: dict[str, Any]) -> Reply:
        sent = json.dumps([body["messages"], body["response_format"]], ensure_ascii=False)
        tokens = len(sent.encode())
        return Reply('{"answer": "book"}', prompt_tokens=tokens, completion_tokens=32)

    server.handler = dearest
    model = remote(server, price=(1.0, 5.0))
    assert isinstance(model, PricedModel)
    price = price_of(model, content="Grüße")
    assert price is not None
    assert complete(model, request(content="Grüße")).usage.cost_usd == pytest.approx(price)
    longer = price_of(model, max_tokens=64)
    assert longer is not None
    assert longer - (price_of(model) or 0.0) == pytest.approx(32 * 5.0 / 1e6)


def test_the_price_learns_how_many_tokens_a_prompt_has(server: OpenAIServer) -> None:
    server.answer('{"answer": "book"}', prompt_tokens=40)
    model = remote(server, price=(1.0, 0.0))
    before = price_of(model)
    complete(model)
    after = price_of(model)
    assert before is not None
    assert after == pytest.approx(40e-6)
    assert after < before
    assert price_of(model, content="Hello" * 100) > after


def test_the_price_of_a_listed_model_is_that_of_the_list() -> None:
    model = LiteLLM("openai/gpt-4o-mini", api_key=KEY)
    more = price_of(model, max_tokens=1000)
    less = price_of(model, max_tokens=500)
    assert more is not None
    assert less is not None
    assert more - less == pytest.approx(500 * 0.6 / 1e6)


@pytest.mark.parametrize(
    ("options", "price"),
    [
        ({"api_base": "http://127.0.0.1:9/v1"}, None),  # not in the list
        ({"api_base": "http://127.0.0.1:9/v1", "price": (0, 0)}, 0.0),
        ({}, None),  # no key
        ({"api_key": KEY, "price": (1, 1), "extra": {"max_tokens": None}}, None),
    ],
)
def test_a_price_that_is_not_known(options: dict[str, Any], price: float | None) -> None:
    assert price_of(LiteLLM("openai/nobody-knows", **options)) == price


@pytest.mark.parametrize(
    "lost", [Reply(hang=True), Reply(drop=True), Reply("x", cut=True), Reply(raw_body="<html>")]
)
def test_what_a_try_without_an_answer_cost_is_not_known(server: OpenAIServer, lost: Reply) -> None:
    server.answer('{"answer": "book"}')
    for price, cost in (((1.0, 1.0), None), ((0, 0), 0.0)):
        server.script([lost])
        done = complete(remote(server, price=price, timeout=1.0, max_retries=1))
        assert (done.attempts, done.usage.cost_usd) == (2, cost)


@pytest.mark.parametrize("refused", [Reply(status=429), Reply(status=500)])
def test_a_try_that_was_refused_cost_nothing(server: OpenAIServer, refused: Reply) -> None:
    server.answer('{"answer": "book"}')
    server.script([refused])
    done = complete(remote(server, price=(1.0, 1.0), max_retries=1))
    assert (done.attempts, done.usage.cost_usd) == (2, pytest.approx(15e-6))


@pytest.mark.parametrize(
    ("price", "reported", "cost"),
    [
        (None, 1000, None),
        ((2.0, 10.0), 1000, 0.003),
        ((0, 0), 1000, 0.0),
        ((2.0, 10.0), None, None),
        ((0, 0), None, 0.0),
    ],
)
def test_cost_of_a_model_without_a_listed_price(
    server: OpenAIServer, price: tuple[float, float] | None, reported: int | None, cost: Any
) -> None:
    server.answer(wrapped("book"), prompt_tokens=reported, completion_tokens=100)
    usage = complete(remote(server, price=price)).usage
    assert usage.cost_usd == (cost if cost is None else pytest.approx(cost))
    assert usage.prompt_tokens == (reported or 0)


# Repair


def test_one_repair_round_shows_the_model_its_error(server: OpenAIServer) -> None:
    server.script([Reply(wrapped("perhaps")), Reply(wrapped("other"))])
    done = complete(remote(server, price=(1.0, 1.0)))
    assert (done.text, done.attempts) == ("other", 2)
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (20, 10)
    assert done.usage.cost_usd == pytest.approx(30e-6)
    first, second = (got.body["messages"] for got in server.requests)
    assert second[: len(first)] == first
    assert second[len(first)] == {"role": "assistant", "content": wrapped("perhaps")}
    correction = second[len(first) + 1]
    assert correction["role"] == "user"
    assert "'perhaps' is not one of ['book', 'cancel', 'other']" in correction["content"]


def test_a_validators_words_reach_the_model(server: OpenAIServer) -> None:
    server.script([Reply('{"number": 3}'), Reply('{"number": 4}')])
    assert complete(remote(server), request(Even)).text == '{"number": 4}'
    assert "the number must be even" in server.requests[1].body["messages"][-1]["content"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        None,
        "   ",
        '{"answer": "book',
        '{"answer": "Book"}',
        '{"other": "book"}',
        "{}",
        "[" * 100_000,
        '{"answer":' * 100_000,
        "null",
        "I would rather not.",
    ],
)
def test_an_answer_that_stays_invalid_is_an_output_error(
    server: OpenAIServer, content: str | None
) -> None:
    server.answer(content)
    with pytest.raises(OutputError, match="nor a repaired one") as caught:
        complete(remote(server))
    assert caught.value.text == (content or "")
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("annotation", "content"),
    [
        (Booking, '{"date": null}'),
        (Booking, '{"date": null, "people": 41}'),
        (Booking, '{"date": null, "people": "4"}'),
        (Booking, '{"date": null, "people": 4, "note": "x"}'),
        (int, wrapped(True)),
        (float, '{"answer": NaN}'),
        (str, '{"answer": "\\ud800"}'),
        (list[str], '{"answer": ["\\udfff"]}'),
    ],
)
def test_answers_are_validated_strictly(
    server: OpenAIServer, annotation: Any, content: str
) -> None:
    server.answer(content)
    with pytest.raises(OutputError):
        complete(remote(server), request(annotation))


def test_a_lone_surrogate_in_an_answer_can_be_shown_for_repair(server: OpenAIServer) -> None:
    server.script([Reply("\ud800 no"), Reply(wrapped("book"))])
    assert complete(remote(server)).text == "book"
    assert server.requests[1].body["messages"][-2]["content"] == "? no"


def test_a_pattern_that_python_cannot_read_is_left_to_pydantic(server: OpenAIServer) -> None:
    class Word(BaseModel):
        word: str = Field(pattern=r"^\p{L}+$")

    server.script([Reply('{"word": "a1"}'), Reply('{"word": "Zoë"}')])
    assert complete(remote(server), request(Word)).text == '{"word": "Zoë"}'
    assert len(server.requests) == 2


def test_a_repaired_answer_may_be_cut_off(server: OpenAIServer) -> None:
    server.script([Reply("no"), Reply('{"answ', finish_reason="length")])
    done = complete(remote(server))
    assert (done.finish, done.text, done.attempts) == ("length", '{"answ', 2)


# Ways to ask


def only(*types: str, status: int = 400, error: str = "unknown response_format") -> Any:
    """A server that takes just these ``response_format`` types."""

    def handler(body: dict[str, Any]) -> Reply:
        kind = body.get("response_format", {}).get("type", "none")
        return Reply(wrapped("book")) if kind in types else Reply(status=status, error=error)

    return handler


def kinds(server: OpenAIServer) -> list[str]:
    return [got.body.get("response_format", {}).get("type", "none") for got in server.requests]


@pytest.mark.parametrize("status", [400, 422, 500])
def test_a_refused_format_falls_back_once_and_is_remembered(
    server: OpenAIServer, status: int
) -> None:
    server.handler = only("json_object", "none", status=status)
    model = remote(server, max_retries=3)
    assert complete(model).attempts == 2
    assert complete(model, request(Booking | Literal["book"])).attempts == 1
    assert kinds(server) == ["json_schema", "json_object", "json_object"]
    format_ = server.requests[1].body["response_format"]
    assert format_["schema"]["properties"] == {"answer": {"enum": ["book", "cancel", "other"]}}
    assert "JSON Schema" in server.requests[1].body["messages"][0]["content"]


def test_fallback_goes_down_to_the_prompt(server: OpenAIServer) -> None:
    server.handler = only("none")
    model = remote(server)
    assert complete(model).text == "book"
    assert complete(model).text == "book"
    assert kinds(server) == ["json_schema", "json_object", "none", "none"]


def test_a_500_that_says_nothing_falls_back_after_the_retries(server: OpenAIServer) -> None:
    server.handler = only("json_object", status=500, error="internal error")
    model = remote(server, max_retries=1)
    assert complete(model).attempts == 3
    assert complete(model).attempts == 1
    assert kinds(server) == ["json_schema", "json_schema", "json_object", "json_object"]


def test_a_refused_schema_weakens_that_schema_only(server: OpenAIServer) -> None:
    def handler(body: dict[str, Any]) -> Reply:
        schema = json.dumps(body.get("response_format", {}).get("json_schema", {}))
        if "prefixItems" in schema:
            return Reply(status=400, error="Invalid schema for response_format 'answer'.")
        return Reply(wrapped([1, 2] if "prefixItems" in json.dumps(body) else "book"))

    server.handler = handler
    model = remote(server)
    for _ in range(2):
        assert complete(model, request(tuple[int, int])).text == "[1, 2]"
    assert complete(model).text == "book"
    assert kinds(server) == ["json_schema", "json_object", "json_object", "json_schema"]


def test_a_form_that_worked_is_kept_when_the_server_fails(server: OpenAIServer) -> None:
    server.script([Reply(wrapped("book")), Reply(status=500)])
    server.answer(wrapped("book"))
    model = remote(server)
    complete(model)
    with pytest.raises(ProviderError):
        complete(model)
    complete(model)
    assert kinds(server) == ["json_schema"] * 3


def test_a_chosen_form_does_not_fall_back(server: OpenAIServer) -> None:
    server.handler = only("json_object")
    with pytest.raises(ProviderError, match="unknown response_format") as caught:
        complete(remote(server, structured="schema"))
    assert caught.value.status == 400
    assert complete(remote(server, structured="json")).text == "book"
    assert kinds(server) == ["json_schema", "json_object"]


def test_the_providers_own_servers_get_only_what_they_take(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Named(BaseModel):
        name: str = Field(min_length=1, max_length=8)
        maxLength: int  # a field, not the keyword

    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.answer('{"name": "Zoë", "maxLength": 1}')
    complete(LiteLLM("openai/gpt-4o-mini"), request(Named))
    complete(LiteLLM("openai/gpt-3.5-turbo"), request(Named))
    complete(LiteLLM("openai/gpt-4"), request(Named))
    strong, weak, none = (got.body.get("response_format") for got in server.requests)
    properties = strong["json_schema"]["schema"]["properties"]
    assert properties == {"name": {"type": "string"}, "maxLength": {"type": "integer"}}
    assert weak == {"type": "json_object"}
    assert none is None
    assert all("JSON Schema" in got.body["messages"][0]["content"] for got in server.requests[1:])
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_a_thinking_model_gets_room_and_no_temperature(server: OpenAIServer) -> None:
    server.answer(wrapped("book"))
    complete(remote(server, "openai/gpt-5-mini"), request(max_tokens=8))
    complete(remote(server, "openai/gpt-5-mini", extra={"max_tokens": 99}))
    first, second = (got.body for got in server.requests)
    assert first["max_completion_tokens"] == 8 + 4096
    assert second["max_completion_tokens"] == 99
    assert "temperature" not in first


# Faults

FAULTS = [
    (Reply(status=401), CredentialsError, "OPENAI_API_KEY", False),
    (Reply(status=403), CredentialsError, "OPENAI_API_KEY", False),
    (Reply(status=404, error="no such model"), ProviderError, "no such model", False),
    (Reply(status=400, error="bad temperature"), ProviderError, "bad temperature", False),
    (Reply(status=418, error="a teapot"), ProviderError, "a teapot", False),
    (Reply(status=429, error="slow down"), RateLimitError, "slow down", True),
    (Reply(status=500, error="it broke"), ProviderError, "it broke", True),
    (Reply(status=503, error="overloaded"), ProviderError, "overloaded", True),
    (
        Reply(status=502, raw_body="<html>Bad gateway</html>", content_type="text/html"),
        ProviderError,
        "<html>Bad gateway</html>",
        True,
    ),
    (
        Reply(raw_body="<html>Please log in</html>", content_type="text/html"),
        ProviderError,
        "not the API's JSON. It begins: '<html>Please log in",
        True,
    ),
    (
        Reply(raw_body='{"id": "x", "choices": [{"mess'),
        ProviderError,
        """It begins: '{"id": "x", "choices": [{"mess'.""",
        True,
    ),
    (Reply(raw_body=""), ProviderError, "It is empty.", True),
    (Reply(raw_body="{}"), ProviderError, "choices", True),
    (Reply(raw_body='{"choices": []}'), ProviderError, "no choices", True),
    (Reply(drop=True), ProviderError, "closed the connection", True),
    (Reply("", finish_reason="content_filter"), ProviderError, "content filter", False),
    (
        Reply(
            status=400,
            error="This model's maximum context length is 512 tokens. However, you requested "
            "600 tokens (88 in the messages, 512 in the completion).",
        ),
        InputTooLongError,
        "does not fit the context window",
        False,
    ),
]


@pytest.mark.parametrize(
    ("reply", "kind", "words", "retryable"), FAULTS, ids=[str(fault[2])[:20] for fault in FAULTS]
)
def test_each_fault_is_an_error_that_says_what_happened(
    server: OpenAIServer, reply: Reply, kind: type[HetagentError], words: str, retryable: bool
) -> None:
    server.script([reply])
    model = remote(server, structured="schema")
    with pytest.raises(HetagentError) as caught:
        complete(model)
    assert type(caught.value) is kind
    assert words in str(caught.value)
    assert caught.value.hint
    assert caught.value.retryable == retryable
    assert len(server.requests) == 1
    assert caught.value.__cause__ is None
    server.answer(wrapped("book"))
    assert complete(model).text == "book"


@pytest.mark.parametrize(("reply", "kind", "words", "retryable"), FAULTS[5:9] + FAULTS[9:15])
def test_passing_faults_are_retried(
    server: OpenAIServer, reply: Reply, kind: type[HetagentError], words: str, retryable: bool
) -> None:
    server.script([reply, reply])
    server.answer(wrapped("book"))
    done = complete(remote(server, max_retries=2))
    assert (done.text, done.attempts) == ("book", 3)
    assert kinds(server) == ["json_schema"] * 3


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_lasting_faults_are_not_retried(server: OpenAIServer, status: int) -> None:
    server.handler = lambda body: Reply(status=status)
    with pytest.raises(ProviderError) as caught:
        complete(remote(server, max_retries=3, structured="schema"))
    assert caught.value.status == status
    assert len(server.requests) == 1


def test_retries_end(server: OpenAIServer) -> None:
    server.handler = lambda body: Reply(status=429)
    with pytest.raises(RateLimitError):
        complete(remote(server, max_retries=2))
    assert len(server.requests) == 3


def test_the_context_limit_is_read_from_the_message(server: OpenAIServer) -> None:
    server.handler = lambda body: FAULTS[-1][0]
    with pytest.raises(InputTooLongError) as caught:
        complete(remote(server))
    assert (caught.value.tokens, caught.value.limit) == (600, 512)
    assert len(server.requests) == 1


def test_a_server_that_never_answers(server: OpenAIServer) -> None:
    server.handler = lambda body: Reply(hang=True)
    start = time.monotonic()
    with pytest.raises(ModelTimeoutError, match="no answer in time") as caught:
        complete(remote(server, timeout=0.2, max_retries=1))
    assert 0.4 <= time.monotonic() - start < 3
    assert caught.value.retryable
    assert len(server.requests) == 2
    assert server.wait_for_disconnects(2)


def test_a_slow_try_is_retried(server: OpenAIServer) -> None:
    server.script([Reply(hang=True)])
    server.answer(wrapped("book"))
    assert complete(remote(server, timeout=0.3, max_retries=1)).attempts == 2


def test_cancelling_closes_the_connection(server: OpenAIServer) -> None:
    server.handler = lambda body: Reply(hang=True)
    model = remote(server, max_retries=3)

    async def cancelled_in_flight() -> None:
        task = asyncio.create_task(model.complete(request()))
        assert await asyncio.to_thread(server.wait_for_requests, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled_in_flight())
    assert server.wait_for_disconnects(1)
    assert len(server.requests) == 1


def test_cancelling_ends_the_wait_for_a_retry(server: OpenAIServer) -> None:
    server.handler = lambda body: Reply(status=503)
    model = remote(server, max_retries=3, backoff=30.0)

    async def cancelled_in_the_wait() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(model.complete(request()), 0.5)

    start = time.monotonic()
    asyncio.run(cancelled_in_the_wait())
    assert time.monotonic() - start < 2
    assert len(server.requests) == 1


def test_retry_after_is_honoured(server: OpenAIServer) -> None:
    server.script([Reply(status=429, headers={"Retry-After": "0.3"})])
    server.answer(wrapped("book"))
    complete(remote(server, max_retries=1))
    first, second = server.requests
    assert 0.3 <= second.at - first.at < 2


def test_a_long_retry_after_is_passed_on_instead(server: OpenAIServer) -> None:
    server.handler = lambda body: Reply(status=429, headers={"Retry-After": "3600"})
    with pytest.raises(RateLimitError, match="Wait 3600 s"):
        complete(remote(server, max_retries=3))
    assert len(server.requests) == 1


@pytest.mark.parametrize("given", ["Wed, 21 Oct 2015 07:28:00 GMT", "soon", "-5", "nan"])
def test_a_retry_after_that_says_nothing_is_ignored(server: OpenAIServer, given: str) -> None:
    server.script([Reply(status=503, headers={"Retry-After": given})])
    server.answer(wrapped("book"))
    assert complete(remote(server, max_retries=1)).attempts == 2


def test_waits_grow(server: OpenAIServer) -> None:
    server.handler = lambda body: Reply(status=500)
    with pytest.raises(ProviderError):
        complete(remote(server, max_retries=2, backoff=0.1, structured="schema"))
    first, second, third = (got.at for got in server.requests)
    assert second - first >= 0.1
    assert third - second >= 0.2


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    base = f"http://127.0.0.1:{port}/v1"
    model = LiteLLM("openai/served", api_base=base, max_retries=3, backoff=5.0)
    start = time.monotonic()
    with pytest.raises(ConnectError, match=f"127.0.0.1:{port}") as caught:
        complete(model)
    assert time.monotonic() - start < 4
    assert caught.value.retryable


def test_a_password_in_the_address_is_not_shown(server: OpenAIServer) -> None:
    model = LiteLLM("openai/x", api_base=server.base_url.replace("//", "//me:hunter22@"))
    with pytest.raises(ProviderError, match="The call to http://127") as caught:
        complete(model)
    assert "hunter22" not in str(caught.value) + repr(model)
    assert server.requests == []


def test_an_input_that_cannot_be_sent(server: OpenAIServer) -> None:
    with pytest.raises(InputError, match="surrogate"):
        complete(remote(server), request(content="half \ud83d"))
    assert server.requests == []


# Names and keys


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("openai/gpt-4o-mini", "OPENAI_API_KEY"),
        ("anthropic/claude-haiku-4-5", "ANTHROPIC_API_KEY"),
        ("gemini/gemini-2.5-flash", "GEMINI_API_KEY"),
    ],
)
def test_a_missing_key_names_its_variable(name: str, variable: str) -> None:
    with pytest.raises(CredentialsError, match=variable):
        complete(LiteLLM(name))


def test_an_empty_key_is_a_missing_one(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "")
    with pytest.raises(CredentialsError, match="OPENAI_API_KEY"):
        complete(LiteLLM("openai/gpt-4o-mini"))
    server.answer(wrapped("book"))
    assert complete(remote(server)).text == "book"


def test_a_server_of_ones_own_needs_no_key(server: OpenAIServer) -> None:
    server.answer(wrapped("book"))
    assert complete(remote(server)).text == "book"
    assert server.requests[0].headers["authorization"] == "Bearer none-needed"


def test_the_key_of_the_environment_is_used(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.answer(wrapped("book"))
    complete(remote(server))
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_another_providers_api(server: OpenAIServer) -> None:
    server.answer(wrapped("book"))
    assert complete(remote(server, "hosted_vllm/served")).text == "book"


def test_a_name_without_a_provider(server: OpenAIServer) -> None:
    with pytest.raises(UnknownModelError, match="openai/my-model"):
        complete(remote(server, "my-model"))


@pytest.mark.parametrize(
    ("name", "options", "kind"),
    [
        (" ", {}, UnknownModelError),
        ("openai/x", {"timeout": 0}, ModelError),
        ("openai/x", {"timeout": float("nan")}, ModelError),
        ("openai/x", {"max_retries": -1}, ModelError),
        ("openai/x", {"structured": "xml"}, ModelError),
        ("openai/x", {"extra": {"stream": True}}, ModelError),
    ],
)
def test_bad_arguments(name: str, options: dict[str, Any], kind: type[ModelError]) -> None:
    with pytest.raises(kind) as caught:
        LiteLLM(name, **options)
    assert caught.value.hint


@pytest.mark.parametrize("where", ["argument", "environment", "extra"])
def test_the_key_is_never_shown(
    server: OpenAIServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    where: str,
) -> None:
    options: dict[str, Any] = {}
    if where == "argument":
        options["api_key"] = KEY
    elif where == "extra":
        options["extra"] = {"api_key": KEY}
    else:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
    model = remote(server, **options)
    assert KEY not in repr(model) + str(vars(model)["_name"])
    shown = []
    with caplog.at_level(logging.INFO):
        for reply in (
            Reply(status=401, error=f"Incorrect API key provided: {KEY}"),
            Reply(status=502, raw_body=f"<html>{'x' * 60} {KEY} y</html>"),
            Reply(raw_body=f"{'x' * 70}{KEY}"),
            Reply(status=400, error=f"Header: Bearer {KEY}"),
        ):
            server.script([reply])
            with pytest.raises(HetagentError) as caught:
                complete(model)
            shown.append(f"{caught.value} {caught.getrepr(style='native')}")
    out, err = capfd.readouterr()
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert "***" in shown[0]
    for text in (*shown, caplog.text, out, err):
        assert KEY[:12] not in text


# The process


def run_python(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    paths = os.pathsep.join([str(root / "src"), str(root)])
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": paths, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_module_does_not_import_litellm() -> None:
    done = run_python(
        """
        import sys
        from hetagent.models.litellm import LiteLLM
        LiteLLM("openai/x")
        heavy = {"litellm", "openai", "httpx", "aiohttp", "jsonschema"} & set(sys.modules)
        assert not heavy, heavy
        """
    )
    assert done.returncode == 0, done.stderr


def test_a_process_reaches_nobody_else_and_leaves_quietly() -> None:
    """Warnings as errors, asyncio's debug mode: nothing is printed, fetched or left open."""
    done = run_python(
        """
        import asyncio, logging, os, sys
        from hetagent.models.litellm import LiteLLM
        from hetagent.models.base import Message, Request
        from hetagent.schema import OutputType
        from tests.support.openai_server import OpenAIServer

        logging.getLogger("asyncio").setLevel(logging.ERROR)  # LiteLLM's import is a slow callback

        def watch(event, args):
            if event == "socket.getaddrinfo" or event == "socket.connect":
                host = args[0] if event == "socket.getaddrinfo" else args[1][0]
                assert host in ("127.0.0.1", b"127.0.0.1", "localhost"), (event, args)

        sys.addaudithook(watch)
        with OpenAIServer() as server:
            server.answer('{"answer": true}')
            model = LiteLLM("openai/gpt-4o-mini", api_base=server.base_url, api_key="k" * 20)
            asked = Request((Message("user", "?"),), OutputType.of(bool), 8)

            async def many():
                return await asyncio.gather(*(model.complete(asked) for _ in range(4)))

            for _ in range(2):
                print(*(one.text for one in asyncio.run(many())))
        """,
        LITELLM_LOG="WARNING",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "true true true true\n" * 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_can_call() -> None:
    done = run_python(
        """
        import asyncio, os
        from hetagent.models.litellm import LiteLLM
        from hetagent.models.base import Message, Request
        from hetagent.schema import OutputType
        from tests.support.openai_server import OpenAIServer

        def call():
            return asyncio.run(model.complete(asked)).text

        with OpenAIServer() as server:
            server.answer('{"answer": true}')
            model = LiteLLM("openai/served", api_base=server.base_url)
            asked = Request((Message("user", "?"),), OutputType.of(bool), 8)
            assert call() == "true"
            child = os.fork()
            if child == 0:
                os._exit(0 if call() == "true" else 1)
            assert os.waitpid(child, 0)[1] == 0
            assert call() == "true"
        """
    )
    assert done.returncode == 0, done.stderr


def test_an_answer_that_fails_was_paid_for_all_the_same(server: OpenAIServer):
    reply = Reply("no json", prompt_tokens=1000, completion_tokens=500)
    server.script([reply, reply])
    with pytest.raises(OutputError) as caught:
        complete(remote(server, price=(10, 30)))
    assert caught.value.attempts == 2
    assert caught.value.usage is not None
    assert caught.value.usage.prompt_tokens == 2000
    assert caught.value.usage.cost_usd == pytest.approx(0.05)


def test_arguments_that_are_no_secrets_stay_readable(server: OpenAIServer):
    extra = {"reasoning_effort": "low", "user": ""}
    server.script([Reply(status=400, error="The request is too slow.")])
    with pytest.raises(ProviderError, match="too slow"):
        complete(remote(server, extra=extra, structured="prompt"))
