"""Logs of other tools become records: every format, every fault, in bounded memory."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetagent.errors import InputError
from hetagent.integrations.imported import Defaults, moment, record_id
from hetagent.integrations.importing import FORMATS, detect, import_into, read_records
from hetagent.integrations.json_values import read_values
from hetagent.learn.chat import Wanted, chat
from hetagent.learn.provenance import Provenance
from hetagent.learn.record import CallRecord
from tests.support.memory import MemoryStore, unredacted

ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather?"}]
CALLED = {
    "id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"in":  "Rome"}'},
}  # fmt: skip
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
ANSWER = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1_760_000_000, "model": "gpt-x-1",
    "choices": [{"index": 0, "finish_reason": "stop",
                 "message": {"role": "assistant", "content": "Sunny."}}],
    "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
}  # fmt: skip
FLYWHEEL = {
    "timestamp": 1_760_000_000, "workload_id": "weather", "client_id": "acme",
    "request": {"model": "gpt-x", "messages": ASKED, "temperature": 0}, "response": ANSWER,
}  # fmt: skip
FINETUNING = {
    "messages": [*ASKED, {"role": "assistant", "tool_calls": [CALLED], "weight": 1}],
    "tools": TOOLS,
}
PREFERENCE = {
    "input": {"messages": ASKED},
    "preferred_output": [{"role": "assistant", "content": "Sunny."}],
    "non_preferred_output": [{"role": "assistant", "content": "No idea."}],
}
LITELLM = {
    "id": "chatcmpl-1", "litellm_call_id": "call-1", "trace_id": "trace-1", "session_id": "s-1",
    "call_type": "acompletion", "status": "success", "stream": True, "cache_hit": None,
    "custom_llm_provider": "openai", "model": "gpt-x", "response_cost": 0.002,
    "prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15,
    "startTime": 1_760_000_000.25, "completionStartTime": 1_760_000_000.5,
    "endTime": 1_760_000_001.25, "api_base": "https://example.invalid/v1",
    "metadata": {"user_api_key_hash": "secret-hash", "requester_metadata": {"workload": "w"}},
    "request_tags": ["nightly"], "end_user": "ann", "messages": ASKED, "response": ANSWER,
    "error_str": None, "error_information": {}, "hidden_params": {"api_base": "secret-base"},
    "model_parameters": {"temperature": 0.5, "tools": TOOLS, "api_key": "secret-key"},
}  # fmt: skip


def attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    def any_value(value: Any) -> dict[str, Any]:
        if isinstance(value, bool):
            return {"boolValue": value}
        if isinstance(value, int):
            return {"intValue": str(value)}
        if isinstance(value, float):
            return {"doubleValue": value}
        if isinstance(value, list):
            return {"arrayValue": {"values": [any_value(one) for one in value]}}
        return {"stringValue": value}

    return [{"key": key, "value": any_value(value)} for key, value in values.items()]


def span(values: dict[str, Any], number: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "traceId": "5b8efff798038103d269b633813fc60c", "spanId": f"{number:016x}",
        "name": "chat gpt-x", "kind": 3, "startTimeUnixNano": "1760000000000000000",
        "endTimeUnixNano": "1760000001500000000", "attributes": attributes(values), **more,
    }  # fmt: skip


def otlp(*spans: dict[str, Any]) -> dict[str, Any]:
    resource = {"attributes": attributes({"service.name": "agent"})}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": list(spans)}]}]}


GENAI = {
    "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-x", "gen_ai.response.model": "gpt-x-1",
    "gen_ai.request.temperature": 0.5, "gen_ai.conversation.id": "conv-1",
    "gen_ai.response.finish_reasons": ["tool_call"],
    "gen_ai.usage.input_tokens": 12, "gen_ai.usage.output_tokens": 3,
    "gen_ai.system_instructions": json.dumps([{"type": "text", "content": "Be brief."}]),
    "gen_ai.input.messages": json.dumps(
        [
            {"role": "user", "parts": [{"type": "text", "content": "Weather?"}]},
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c0", "response": 7}]},
        ]
    ),
    "gen_ai.output.messages": json.dumps(
        [
            {
                "role": "assistant", "finish_reason": "tool_call",
                "parts": [{"type": "tool_call", "id": "c1", "name": "weather",
                           "arguments": '{"in":  "Rome"}'}],
            }
        ]
    ),
    "gen_ai.tool.definitions": json.dumps(
        [{"type": "function", "name": "weather", "parameters": {"type": "object"}}]
    ),
}  # fmt: skip
OPENINFERENCE = {
    "openinference.span.kind": "LLM", "llm.model_name": "gpt-x", "session.id": "conv-1",
    "user.id": "ann", "llm.invocation_parameters": '{"temperature": 0.5, "api_key": "secret-key"}',
    "llm.input_messages.0.message.role": "system",
    "llm.input_messages.0.message.content": "Be brief.",
    "llm.input_messages.1.message.role": "user",
    "llm.input_messages.1.message.contents.0.message_content.type": "text",
    "llm.input_messages.1.message.contents.0.message_content.text": "Weather?",
    "llm.output_messages.0.message.role": "assistant",
    "llm.output_messages.0.message.tool_calls.0.tool_call.id": "c1",
    "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "weather",
    "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": '{"in":  "Rome"}',
    "llm.tools.0.tool.json_schema": json.dumps(TOOLS[0]),
    "llm.token_count.prompt": 12, "llm.token_count.completion": 3,
    "llm.token_count.prompt_details.cache_read": 4, "llm.cost.total": 0.002,
}  # fmt: skip
OBSERVATION = {
    "id": "obs-1", "traceId": "trace-1", "type": "GENERATION", "name": "answer",
    "startTime": "2025-10-09T08:53:20.000Z", "completionStartTime": "2025-10-09T08:53:20.250Z",
    "endTime": "2025-10-09T08:53:21.000Z", "model": "gpt-x",
    "modelParameters": {"temperature": 0.5, "api_key": "secret-key"},
    "input": {"messages": ASKED, "tools": TOOLS},
    "output": {"role": "assistant", "content": "Sunny.", "tool_calls": None},
    "usageDetails": {"input": 8, "input_cached_tokens": 4, "output": 3, "total": 15},
    "costDetails": {"total": 0.002}, "level": "DEFAULT", "metadata": {"workload": "w"},
}  # fmt: skip
TRACE = {
    "id": "trace-1", "timestamp": "2025-10-09T08:53:20.000Z", "name": "run", "userId": "ann",
    "sessionId": "s-1", "tags": [],
    "observations": [OBSERVATION, {**OBSERVATION, "id": "obs-2", "type": "SPAN"}],
}  # fmt: skip


def write(path: Any, *entries: Any) -> Any:
    path.write_text("".join(json.dumps(one) + "\n" for one in entries), encoding="utf-8")
    return path


def records(path: Any, **options: Any) -> list[CallRecord]:
    return list(read_records(path, **options))


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("flywheel", FLYWHEEL),
        ("openai-finetuning", FINETUNING),
        ("openai-finetuning", PREFERENCE),
        ("openai-pairs", {"request": FLYWHEEL["request"], "response": ANSWER}),
        ("litellm", LITELLM),
        ("litellm", {"standard_logging_object": LITELLM}),
        ("otlp", otlp(span(GENAI))),
        ("otlp", otlp(span(OPENINFERENCE))),
        ("langfuse", OBSERVATION),
        ("langfuse", TRACE),
        ("langfuse", {"data": [TRACE], "meta": {"page": 1}}),
    ],
)
def test_each_format_is_known_by_its_content_and_read_again_alike(tmp_path, name, entry):
    path = write(tmp_path / "log", entry)
    assert detect(path) == name
    first = records(path, defaults=Defaults(time=datetime(2026, 1, 1, tzinfo=UTC)))
    again = records(path, defaults=Defaults(time=datetime(2026, 2, 2, tzinfo=UTC)))
    assert [one.id for one in first] == [one.id for one in again]
    (record,) = first
    assert record.source == "import"
    assert "secret" not in record.to_json()
    said = chat(record)
    assert [(one.role, one.text) for one in said.messages[:2]] == [
        ("system", "Be brief."),
        ("user", "Weather?"),
    ]
    assert said.answer.text == "Sunny." or said.answer.calls == (
        Wanted("weather", '{"in":  "Rome"}', "c1"),
    )
    assert CallRecord.from_dict(json.loads(record.to_json())) == record


def test_the_data_flywheel(tmp_path):
    (record,) = records(write(tmp_path / "log", FLYWHEEL))
    assert record.time == datetime.fromtimestamp(1_760_000_000, UTC)
    assert (record.workload, record.client_id) == ("weather", "acme")
    assert (record.model, record.served_model) == ("gpt-x", "gpt-x-1")
    assert record.request == FLYWHEEL["request"]
    assert record.response == ANSWER
    assert (record.usage.prompt, record.usage.completion) == (12, 3)


def test_litellms_log(tmp_path):
    (record,) = records(write(tmp_path / "log", LITELLM))
    assert (record.model, record.trace_id, record.client_id) == ("openai/gpt-x", "trace-1", "ann")
    assert (record.workload, record.conversation_id) == ("w", "s-1")
    assert (record.cost_usd, record.seconds, record.first_token_seconds) == (0.002, 1.0, 0.25)
    assert record.request["temperature"] == 0.5
    assert record.request["tools"] == TOOLS
    assert record.tags == {"nightly": ""}


def test_a_failed_call_in_litellms_log(tmp_path):
    failed = {
        **LITELLM, "status": "failure", "response": {}, "error_str": "slow down",
        "error_information": {"error_code": "429", "error_class": "RateLimitError"},
    }  # fmt: skip
    (record,) = records(write(tmp_path / "log", failed))
    assert (record.response, record.error.kind, record.error.status) == (
        None,
        "RateLimitError",
        429,
    )


def test_litellms_log_without_texts_is_refused(tmp_path):
    path = write(tmp_path / "log", {**LITELLM, "messages": "redacted-by-litellm"})
    with pytest.raises(InputError, match=r"Line 1 of .*left out"):
        records(path)


def test_spans_of_generative_ai(tmp_path):
    others = [
        span({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "weather"}, 2),
        span({"gen_ai.operation.name": "invoke_agent"}, 3),
        span({"http.method": "GET"}, 4),
    ]
    (record,) = records(write(tmp_path / "log", otlp(span(GENAI), *others)))
    assert (record.model, record.served_model) == ("gpt-x", "gpt-x-1")
    assert record.trace_id == "5b8efff798038103d269b633813fc60c"
    assert (record.conversation_id, record.seconds) == ("conv-1", 1.5)
    assert record.request["temperature"] == 0.5
    assert record.tags == {"span": "chat gpt-x"}
    said = chat(record)
    assert (said.messages[2].role, said.messages[2].text, said.messages[2].answers) == (
        "tool", "7", "c0",
    )  # fmt: skip
    assert (said.stop, said.tools[0].name) == ("tool_calls", "weather")


def test_spans_with_messages_in_events(tmp_path):
    plain = {key: one for key, one in GENAI.items() if "messages" not in key}
    del plain["gen_ai.system_instructions"]
    events = [
        {"name": "gen_ai.system.message", "attributes": attributes({"content": "Be brief."})},
        {"name": "gen_ai.user.message", "attributes": attributes({"content": "Weather?"})},
        {
            "name": "gen_ai.choice",
            "attributes": attributes(
                {"index": 0, "finish_reason": "stop", "message": '{"content": "Sunny."}'}
            ),
        },
    ]
    (record,) = records(write(tmp_path / "log", otlp(span(plain, events=events))))
    said = chat(record)
    assert [one.text for one in said.messages] == ["Be brief.", "Weather?"]
    assert (said.answer.text, said.stop) == ("Sunny.", "stop")


def test_spans_with_numbered_attributes(tmp_path):
    numbered = {
        "llm.request.type": "chat", "gen_ai.request.model": "gpt-x",
        "gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "Weather?",
        "gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.finish_reason": "tool_calls",
        "gen_ai.completion.0.tool_calls.0.name": "weather",
        "gen_ai.completion.0.tool_calls.0.arguments": '{"in":  "Rome"}',
        "llm.request.functions.0.name": "weather",
        "llm.request.functions.0.parameters": '{"type": "object"}',
        "gen_ai.usage.prompt_tokens": 12, "gen_ai.usage.completion_tokens": 3,
    }  # fmt: skip
    (record,) = records(write(tmp_path / "log", otlp(span(numbered))))
    said = chat(record)
    assert said.answer.calls[0].arguments == '{"in":  "Rome"}'
    assert said.tools[0].parameters == {"type": "object"}
    assert record.usage.prompt == 12


def test_spans_of_pythons_console_exporter(tmp_path):
    printed = {
        "name": "chat gpt-x",
        "context": {"trace_id": "0x5b8efff798038103d269b633813fc60c", "span_id": "0x01"},
        "start_time": "2025-10-09T08:53:20.000000Z", "end_time": "2025-10-09T08:53:21.000000Z",
        "status": {"status_code": "UNSET"}, "attributes": GENAI, "events": [],
    }  # fmt: skip
    path = tmp_path / "log"
    path.write_text(json.dumps(printed, indent=4) + "\n" + json.dumps(printed, indent=4))
    first, second = records(path)
    assert first.id == second.id
    assert first.trace_id == "5b8efff798038103d269b633813fc60c"


def test_a_failed_span(tmp_path):
    failed = {key: one for key, one in GENAI.items() if "output" not in key}
    failed["error.type"] = "timeout"
    status = {"code": 2, "message": "no answer in time"}
    (record,) = records(write(tmp_path / "log", otlp(span(failed, status=status))))
    assert (record.error.kind, record.error.message) == ("timeout", "no answer in time")
    assert record.response is None


def test_spans_of_openinference(tmp_path):
    embedding = {
        "openinference.span.kind": "EMBEDDING", "embedding.model_name": "e",
        "embedding.embeddings.0.embedding.text": "Rome",
        "embedding.embeddings.0.embedding.vector": [0.5, 0.25],
    }  # fmt: skip
    chain = {"openinference.span.kind": "CHAIN", "input.value": "x"}
    path = write(tmp_path / "log", otlp(span(OPENINFERENCE), span(embedding, 2), span(chain, 3)))
    first, second = records(path)
    assert (first.conversation_id, first.client_id, first.cost_usd) == ("conv-1", "ann", 0.002)
    assert (first.usage.prompt, first.usage.cached) == (12, 4)
    assert chat(first).tools[0].name == "weather"
    assert second.form == "openai.embeddings"
    assert second.request["input"] == ["Rome"]
    assert "0.25" not in second.to_json()


def test_langfuses_observations(tmp_path):
    (record,) = records(write(tmp_path / "log", TRACE))
    assert (record.trace_id, record.conversation_id, record.client_id) == ("trace-1", "s-1", "ann")
    assert (record.workload, record.cost_usd) == ("w", 0.002)
    assert (record.seconds, record.first_token_seconds, record.streamed) == (1.0, 0.25, True)
    assert (record.usage.prompt, record.usage.cached) == (12, 4)
    assert record.request["tools"] == TOOLS
    failed = {**OBSERVATION, "level": "ERROR", "statusMessage": "slow down", "output": None}
    (record,) = records(write(tmp_path / "log", failed))
    assert (record.response, record.error.message) == (None, "slow down")


def test_langfuses_table(tmp_path):
    path = tmp_path / "observations.csv"
    path.write_text(
        "id,trace_id,type,start_time,end_time,provided_model_name,input,output,usage_details\n"
        "o1,t1,GENERATION,2025-10-09 08:53:20.000,2025-10-09 08:53:21.000,gpt-x,"
        '"[\n{""role"": ""user"", ""content"": ""Weather?\\nToday?""}]","Sunny.","{""input"": 5}"\n'
        "o2,t1,SPAN,2025-10-09 08:53:20.000,,,,,\n"
    )
    assert detect(path) == "langfuse"
    (record,) = records(path)
    said = chat(record)
    assert said.messages[0].text == "Weather?\nToday?"
    assert (said.answer.text, record.usage.prompt, record.model) == ("Sunny.", 5, "gpt-x")


def test_what_a_batch_gave_is_joined_with_its_requests(tmp_path):
    asked = write(
        tmp_path / "in.jsonl",
        *(
            {"custom_id": name, "method": "POST", "url": "/v1/chat/completions",
             "body": {"model": "gpt-x", "messages": [{"role": "user", "content": name}]}}
            for name in ("ä", "b")
        ),
    )  # fmt: skip
    out = write(
        tmp_path / "out.jsonl",
        {"id": "r2", "custom_id": "b", "error": None,
         "response": {"status_code": 200, "request_id": "x", "body": ANSWER}},
        {"id": "r1", "custom_id": "ä", "response": None, "error": {"message": "expired"}},
        {"id": "r3", "custom_id": "nobody", "response": None, "error": {}},
    )  # fmt: skip
    faults: list[InputError] = []
    first, second = records(out, requests=asked, fault=faults.append)
    assert (chat(first).messages[0].text, chat(first).answer.text) == ("b", "Sunny.")
    assert (chat(second).messages[0].text, second.error.message) == ("ä", "expired")
    assert "Line 3" in str(faults[0])
    assert "nobody" in str(faults[0])
    with pytest.raises(InputError, match="--requests"):
        records(out)


def test_an_example_that_ends_with_a_question_is_a_fault(tmp_path):
    path = write(tmp_path / "log", FINETUNING, {"messages": ASKED})
    with pytest.raises(InputError, match=r"Line 2 of .*not the assistant's"):
        records(path)


def test_faults_name_their_line_and_are_skipped_where_that_is_wanted(tmp_path):
    path = tmp_path / "log.jsonl"
    good = json.dumps(FLYWHEEL)
    path.write_text(f'{good}\n\n{{broken\n[1]\n{good[:-1]}, "timestamp": "soon"}}\n{good}\n')
    faults: list[InputError] = []
    assert len(records(path, fault=faults.append)) == 2
    assert [str(one).split(" of ")[0] for one in faults] == ["Line 3", "Line 4", "Line 5"]
    with pytest.raises(InputError, match=r"Line 3 of .* is no JSON"):
        records(path)


@pytest.mark.parametrize("text", ["", "\n", "{}", "[]", "hello", "a,b\n1,2\n", "\x80"])
def test_what_is_no_log_is_refused(tmp_path, text):
    path = tmp_path / "log"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match="no format that is known"):
        detect(path)


def test_files_that_are_not_there_and_formats_that_are_none_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be opened"):
        records(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="'csv' is no format"):
        records(write(tmp_path / "log", FLYWHEEL), format="csv")


def test_defaults_are_taken_where_a_log_does_not_say(tmp_path):
    defaults = Defaults(
        model="openai/gpt-x", client="me", workload="w", interactive=True,
        time=datetime(2026, 1, 1, tzinfo=UTC), provenance=Provenance({"openai/*": "no-train"}),
    )  # fmt: skip
    (record,) = records(write(tmp_path / "log", FINETUNING), defaults=defaults)
    assert (record.model, record.client_id, record.workload) == ("openai/gpt-x", "me", "w")
    assert (record.interactive, record.trainable) == (True, "no-train")
    assert record.time == defaults.time
    (record,) = records(write(tmp_path / "log", FLYWHEEL), defaults=defaults)
    assert (record.model, record.client_id, record.workload) == ("gpt-x", "acme", "weather")


def test_importing_twice_keeps_everything_once(tmp_path):
    path = write(tmp_path / "log", FLYWHEEL, {**FLYWHEEL, "timestamp": 1_760_000_001})
    store = MemoryStore()
    for _ in range(2):
        done = import_into(store, read_records(path), redact=unredacted)
        assert (done.records, done.failed) == (2, 0)
    assert len(store.kept) == 2


def test_ids_made_with_a_key_tell_nothing_and_stay_the_same(tmp_path):
    path = write(tmp_path / "log", FLYWHEEL)
    (plain,) = records(path)
    keyed = []
    for key in ("a", "a", "b"):
        defaults = Defaults(pseudonym=lambda one, key=key: key + one)
        keyed.append(records(path, defaults=defaults)[0].id)
    assert keyed[0] == keyed[1]
    assert len({plain.id, *keyed}) == 3
    assert {one[:12] for one in keyed} == {plain.id[:12]}
    (tmp_path / "own").write_text(plain.to_json())
    again = records(tmp_path / "own", defaults=Defaults(pseudonym=lambda one: "x"))
    assert again == [plain]


def test_records_are_redacted_before_they_are_kept(tmp_path):
    store = MemoryStore()
    told: list[int] = []
    path = write(tmp_path / "log", FLYWHEEL)
    hidden = lambda record: record.with_(client_id=None)  # noqa: E731
    import_into(store, read_records(path), redact=hidden, tell=told.append)
    assert store.kept[0].client_id is None
    assert told == [1]


def test_records_of_our_own_come_back_as_they_were(tmp_path):
    path = write(tmp_path / "log", LITELLM)
    (record,) = records(path)
    own = tmp_path / "own.jsonl"
    own.write_text(record.to_json() + "\n")
    assert detect(own) == "hetagent"
    assert records(own) == [record]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text(max_size=4), values, min_size=1, max_size=3)


@given(st.lists(objects, min_size=1, max_size=5), st.sampled_from(["lines", "list", "indented"]),
       st.booleans(), st.booleans())  # fmt: skip
def test_values_are_read_however_they_are_written(tmp_path, given, way, ascii_only, packed):
    def dump(value: Any, indent: int | None = None) -> str:
        return json.dumps(value, ensure_ascii=ascii_only, indent=indent)

    if way == "list":
        text = dump(given, 1)
    else:
        text = "\n".join(dump(one, 2 if way == "indented" else None) for one in given)
    try:
        data = text.encode()
    except UnicodeEncodeError:
        data = json.dumps(given).encode() if way == "list" else b"".join(
            json.dumps(one).encode() + b"\n" for one in given
        )  # fmt: skip
    path = tmp_path / "log"
    path.write_bytes(gzip.compress(data) if packed else data)
    found = list(read_values(path, fault=_raise))
    assert [one.value for one in found] == given
    starts = [one.line for one in found]
    assert starts == sorted(starts)
    if way == "lines":
        assert starts == list(range(1, len(given) + 1))


def test_a_list_that_was_cut_off_gives_what_is_whole(tmp_path):
    path = tmp_path / "log"
    path.write_text(json.dumps([FLYWHEEL, FLYWHEEL], indent=1)[:-40])
    faults: list[InputError] = []
    found = list(read_values(path, fault=faults.append))
    assert [one.value for one in found] == [FLYWHEEL]
    assert len(faults) == 1


@pytest.mark.parametrize("listed", [True, False])
def test_memory_is_bounded_by_the_largest_entry(tmp_path, listed):
    path = tmp_path / "log"
    line = json.dumps({**FLYWHEEL, "client_id": "x" * 2000})
    with path.open("w") as file:
        file.write("[" if listed else "")
        for number in range(3000):
            file.write(("," if listed and number else "") + line + "\n")
        file.write("]" if listed else "")
    tracemalloc.start()
    assert sum(1 for _ in read_records(path)) == 3000
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert path.stat().st_size > 6_000_000
    assert most < 3_000_000


@given(st.sampled_from(sorted(FORMATS)), objects)
def test_whatever_is_in_a_log_only_faults_are_told(tmp_path, name, entry):
    faults: list[InputError] = []
    path = write(tmp_path / "log", {**FLYWHEEL, **LITELLM, **OBSERVATION, **entry}, entry)
    found = records(path, format=name, fault=faults.append)
    assert all(isinstance(one, CallRecord) for one in found)


@pytest.mark.parametrize(
    "value",
    [1_760_000_000, 1_760_000_000.0, "1760000000", 1_760_000_000_000, "1760000000000000000",
     "2025-10-09T08:53:20Z", "2025-10-09T10:53:20+02:00", "2025-10-09 08:53:20"],
)  # fmt: skip
def test_times_are_read_in_any_unit(value):
    assert moment(value) == datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)


def test_ids_rise_with_time_and_differ_with_content():
    early, late = (datetime(year, 1, 1, tzinfo=UTC) for year in (2025, 2026))
    assert record_id(early, "a") < record_id(late, "a")
    assert record_id(early, "a") != record_id(early, "b")
    assert record_id(early, "a")[12] == "8"
    assert len(record_id(None, "a")) == 32


def _raise(error: InputError) -> None:
    raise error
