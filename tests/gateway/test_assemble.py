"""A response that is cut into a stream is put together again."""

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hetagent.gateway.assemble import assemble_anthropic, assemble_openai
from hetagent.gateway.sse import Event, event_bytes
from tests.support.stream_server import cut

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
WORD = st.text("abcdefghij_-", min_size=1, max_size=12)
USAGE = st.fixed_dictionaries(
    {"prompt_tokens": st.integers(0), "completion_tokens": st.integers(0)}
)
TOKEN = st.fixed_dictionaries(
    {"token": TEXT, "logprob": st.floats(-20, 0), "top_logprobs": st.just([])}
)


@st.composite
def pieces_of(draw, text: str) -> list[str]:
    """A text in pieces; at least one, which may be empty."""
    places = draw(st.lists(st.integers(0, len(text)), max_size=4).map(sorted))
    places = [0, *places, len(text)]
    return [text[a:b] for a, b in pairwise(places)]


@st.composite
def tool_calls(draw) -> list[dict]:
    calls = draw(st.lists(st.tuples(WORD, TEXT), max_size=3))
    return [
        {
            "id": f"call_{number}",
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        }
        for number, (name, arguments) in enumerate(calls)
    ]


@st.composite
def openai_response(draw) -> dict:
    choices = []
    for index in range(draw(st.integers(1, 3))):
        message = {"role": "assistant", "content": draw(st.none() | TEXT)}
        if calls := draw(tool_calls()):
            message["tool_calls"] = calls
        if draw(st.booleans()):
            message["reasoning_content"] = draw(TEXT)
        choice = {"index": index, "message": message, "finish_reason": draw(WORD)}
        if draw(st.booleans()):
            choice["logprobs"] = {"content": draw(st.lists(TOKEN, max_size=4))}
        choices.append(choice)
    head = {"id": draw(WORD), "object": "chat.completion", "created": 1, "model": draw(WORD)}
    usage = draw(st.none() | USAGE)
    return {**head, "choices": choices, **({"usage": usage} if usage else {})}


@st.composite
def openai_stream(draw, response: dict) -> list[Event]:
    """The response as a server would stream it, each choice in pieces, the choices mixed."""
    rows = [draw(openai_deltas(choice)) for choice in response["choices"]]
    chunks = []
    while any(rows):
        row = draw(st.sampled_from([row for row in rows if row]))
        chunks.append({"choices": [row.pop(0)]})
    if "usage" in response:
        chunks.append({"choices": [], "usage": response["usage"]})
    head = {key: response[key] for key in ("id", "created", "model")}
    blank = {"usage": None} if draw(st.booleans()) else {}
    whole = [{**head, "object": "chat.completion.chunk", **blank, **chunk} for chunk in chunks]
    return [Event(json.dumps(chunk)) for chunk in whole] + [Event("[DONE]")]


@st.composite
def openai_deltas(draw, choice: dict) -> list[dict]:
    message = choice["message"]
    index = choice["index"]
    deltas: list[dict] = [{"role": "assistant", "content": None}]
    for name in ("reasoning_content", "content"):
        if message.get(name) is not None:
            deltas += [{name: piece} for piece in draw(pieces_of(message[name]))]
    for place, call in enumerate(message.get("tool_calls", ())):
        begun = {**call, "function": {"name": call["function"]["name"], "arguments": ""}}
        deltas.append({"tool_calls": [{"index": place, **begun}]})
        deltas += [
            {"tool_calls": [{"index": place, "function": {"arguments": piece}}]}
            for piece in draw(pieces_of(call["function"]["arguments"]))
        ]
    made = [{"index": index, "delta": delta, "finish_reason": None} for delta in deltas]
    if "logprobs" in choice:
        made[0]["logprobs"] = {"content": []}
        for token in choice["logprobs"]["content"]:
            made[draw(st.integers(0, len(made) - 1))].setdefault("logprobs", {"content": []})
            made.append({"index": index, "delta": {}, "logprobs": {"content": [token]}})
    return [*made, {"index": index, "delta": {}, "finish_reason": choice["finish_reason"]}]


@st.composite
def anthropic_response(draw) -> dict:
    content = []
    for number in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(["text", "thinking", "tool_use"]))
        if kind == "text":
            content.append({"type": kind, "text": draw(TEXT)})
        elif kind == "thinking":
            content.append({"type": kind, "thinking": draw(TEXT), "signature": draw(WORD)})
        else:
            given_input = draw(st.dictionaries(WORD, st.integers() | TEXT, max_size=3))
            content.append(
                {"type": kind, "id": f"tu_{number}", "name": draw(WORD), "input": given_input}
            )
    return {
        "id": draw(WORD),
        "type": "message",
        "role": "assistant",
        "model": draw(WORD),
        "content": content,
        "stop_reason": draw(WORD),
        "stop_sequence": None,
        "usage": {"input_tokens": draw(st.integers(0)), "output_tokens": draw(st.integers(0))},
    }


@st.composite
def anthropic_stream(draw, response: dict) -> list[Event]:
    usage = {**response["usage"], "output_tokens": 1}
    begun = {**response, "content": [], "stop_reason": None, "usage": usage}
    parts: list[dict] = [{"type": "message_start", "message": begun}, {"type": "ping"}]
    for index, block in enumerate(response["content"]):
        empty = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}}
        empty["tool_use"] = {"input": {}}
        kind = block["type"]
        started = {**block, **empty[kind]}
        parts.append({"type": "content_block_start", "index": index, "content_block": started})
        parts += [
            {"type": "content_block_delta", "index": index, "delta": delta}
            for delta in draw(anthropic_deltas(block))
        ]
        parts.append({"type": "content_block_stop", "index": index})
    end = {"stop_reason": response["stop_reason"], "stop_sequence": None}
    counted = {"output_tokens": response["usage"]["output_tokens"]}
    parts += [{"type": "message_delta", "delta": end, "usage": counted}, {"type": "message_stop"}]
    return [Event(json.dumps(part), part["type"]) for part in parts]


