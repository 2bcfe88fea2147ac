"""Streaming: fields as they become complete, and the LLM asked while the SLM writes on."""

import asyncio
import doctest
import json
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from enum import Enum
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, model_validator

from hetagent import (
    Answer,
    Decision,
    FieldOutcome,
    LlamaCpp,
    Orchestrator,
    Outcome,
    Scored,
    Scripted,
    StreamingModel,
    Threshold,
    Usage,
    orchestrator,
    skill,
)
from hetagent.errors import InputError, ModelError, ModelTimeoutError, OutputError, SkillError
from hetagent.models.base import Completion, Request, Token


class Guest(BaseModel):
    name: str
    phone: str | None


class Order(BaseModel):
    guest: Guest
    people: int
    dishes: list[str]
    note: str


@skill
def order(message: str) -> Order:
    """Read the order."""


@skill
def intent(message: str) -> Literal["book", "cancel"]:
    """Decide what the guest wants."""


DRAFT: dict[str, Any] = {
    "guest": {"name": "Ann", "phone": None},
    "people": 4,
    "dishes": ["soup", "tea"],
    "note": "none",
}
TRUTH: dict[str, Any] = {
    "guest": {"name": "Anna", "phone": "5"},
    "people": 5,
    "dishes": ["stew"],
    "note": "late",
}
PATHS = ["guest.name", "guest.phone", "people", "dishes[0]", "dishes[1]", "note"]
TRUE_PATHS = ["guest.name", "guest.phone", "people", "dishes[0]", "note"]


def told(stream: Iterable[tuple[str, FieldOutcome]]) -> list[tuple[str, Any, str]]:
    return [(path, field.value, field.served_by) for path, field in stream]


def wanted(request: Request) -> Answer:
    """The true answer to whatever is asked for."""

    def part(schema: dict[str, Any], value: Any) -> Any:
        if "$ref" in schema:
            schema = request.output.schema["$defs"][schema["$ref"].rpartition("/")[2]]
        if schema.get("type") != "object":
            return value
        return {key: part(inner, value[key]) for key, inner in schema["properties"].items()}

    answer = part(request.output.schema, TRUTH)
    return Answer(raw=json.dumps(answer), confidence=0.98, usage=Usage(10, 0, 5, 0.25))


def scripted(fields: dict[str, float], **more: Any) -> Scripted:
    return Scripted(Answer(DRAFT, fields={**dict.fromkeys(PATHS, 0.99), **fields}, **more))


class Gated(Scripted):
    """Writes as scripted, but waits before a token until it is let on."""

    def __init__(self, answer: Answer, wait: Callable[[int, int], Any]) -> None:
        super().__init__(answer, name="gated")
        self._wait = wait
        self.written = 0
        self.closed = False

    async def stream(self, request: Request) -> AsyncIterator[Token | Completion]:
        completion = await self.complete(request)
        tokens = completion.tokens or ()
        try:
            for number, token in enumerate(tokens):
                await self._wait(number, len(tokens))
                self.written += 1
                yield token
            yield completion
        finally:
            self.closed = True


class Noting(Scripted):
    """Sets an event when it is asked."""

    def __init__(self, script: Any) -> None:
        super().__init__(script, name="large")
        self.asked = asyncio.Event()

    async def stream(self, request: Request) -> AsyncIterator[Token | Completion]:
        self.asked.set()
        async for piece in super().stream(request):
            yield piece


# --- accepted answers


def test_fields_come_in_the_order_they_are_written():
    agent = Orchestrator(slm=scripted({}), policy=0.5)
    with agent.stream(order, "x") as answer:
        items = list(answer)
    assert [path for path, _ in items] == PATHS
    assert items[0][1] == FieldOutcome("Ann", pytest.approx(0.99), "slm", 0.0)
    assert answer.outcome.value == Order.model_validate(DRAFT)
    assert dict(items) == answer.outcome.fields
    expected = agent.run(order, "x")
    assert answer.outcome.to_dict()["fields"] == expected.to_dict()["fields"]
    assert (answer.outcome.served_by, answer.outcome.confidence) == ("slm", expected.confidence)


