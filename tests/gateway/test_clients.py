"""Clients that agents use call the gateway as they call the provider itself."""

import asyncio
import json
import warnings

import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI, RateLimitError
from pydantic import BaseModel

from hetagent.gateway import HttpUpstream
from tests.support.gateways import served
from tests.support.stream_server import Got, Piecewise, StreamServer

MESSAGES = [{"role": "user", "content": "What is the weather in Paris?"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
USAGE = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
SSE = (("Content-Type", "text/event-stream"),)


class Weather(BaseModel):
    city: str
    degrees: int


def answer(got: Got) -> Piecewise:
    """A small provider: words, a tool call, JSON, probabilities, vectors; whole or in pieces."""
    path = got.target.partition("?")[0]
    if path.endswith("/models"):
        return whole({"object": "list", "data": [{"id": "m", "object": "model"}]})
    asked = got.json
    if path.endswith("/embeddings"):
        vector = {"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}
        return whole({"object": "list", "data": [vector], "model": "e", "usage": USAGE})
    if path.endswith("/messages"):
        return anthropic(asked)
    message: dict = {"role": "assistant", "content": "It is sunny."}
    finish = "stop"
    if asked.get("tools"):
        call = {"name": "weather", "arguments": '{"city": "Paris"}'}
        message["tool_calls"] = [{"id": "call_1", "type": "function", "function": call}]
        message["content"], finish = None, "tool_calls"
    elif asked.get("response_format"):
        message["content"] = '{"city": "Paris", "degrees": 21}'
    choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
    if asked.get("logprobs"):
        token = {"token": "It", "logprob": -0.5, "bytes": [73, 116], "top_logprobs": []}
        choice["logprobs"] = {"content": [token], "refusal": None}
    head = {"id": "c1", "created": 1, "model": "served"}
    if not asked.get("stream"):
        return whole({**head, "object": "chat.completion", "choices": [choice], "usage": USAGE})
    return Piecewise(streamed(head, choice, asked), headers=SSE)


def streamed(head: dict, choice: dict, asked: dict) -> list[bytes]:
    message = choice["message"]
    deltas: list[dict] = [{"role": "assistant", "content": None}]
    if message["content"]:
        deltas += [{"content": piece} for piece in message["content"].partition(" ") if piece]
    for call in message.get("tool_calls", ()):
        begun = {**call, "function": {"name": "weather", "arguments": ""}}
        deltas.append({"tool_calls": [{"index": 0, **begun}]})
        for piece in ('{"city"', ': "Paris"}'):
            deltas.append({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
    chunks = [[{"index": 0, "delta": delta, "finish_reason": None}] for delta in deltas]
    chunks.append([{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}])
    parts: list[dict] = [{"choices": one} for one in chunks]
    if (asked.get("stream_options") or {}).get("include_usage"):
        parts.append({"choices": [], "usage": USAGE})
    lines = [json.dumps({**head, "object": "chat.completion.chunk", **part}) for part in parts]
    return [f"data: {line}\n\n".encode() for line in [*lines, "[DONE]"]]


def anthropic(asked: dict) -> Piecewise:
    usage = {"input_tokens": 12, "output_tokens": 3}
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "served"}
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    block = {"type": "text", "text": "It is sunny."}
    if not asked.get("stream"):
        return whole({**head, "content": [block], **end, "usage": usage})
    start = {**head, "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
    parts = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {**block, "text": ""}},
        *[
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": t}}
            for t in ("It is ", "sunny.")
        ],
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": end, "usage": {"output_tokens": 3}},
        {"type": "message_stop"},
    ]
    pieces = [f"event: {part['type']}\ndata: {json.dumps(part)}\n\n".encode() for part in parts]
    return Piecewise(pieces, headers=SSE)


def whole(body: dict) -> Piecewise:
    return Piecewise([json.dumps(body).encode()])


@pytest.fixture(scope="module")
def gateway(upstream):
    anthropics = HttpUpstream(upstream.url, api="anthropic")
    with served(HttpUpstream(f"{upstream.url}/v1"), anthropics) as found:
        yield found


@pytest.fixture(scope="module")
def upstream():
    with StreamServer() as found:
        found.reply = answer
        yield found


@pytest.fixture
def client(gateway):
    url = f"{gateway.url}/w/weather/v1"
    with OpenAI(base_url=url, api_key="sk-test", max_retries=0) as found:
        yield found


def test_words(gateway, client):
    raw = client.chat.completions.with_raw_response.create(model="m", messages=MESSAGES)
    assert raw.parse().choices[0].message.content == "It is sunny."
    record = gateway.record_of(raw.http_response)
    assert (record.workload, record.model, record.served_model) == ("weather", "m", "served")
    assert (record.usage.prompt, record.usage.completion) == (12, 3)
    assert record.response["choices"][0]["message"]["content"] == "It is sunny."
    assert (record.streamed, record.complete, record.error) == (False, True, None)


def test_a_stream_of_words(gateway, client):
    raw = client.chat.completions.with_raw_response.create(
        model="m", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    texts = [c.choices[0].delta.content for c in raw.parse() if c.choices]
    assert [text for text in texts if text] == ["It", " ", "is sunny."]
    record = gateway.record_of(raw.http_response)
    message = {"role": "assistant", "content": "It is sunny."}
    assert record.response["choices"] == [{"index": 0, "message": message, "finish_reason": "stop"}]
    assert (record.streamed, record.complete, record.usage.prompt) == (True, True, 12)
    assert 0 < record.first_token_seconds <= record.seconds


@pytest.mark.parametrize("stream", [False, True])
def test_tools(gateway, client, stream):
    raw = client.chat.completions.with_raw_response.create(
        model="m", messages=MESSAGES, tools=[TOOL], stream=stream
    )
    if stream:
        deltas = [c.choices[0].delta.tool_calls for c in raw.parse()]
        written = "".join(one[0].function.arguments for one in deltas if one)
    else:
        written = raw.parse().choices[0].message.tool_calls[0].function.arguments
    assert json.loads(written) == {"city": "Paris"}
    choice = gateway.record_of(raw.http_response).response["choices"][0]
    assert choice["message"]["tool_calls"][0]["function"] == {
        "name": "weather",
        "arguments": '{"city": "Paris"}',
    }
    assert choice["finish_reason"] == "tool_calls"


def test_a_json_schema(client):
    found = client.chat.completions.parse(model="m", messages=MESSAGES, response_format=Weather)
    assert found.choices[0].message.parsed == Weather(city="Paris", degrees=21)


def test_logprobs(client):
    found = client.chat.completions.create(model="m", messages=MESSAGES, logprobs=True)
    assert found.choices[0].logprobs.content[0].logprob == -0.5


def test_embeddings_and_models(gateway, client):
    raw = client.embeddings.with_raw_response.create(
        model="e", input="text", encoding_format="float"
    )
    assert raw.parse().data[0].embedding == [0.5, 0.25]
    assert gateway.record_of(raw.http_response).form == "openai.embeddings"
    assert [model.id for model in client.models.list()] == ["m"]


def test_an_error_is_the_clients_own(upstream, gateway, client):
    error = {"error": {"message": "Slow down.", "type": "tokens", "code": "rate_limit_exceeded"}}
    upstream.reply = lambda got: Piecewise([json.dumps(error).encode()], status=429)
    try:
        with pytest.raises(RateLimitError, match="Slow down") as caught:
            client.chat.completions.create(model="m", messages=MESSAGES)
    finally:
        upstream.reply = answer
    assert caught.value.code == "rate_limit_exceeded"
    record = gateway.record_of(caught.value.response)
    assert (record.error.kind, record.error.status) == ("tokens", 429)


def test_azure(gateway):
    with AzureOpenAI(azure_endpoint=gateway.url, api_version="2024-10-21", api_key="k") as client:
        raw = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=MESSAGES)
    assert raw.parse().choices[0].message.content == "It is sunny."
    assert gateway.record_of(raw.http_response).model == "gpt-4o"


def test_asynchronous_clients(gateway):
    async def ask() -> list[str]:
        texts = []
        async with (
            AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="k") as plain,
            AsyncAzureOpenAI(
                azure_endpoint=gateway.url, api_version="2024-10-21", api_key="k"
            ) as azure,
        ):
            for client in (plain, azure):
                found = await client.chat.completions.create(model="m", messages=MESSAGES)
                texts.append(found.choices[0].message.content)
                stream = await client.chat.completions.create(
                    model="m", messages=MESSAGES, stream=True
                )
                parts = [c.choices[0].delta.content or "" async for c in stream]
                texts.append("".join(parts))
        return texts

    assert asyncio.run(ask()) == ["It is sunny."] * 4


def test_litellm_in_all_its_ways(gateway):
    from hetagent.models.background import background_loop, import_litellm

    async def ask() -> None:
        litellm = import_litellm()
        base = {"api_base": f"{gateway.url}/v1", "api_key": "sk-x", "messages": MESSAGES}
        found = await litellm.acompletion(model="openai/m", **base)
        assert found.choices[0].message.content == "It is sunny."
        stream = await litellm.acompletion(model="openai/m", stream=True, **base)
        assert "".join([c.choices[0].delta.content or "" async for c in stream]) == "It is sunny."
        # With tools, this LiteLLM imports a package that it does not require.
        tools = {"tools": [TOOL], "_skip_mcp_handler": True}
        found = await litellm.acompletion(model="openai/m", **tools, **base)
        assert found.choices[0].message.tool_calls[0].function.name == "weather"
        found = await litellm.acompletion(model="openai/m", response_format=Weather, **base)
        assert Weather.model_validate_json(found.choices[0].message.content).degrees == 21
        base["api_base"] = gateway.url
        found = await litellm.acompletion(model="anthropic/claude", **base)
        assert found.choices[0].message.content == "It is sunny."
        stream = await litellm.acompletion(model="anthropic/claude", stream=True, **base)
        assert "".join([c.choices[0].delta.content or "" async for c in stream]) == "It is sunny."

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # LiteLLM's own, of pydantic's
        asyncio.run_coroutine_threadsafe(ask(), background_loop()).result(200)
        import litellm

        found = litellm.completion(
            model="openai/m", api_base=f"{gateway.url}/v1", api_key="sk-x", messages=MESSAGES
        )
    assert found.choices[0].message.content == "It is sunny."
    gateway.wait_for(
        lambda: (
            [one.complete for one in gateway.store.records if "claude" in one.model] == [True] * 2
        )
    )
    texts = [
        record.response["content"][0]["text"]
        for record in gateway.store.records
        if record.form == "anthropic.messages"
    ]
    assert texts == ["It is sunny."] * 2
