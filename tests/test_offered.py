"""Skills whose tools come with the call: any tools, each call held to its own."""

import json
import random
from datetime import date
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetagent import (
    Answer,
    Certified,
    LlamaCpp,
    Offered,
    Orchestrator,
    Scripted,
    ToolCall,
    skill,
)
from hetagent.calibrate.calibration import parsed
from hetagent.calibrate.correctness import judge
from hetagent.errors import InputError, OutputError, SkillError
from hetagent.fingerprint import fingerprint
from hetagent.learn.tune.run import lessons

DIVIDE = {
    "name": "divide",
    "description": "Divide one number\nby another.",
    "parameters": {
        "type": "dict",
        "properties": {
            "a": {"type": "float", "description": "what is divided"},
            "b": {"type": "float"},
            "digits": {"type": "integer", "default": 2},
        },
        "required": ["a", "b"],
    },
}
GREET = {
    "type": "function",
    "function": {
        "name": "greet.person",
        "parameters": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "tone": {"enum": ["warm", "cool"]}},
            "required": ["name"],
        },
    },
}


def remind(text: str, day: date, times: int = 1) -> str:
    """Remind somebody of something."""
    return f"{text} on {day}, {times} times"


@skill(max_tokens=96)
def act(request: str, tools: Offered) -> ToolCall:
    """Call the one tool that does what the request asks for."""


@skill(max_tokens=96)
def act_or_not(request: str, tools: Offered) -> ToolCall | None:
    """Call the tool that does what the request asks for, if one does."""


def scripted(*answers: Any) -> Orchestrator:
    return Orchestrator(slm=Scripted(*map(Answer, answers)), policy=0.0)


def test_a_call_is_held_to_the_tools_it_offers():
    agent = scripted({"tool": "divide", "arguments": {"a": 3, "b": 4}})
    outcome = agent.run(act, "What is 3 over 4?", tools=[DIVIDE, GREET])
    assert outcome.value == ToolCall("divide", {"a": 3, "b": 4})
    assert list(outcome.fields) == ["tool", "arguments"]
    assert outcome.fields["arguments"].value == {"a": 3, "b": 4}
    with pytest.raises(SkillError, match="has no function"):
        outcome.value()
    request = act.request("What is 3 over 4?", tools=[DIVIDE, GREET])
    for wrong in (
        {"tool": "add", "arguments": {}},
        {"tool": "divide", "arguments": {"a": 3}},
        {"tool": "divide", "arguments": {"a": 3, "b": 4, "c": 5}},
        {"tool": "greet.person", "arguments": {"name": "Ada", "tone": "hot"}},
        {"tool": "none", "arguments": {}},
        {"tool": "divide"},
        None,
    ):
        with pytest.raises(OutputError):
            request.output.parse(json.dumps(wrong))


def test_the_text_has_every_argument_and_the_value_what_is_given():
    output = act.request("Divide.", tools=[DIVIDE]).output
    told = {"tool": "divide", "arguments": {"b": 4, "a": 3}}
    text = output.text_of_json(told)
    assert text == '{"tool": "divide", "arguments": {"a": 3, "b": 4, "digits": null}}'
    assert output.json_of_text(text) == told
    assert output.encode(output.parse(text)) == text
    jsonschema.Draft202012Validator(output.schema).validate(json.loads(text))


def test_tools_are_told_in_the_users_turn_and_the_prompt_before_is_one():
    first = act.request("Say hello to Ada.", tools=[GREET, DIVIDE])
    second = act.request("What is 3 over 4?", tools=[remind])
    assert first.messages[:-1] == second.messages[:-1] == act.messages
    assert first.output.fingerprint != second.output.fingerprint
    assert first.messages[-1].content == (
        "Tools:\n"
        'greet.person\n{\n  "name": string,\n  "tone": "warm" or "cool" or null,\n}\n'
        "divide: Divide one number by another.\n{\n"
        '  "a": number,  // what is divided\n  "b": number,\n'
        '  "digits": integer or null,  // (default: 2)\n}\n\n'
        "Say hello to Ada."
    )
    model = Scripted(Answer(None))
    assert fingerprint(act, model)["schema"] != fingerprint(act_or_not, model)["schema"]


def test_functions_are_run_with_python_values():
    agent = scripted({"tool": "remind", "arguments": {"text": "milk", "day": "2026-11-22"}})
    call = agent.run(act, "Remind me.", tools=[DIVIDE, remind]).value
    assert call.arguments == {"text": "milk", "day": date(2026, 11, 22)}
    assert call() == "milk on 2026-11-22, 1 times"
    assert act.output.to_json(call)["arguments"] == {"text": "milk", "day": "2026-11-22"}