def test_a_field_is_there_before_the_next_is_written():
    seen: list[str] = []

    async def main() -> None:
        async def wait(number: int, total: int) -> None:
            # The tokens are a field and forced text in turns; the consumer sees each in time.
            while len(seen) < (number - 2) // 2:
                await asyncio.sleep(0)

        slm = Gated(Answer(DRAFT, fields=dict.fromkeys(PATHS, 0.99)), wait)
        async with asyncio.timeout(5), Orchestrator(slm, policy=0.5).astream(order, "x") as answer:
            async for path, _ in answer:
                seen.append(path)
        assert answer.outcome.served_by == "slm"

    asyncio.run(main())
    assert seen == PATHS


class Colour(Enum):
    RED = "r"


@pytest.mark.parametrize(
    ("kind", "value", "data"),
    [
        (bool, True, True),
        (int, 7, 7),
        (str, "hi", "hi"),
        (Colour, Colour.RED, "r"),
        (list[int], [], []),
    ],
)
def test_a_value_without_fields_is_one_item(kind: Any, value: Any, data: Any):
    @skill(output=kind)
    def read(message: str):
        """Read it."""

    answer = Orchestrator(slm=Scripted(Answer(value, confidence=0.95))).stream(read, "x")
    items = list(answer)
    assert [(path, field.value, field.served_by) for path, field in items] == [("", data, "slm")]
    assert items[0][1].confidence == answer.outcome.confidence
    assert answer.outcome.value == value


def test_models_without_a_stream_tell_their_fields_at_the_end():
    class Plain:
        name = "plain"

        async def complete(self, request: Request) -> Completion:
            return await scripted({}).complete(request)

    assert not isinstance(Plain(), StreamingModel)
    assert isinstance(scripted({}), StreamingModel)
    answer = Orchestrator(slm=Plain(), policy=0.5).stream(order, "x")
    assert [path for path, _ in answer] == PATHS
    assert answer.outcome.served_by == "slm"


def test_the_example_in_its_documentation():
    result = doctest.testmod(orchestrator)
    assert (result.failed, result.attempted > 2) == (0, True)


# --- the whole by the LLM


def test_the_slm_is_stopped_at_the_first_field_that_decides():
    slm = Gated(
        Answer(DRAFT, fields={**dict.fromkeys(PATHS, 0.99), "people": 0.3}),
        lambda *_: asyncio.sleep(0),
    )
    llm = Scripted(wanted, name="large")
    with Orchestrator(slm, llm=llm, policy=0.8).stream(order, "x") as answer:
        items = told(answer)
    assert items[:2] == [("guest.name", "Ann", "slm"), ("guest.phone", None, "slm")]
    assert [(path, by) for path, _, by in items[2:]] == [(path, "llm") for path in TRUE_PATHS]
    outcome = answer.outcome
    assert (outcome.served_by, outcome.reason) == ("llm", "low_confidence")
    assert outcome.value == Order.model_validate(TRUTH)
    assert slm.closed
    assert slm.written < 12, "the rest was not written"
    assert outcome.draft is not None
    assert outcome.draft.text.startswith('{"guest": {"name": "Ann", "phone": null}, "people": 4')
    assert "soup" not in outcome.draft.text
    assert (outcome.draft.value, list(outcome.draft.fields)) == (None, PATHS[:3])
    assert outcome.draft.confidence == pytest.approx(0.99 * 0.99 * 0.3)
    assert [(call.role, call.error) for call in outcome.calls] == [("slm", None), ("llm", None)]
    assert outcome.calls[0].usage.completion_tokens == slm.written
    assert llm.requests[0].messages == order.request("x").messages


