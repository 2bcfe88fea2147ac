"""A workload as a skill: which calls are its rows, and what it says of itself."""

import json
from itertools import chain
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from hetagent import Answer, Orchestrator, Scripted, skill
from hetagent.errors import InputError, OutputError, UnsupportedTypeError
from hetagent.fingerprint import fingerprint
from hetagent.learn.chat import Wanted
from hetagent.learn.cluster import Workloads
from hetagent.learn.cluster.read import as_record, whole_prompt
from hetagent.learn.cluster.slots import Template
from hetagent.learn.record import CallRecord
from hetagent.learn.task import Task
from tests.support import workload_calls as calls

pytest.importorskip("wordllama")
pytest.importorskip("sklearn")

FENCED = "```json\n{}\n```"
COPY = "Copy the trip out of what the traveller writes, as JSON, and mark what is not said as null."


def fenced(count: int) -> list[CallRecord]:
    """JSON in a fence, of which one key may be missing."""
    found = []
    for number in range(count):
        value: dict[str, Any] = {"to": calls.PLACES[number % 9], "nights": number % 7 + number}
        if number % 3:
            value["note"] = f"note {number} of {number * 7}"
        text = FENCED.format(json.dumps(value, indent=2))
        found.append(calls.record(calls.said(COPY, f"Traveller: {number} nights, please"), text))
    return found


def conversations(count: int) -> list[CallRecord]:
    """One task in the middle of talks of several turns."""
    found = []
    for one in calls.routed(count, "trip", seed=6):
        system = "Say which desk the traveller should be sent to now: book_flight, hotel or visa."
        last = one.request["messages"][-1]["content"].removeprefix("Request: ")
        talk = [{"role": "user", "content": f"Hello, I am from {calls.PLACES[len(found) % 9]}"},
                {"role": "assistant", "content": "What is it about?"},
                {"role": "user", "content": last}]  # fmt: skip
        message = one.response["choices"][0]["message"]["content"]
        found.append(calls.record([{"role": "system", "content": system}, *talk], message))
    return found


PARTS = {
    "labels": calls.shop(40),
    "json": calls.orders(40),
    "fenced": fenced(40),
    "tools": calls.tooled(40),
    "quoted": calls.quoted(40, answers=("open", "read", "leave")),
    "strange": calls.strange_tools(30),
}
CONVERTED = ("labels", "json", "fenced", "tools", "quoted")


@pytest.fixture(scope="module")
def found() -> Workloads:
    return Workloads.fit(list(chain(*PARTS.values())))


@pytest.fixture(scope="module")
def tasks(found) -> dict[str, Task]:
    every = list(chain(*PARTS.values()))
    made = {}
    for kind in CONVERTED:
        (name,) = {found.assign(one) for one in PARTS[kind]}
        made[kind] = Task.of(found, name, records=every)
    return made


def changed(record: CallRecord, **request: Any) -> CallRecord:
    return record.with_(request={**record.request, **request})


@pytest.mark.parametrize("kind", CONVERTED)
def test_each_call_is_a_row_of_which_the_template_makes_its_prompt(found, tasks, kind):
    task = tasks[kind]
    for one in [*PARTS[kind], *(as_record(one.request) for one in PARTS[kind])]:
        row = task.row(one)
        assert row is not None, task.row_fault(one)
        (wording,) = task.prompts.wordings
        again = Template(wording.pieces).filled([row[name] for name in wording.slots])
        assert "".join(again.split()) == "".join(whole_prompt(one).split())
        match = found.match(one)
        assert (match.name, match.values) == (task.workload, row)


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_call_of_any_words_is_a_row_that_has_them_or_none(tasks, words):
    one = as_record({"messages": calls.said(calls.SHOP[0][0], f"Mail: {words}")})
    row = tasks["labels"].row(one)
    if row is None:
        assert not words.strip() or "\0" in words
        assert tasks["labels"].row_fault(one) == "no input that a model can be given"
    else:
        assert row["mail"].split() == words.split()


@pytest.mark.parametrize("kind", CONVERTED)
def test_labels_are_the_answers_and_answers_the_labels(tasks, kind):
    task = tasks[kind]
    for one in PARTS[kind]:
        value = task.label(one)
        assert value is not None, task.label_fault(one)
        message = one.response["choices"][0]["message"]
        said = task.answer(value)
        if kind == "tools":
            (call,) = message["tool_calls"]
            wanted = Wanted(call["function"]["name"], call["function"]["arguments"])
            assert said.calls == (wanted,)
        else:
            assert said.text == message["content"]