def test_no_tool_is_an_answer_where_it_may_be_one():
    nothing = {"tool": "none", "arguments": {}}
    outcome = scripted(nothing).run(act_or_not, "Hello.", tools=[DIVIDE])
    assert (outcome.value, outcome.served_by) == (None, "slm")
    assert act_or_not.output.to_json(None) == nothing
    assert act_or_not.output.parse_json(nothing) is None


def test_keys_that_are_not_known_are_pairs_while_they_are_written():
    free = {"type": "dict", "description": "by subject"}
    tool = {
        "name": "mean",
        "parameters": {
            "type": "dict",
            "properties": {"marks": free, "data": {"type": "any"}},
            "required": ["marks"],
        },
    }
    output = act.request("What is the mean?", tools=[tool]).output
    told = {"tool": "mean", "arguments": {"marks": {"maths": 3, "art": [1, 2]}, "data": "x"}}
    text = output.text_of_json(told)
    assert '[{"key": "maths", "value": 3}, {"key": "art", "value": [1, 2]}]' in text
    assert output.parse(text) == ToolCall("mean", told["arguments"])


@pytest.mark.parametrize(
    ("offered", "message"),
    [
        ([], "No tool is offered"),
        ("divide", "no list"),
        ([DIVIDE, DIVIDE], "Two tools are named 'divide'"),
        ([DIVIDE, {"description": "?"}], "no definition of a tool"),
        ([{"name": "none"}], "'none' is no name"),
        ([{"name": "a\nb"}], "no name for a tool"),
        ([{"name": "f", "parameters": 3}], "parameters of the tool f"),
        ([DIVIDE, {"name": "f", "parameters": {"properties": {"x": {"not": {}}}}}], "tool f uses"),
        ([{"name": "f", "parameters": {"properties": {"x": {"type": "array"}}}}], "tool f"),
        (
            [DIVIDE, {"name": "f", "parameters": {"properties": {"x": {
                "type": "integer", "minimum": 5, "maximum": 3}}}}],
            "tool f has bounds",
        ),
        ([lambda x: x], "cannot be offered"),
        ([int], "no function"),
        ([{"name": "f", "description": "\0"}], "NUL"),
    ],
)  # fmt: skip
def test_what_cannot_be_offered_is_named(offered, message):
    with pytest.raises(InputError, match=message):
        act.request("Do it.", tools=offered)
    outcome = scripted(None).map(act, [("Do it.", offered)])[0]
    assert (outcome.served_by, outcome.reason) == ("none", "invalid_input")


def test_a_skill_that_is_offered_tools_returns_a_call_and_takes_something_else():
    with pytest.raises(SkillError, match="does not return a call"):

        @skill
        def one(request: str, tools: Offered) -> str:
            """Do it."""

    with pytest.raises(SkillError, match="1 inputs of tools, and 0 others"):

        @skill
        def two(tools: Offered) -> ToolCall:
            """Do it."""


def test_examples_and_labels_are_of_their_own_tools():
    answer = {"tool": "divide", "arguments": {"b": 2, "a": 8}}
    taught = skill(examples=[(("8 by 2", [DIVIDE]), answer)])(act.__wrapped__)
    assert taught.messages[-1].content == (
        '{"tool": "divide", "arguments": {"a": 8, "b": 2, "digits": null}}'
    )
    with pytest.raises(SkillError, match="Example 1"):
        skill(examples=[(("8 by 2", [GREET]), answer)])(act.__wrapped__)
    _, labels = parsed(act, [(("8 by 2", [DIVIDE]), answer), (("hi", [GREET]), {"tool": "x"})])
    assert labels == [answer, {"tool": "x"}]  # part of a label says nothing of the rest
    with pytest.raises(InputError, match=r"Example 1: .* is no answer to its input"):
        parsed(act, [(("8 by 2", [GREET]), answer)])


# What is drawn has bounds of its own, so that answers stay short.
SIMPLE = st.sampled_from([
    {"type": "string", "maxLength": 4},
    {"type": "integer", "minimum": -9, "maximum": 99},
    {"type": "number", "minimum": 0, "maximum": 2},
    {"type": "boolean"},
    {"enum": ["red", "blue sky", "", "ü"]},
    {"type": ["string", "null"], "maxLength": 2},
])  # fmt: skip
NAMES = st.text(st.sampled_from('abcXY_. -é日"\\[]'), min_size=1, max_size=8)


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def made(properties: dict[str, Any], needed: set[int]) -> dict[str, Any]:
        required = [name for place, name in enumerate(properties) if place in needed]
        return {"type": "object", "properties": properties, "required": required}

    keys = st.dictionaries(NAMES, inner, max_size=3)
    return st.builds(made, keys, st.sets(st.integers(0, 2)))