def test_without_an_llm_the_draft_is_written_to_its_end():
    answer = Orchestrator(scripted({"people": 0.3}), policy=0.8).stream(order, "x")
    assert [path for path, _ in answer] == ["guest.name", "guest.phone"]
    assert (answer.outcome.served_by, answer.outcome.value) == ("none", None)
    assert answer.outcome.draft is not None
    assert answer.outcome.draft.value == Order.model_validate(DRAFT)


def test_a_policy_that_cannot_decide_early_decides_at_the_end():
    class Late:
        def asks_slm(self, skill: str) -> bool:
            return True

        def decide(self, scored: Scored) -> Decision:
            return Decision("escalate", "low_confidence", ("note",))

    slm, llm = scripted({}), Scripted(wanted)
    answer = Orchestrator(slm, llm=llm, policy=Late(), escalate="fields").stream(order, "x")
    items = told(answer)
    assert items[:6] == [(path, value, "slm") for path, value, _ in items[:6]]
    assert items[6:] == [("note", "late", "llm")]
    assert answer.outcome.served_by == "both"


def test_a_policy_may_abstain_early():
    class Shy(Threshold):
        def decide(self, scored: Scored) -> Decision:
            return Decision("abstain", "policy")

    llm = Scripted(wanted)
    answer = Orchestrator(scripted({}), llm=llm, policy=Shy()).stream(order, "x")
    assert list(answer) == []
    assert (answer.outcome.served_by, answer.outcome.reason) == ("none", "policy")
    assert answer.outcome.draft is not None
    assert answer.outcome.draft.value == Order.model_validate(DRAFT)
    assert llm.requests == []


# --- fields by the LLM


def test_the_llm_is_asked_for_a_weak_field_while_the_slm_writes():
    """The SLM's last token waits for the LLM to be asked, and would wait for ever."""

    async def main() -> tuple[list[tuple[str, Any, str]], Outcome[Order], Gated, Noting]:
        llm = Noting(wanted)

        async def wait(number: int, total: int) -> None:
            if number == total - 1:
                await llm.asked.wait()

        slm = Gated(Answer(DRAFT, fields={**dict.fromkeys(PATHS, 0.99), "people": 0.3}), wait)
        agent = Orchestrator(slm, llm=llm, policy=0.8, escalate="fields")
        async with asyncio.timeout(5), agent.astream(order, "x") as answer:
            items = [(path, one.value, one.served_by) async for path, one in answer]
        return items, answer.outcome, slm, llm

    items, outcome, slm, llm = asyncio.run(main())
    assert slm.written > 10
    assert ("people", 5, "llm") in items
    assert all(by == "slm" for path, _, by in items if path != "people")
    assert sorted(path for path, _, _ in items) == sorted(PATHS), "each field once"
    assert outcome.value == Order.model_validate({**DRAFT, "people": 5})
    assert (outcome.served_by, outcome.reason) == ("both", "low_confidence")
    assert [call.role for call in outcome.calls] == ["slm", "llm"], "in the order they began"
    (request,) = llm.requests
    assert list(request.output.schema["properties"]) == ["people"]
    text = request.messages[-1].content
    assert '{"guest": {"name": "Ann", "phone": null}}' in text
    assert "soup" not in text
    assert outcome.draft is not None
    assert outcome.draft.value == Order.model_validate(DRAFT)


def test_several_weak_fields_and_one_that_is_weak_only_in_the_end():
    weak = {"guest.phone": 0.2, "people": 0.3, "note": 0.95, "dishes[1]": 0.97}
    llm = Scripted(wanted)
    agent = Orchestrator(scripted(weak), llm=llm, policy=0.94, escalate="fields")
    with agent.stream(order, "x") as answer:
        items = told(answer)
    asked = [list(request.output.schema["properties"]) for request in llm.requests]
    assert asked[:2] == [["guest"], ["people"]]
    assert len(asked) == 3
    outcome = answer.outcome
    assert len([call for call in outcome.calls if call.role == "llm"]) == 3
    for request in llm.requests:
        known = request.messages[-1].content
        assert '"people"' not in known.split("Give only")[0], "what is weak is not known"
    assert outcome.cost_usd == 0.75
    assert outcome.value == agent.run(order, "x").value
    assert {path: value for path, value, _ in items}["note"] == outcome.value.note