@st.composite
def anthropic_deltas(draw, block: dict) -> list[dict]:
    if block["type"] == "text":
        texts = draw(pieces_of(block["text"]))
        return [{"type": "text_delta", "text": piece} for piece in texts]
    if block["type"] == "thinking":
        texts = draw(pieces_of(block["thinking"]))
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in texts]
        return [*deltas, {"type": "signature_delta", "signature": block["signature"]}]
    if not block["input"] and draw(st.booleans()):
        return []
    texts = draw(pieces_of(json.dumps(block["input"]))) if block["input"] else [""]
    return [{"type": "input_json_delta", "partial_json": piece} for piece in texts]


def timed(events: list[Event], places: list[int]) -> list[tuple[float, bytes]]:
    data = b"".join(map(event_bytes, events))
    return [(float(n), piece) for n, piece in enumerate(cut(data, places))]


@given(st.data(), openai_response(), st.lists(st.integers(0)))
def test_an_openai_response_is_put_together_again(data, response, places):
    events = data.draw(openai_stream(response))
    found = assemble_openai(timed(events, places))
    assert found.response == response
    assert found.complete
    assert found.error is None


@given(st.data(), anthropic_response(), st.lists(st.integers(0)))
def test_an_anthropic_response_is_put_together_again(data, response, places):
    events = data.draw(anthropic_stream(response))
    found = assemble_anthropic(timed(events, places))
    assert found.response == response
    assert found.complete
    assert found.error is None


@given(st.binary(max_size=300), st.lists(st.integers(0)))
def test_no_bytes_make_the_assemblers_fail(data, places):
    pieces = [(0.0, piece) for piece in cut(data, places)]
    assemble_openai(pieces)
    assemble_anthropic(pieces)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | TEXT,
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["type", "index", "delta", "choices", "message", "content", "tool_calls", "usage",
             "function", "name", "arguments", "content_block", "text", "error", "logprobs", "id"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip
KINDS = st.sampled_from(
    ["message_start", "content_block_start", "content_block_delta", "message_delta", "error"]
)


@given(st.lists(st.tuples(KINDS, JSON), max_size=4))
def test_no_events_make_the_assemblers_fail(parts):
    events = [
        Event(json.dumps({"type": kind, **one} if isinstance(one, dict) else one), kind)
        for kind, one in parts
    ]
    for assemble in (assemble_openai, assemble_anthropic):
        json.dumps(assemble(timed(events, [])).response)


def test_a_stream_that_broke_off_keeps_what_came():
    events = [
        Event('{"id": "1", "choices": [{"index": 0, "delta": {"content": "Hel"}}]}'),
        Event('{"id": "1", "choices": [{"index": 0, "delta": {"content": "lo"}}]}'),
    ]
    found = assemble_openai(timed(events, []))
    assert not found.complete
    assert found.response["choices"][0]["message"]["content"] == "Hello"


def test_a_broken_tool_input_is_kept_as_it_came():
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    delta = {"type": "input_json_delta", "partial_json": '{"city": "Pa'}
    events = [
        Event(json.dumps({"type": "content_block_start", "index": 0, "content_block": block})),
        Event(json.dumps({"type": "content_block_delta", "index": 0, "delta": delta})),
    ]
    found = assemble_anthropic(timed(events, []))
    assert not found.complete
    assert found.response["content"][0]["input"] == '{"city": "Pa'


def test_an_error_within_a_stream_is_told():
    events = [Event('{"error": {"message": "overloaded", "type": "server_error"}}')]
    found = assemble_openai(timed(events, []))
    assert found.error == {"message": "overloaded", "type": "server_error"}
    assert not found.complete
    events = [Event('{"type": "error", "error": {"type": "overloaded_error"}}', "error")]
    assert assemble_anthropic(timed(events, [])).error == {"type": "overloaded_error"}


def test_the_first_of_the_answer_is_no_role_and_no_ping():
    said = [{"role": "assistant", "content": ""}, {"content": "Hi"}]
    pieces = [
        (float(n), event_bytes(Event(json.dumps({"choices": [{"index": 0, "delta": delta}]}))))
        for n, delta in enumerate(said)
    ]
    assert assemble_openai(pieces).first == 1.0


def test_tool_calls_without_an_index_are_told_apart_by_their_ids():
    calls = [
        {"id": "a", "function": {"name": "f", "arguments": "{"}},
        {"function": {"arguments": "}"}},
        {"id": "b", "function": {"name": "g", "arguments": "{}"}},
    ]
    events = [
        Event(json.dumps({"choices": [{"index": 0, "delta": {"tool_calls": [one]}}]}))
        for one in calls
    ]
    message = assemble_openai(timed(events, [])).response["choices"][0]["message"]
    assert [one["function"]["arguments"] for one in message["tool_calls"]] == ["{}", "{}"]


def test_a_function_name_that_is_repeated_is_not_doubled():
    piece = {"index": 0, "id": "a", "function": {"name": "search", "arguments": "{"}}
    again = {"index": 0, "id": "a", "function": {"name": "search", "arguments": "}"}}
    events = [
        Event(json.dumps({"choices": [{"index": 0, "delta": {"tool_calls": [one]}}]}))
        for one in (piece, again)
    ]
    message = assemble_openai(timed(events, [])).response["choices"][0]["message"]
    assert message["tool_calls"][0]["function"] == {"name": "search", "arguments": "{}"}
