"""Real LiteLLM, with a recorder as its callback, against a server on loopback."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Iterator
from typing import Any

import pytest

from hetagent import LiteLLM, Orchestrator, Recorder, skill
from hetagent.learn.chat import chat
from hetagent.models.background import import_litellm
from tests.support.memory import MemoryStore, unredacted
from tests.support.openai_server import OpenAIServer, Reply

# LiteLLM's own types warn when pydantic builds and reads them, some at their first use.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Item .* using the `ReadOnly` qualifier"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_"),
    # It leaves loops and their sockets to the garbage collector.
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <:pytest.PytestUnraisableExceptionWarning"
    ),
]

MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def litellm() -> Any:
    return import_litellm()


@pytest.fixture(autouse=True)
def _swept() -> Iterator[None]:
    """What LiteLLM leaves to the garbage collector is found here, not in somebody else's test."""
    yield
    gc.collect()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def kept(litellm: Any, store: MemoryStore) -> Iterator[Recorder]:
    with Recorder(store, redact=unredacted, trainable={"openai/*": "no-train"}) as recorder:
        litellm.callbacks = [recorder]
        yield recorder
        litellm.logging_callback_manager._reset_all_callbacks()


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as running:
        running.paths = ("/chat/completions", "/embeddings", "/messages")
        running.answer("hello")
        yield running


def arguments(server: OpenAIServer, **more: Any) -> dict[str, Any]:
    return {
        "model": "openai/gpt-4o-mini",
        "api_base": server.base_url,
        "api_key": "sk-loopback-key",
        "messages": [dict(one) for one in MESSAGES],
        "max_retries": 0,
        **more,
    }


def events(*chunks: dict[str, Any]) -> Reply:
    lines = [f"data: {json.dumps(one)}\n\n" for one in chunks]
    return Reply(raw_body="".join([*lines, "data: [DONE]\n\n"]), content_type="text/event-stream")


def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    shared = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini-x"}
    return {**shared, "choices": [choice]}