def test_the_first_field_can_be_asked_for_with_nothing_known():
    llm = Scripted(wanted)
    agent = Orchestrator(scripted({"guest.name": 0.1}), llm=llm, policy=0.8, escalate="fields")
    answer = agent.stream(order, "x")
    assert ("guest.name", "Anna", "llm") in told(answer)
    assert answer.outcome.value.guest == Guest(name="Anna", phone=None)
    assert "known" not in llm.requests[0].messages[-1].content


def test_a_weak_item_has_its_whole_list_asked_for():
    llm = Scripted(wanted)
    agent = Orchestrator(scripted({"dishes[1]": 0.1}), llm=llm, policy=0.8, escalate="fields")
    answer = agent.stream(order, "x")
    items = told(answer)
    assert [item for item in items if item[0].startswith("dishes")] == [
        ("dishes[0]", "soup", "slm"),
        ("dishes[0]", "stew", "llm"),
    ]
    assert answer.outcome.value.dishes == ["stew"]
    assert "dishes[1]" not in answer.outcome.fields


def test_a_list_at_the_root_is_asked_for_whole():
    @skill
    def sizes(message: str) -> list[int]:
        """List the sizes."""

    slm = Scripted(Answer([1, 2, 3], fields={"[0]": 0.99, "[1]": 0.1, "[2]": 0.99}))
    llm = Scripted(Answer([1, 5]))
    answer = Orchestrator(slm, llm=llm, escalate="fields").stream(sizes, "x")
    assert told(answer) == [("[0]", 1, "slm"), ("[0]", 1, "llm"), ("[1]", 5, "llm")]
    assert answer.outcome.served_by == "llm"
    assert answer.outcome.draft is not None
    assert answer.outcome.draft.text == "[1, 2, "


class Range(BaseModel):
    start: int
    end: int

    @model_validator(mode="after")
    def in_order(self) -> "Range":
        if self.end < self.start:
            raise ValueError("ends before it starts")
        return self


@skill
def span(message: str) -> Range:
    """Read the range."""


def test_a_merged_value_that_is_not_valid_is_asked_for_whole():
    slm = Scripted(Answer({"start": 5, "end": 6}, fields={"end": 0.1}))
    llm = Scripted([Answer({"end": 1}), Answer(Range(start=1, end=2))])
    answer = Orchestrator(slm, llm=llm, escalate="fields").stream(span, "x")
    assert told(answer)[-2:] == [("start", 1, "llm"), ("end", 2, "llm")]
    assert (answer.outcome.value, answer.outcome.served_by) == (Range(start=1, end=2), "llm")
    assert [call.role for call in answer.outcome.calls] == ["slm", "llm", "llm"]


def test_a_draft_that_is_not_valid_withdraws_what_was_asked():
    slm = Scripted(Answer({"start": 5, "end": 1}, fields={"start": 0.1, "end": 0.9}))

    def answer_for(request: Request) -> Answer:
        whole = len(request.output.schema["properties"]) == 2
        return Answer(Range(start=1, end=2)) if whole else Answer({"start": 1}, delay=30)

    answer = Orchestrator(slm, llm=Scripted(answer_for), escalate="fields").stream(span, "x")
    began = time.perf_counter()
    list(answer)
    assert time.perf_counter() - began < 5
    outcome = answer.outcome
    assert (outcome.served_by, outcome.reason) == ("llm", "invalid_output")
    roles = [(call.role, call.error is not None) for call in outcome.calls]
    assert roles == [("slm", False), ("llm", True), ("llm", False)]
    assert outcome.cost_usd is None, "what a call that was given up cost is not known"


