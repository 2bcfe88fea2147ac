"""What may not become an example is removed, and the reason says why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetagent.learn.chat import chat
from hetagent.learn.curate.checks import first_fault
from hetagent.learn.curate.example import answer_class, candidate
from hetagent.learn.curate.recipe import Balance, Recipe
from hetagent.learn.record import CallError, CallRecord
from tests.support.calls import BEGIN, SEARCH, call

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
    "additionalProperties": False,
}


def asked(schema):
    return {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}


def fault(record, recipe=None):
    return first_fault(record, chat(record), recipe or Recipe())


def test_a_good_call_has_no_fault():
    assert fault(call(1, "Is it open?")) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"trainable": "unknown"}, "trainable: unknown"),
        ({"trainable": "no-train"}, "trainable: no-train"),
        ({"interactive": True}, "interactive"),
        ({"redacted": None}, "not redacted"),
        ({"served_by": "slm"}, "served by an SLM"),
        ({"served_by": "none"}, "served by no LLM"),
    ],
)
def test_provenance_is_asked_first(changes, reason):
    bad = call(1, "", "", error=CallError("Timeout"), **changes)
    assert fault(bad) == ("provenance", reason)


def test_a_recipe_can_allow_what_is_left_out_by_default():
    recipe = Recipe(
        trainable=("trainable", "unknown"), interactive=True, unredacted=True,
        served_by=("llm", "slm"),
    )  # fmt: skip
    bad = call(1, "hi", trainable="unknown", interactive=True, redacted=None, served_by="slm")
    assert fault(bad, recipe) is None


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (call(1, "x", error=CallError("Timeout", 504)), "errored"),
        (call(1, "x", complete=False), "incomplete stream"),
        (call(1, "x", response=None), "no response"),
        (call(1, "x", stop="length"), "truncated"),
        (call(1, "x", message={"content": None, "refusal": "No."}), "refused"),
        (call(1, "x", stop="content_filter"), "refused"),
        (call(1, "x", "I\u2019m sorry, but I can\u2019t help with that."), "refused"),
        (call(1, "x", "I cannot assist with this request."), "refused"),
        (call(1, "x", " \n"), "empty answer"),
        (call(1, " "), "empty prompt"),
        (call(1, "x", form="openai.embeddings"), "not a chat"),
        (
            call(1, "x", history=[
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}
            ]),
            "not only text",
        ),
    ],
)  # fmt: skip
def test_calls_that_were_not_answered_whole_are_removed(record, reason):
    assert fault(record) == ("response", reason)


@pytest.mark.parametrize(
    "answer",
    ["Sorry to hear that! Your order is on its way.", "I can't find it in the list: 3.", "unknown"],
)
def test_an_answer_that_only_sounds_like_a_refusal_stays(answer):
    assert fault(call(1, "x", answer)) is None


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("search", '{"words": "tea"}', None),
        ("search", '{"words": "tea", "most": 3}', None),
        ("find", "{}", "tool not offered"),
        ("search", '{"words": ', "arguments are no JSON object"),
        ("search", '["tea"]', "arguments are no JSON object"),
        ("search", '{"words": NaN}', "arguments are no JSON object"),
        ("search", "[" * 100_000, "arguments are no JSON object"),
        ("search", "{}", "arguments: not as the schema has it"),
        ("search", '{"words": 3}', "arguments: not as the schema has it"),
    ],
)
def test_arguments_of_tools_parse_and_fit(name, arguments, reason):
    record = call(1, "tea?", None, calls=[(name, arguments)], request={"tools": [SEARCH]})
    assert fault(record) == (None if reason is None else ("tools", reason))


@pytest.mark.parametrize(
    ("answer", "schema", "reason"),
    [
        ({"city": "Rome", "days": 2}, SCHEMA, None),
        ({"city": "Rome", "more": 1}, SCHEMA, "answer: not as the schema has it"),
        ("Rome it is", SCHEMA, "answer is no JSON"),
        ("3", {"type": "strange"}, "answer: the schema is broken"),
        ("3", {"$ref": "http://127.0.0.1:9/x.json"}, "answer: the schema refers elsewhere"),
        ("3", {"$ref": "#/$defs/none"}, "answer: the schema refers elsewhere"),
    ],
)
def test_answers_keep_the_schema_that_was_asked_for(answer, schema, reason):
    record = call(1, "where?", answer, request=asked(schema))
    assert fault(record) == (None if reason is None else ("schema", reason))


def test_a_schema_that_refers_to_itself_without_end_is_no_crash():
    endless = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}
    assert fault(call(1, "x", "3", request=asked(endless))) == (
        "schema",
        "answer: the schema cannot be applied",
    )


def test_a_skills_value_is_held_against_its_schema_as_it_is():
    def skill(value):
        return CallRecord(
            id="r", time=BEGIN, form="hetagent.skill", source="orchestrator", model="m",
            trainable="trainable", redacted={},
            request={"instructions": "Sort.", "text": "hi", "schema": {"enum": ["a", "b"]}},
            response={"value": value},
        )  # fmt: skip

    assert fault(skill("a")) is None
    assert fault(skill("c")) == ("schema", "answer: not as the schema has it")


TOOLS = {"tools": [SEARCH]}


@pytest.mark.parametrize(
    ("record", "class_"),
    [
        (call(1, "x", None, calls=[("b", "{}"), ("a", "{}")], request=TOOLS), "tool:a+b"),
        (call(1, "x", "It is open.", request=TOOLS), "no_tool"),
        (call(1, "x", "Yes", request={**TOOLS, "tool_choice": "none"}), "label:yes"),
        (call(1, "x", "I don\u2019t know."), "abstain"),
        (call(1, "x", "null"), "label:null"),
        (call(1, "x", "null", request=asked(SCHEMA)), "abstain"),
        (call(1, "x", {"city": None, "days": []}, request=asked(SCHEMA)), "abstain"),
        (call(1, "x", {"label": "unknown"}, request=asked(SCHEMA)), "abstain"),
        (call(1, "x", {"label": "Red"}, request=asked(SCHEMA)), "label:red"),
        (call(1, "x", {"a": 1, "b": 2}, request=asked(SCHEMA)), "json"),
        (call(1, "x", "3", request=asked(SCHEMA)), "number"),
        (call(1, "x", "true", request=asked(SCHEMA)), "label:true"),
        (call(1, "x", "It opens at nine in the morning."), "text"),
        (call(1, "x", "whatever", tags={"abstain": "true"}), "abstain"),
    ],
)
def test_answers_have_classes(record, class_):
    assert answer_class(record, chat(record), Recipe()) == class_


def test_a_class_can_be_a_field_of_the_answer():
    record = call(1, "x", {"intent": {"name": "buy"}, "n": 3}, request=asked(SCHEMA))
    recipe = Recipe(balance=Balance(field="intent.name"))
    assert answer_class(record, chat(record), recipe) == "label:buy"


def said(record):
    return candidate(record, chat(record), Recipe())


def test_calls_that_say_the_same_have_one_key():
    one = call(1, "tea?", None, calls=[("search", '{"words":"tea","most":3}')], request=TOOLS)
    two = call(2, "tea?", None, calls=[("search", '{ "most": 3, "words": "tea"}')], request=TOOLS)
    other = call(3, "tea?", None, calls=[("search", '{"words":"tea"}')], request=TOOLS)
    assert said(one).key == said(two).key != said(other).key


def test_ids_of_tool_calls_do_not_tell_calls_apart():
    def turn(number):
        asked = {"id": f"x{number}", "function": {"name": "search", "arguments": "{}"}}
        history = [
            {"role": "assistant", "content": None, "tool_calls": [asked]},
            {"role": "tool", "content": "green tea", "tool_call_id": f"x{number}"},
        ]
        return call(number, "and?", history=history)

    assert said(turn(1)).key == said(turn(2)).key
    messages = said(turn(1)).body["messages"]
    assert messages[0]["tool_calls"][0]["id"] == messages[1]["tool_call_id"] == "call_1"


@pytest.mark.parametrize("depth", [30, 300, 900, 980, 990, 1000, 100_000])
@pytest.mark.parametrize("open_close", ["[]", "{}"])
def test_answers_nested_without_end_are_read_or_removed(depth, open_close):
    one, two = ('{"a":', "}") if open_close == "{}" else ("[", "]")
    record = call(1, "x", one * depth + "null" + two * depth, request=asked({}))
    if fault(record) is None:
        assert said(record).body["class"] == "json"


@given(st.text(), st.text())
def test_any_text_can_be_a_prompt_and_an_answer(text, answer):
    record = call(1, text, answer)
    if fault(record) is None:
        assert said(record).body["answer"]["content"] == answer