USAGE = {
    **chunk({}),
    "choices": [],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
STREAM = events(
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Hel"}),
    chunk({"content": "lo"}),
    chunk({}, "stop"),
    USAGE,
)


def test_a_call(litellm, kept, store, server):
    given = arguments(
        server, temperature=0.2, user="u1", extra_headers={"X-Secret": "header-secret"},
        metadata={"workload": "greetings", "session_id": "s1", "interactive": True, "tags": ["t"]},
    )  # fmt: skip
    litellm.completion(**given)
    given["messages"].append({"role": "assistant", "content": "hello"})
    (record,) = store.wait_for(1)
    assert (record.form, record.source) == ("openai.chat", "litellm")
    assert record.model == record.request["model"] == "openai/gpt-4o-mini"
    assert record.served_model == "gpt-4o-mini"
    assert record.request["messages"] == MESSAGES
    assert record.request["temperature"] == 0.2
    assert chat(record).answer.text == "hello"
    assert (record.usage.prompt, record.usage.completion) == (10, 5)
    assert record.cost_usd == pytest.approx(10 * 0.15e-6 + 5 * 0.6e-6)
    assert (record.workload, record.conversation_id, record.client_id) == ("greetings", "s1", "u1")
    assert (record.interactive, record.trainable) == (True, "no-train")
    assert (record.served_by, record.attempts, record.streamed) == ("llm", 1, False)
    assert record.seconds > 0
    text = record.to_json()
    assert "sk-loopback-key" not in text
    assert "header-secret" not in text
    assert "127.0.0.1" not in text
    assert kept.kept.written == 1


def test_an_asynchronous_call(litellm, kept, store, server):
    async def ask() -> None:
        await litellm.acompletion(**arguments(server))
        await asyncio.to_thread(store.wait_for, 1)

    asyncio.run(ask())
    assert [chat(one).answer.text for one in store.kept] == ["hello"]


def test_tools_keep_their_arguments_as_the_model_wrote_them(litellm, kept, store, server):
    written = '{"city":  "Rome" }'
    called = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": written}}
    message = {"role": "assistant", "content": None, "tool_calls": [called]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    answer = {"id": "x", "object": "chat.completion", "created": 1, "model": "m"}
    server.handler = lambda body: Reply(raw_body=json.dumps({**answer, "choices": [choice]}))
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    # LiteLLM's own hook for MCP needs a package of its own.
    litellm.completion(**arguments(server, tools=tools, tool_choice="auto"), _skip_mcp_handler=True)
    (record,) = store.wait_for(1)
    assert record.request["tools"] == tools
    assert chat(record).answer.calls[0].arguments == written
    assert chat(record).stop == "tool_calls"


def test_a_stream_is_put_together(litellm, kept, store, server):
    server.handler = lambda body: STREAM
    options = {"stream": True, "stream_options": {"include_usage": True}}
    list(litellm.completion(**arguments(server, **options)))
    (record,) = store.wait_for(1)
    assert chat(record).answer.text == "Hello"
    assert record.streamed
    assert record.complete
    assert record.request["stream"] is True
    assert 0 < record.first_token_seconds <= record.seconds
    assert (record.usage.prompt, record.usage.completion) == (3, 2)


def test_an_asynchronous_stream_is_put_together(litellm, kept, store, server):
    server.handler = lambda body: STREAM

    async def ask() -> None:
        async for _ in await litellm.acompletion(**arguments(server, stream=True)):
            pass
        await asyncio.to_thread(store.wait_for, 1)

    asyncio.run(ask())
    assert [chat(one).answer.text for one in store.kept] == ["Hello"]


def test_a_stream_that_breaks_off_is_an_incomplete_call(litellm, kept, store, server):
    server.handler = lambda body: Reply(
        raw_body=STREAM.raw_body, content_type="text/event-stream", cut=True
    )
    with pytest.raises(litellm.exceptions.MidStreamFallbackError):
        list(litellm.completion(**arguments(server, stream=True)))
    (record,) = store.wait_for(1)
    assert (record.complete, record.response) == (False, None)
    assert record.error is not None


def test_a_failure(litellm, kept, store, server):
    server.handler = lambda body: Reply(status=429, error="slow down")
    with pytest.raises(litellm.RateLimitError):
        litellm.completion(**arguments(server))
    (record,) = store.wait_for(1)
    assert (record.error.kind, record.error.status) == ("RateLimitError", 429)
    assert "slow down" in record.error.message
    assert (record.response, record.served_by, record.cost_usd) == (None, "none", None)


def test_retries_of_a_router_share_a_trace(litellm, kept, store, server):
    given = {name: one for name, one in arguments(server).items() if name != "messages"}
    router = litellm.Router([{"model_name": "group", "litellm_params": given}], num_retries=1)
    server.script([Reply(status=500), Reply("fine")])
    router.completion(model="group", messages=MESSAGES)
    first, second = store.wait_for(2)
    assert first.error.status == 500
    assert chat(second).answer.text == "fine"
    assert first.trace_id == second.trace_id
    assert second.tags["model_group"] == "group"


def test_embeddings(litellm, kept, store, server):
    data = [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}]
    answer = {"object": "list", "model": "e", "data": data}
    answer["usage"] = {"prompt_tokens": 2, "total_tokens": 2}
    server.handler = lambda body: Reply(raw_body=json.dumps(answer))
    litellm.embedding(
        model="openai/text-embedding-3-small", input=["a"], dimensions=2,
        api_base=server.base_url, api_key="sk-loopback-key",
    )  # fmt: skip
    (record,) = store.wait_for(1)
    assert record.form == "openai.embeddings"
    assert (record.request["input"], record.request["dimensions"]) == (["a"], 2)
    assert record.response["data"][0]["dimensions"] == 2
    assert record.usage.prompt == 2


def test_anthropics_models_through_completion(litellm, kept, store, server):
    content = [
        {"type": "text", "text": "hi"},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"q": "x"}},
    ]
    answer = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
        "content": content, "stop_reason": "tool_use",
        "usage": {"input_tokens": 10, "output_tokens": 4},
    }  # fmt: skip
    server.handler = lambda body: Reply(raw_body=json.dumps(answer))
    litellm.completion(
        **arguments(
            server,
            model="anthropic/claude-sonnet-4-5",
            api_base=server.base_url.removesuffix("/v1"),
        )
    )
    (record,) = store.wait_for(1)
    assert record.model == "anthropic/claude-sonnet-4-5"
    assert record.request["messages"] == MESSAGES
    assert chat(record).answer.text == "hi"
    assert json.loads(chat(record).answer.calls[0].arguments) == {"q": "x"}
    assert (record.usage.prompt, record.usage.completion) == (10, 4)


def test_a_call_that_was_never_sent(litellm, kept, store, monkeypatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(litellm.AuthenticationError):
        litellm.completion(model="anthropic/claude-sonnet-4-5", messages=MESSAGES)
    (record,) = store.wait_for(1)
    assert record.error.kind == "AuthenticationError"
    assert record.request["messages"] == MESSAGES


def test_a_recorder_that_cannot_write_disturbs_nothing(litellm, server):
    class Full:
        def append(self, records):
            raise OSError("no space left")

    with Recorder(Full(), redact=unredacted) as recorder:
        litellm.callbacks = [recorder]
        try:
            answer = litellm.completion(**arguments(server))
        finally:
            litellm.logging_callback_manager._reset_all_callbacks()
    assert answer.choices[0].message.content == "hello"


def test_two_recorders_both_record(litellm, kept, store, server):
    other = MemoryStore()
    with Recorder(other, redact=unredacted) as second:
        litellm.callbacks = [kept, second]
        litellm.completion(**arguments(server))
        store.wait_for(1)
        other.wait_for(1)
    assert len(store.kept) == len(other.kept) == 1


@skill
def word(message: str) -> str:
    """Answer with one word."""


def test_a_call_for_a_skill_is_recorded_once(litellm, kept, store, server):
    server.answer('{"answer": "hello"}')
    agent = Orchestrator(
        llm=LiteLLM("openai/gpt-4o-mini", api_base=server.base_url, price=(1, 1)), record=kept
    )
    assert agent.run(word, "hi").value == "hello"
    litellm.completion(**arguments(server))
    store.wait_for(2)
    assert {one.source for one in store.kept} == {"orchestrator", "litellm"}
    assert len(store.kept) == 2
