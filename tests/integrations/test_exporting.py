"""Records go out in other tools' forms, whole or not at all, and come back as they were."""

from __future__ import annotations

import json
import os
import stat
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetagent.errors import InputError
from hetagent.integrations.exporting import export_records
from hetagent.integrations.importing import read_records
from hetagent.learn.chat import chat
from hetagent.learn.record import CallRecord, new_id

TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def record(**known: Any) -> CallRecord:
    given = {
        "id": new_id(),
        "time": TIME,
        "form": "openai.chat",
        "source": "gateway",
        "model": "m",
        "request": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
        "response": {
            "model": "m-1",
            "choices": [
                {"message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}
            ],
        },
        **known,
    }
    return CallRecord(**given)


SKILL = record(
    form="hetagent.skill", source="orchestrator", workload="mood",
    request={"instructions": "Tell it.", "text": "fine", "schema": {"enum": ["good", "bad"]}},
    response={"value": "good"},
)  # fmt: skip
ANTHROPIC = record(
    form="anthropic.messages",
    request={
        "system": "Be brief.", "max_tokens": 9,
        "messages": [{"role": "user", "content": "weather?"}],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
    },
    response={
        "model": "claude", "stop_reason": "tool_use",
        "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}}],
    },
)  # fmt: skip


def lines(path: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_data_flywheel_has_five_keys_and_no_other(tmp_path):
    path = tmp_path / "deep" / "out.jsonl"
    done = export_records([record(), SKILL, ANTHROPIC], path, format="flywheel")
    assert (done.written, done.left_out) == (3, {})
    for line in lines(path):
        assert set(line) == {"timestamp", "workload_id", "client_id", "request", "response"}
        assert isinstance(line["timestamp"], int)
        assert line["request"]["messages"]
        assert line["response"]["choices"]
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_other_forms_become_openais(tmp_path):
    path = tmp_path / "out.jsonl"
    export_records([SKILL, ANTHROPIC], path, format="flywheel")
    skill, anthropic = read_records(path)
    assert [one.text for one in chat(skill).messages] == ["Tell it.", "fine"]
    assert chat(skill).answer.text == "good"
    assert skill.workload == "mood"
    assert chat(anthropic).messages == chat(ANTHROPIC).messages
    assert chat(anthropic).answer == chat(ANTHROPIC).answer
    assert chat(anthropic).tools == chat(ANTHROPIC).tools
    assert anthropic.request["max_tokens"] == 9


def test_fine_tuning_has_what_was_asked_and_the_answer(tmp_path):
    path = tmp_path / "out.jsonl"
    export_records([record(), ANTHROPIC], path, format="openai-finetuning")
    first, second = lines(path)
    assert first == {
        "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]
    }
    assert second["tools"][0]["function"]["name"] == "f"
    assert second["messages"][-1]["tool_calls"][0]["function"]["arguments"] == '{"a": 1}'


def test_what_is_left_out_is_counted_by_why(tmp_path):
    message = {"role": "assistant", "content": "I will"}
    cut = {"choices": [{"message": message, "finish_reason": "length"}]}
    given = [
        record(),
        record(response=None),
        record(interactive=True),
        record(trainable="no-train"),
        record(response=cut),
        record(complete=False),
        record(form="openai.embeddings"),
        record(response={"choices": []}),
    ]
    path = tmp_path / "out.jsonl"
    done = export_records(given, path, format="openai-finetuning")
    assert done.written == len(lines(path)) == 1
    assert done.left_out == {
        "failed": 1, "interactive": 1, "no-train": 1, "truncated": 1, "broken off": 1,
        "embeddings": 1, "no answer": 1,
    }  # fmt: skip
    done = export_records(given, path, format="openai-finetuning", interactive=True, no_train=True)
    assert done.written == 3
    assert export_records(given, path, format="hetagent").written == len(given)


def test_a_file_that_cannot_be_finished_is_not_there(tmp_path):
    path = tmp_path / "out.jsonl"

    def broken():
        yield record()
        raise RuntimeError("the store went away")

    with pytest.raises(RuntimeError):
        export_records(broken(), path, format="hetagent")
    assert list(tmp_path.iterdir()) == []
    path.mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        export_records([record()], path, format="hetagent")
    assert list(tmp_path.iterdir()) == [path]


def test_formats_that_are_none_are_refused(tmp_path):
    with pytest.raises(InputError, match="'csv' is no format"):
        export_records([], tmp_path / "x", format="csv")


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
arguments = st.dictionaries(words, st.integers() | words, max_size=2).map(json.dumps)
calls = st.builds(
    lambda name, given: {
        "id": "c", "type": "function", "function": {"name": name, "arguments": given}
    },
    words.filter(bool),
    arguments | words,
)  # fmt: skip
said = st.builds(lambda role, content: {"role": role, "content": content},
                 st.sampled_from(["system", "user"]), words)  # fmt: skip
answers = st.one_of(
    st.builds(lambda content: {"role": "assistant", "content": content}, words.filter(bool)),
    st.builds(
        lambda some: {"role": "assistant", "content": None, "tool_calls": some},
        st.lists(calls, min_size=1, max_size=2),
    ),
)
recorded = st.builds(
    lambda messages, answer, workload, client, seconds: record(
        request={"model": "m", "messages": messages, "temperature": 0.5},
        response={
            "model": "m-1",
            "choices": [{"index": 0, "message": answer, "finish_reason": "stop"}],
        },
        workload=workload,
        client_id=client,
        time=datetime.fromtimestamp(seconds, UTC),
    ),
    st.lists(said, min_size=1, max_size=3),
    answers,
    st.none() | words.filter(bool),
    st.none() | words.filter(bool),
    st.integers(1_500_000_000, 2_000_000_000),
)


@given(st.lists(recorded, min_size=1, max_size=4))
def test_the_data_flywheel_comes_back_as_it_was(tmp_path, given):
    path = tmp_path / "out.jsonl"
    export_records(given, path, format="flywheel")
    again = list(read_records(path))
    for old, new in zip(given, again, strict=True):
        assert (new.request, new.response, new.time) == (old.request, old.response, old.time)
        assert (new.workload, new.client_id, new.model) == (old.workload, old.client_id, old.model)
    second = tmp_path / "again.jsonl"
    export_records(again, second, format="flywheel")
    assert second.read_bytes() == path.read_bytes()


@given(st.lists(recorded, min_size=1, max_size=4))
def test_fine_tuning_comes_back_as_it_was(tmp_path, given):
    path = tmp_path / "out.jsonl"
    export_records(given, path, format="openai-finetuning")
    again = list(read_records(path))
    for old, new in zip(given, again, strict=True):
        assert chat(new).messages == chat(old).messages
        assert chat(new).answer == chat(old).answer
    second = tmp_path / "again.jsonl"
    export_records(again, second, format="openai-finetuning")
    assert second.read_bytes() == path.read_bytes()


@given(st.lists(recorded, min_size=1, max_size=4))
def test_our_own_records_come_back_as_they_were(tmp_path, given):
    path = tmp_path / "out.jsonl"
    export_records(given, path, format="hetagent")
    assert list(read_records(path)) == given
