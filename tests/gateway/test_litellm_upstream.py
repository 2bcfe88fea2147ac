"""Any model of LiteLLM's behind the gateway, in OpenAI's form and in Anthropic's."""

import json

import pytest
from openai import BadRequestError, OpenAI, RateLimitError

from hetagent.errors import InputError
from hetagent.gateway.litellm_upstream import LiteLLMUpstream
from tests.support.gateways import served
from tests.support.stream_server import Piecewise, StreamServer

MESSAGES = [{"role": "user", "content": "hello"}]
USAGE = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
HEAD = {"id": "c1", "created": 1, "model": "served"}
SSE = (("Content-Type", "text/event-stream"),)


def whole(message: dict, finish: str = "stop") -> Piecewise:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    body = {**HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE}
    return Piecewise([json.dumps(body).encode()])


def streamed(texts: list[str], **options) -> Piecewise:
    choices = [{"index": 0, "delta": {"content": t}, "finish_reason": None} for t in texts]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    kind = {**HEAD, "object": "chat.completion.chunk"}
    chunks = [json.dumps({**kind, "choices": [choice]}) for choice in choices]
    lines = [f"data: {chunk}\n\n".encode() for chunk in [*chunks, "[DONE]"]]
    return Piecewise(lines, headers=SSE, **options)


@pytest.fixture(scope="module")
def upstream():
    with StreamServer() as found:
        yield found


@pytest.fixture(scope="module")
def gateway(upstream):
    model = LiteLLMUpstream(
        "openai/behind",
        models=["m", "gpt-*"],
        api_base=f"{upstream.url}/v1",
        api_key="sk-secret-1",
        price=(1.0, 2.0),
        trainable="no-train",
    )
    with served(model) as found:
        yield found


@pytest.fixture
def client(gateway):
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="sk-caller", max_retries=0) as found:
        yield found


def test_words_come_and_are_recorded_with_their_cost(upstream, gateway, client):
    upstream.reply = lambda got: whole({"content": "Hi"})
    raw = client.chat.completions.with_raw_response.create(model="m", messages=MESSAGES)
    assert raw.parse().choices[0].message.content == "Hi"
    sent = upstream.requests[-1]
    assert sent.json["model"] == "behind"
    assert sent.headers["authorization"] == "Bearer sk-secret-1"
    record = gateway.record_of(raw.http_response)
    assert (record.model, record.served_model, record.trainable) == ("m", "served", "no-train")
    assert record.cost_usd == pytest.approx(0.002)
    assert record.response["choices"][0]["message"]["content"] == "Hi"


def test_a_stream_comes_in_pieces_and_is_recorded_whole(upstream, gateway, client):
    upstream.reply = lambda got: streamed(["He", "llo"])
    raw = client.chat.completions.with_raw_response.create(
        model="gpt-9", messages=MESSAGES, stream=True
    )
    pieces = [chunk.choices[0].delta.content for chunk in raw.parse() if chunk.choices]
    assert [piece for piece in pieces if piece] == ["He", "llo"]
    record = gateway.record_of(raw.http_response)
    assert record.response["choices"][0]["message"]["content"] == "Hello"
    assert (record.complete, record.streamed) == (True, True)


def test_tools_and_formats_reach_the_provider(upstream, client):
    function = {"name": "weather", "parameters": {"type": "object", "properties": {}}}
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    upstream.reply = lambda got: whole({"content": None, "tool_calls": [call]}, "tool_calls")
    found = client.chat.completions.create(
        model="m",
        messages=MESSAGES,
        tools=[{"type": "function", "function": function}],
        response_format={"type": "json_object"},
        logprobs=True,
    )
    assert found.choices[0].message.tool_calls[0].function.name == "weather"
    sent = upstream.requests[-1].json
    assert sent["tools"][0]["function"]["name"] == "weather"
    assert (sent["response_format"], sent["logprobs"]) == ({"type": "json_object"}, True)


def test_anthropics_form_is_translated_both_ways(upstream, gateway):
    upstream.reply = lambda got: whole({"content": "Hi"})
    body = {"model": "m", "max_tokens": 9, "messages": MESSAGES}
    answer = gateway.post("/v1/messages", body)
    assert [part["text"] for part in answer.json()["content"]] == ["Hi"]
    assert gateway.record_of(answer).usage.prompt == 1000


def test_the_providers_errors_keep_their_status_and_lose_the_key(upstream, gateway, client):
    error = {"error": {"message": "Slow down, sk-secret-1.", "type": "tokens"}}
    upstream.reply = lambda got: Piecewise([json.dumps(error).encode()], status=429)
    with pytest.raises(RateLimitError, match="Slow down") as caught:
        client.chat.completions.create(model="m", messages=MESSAGES)
    assert "sk-secret-1" not in str(caught.value)
    record = gateway.records()[-1]
    assert "sk-secret-1" not in record.to_json()


@pytest.mark.parametrize(
    "extra",
    [
        {"api_base": "http://elsewhere/"},
        {"mock_response": "made up"},
        {"custom_llm_provider": "bedrock"},
        {"callbacks": ["x"]},
    ],
)
def test_litellms_own_arguments_are_not_the_callers_to_give(upstream, client, extra):
    before = len(upstream.requests)
    with pytest.raises(BadRequestError, match="Unrecognized request argument"):
        client.chat.completions.create(model="m", messages=MESSAGES, extra_body=extra)
    assert len(upstream.requests) == before


@pytest.mark.parametrize("messages", [None, [], 5, ["text"], {}])
def test_messages_that_are_none_are_refused(gateway, messages):
    answer = gateway.post("/v1/chat/completions", {"model": "m", "messages": messages})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_messages"


def test_a_client_that_leaves_a_stream_ends_it_at_the_provider(upstream, gateway):
    upstream.reply = lambda got: streamed(["Hello"] * 50, pause=0.3)
    before = upstream.hung_up
    body = {"model": "m", "messages": MESSAGES, "stream": True}
    with gateway.client.stream("POST", "/v1/chat/completions", json=body) as answer:
        next(answer.iter_raw())
    assert upstream.wait_for(lambda: upstream.hung_up == before + 1)
    assert not gateway.record_of(answer).complete


def test_its_names_are_told_and_other_models_are_not_there(gateway, client):
    assert [model.id for model in client.models.list()] == ["m"]
    assert gateway.post("/v1/embeddings", {"model": "other", "input": "x"}).status_code == 404


def test_a_model_needs_a_name():
    with pytest.raises(InputError, match="empty"):
        LiteLLMUpstream(" ")