@pytest.mark.parametrize("error", [ModelError("broken"), ModelTimeoutError("late")])
def test_an_llm_that_is_down_is_not_asked_again(error: ModelError):
    llm = Scripted([Answer(error=error), Answer(DRAFT)])
    agent = Orchestrator(scripted({"people": 0.1}), llm=llm, policy=0.8, escalate="fields")
    answer = agent.stream(order, "x")
    assert {by for _, _, by in told(answer)} == {"slm"}
    assert (answer.outcome.served_by, answer.outcome.error) == ("none", error)
    assert len(llm.requests) == 1


def test_an_llm_that_went_down_is_not_asked_for_the_next_field():
    llm = Scripted(Answer(error=ModelError("broken")))
    slm = scripted({"guest.phone": 0.1, "people": 0.1, "note": 0.1}, delay=0.1)
    answer = Orchestrator(slm, llm=llm, policy=0.8, escalate="fields").stream(order, "x")
    assert told(answer) == [("guest.name", "Ann", "slm")]
    assert answer.outcome.served_by == "none"
    assert len(llm.requests) == 1
    assert answer.outcome.draft is not None
    assert answer.outcome.draft.value == Order.model_validate(DRAFT)


def test_a_field_that_is_answered_badly_is_asked_for_whole():
    llm = Scripted([Answer(error=OutputError("bad", text="bad")), Answer(TRUTH)])
    agent = Orchestrator(scripted({"people": 0.1}), llm=llm, policy=0.8, escalate="fields")
    answer = agent.stream(order, "x")
    list(answer)
    assert answer.outcome.value == Order.model_validate(TRUTH)
    assert answer.outcome.served_by == "llm"


probabilities = st.sampled_from([0.2, 0.7, 0.85, 0.93, 0.97, 1.0])
policies = st.sampled_from(
    [
        Threshold(0.8),
        Threshold(0.0),
        Threshold(1.5),
        Threshold(0.9, {"order": {"guest": 0.95, "people": 0.5}}),
        Threshold(0.6, {"order": {"": 0.5, "dishes[]": 0.9}}),
    ]
)


@settings(max_examples=150)
@given(
    st.fixed_dictionaries(dict.fromkeys(PATHS, probabilities)),
    policies,
    st.sampled_from(["whole", "fields"]),
    st.sampled_from([None, wanted, Answer(error=ModelError("broken"))]),
)
def test_a_stream_ends_with_what_run_gives(
    fields: dict[str, float], policy: Threshold, escalate: Any, llm: Any
):
    slm = Scripted(Answer(DRAFT, fields=fields))
    other = None if llm is None else Scripted(llm)
    agent = Orchestrator(slm, llm=other, policy=policy, escalate=escalate)
    answer = agent.stream(order, "x")
    items = dict(answer)
    outcome, expected = answer.outcome, agent.run(order, "x")
    assert outcome.value == expected.value
    assert (outcome.served_by, outcome.reason) == (expected.served_by, expected.reason)
    assert outcome.escalated == expected.escalated
    assert {path: items[path] for path in outcome.fields} == outcome.fields, "the last item holds"
    by = {path: one.served_by for path, one in outcome.fields.items()}
    assert by == {path: one.served_by for path, one in expected.fields.items()}
    if escalate == "fields" or other is None:
        assert outcome.draft == expected.draft


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.sampled_from(PATHS), probabilities), unique_by=lambda t: t[0]), policies
)
def test_an_early_decision_holds_whatever_follows(
    given_: list[tuple[str, float]], policy: Threshold
):
    early: set[str] = set()
    refused = False
    sure = 1.0
    for count, (_, probability) in enumerate(given_, start=1):
        sure *= probability
        decision = policy.decide_early(Scored("order", sure, dict(given_[:count])))
        assert decision is not None or not refused
        if decision is not None:
            refused = True
            assert early <= set(decision.fields)
            early = set(decision.fields)
    if given_:
        last = policy.decide(Scored("order", sure, dict(given_)))
        assert (last.action == "escalate") == refused
        assert set(last.fields) == early


