"""OpenAI's, Anthropic's and skills' calls are read alike."""

from datetime import UTC, datetime

from hetagent.learn.chat import Said, Wanted, chat
from hetagent.learn.record import CallRecord, new_id


def call(form, request, response=None):
    return chat(
        CallRecord(
            id=new_id(), time=datetime.now(UTC), form=form, source="import", model="m",
            request=request, response=response,
        )
    )  # fmt: skip


def test_an_openai_call_with_tools():
    found = call(
        "openai.chat",
        {
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "weather?"}]},
            ],
            "tools": [
                {"type": "function", "function": {"name": "weather", "parameters": {"a": 1}}}
            ],
        },
        {
            "choices": [
                {
                    "finish_reason": "tool_calls",
                    "message": {
                        "content": None,
                        "tool_calls": [
                            {"id": "c1", "function": {"name": "weather", "arguments": '{"x": 1 }'}}
                        ],
                    },
                }
            ]
        },
    )
    assert found.messages == (Said("system", "Be brief."), Said("user", "weather?"))
    assert found.tools[0].parameters == {"a": 1}
    assert found.answer == Said("assistant", "", (Wanted("weather", '{"x": 1 }', "c1"),))
    assert found.stop == "tool_calls"


def test_an_anthropic_call_with_a_tools_result():
    found = call(
        "anthropic.messages",
        {
            "system": [{"type": "text", "text": "Be brief."}],
            "messages": [
                {"role": "user", "content": "weather?"},
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "c1", "name": "weather", "input": {}}],
                },
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "sun"}],
                },
            ],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "Sunny."}],
         "stop_reason": "max_tokens"},
    )  # fmt: skip
    assert [one.role for one in found.messages] == ["system", "user", "assistant", "tool"]
    assert found.messages[3] == Said("tool", "sun", answers="c1")
    assert found.answer == Said("assistant", "Sunny.")
    assert found.stop == "length"


def test_a_schema_that_was_asked_for():
    wanted = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}
    found = call("openai.chat", {"messages": [], "response_format": wanted})
    assert found.schema == {"type": "object"}
    assert found.json
    assert found.answer is None


def test_a_skills_value():
    found = call(
        "hetagent.skill",
        {"instructions": "Say the tone.", "text": "great!"},
        {"value": "positive"},
    )
    assert found.messages == (Said("system", "Say the tone."), Said("user", "great!"))
    assert found.answer == Said("assistant", "positive")


def test_what_is_malformed_is_left_out():
    found = call("openai.chat", {"messages": [3, {"content": 5}], "tools": "x"}, {"choices": {}})
    assert [one.text for one in found.messages] == ["", ""]
    assert found.answer == Said("assistant", "")


def test_the_input_of_a_tool_that_broke_off_is_read_as_it_came():
    block = {"type": "tool_use", "id": "t", "name": "f", "input": '{"city": "Pa'}
    found = call("anthropic.messages", {"messages": []}, {"content": [block]})
    assert found.answer.calls == (Wanted("f", '{"city": "Pa', "t"),)