@pytest.mark.parametrize("kind", CONVERTED)
def test_the_skill_runs_and_is_the_same_when_it_is_loaded(tasks, kind):
    task = tasks[kind]
    one = PARTS[kind][0]
    value = task.label(one)
    agent = Orchestrator(Scripted(Answer(value)), progress=False)
    assert agent.run(task.skill, **task.row(one)).value == value
    loaded = Task.from_dict(json.loads(json.dumps(task.to_dict())))
    assert loaded == task
    model = Scripted(Answer(value))
    assert fingerprint(loaded.skill, model) == fingerprint(task.skill, model)
    assert [loaded.row(record) for record in PARTS[kind]] == [
        task.row(record) for record in PARTS[kind]
    ]


def test_the_same_records_make_the_same_task(found, tasks):
    every = list(chain(*PARTS.values()))
    assert Task.of(Workloads.fit(every), tasks["json"].workload, records=every) == tasks["json"]
    told = Task.of(found, tasks["json"].workload, records=every, describes_output=True)
    assert "Answer with JSON" in told.skill.messages[0].content
    assert tasks["json"].skill.messages[0].content == tasks["json"].instructions


def test_what_may_be_left_out_is_null(tasks):
    task = tasks["fenced"]
    assert task.label(PARTS["fenced"][0]) == {"to": "Lisbon", "nights": 0, "note": None}
    assert "note" not in task.answer({"to": "Oslo", "nights": 1, "note": None}).text
    weather = {"city": "Riga", "days": None, "unit": "c"}
    said = tasks["tools"].answer({"tool": "get_weather", "arguments": weather})
    assert said.calls[0].arguments == '{"city": "Riga", "unit": "c"}'


def test_answers_have_room(tasks):
    assert tasks["labels"].max_tokens == 32
    assert tasks["labels"].skill.max_tokens == 32
    assert tasks["json"].max_tokens >= len('{"item": "printer", "count": 88, "urgent": false')
    bounds = tasks["fenced"].output.schema["properties"]["note"]["anyOf"][0]
    assert bounds == {"type": "string", "maxLength": 1024}


def test_an_answer_in_words_where_tools_are_offered_is_for_the_llm(tasks):
    task, one = tasks["tools"], PARTS["tools"][0]
    words = one.with_(response={"choices": [{"message": {"content": "It rains."}}]})
    assert task.label(words) == {"tool": "none"}
    assert task.answer({"tool": "none"}) is None