PARTS = st.recursive(
    SIMPLE,
    lambda one: st.one_of(
        objects(one),
        st.builds(lambda inner: {"type": "array", "items": inner, "maxItems": 2}, one),
    ),
    max_leaves=3,
)
TOOLS = st.lists(
    st.builds(
        lambda name, about, schema: {"name": name, "description": about, "parameters": schema},
        NAMES.filter(str.strip),
        st.sampled_from(["", "Do it.", "Find what\nthere is."]),
        objects(PARTS),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda one: one["name"],
)


@settings(max_examples=25)
@given(sets=st.lists(TOOLS, min_size=8, max_size=8))
def test_any_answers_under_any_tools_are_valid_and_lessons(tiny: LlamaCpp, sets):
    agent = Orchestrator(slm=tiny, policy=0.0, progress=False)
    outcomes = agent.map(act_or_not, [("go on", offered) for offered in sets])
    whole = [pair for pair in zip(sets, outcomes, strict=True) if pair[1].reason != "truncated"]
    for offered, outcome in whole:
        assert outcome.served_by == "slm", outcome.error
        assert set(outcome.evidence) == {"", "tool", "arguments"}
        if outcome.value is not None:
            known = {one["name"]: one["parameters"] for one in offered}
            schema = known[outcome.value.name]
            jsonschema.Draft202012Validator(schema).validate(outcome.value.arguments)
    for offered, outcome in whole[:2]:
        request = act_or_not.request("go on", tools=offered)
        text = request.output.text_of_json(act_or_not.output.to_json(outcome.value))
        one = tiny.lesson(request, text)
        decoded = b"".join(map(tiny._engine.vocabulary.piece, one.answer))
        assert decoded.decode().startswith(text)


def rows(count: int) -> list[dict[str, Any]]:
    generator = random.Random(0)
    verbs = ("paint", "move", "count", "hide", "lift", "weigh")
    found = []
    for number in range(count):
        offered = [
            {
                "name": f"{verb}_{number}",
                "parameters": {
                    "type": "object",
                    "properties": {f"of_{verb}": {"type": "integer", "minimum": 0, "maximum": 9}},
                },
            }
            for verb in generator.sample(verbs, 2)
        ]
        found.append({"request": f"{offered[0]['name']} {number % 10}", "tools": offered})
    return found


def test_calls_of_other_tools_at_once_and_a_certificate_for_all(tiny: LlamaCpp):
    agent = Orchestrator(slm=tiny, policy=0.0, progress=False)
    given = rows(24)
    outcomes = agent.map(act, given)
    for row, outcome in zip(given, outcomes, strict=True):
        assert outcome.value.name in [one["name"] for one in row["tools"]]
    # The model is its own judge, but for a few arguments.
    labels = [act.output.to_json(one.value) for one in outcomes]
    for place in (3, 7, 11):
        (name,) = (one for one in labels[place]["tool"].split("_") if one.isalpha())
        digit = 1 if labels[place]["arguments"] != {f"of_{name}": 1} else 2
        labels[place] = {**labels[place], "arguments": {f"of_{name}": digit}}
    pairs = list(zip(given, labels, strict=True))
    certificate = agent.calibrate(act, pairs, max_error=0.45, confidence=0.6)
    assert set(certificate.parts) == {"", "tool", "arguments"}
    certificate.check(fingerprint(act, tiny))
    certified = Orchestrator(slm=tiny, policy=Certified(certificate), progress=False)
    served = certified.map(act, rows(30)[24:])
    for one in served:
        assert one.basis is not None
        assert set(one.basis.confidence) == set(certificate.parts)


def test_a_call_is_judged_by_its_tool_and_all_arguments_together():
    row, label = ("3 over 4", [DIVIDE]), {"tool": "divide", "arguments": {"a": 3, "b": 4}}
    for arguments, right in (
        ({"b": 4.0, "a": 3}, True),
        ({"a": 3, "b": 5}, False),
        ({"a": 3, "b": 4, "digits": 1}, False),
    ):
        outcome = scripted({"tool": "divide", "arguments": arguments}).run(act, *row)
        value = act.output.to_json(outcome.value)
        found = judge(value, label, wholes=act.output.wholes)
        assert found == {"": right, "tool": True, "arguments": right}


def test_a_lesson_of_tuning_is_the_answer_with_its_nulls(smol: LlamaCpp):
    pairs = [(("3 over 4", [DIVIDE, GREET]), {"tool": "divide", "arguments": {"a": 3, "b": 4}})]
    (text,), shared = lessons(act, pairs, model=smol)
    answer = b"".join(smol._engine.vocabulary.piece(token) for token in text.answer).decode()
    assert answer.startswith('{"tool": "divide", "arguments": {"a": 3, "b": 4, "digits": null}}')
    assert 0 < shared < len(text.prompt)
