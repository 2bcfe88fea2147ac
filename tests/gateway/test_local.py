"""A local model behind OpenAI's chat completions; the tiny one talks nonsense, but in form."""

import contextlib
import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from jsonschema import validate
from openai import BadRequestError, NotFoundError, OpenAI

from hetagent.gateway.apis import Refusal
from hetagent.gateway.local import LocalUpstream, _cut
from hetagent.gateway.local_request import read_request
from tests.support.gateways import served

MESSAGES = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Weather in Paris?"}]},
]
SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 5},
        "sure": {"type": "boolean"},
        "kind": {"enum": ["now", "later"]},
        "hour": {"type": ["integer", "null"], "minimum": 0, "maximum": 23},
    },
    "required": ["city"],
}


def tool(name: str) -> dict:
    parameters = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 4}}}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


@pytest.fixture(scope="module")
def gateway(tiny):
    with served(LocalUpstream(tiny, models=["local", "gpt-*"])) as found:
        yield found


@pytest.fixture
def client(gateway):
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as found:
        yield found


def ask(client, **options):
    return client.chat.completions.create(model="local", messages=MESSAGES, **options)


def test_words_are_the_same_whole_and_as_a_stream(gateway, client):
    raw = client.chat.completions.with_raw_response.create(
        model="local", messages=MESSAGES, max_tokens=12, logprobs=True
    )
    whole = raw.parse()
    choice = whole.choices[0]
    assert (choice.finish_reason, whole.usage.completion_tokens) == ("length", 12)
    assert len(choice.logprobs.content) == 12
    assert all(token.logprob <= 0 for token in choice.logprobs.content)
    chunks = list(ask(client, max_tokens=12, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks[:-1]) == choice.message.content
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens
    record = gateway.record_of(raw.http_response)
    assert (record.model, record.cost_usd, record.trainable) == ("local", 0.0, "unknown")
    assert record.response["choices"][0]["message"]["content"] == choice.message.content


def test_the_record_of_a_stream_has_the_tokens_that_its_caller_did_not_ask_for(gateway, client):
    whole = ask(client, max_tokens=12).usage
    raw = client.chat.completions.with_raw_response.create(
        model="local", messages=MESSAGES, max_tokens=12, stream=True
    )
    assert all(chunk.usage is None for chunk in raw.parse())
    record = gateway.record_of(raw.http_response)
    assert record.streamed
    assert (record.usage.prompt, record.usage.completion) == (
        whole.prompt_tokens,
        whole.completion_tokens,
    )


def test_a_schema_is_kept(client):
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    found = ask(client, response_format=wanted)
    value = json.loads(found.choices[0].message.content)
    validate(value, SCHEMA)
    assert value.keys() == {"city", "sure", "kind", "hour"}


def test_an_answer_that_is_cut_off_says_so(client):
    found = ask(client, response_format={"type": "json_object"}, max_tokens=3)
    assert found.choices[0].finish_reason == "length"
    assert found.choices[0].message.content.startswith("{")


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_that_has_to_be_called_is_called_with_valid_arguments(client, stream):
    options = {"tools": [tool("weather"), tool("time")], "tool_choice": "required"}
    if stream:
        deltas = [c.choices[0].delta.tool_calls for c in ask(client, stream=True, **options)]
        calls = [one[0].function for one in deltas if one]
        name, written = calls[0].name, "".join(call.arguments for call in calls)
    else:
        found = ask(client, **options)
        assert found.choices[0].finish_reason == "tool_calls"
        assert found.choices[0].message.content is None
        function = found.choices[0].message.tool_calls[0].function
        name, written = function.name, function.arguments
    assert name in ("weather", "time")
    assert len(json.loads(written)["city"]) <= 4


def test_a_named_tool_is_the_one(client):
    named = {"type": "function", "function": {"name": "time"}}
    found = ask(client, tools=[tool("weather"), tool("time")], tool_choice=named)
    assert found.choices[0].message.tool_calls[0].function.name == "time"


def test_a_tool_that_may_be_called_is_chosen_or_words_are(client):
    found = ask(client, tools=[tool("weather")], max_tokens=40)
    message = found.choices[0].message
    assert bool(message.tool_calls) != bool(message.content)


def test_the_text_ends_before_a_stop(client):
    text = ask(client, max_tokens=12).choices[0].message.content
    stop = text[len(text) // 2 :][:3]
    found = ask(client, max_tokens=12, stop=[stop])
    assert found.choices[0].message.content == text[: text.index(stop)]
    assert found.choices[0].finish_reason == "stop"
    chunks = ask(client, max_tokens=12, stop=stop, stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == text[: text.index(stop)]


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        ("abc", ["b"], (True, 1)),
        ("ab", ["bc"], (False, 1)),
        ("ab", ["x"], (False, 2)),
        ("xaab", ["aabc", "bd"], (False, 1)),
        ("", ["x"], (False, 0)),
        ("ab", [], (False, 2)),
    ],
)
def test_what_may_begin_a_stop_is_held_back(text, stop, expected):
    assert _cut(text, stop) == expected


@pytest.mark.parametrize(
    "options",
    [
        {"n": 2},
        {"modalities": ["audio"]},
        {"functions": [{"name": "f"}]},
        {"max_tokens": 0},
        {"stop": [7]},
        {"tools": "weather"},
        {"tools": [{"type": "function"}]},
        {"tools": [tool("a"), tool("a")]},
        {"tools": [tool("a\ud800")]},
        {"tools": [tool(f"t{number}") for number in range(129)]},
        {"logit_bias": {"7": 1}},
        {"max_tokens": 1.5},
        {"stop": [""]},
        {"top_logprobs": 2},
        {"top_logprobs": 21, "logprobs": True},
        {"tool_choice": "required"},
        {"tools": [tool("a")], "tool_choice": {"function": {"name": "b"}}},
        {"response_format": {"type": "xml"}},
        {"response_format": {"type": "json_schema"}},
        {"response_format": {"type": "json_object", "schema": {"type": "object"} | {"a": 1}}},
        {"response_format": {"type": "json_object", "schema": {"$ref": "#/$defs/none"}}},
        {"response_format": {"type": "json_object", "schema": {"type": "nothing"}}},
        {"messages": []},
        {"messages": [7]},
        {"messages": [{"role": "martian", "content": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        {"messages": [{"role": "assistant", "tool_calls": [7]}]},
    ],
)
def test_what_a_local_model_does_not_do_is_refused(options):
    if options.get("response_format", {}).get("schema", {}).get("a"):
        options["response_format"]["schema"]["additionalProperties"] = True
    with pytest.raises(Refusal) as caught:
        read_request({"messages": MESSAGES, **options})
    assert caught.value.status == 400


def test_refusals_reach_the_client(client, gateway):
    with pytest.raises(BadRequestError, match="n has to be 1"):
        ask(client, n=2)
    long = [{"role": "user", "content": "word " * 3000}]
    with pytest.raises(BadRequestError, match="room for"):
        client.chat.completions.create(model="local", messages=long, stream=True)
    with pytest.raises(NotFoundError, match="no embeddings"):
        client.embeddings.create(model="local", input="x")
    answer = gateway.post("/v1/messages", {"model": "local", "max_tokens": 1, "messages": []})
    assert (answer.status_code, answer.json()["type"]) == (404, "error")


def test_what_tools_said_and_what_was_called_is_told_to_the_model():
    call = {"id": "c1", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
    messages = [
        *MESSAGES,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        {"role": "user", "content": "And tomorrow?"},
    ]
    request = read_request({"messages": messages, "tools": [tool("weather")]})
    assert [message.role for message in request.messages] == [
        "system", "user", "assistant", "user",
    ]  # fmt: skip
    system, _, called, last = [message.content for message in request.messages]
    assert system.startswith("Be brief.\n\nYou can call these tools:\n- weather:")
    assert called == 'Called weather with {"city": "Paris"}'
    assert last == "Result of c1:\nsunny\n\nAnd tomorrow?"


def test_alternatives_are_told_where_they_are_asked_for(client):
    for asked, told in ((None, 0), (0, 0), (1, 1), (5, 1)):
        options = {} if asked is None else {"top_logprobs": asked}
        found = ask(client, max_tokens=2, logprobs=True, **options)
        for token in found.choices[0].logprobs.content:
            assert len(token.top_logprobs) == told
            assert bytes(token.bytes).decode(errors="replace") == token.token


def test_an_answer_that_a_stop_ended_tells_what_its_prompt_took(gateway, client):
    whole = ask(client, max_tokens=12)
    stop = whole.choices[0].message.content[5:8]
    raw = client.chat.completions.with_raw_response.create(
        model="local", messages=MESSAGES, max_tokens=12, stop=stop
    )
    usage = raw.parse().usage
    assert usage.prompt_tokens == whole.usage.prompt_tokens
    assert 0 < usage.completion_tokens < 12
    assert gateway.record_of(raw.http_response).usage.prompt == usage.prompt_tokens


def test_one_model_is_told_by_its_name(gateway, client):
    assert client.models.retrieve("local").id == "local"
    assert gateway.get("/v1/models/other").status_code == 404


def test_paths_that_a_model_has_not_are_not_found(gateway):
    for path in ("/v1/responses", "/v1/completions", "/v1/files"):
        answer = gateway.post(path, {"model": "local", "input": "x"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_more_tokens_than_there_is_room_for_are_cut_and_half_a_character_is_read(gateway):
    body = b'{"model": "local", "max_tokens": %d, "messages": [{"role": "user", "content": "%s"}]}'
    text = b"word " * 980
    answer = gateway.client.post("/v1/chat/completions", content=body % (10**9, text))
    found = answer.json()
    assert found["choices"][0]["finish_reason"] == "length"
    assert found["usage"]["total_tokens"] <= 1024
    answer = gateway.client.post("/v1/chat/completions", content=body % (2, b"a\\ud800"))
    assert answer.status_code == 200


def test_many_calls_at_once_are_answered_as_one_by_one(gateway, tiny):
    bodies = [
        {"model": "local", "messages": [{"role": "user", "content": f"{n}"}], "max_tokens": 6}
        for n in range(24)
    ]

    def text(body: dict) -> str:
        return gateway.post("/v1/chat/completions", body).json()["choices"][0]["message"]["content"]

    with ThreadPoolExecutor(24) as pool:
        together = list(pool.map(text, bodies))
    assert all(together)
    assert len(set(together)) > 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_stops_the_model(gateway, tiny, stream):
    gateway.wait_for(lambda: gateway.status()["records"]["waiting"] == 0)
    before = len(gateway.store.records)
    body = {"model": "local", "messages": MESSAGES, "max_tokens": 900, "stream": stream}
    with (
        contextlib.suppress(httpx.ReadTimeout),
        gateway.client.stream("POST", "/v1/chat/completions", json=body, timeout=0.2) as answer,
    ):
        next(answer.iter_raw())
    gateway.wait_for(lambda: tiny.stats().active == 0)
    record = gateway.records(before + 1)[-1]
    assert (record.complete, record.error.kind) == (False, "Disconnected")
    assert record.seconds < 5