@pytest.mark.parametrize(
    ("kind", "request_", "fault"),
    [
        ("labels", {"n": 2}, "asks for n"),
        ("labels", {"logprobs": True}, "asks for logprobs"),
        ("labels", {"stop": ["x"]}, "asks for stop"),
        ("labels", {"web_search_options": {"size": 1}}, "asks for web_search_options"),
        ("labels", {"tools": calls.TOOLS}, "other tools"),
        ("labels", {"functions": [{"name": "f"}]}, "asks for functions"),
        ("json", {"response_format": {"type": "json_schema", "json_schema": {"schema": {
            "type": "object", "properties": {"x": {"type": "string"}}}}}}, "another schema"),
        ("tools", {"tools": calls.TOOLS[:1]}, "other tools"),
        ("tools", {"tools": [*calls.TOOLS, {"type": "web_search"}]}, "other tools"),
        ("tools", {"tool_choice": "none"}, "a certain tool is to be called"),
        ("tools", {"tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
         "a certain tool is to be called"),
    ],
)  # fmt: skip
def test_what_a_skill_cannot_give_stays_with_the_llm(tasks, kind, request_, fault):
    one = changed(PARTS[kind][0], **request_)
    assert tasks[kind].row(one) is None
    assert tasks[kind].row_fault(one) == fault


@pytest.mark.parametrize(
    "request_",
    [
        {"n": 1}, {"logprobs": False}, {"stop": None}, {"temperature": 0.2, "stream": True},
        {"tools": calls.TOOLS, "tool_choice": "none"}, {"response_format": {"type": "text"}},
    ],
)  # fmt: skip
def test_what_asks_for_nothing_more_does_not(tasks, request_):
    assert tasks["labels"].row(changed(PARTS["labels"][0], **request_)) is not None
    assert tasks["tools"].row(changed(PARTS["tools"][0], tool_choice="required")) is not None


def test_what_the_template_does_not_show_stays_with_the_llm(tasks):
    task, (system, user) = tasks["labels"], PARTS["labels"][0].request["messages"]
    answer = {"role": "assistant", "content": "delivery"}
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    parts = [{"type": "text", "text": user["content"]}]
    for messages, fault in (
        ([system, user, answer, user], "has a history"),
        ([system, user, answer], "goes on with an answer"),
        ([user, system], "system messages among others"),
        ([system, {"role": "user", "content": [*parts, picture]}], "not only text"),
        ([{**system, "content": "Do it."}, user], "another wording"),
        ([{**system, "content": f"Today: Monday. {system['content']}"}, user], "another wording"),
    ):
        assert task.row_fault({"messages": messages}) == fault
    assert task.row({"messages": [system, {"role": "user", "content": parts}]}) is not None
    body = {"system": system["content"], "messages": [user], "max_tokens": 9}
    assert task.row(body, form="anthropic.messages") == task.row(PARTS["labels"][0])
    assert task.row_fault({**body, "stop_sequences": ["a"]}, form="anthropic.messages") == (
        "asks for stop_sequences"
    )


def test_a_long_text_is_not_cut(tasks):
    mail = " ".join(f"word{number}" for number in range(5000))
    request = {"messages": calls.said(calls.SHOP[0][0], f"Mail: {mail}")}
    assert tasks["labels"].row(request) == {"mail": mail}


def test_a_call_of_another_workload_is_no_row(tasks):
    one = PARTS["labels"][0]
    assert tasks["labels"].row_fault(one, workload="else") == "another workload"
    assert tasks["labels"].row_fault(one.with_(workload="else")) == "another workload"
    assert tasks["labels"].row(one, workload=tasks["labels"].workload) is not None


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"served_by": "slm"}, "served by an SLM"),
        ({"served_by": "both"}, "served by an SLM"),
        ({"trainable": "no-train"}, "trainable: no-train"),
        ({"complete": False}, "incomplete stream"),
        ({"response": None}, "no response"),
        ({"response": {"choices": [{"message": {"content": "delivery"},
                                    "finish_reason": "length"}]}}, "truncated"),
        ({"response": {"choices": [{"message": {"content": "shipping"}}]}},
         "no value of the type"),
    ],
)  # fmt: skip
def test_what_is_no_label(tasks, changes, fault):
    one = PARTS["labels"][0].with_(**changes)
    assert tasks["labels"].label(one) is None
    assert tasks["labels"].label_fault(one) == fault


def test_what_only_a_person_can_settle_is_no_task(found):
    with pytest.raises(InputError, match="no workload"):
        Task.of(found, "nothing")
    system = "Write one warm sentence of thanks to the guest whose review you are given."
    text = [
        calls.record(calls.said(system, f"Review: {one.request['messages'][-1]['content']}"),
                     f"Thank you number {number}, we hope to see you again {number * 7}.")
        for number, one in enumerate(calls.talk(30))
    ]  # fmt: skip
    (one,) = written = Workloads.fit(text)
    with pytest.raises(InputError, match="free text"):
        Task.of(written, one.name)


def test_tools_that_vary_come_with_the_call(found):
    (name,) = {found.assign(one) for one in PARTS["strange"]}
    task = Task.of(found, name, records=PARTS["strange"])
    assert Task.from_dict(json.loads(json.dumps(task.to_dict()))) == task
    for one in PARTS["strange"]:
        row, label = task.row(one, workload=name), task.label(one)
        assert row is not None, task.row_fault(one, workload=name)
        assert tuple(row) == task.inputs
        (tool,) = (offered["function"]["name"] for offered in one.request["tools"])
        assert [offered["name"] for offered in row[task.inputs[-1]]] == [tool]
        assert label == {"tool": tool, "arguments": {}}
        assert task.answer(label).calls == (Wanted(tool, "{}"),)
        agent = Orchestrator(slm=Scripted(Answer(label)), policy=0.0)
        assert task.answer(agent.run(task.skill, **row).value).calls == (Wanted(tool, "{}"),)
    assert task.answer({"tool": "none", "arguments": {}}) is None
    other = PARTS["strange"][0].with_(response=PARTS["strange"][1].response)
    assert task.label_fault(other) == "no value of the type"
    assert task.row_fault(changed(other, tools=[]), workload=name) == "offers no tools"
    with pytest.raises(OutputError, match="no call"):
        task.answer({"arguments": {}})


def test_answers_that_are_mostly_wrong_are_no_task(found, tasks):
    name = tasks["json"].workload
    wrong = [
        one.with_(response={"choices": [{"message": {"content": '{"item": 3}'}}]})
        for one in PARTS["json"]
    ]
    with pytest.raises(InputError, match="mostly not valid: 0 of 40"):
        Task.of(found, name, records=wrong)