# --- what goes wrong


def failing(error: Exception | None, *, after: int) -> Scripted:
    class Failing(Scripted):
        async def stream(self, request: Request) -> AsyncIterator[Token | Completion]:
            count = 0
            async for piece in super().stream(request):
                if count == after:
                    if error is not None:
                        raise error
                    return
                count += 1
                yield piece

    return Failing(Answer(DRAFT, fields=dict.fromkeys(PATHS, 0.99)))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ModelError("broken"), "model_error"),
        (ZeroDivisionError("oops"), "model_error"),
        (ModelTimeoutError("late"), "timeout"),
        (None, "model_error"),
    ],
)
@pytest.mark.parametrize("escalate", ["whole", "fields"])
def test_an_slm_that_fails_midway(error: Exception | None, reason: str, escalate: Any):
    agent = Orchestrator(
        failing(error, after=4), llm=Scripted(wanted), policy=0.5, escalate=escalate
    )
    answer = agent.stream(order, "x")
    items = told(answer)
    assert items[0] == ("guest.name", "Ann", "slm")
    assert items[-1] == ("note", "late", "llm")
    assert (answer.outcome.served_by, answer.outcome.reason) == ("llm", reason)
    assert answer.outcome.error is not None
    if error is None:
        assert "without a Completion" in str(answer.outcome.error)


def test_what_is_no_json_escalates_at_its_end():
    slm = Scripted(Answer(raw='{"guest": }', confidence=1.0))
    answer = Orchestrator(slm, llm=Scripted(wanted)).stream(order, "x")
    list(answer)
    assert (answer.outcome.served_by, answer.outcome.reason) == ("llm", "invalid_output")


def test_a_stream_of_strange_things_is_a_model_error():
    class Strange(Scripted):
        async def stream(self, request: Request) -> AsyncIterator[Any]:
            yield "text"

    answer = Orchestrator(Strange(Answer(DRAFT))).stream(order, "x")
    assert list(answer) == []
    assert answer.outcome.reason == "model_error"
    assert "at fault" in str(answer.outcome.error)


def test_a_slow_slm_is_given_up_after_the_timeout():
    slm = scripted({}, delay=20)
    answer = Orchestrator(slm, llm=Scripted(wanted), timeout=0.1).stream(order, "x")
    began = time.perf_counter()
    list(answer)
    assert time.perf_counter() - began < 5
    assert (answer.outcome.served_by, answer.outcome.reason) == ("llm", "timeout")


def test_a_policy_that_fails_is_raised_and_nothing_stays_behind():
    class Broken(Threshold):
        def decide(self, scored: Scored) -> Decision:
            raise ZeroDivisionError("oops")

    answer = Orchestrator(scripted({}), policy=Broken()).stream(order, "x")
    with pytest.raises(ZeroDivisionError, match="oops"):
        list(answer)
    with pytest.raises(SkillError, match="not read to its end"):
        _ = answer.outcome


def test_arguments_are_checked_at_once():
    agent = Orchestrator(scripted({}))
    with pytest.raises(InputError):
        agent.stream(order, "")
    with pytest.raises(SkillError):
        agent.astream(order, "x", "y")  # type: ignore[call-arg]
    with pytest.raises(SkillError, match="no model"):
        Orchestrator().stream(order, "x")


# --- leaving early