def test_a_schema_that_cannot_be_constrained_is_no_task():
    loose = {"type": "object", "properties": {"a": {"type": "object"}}, "required": ["a"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": loose}}
    loose["properties"]["a"]["additionalProperties"] = {"type": "string"}
    some = [
        calls.record(one.request["messages"], '{"a": {"b": "c"}}', response_format=wanted)
        for one in calls.orders(30)
    ]
    (one,) = found = Workloads.fit(some)
    with pytest.raises(UnsupportedTypeError, match="keys that are not known"):
        Task.of(found, one.name, records=some)


def test_prompts_with_more_than_the_template_are_whole_inputs():
    some = conversations(40)
    (one,) = found = Workloads.fit(some)
    task = Task.of(found, one.name, records=some)
    assert task.inputs == ("request",)
    assert task.row_fault(some[0].request) == "not known to be of it"
    row = task.row(some[0].request, workload=one.name)
    assert "assistant: What is it about?" in row["request"]
    assert row["request"].startswith("system: Say which desk")
    assert Task.of(found, one.name, whole=False).inputs != ("request",)


class Trip(BaseModel):
    place: str
    nights: int | None


@skill
def desk(words: str) -> Literal["visa", "hotel", "lost"]:
    """Say which desk it is for; there are two of them, and each has its own opening hours."""


@skill
def trip(words: str, year: int, tags: list[str]) -> Trip:
    """Copy the trip."""


def recorded(one: Any, *rows: Any, values: Any) -> list[CallRecord]:
    found = []
    for row, value in zip(rows, values, strict=True):
        args, kwargs = one.bind_row(row)
        request = {"skill": one.name, "instructions": one.instructions, "schema": one.schema,
                   "text": one.request_text(*args, **kwargs), "max_tokens": 9}  # fmt: skip
        plain = calls.record([], "x", workload=one.name)
        found.append(plain.with_(form="hetagent.skill", request=request, response={"value": value}))
    return found


def test_a_declared_skills_calls_are_its_rows():
    task = Task.declared(trip)
    rows = [{"words": "Oslo: two nights\nor three", "year": 2026, "tags": ["a", "b"]},
            {"words": '"quoted"', "year": -1, "tags": []}]  # fmt: skip
    values = [{"place": "Oslo", "nights": 2}, {"place": "Riga", "nights": None}]
    some = recorded(trip, *rows, values=values)
    for record, row, value in zip(some, rows, values, strict=True):
        read = task.row(record)
        assert read["words"] == row["words"]
        assert trip.request_text(**read) == trip.request_text(**row)
        assert task.label(record) == value
    assert Task.from_dict(task.to_dict(), skill=trip) == task
    with pytest.raises(InputError, match="none was given"):
        Task.from_dict(task.to_dict())
    assert task.row_fault(changed(some[0], text="words: a\nyear: b\ntags: []")) == "other inputs"
    assert task.row_fault(changed(some[0], skill="other")) == "another skill"
    turns = [{"role": one.role, "content": one.content} for one in desk.messages]
    chat = {"messages": [*turns, {"role": "user", "content": "a bed"}]}
    assert Task.declared(desk).row(chat) == {"words": "a bed"}


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])), st.lists(st.text("ab\n", max_size=3)))
def test_a_declared_skills_row_asks_what_was_asked(words, tags):
    row = {"words": words, "year": 3, "tags": tags}
    try:
        (one,) = recorded(trip, row, values=[{"place": "x", "nights": 1}])
    except InputError:
        return
    read = Task.declared(trip).row(one)
    assert read is None or trip.request_text(**read) == trip.request_text(**row)
    assert read is not None or len(words.splitlines()) == 1


def test_an_orchestrators_records_are_a_workload_of_all_that_the_skill_may_answer():
    wishes = [one.request["messages"][1]["content"] for one in calls.routed(40, "trip")]
    some = recorded(desk, *wishes, values=["hotel", "visa"] * 20)
    found = Workloads.fit(some)
    task = Task.of(found, "desk", records=some)
    assert set(task.output.labels) == {"visa", "hotel", "lost"}
    assert task.row(some[0])[task.inputs[0]] in wishes[0]
    assert task.label(some[0]) == "hotel"


def test_what_is_no_task_is_not_loaded(tasks):
    with pytest.raises(InputError, match="format is 9"):
        Task.from_dict({"format": 9})
    with pytest.raises(InputError, match="broken"):
        Task.from_dict({"format": 1})
    with pytest.raises(OutputError):
        tasks["labels"].answer("shipping")