def test_leaving_the_block_cancels_the_models():
    cancelled = threading.Event()

    class Endless(Scripted):
        async def complete(self, request: Request) -> Completion:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.set()
                raise
            raise AssertionError

        async def stream(self, request: Request) -> AsyncIterator[Token | Completion]:
            yield Token(0, b'{"guest": {"name": "Ann"', 0.0, 0.0, 0)
            yield await self.complete(request)

    with Orchestrator(Endless(Answer()), policy=0.5).stream(order, "x") as answer:
        for path, _ in answer:
            assert path == "guest.name"
            break
    assert cancelled.is_set()
    assert list(answer) == []
    with pytest.raises(SkillError, match="not read to its end"):
        _ = answer.outcome


def test_leaving_cancels_the_question_to_the_llm_too():
    async def main() -> list[str]:
        llm = Noting(Answer({"people": 5}, delay=30))
        slm = scripted({"people": 0.1}, delay=0.1)
        agent = Orchestrator(slm, llm=llm, policy=0.8, escalate="fields")
        async with agent.astream(order, "x") as answer:
            assert isinstance(await anext(answer), tuple)
            await llm.asked.wait()
        return [task.get_name() for task in asyncio.all_tasks() - {asyncio.current_task()}]

    began = time.perf_counter()
    assert asyncio.run(main()) == []
    assert time.perf_counter() - began < 5


def test_a_block_that_is_left_before_anything_was_asked():
    with Orchestrator(scripted({}, delay=10)).stream(order, "x"):
        pass
    Orchestrator(scripted({})).stream(order, "never begun")


def test_a_stream_may_be_read_without_a_block():
    async def main() -> int:
        answer = Orchestrator(scripted({}), policy=0.5).astream(order, "x")
        assert [path async for path, _ in answer] == PATHS
        assert [path async for path, _ in answer] == []
        assert answer.outcome.served_by == "slm"
        return len(asyncio.all_tasks())

    assert asyncio.run(main()) == 1


def test_waiting_for_an_item_may_time_out_and_go_on():
    async def main() -> list[str]:
        slm = scripted({}, delay=0.3)
        seen = []
        async with Orchestrator(slm, policy=0.5).astream(order, "x") as answer:
            while True:
                try:
                    async with asyncio.timeout(0.01):
                        path, _ = await anext(answer)
                except TimeoutError:
                    continue
                except StopAsyncIteration:
                    return seen
                seen.append(path)

    assert asyncio.run(main()) == PATHS


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_stops_a_stream():
    code = textwrap.dedent(
        """
        import sys
        from hetagent import Answer, Orchestrator, Scripted, skill

        @skill
        def sizes(message: str) -> list[int]:
            '''List the sizes.'''

        slm = Scripted(Answer([1, 2], fields={"[0]": 0.9, "[1]": 0.9}, delay=60))
        answer = Orchestrator(slm).stream(sizes, "x")
        print("began", flush=True)
        try:
            next(answer)
        except KeyboardInterrupt:
            print(list(answer))
        """
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "began\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[0] == "[]\n"
    assert process.returncode == 0


# --- with a real model


MESSAGE = "Soup and tea for Ann, four people"


def test_a_real_model(smol: LlamaCpp):
    answer = Orchestrator(smol, policy=0.0).stream(order, MESSAGE)
    items = dict(answer)
    assert items == answer.outcome.fields
    assert answer.outcome.served_by == "slm"
    assert isinstance(answer.outcome.value, Order)


def test_the_tokens_of_a_real_model_give_each_field_once(smol: LlamaCpp):
    """Real tokens span the ends of fields: their confidence is final where it is told."""

    class Replayed:
        name = "replayed"

        async def complete(self, request: Request) -> Completion:
            return await smol.complete(request)

        async def stream(self, request: Request) -> AsyncIterator[Token | Completion]:
            completion = await self.complete(request)
            for token in completion.tokens or ():
                yield token
            yield completion

    answer = Orchestrator(Replayed(), policy=0.0).stream(order, MESSAGE)
    items = list(answer)
    assert len({path for path, _ in items}) == len(items) >= 5
    assert dict(items) == answer.outcome.fields
