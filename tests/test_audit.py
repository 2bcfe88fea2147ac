"""Audits of accepted answers: what is drawn and asked, feedback, drift, and what comes of it."""

import asyncio
import gc
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from hetagent import (
    Answer,
    Audit,
    AuditStatus,
    Breaker,
    Budget,
    Certified,
    Orchestrator,
    Outcome,
    Request,
    Scripted,
    Usage,
    Window,
    skill,
)
from hetagent.audit_queue import audit_loop
from hetagent.errors import ConnectError, InputError, SkillError
from tests.support.certificates import certificate


@skill
def sign(text: str) -> Literal["plus", "minus"]:
    """Say which sign the number has."""


class Pair(BaseModel):
    left: int
    right: int


@skill
def pair(text: str) -> Pair:
    """Copy the pair."""


def number_of(request: Request) -> int:
    return int(request.messages[-1].content.split()[-1])


def small(
    wrong: Callable[[int], bool] = lambda _: False, confidence: float = 0.9, **more: Any
) -> Scripted:
    """Says ``plus``, which is right, but ``minus`` for some numbers."""

    def answer(request: Request) -> Answer:
        value = "minus" if wrong(number_of(request)) else "plus"
        return Answer(value, confidence=confidence, **more)

    return Scripted(answer, name="small")


def large(value: Any = "plus", usd: float = 0.0, **more: Any) -> Scripted:
    """Is always right about signs."""
    return Scripted(Answer(value, usage=Usage(10, 0, 5, usd), **more), name="large")


def audited(
    slm: Scripted,
    llm: Scripted | None = None,
    *,
    policy: Certified | None = None,
    options: dict[str, Any] | None = None,
    **audit: Any,
) -> Orchestrator:
    audit = {"share": 1.0, "by": "llm" if llm is not None else None, **audit}
    return Orchestrator(
        slm,
        llm=llm,
        policy=policy or Certified(certificate(sign, slm)),
        progress=False,
        audit=Audit(**audit),
        **(options or {}),
    )


def rows(count: int, start: int = 0) -> list[str]:
    return [f"number {n}" for n in range(start, start + count)]


def only(agent: Orchestrator) -> AuditStatus:
    (status,) = agent.audits.status().promises.values()
    return status


def unjoined(agent: Orchestrator) -> dict[str, int]:
    return {kind: n for kind, n in agent.audits.status().unjoined.items() if n}


def half(number: int) -> bool:
    return number % 2 == 0


# --- drawn, asked, tested


def test_where_the_promise_holds_nothing_changes(caplog: pytest.LogCaptureFixture):
    slm, llm = small(lambda n: n % 20 == 0), large()
    agent = audited(slm, llm)
    outcomes = agent.map(sign, rows(400))
    assert agent.audits.flush(60)
    status = only(agent)
    assert (status.state, status.drawn, status.answered, status.errors) == ("holding", 400, 400, 20)
    assert status.interval.low < 0.05 < status.interval.high
    assert {(one.served_by, one.reason) for one in outcomes} == {("slm", None)}
    assert len(llm.requests) == 400
    assert llm.requests[0] == slm.requests[0]
    assert agent.audits.status().drifted == ()
    assert "holding" in agent.audits.status().explain()
    assert not caplog.records


def test_only_a_share_is_drawn():
    llm = large()
    agent = audited(small(), llm, share=0.1)
    agent.map(sign, rows(500))
    assert agent.audits.flush(60)
    assert 20 < only(agent).drawn < 90
    assert len(llm.requests) == only(agent).answered == only(agent).drawn


def test_answers_that_turn_bad_raise_drift_and_are_not_accepted_any_more(
    caplog: pytest.LogCaptureFixture,
):
    found: list[AuditStatus] = []
    slm, llm = small(lambda n: n >= 100 and half(n)), large()
    agent = audited(slm, llm, notify=found.append)
    agent.map(sign, rows(100))
    assert agent.audits.flush(60)
    assert only(agent).state == "holding"
    agent.map(sign, rows(100, start=100))
    assert agent.audits.flush(60)
    status = only(agent)
    assert status.state == "drift"
    assert status.onset is not None
    assert 90 < status.onset <= 110
    before = len(slm.requests)
    after = agent.run(sign, "number 200")
    assert (after.value, after.served_by, after.reason) == ("plus", "llm", "drift")
    assert after.basis is not None
    assert after.basis.certificate == status.certificate
    assert len(slm.requests) == before
    summary = agent.audits.status()
    assert summary.drifted == (status.certificate,)
    assert "broken" in summary.explain()
    assert [(one.certificate, one.state) for one in found] == [(status.certificate, "drift")]
    (warning,) = [one for one in caplog.records if one.name == "hetagent"]
    assert warning.levelno == logging.WARNING
    assert status.certificate in warning.message
    assert "agent.calibrate" in warning.message


def test_without_an_llm_drift_abstains():
    agent = audited(small(half))
    for row in rows(60):
        outcome = agent.run(sign, row)
        if outcome.reason == "drift":
            break
        agent.feedback(outcome.trace_id, value="plus")
    assert (outcome.value, outcome.served_by) == (None, "none")
    assert only(agent).state == "drift"


def test_another_certificate_is_accepted_again():
    slm = small(half)
    agent = audited(slm, large())
    agent.map(sign, rows(60))
    assert agent.audits.flush(60)
    assert agent.run(sign, "number 1").reason == "drift"
    newer = certificate(sign, slm, made="2026-02-02T00:00:00+00:00")
    renewed = agent.with_options(policy=Certified(newer))
    assert renewed.run(sign, "number 1").served_by == "slm"
    assert agent.run(sign, "number 1").served_by == "llm"
    assert renewed.audits is agent.audits
    assert renewed.audits.flush(60)
    assert renewed.audits.status().promises[newer.id].drawn == 1


def test_a_warning_may_be_all(caplog: pytest.LogCaptureFixture):
    agent = audited(small(half), large(), on_drift="warn")
    agent.map(sign, rows(60))
    assert agent.audits.flush(60)
    assert only(agent).state == "drift"
    assert agent.run(sign, "number 1").served_by == "slm"
    assert len(caplog.records) == 1


def test_a_callback_that_fails_breaks_nothing(caplog: pytest.LogCaptureFixture):
    def fail(_: AuditStatus) -> None:
        raise RuntimeError("no pager")

    agent = audited(small(half), large(), notify=fail)
    agent.map(sign, rows(60))
    assert agent.audits.flush(60)
    assert agent.run(sign, "number 1").reason == "drift"
    assert "no pager" in caplog.text


def test_what_no_certificate_vouches_for_is_not_drawn():
    unsure = audited(small(confidence=0.5), large())
    assert unsure.run(sign, "number 1").served_by == "llm"
    bare = unsure.with_options(policy=0.1)
    assert bare.run(sign, "number 1").served_by == "slm"
    assert unsure.audits.flush(60)
    assert unsure.audits.status().promises == {}


def test_an_auditor_that_errs_is_allowed_for():
    def erring(request: Request) -> Answer:
        return Answer("minus" if number_of(request) % 5 == 0 else "plus")

    strict, lenient = (
        audited(small(), Scripted(erring, name="large"), auditor_error=share)
        for share in (0.0, 0.25)
    )
    for agent in (strict, lenient):
        agent.map(sign, rows(400))
        assert agent.audits.flush(60)
    assert only(strict).state == "drift"
    assert (only(lenient).state, only(lenient).max_error) == ("holding", pytest.approx(0.35))


def test_right_is_what_the_user_says_it_is():
    def same_sign(value: Any, label: Any) -> bool:
        return {value, label} <= {"plus", "minus"}

    for rule in (same_sign, {"sign": same_sign}):
        agent = audited(small(half), large(), correct=rule)
        agent.map(sign, rows(60))
        assert agent.audits.flush(60)
        assert (only(agent).errors, only(agent).answered) == (0, 60)


# --- fields


def pairs(slm: Scripted, llm: Scripted | None = None, **audit: Any) -> Orchestrator:
    policy = Certified(certificate(pair, slm, fields=["left", "right"]), accept="fields")
    return audited(slm, llm, policy=policy, options={"escalate": "fields"}, **audit)


def test_a_field_whose_promise_is_broken_is_not_accepted_and_the_others_are():
    slm = Scripted(Answer({"left": 1, "right": 9}, fields={"left": 0.9, "right": 0.9}))

    def right(request: Request) -> Answer:
        wanted = request.output.schema["properties"]
        return Answer({name: {"left": 1, "right": 2}[name] for name in wanted})

    agent = pairs(slm, Scripted(right, name="large"))
    agent.map(pair, rows(60))
    assert agent.audits.flush(60)
    states = {name[13:]: one.state for name, one in agent.audits.status().promises.items()}
    assert states == {"left": "holding", "right": "drift"}
    before = {name[13:]: one.drawn for name, one in agent.audits.status().promises.items()}
    assert before["left"] == 60
    outcome = agent.run(pair, "number 1")
    assert (outcome.value, outcome.served_by) == (Pair(left=1, right=2), "both")
    assert outcome.reason == "drift"
    assert {p: f.served_by for p, f in outcome.fields.items()} == {"left": "slm", "right": "llm"}
    assert agent.audits.flush(60)
    drawn = {name[13:]: one.drawn for name, one in agent.audits.status().promises.items()}
    assert drawn == {"left": 61, "right": before["right"]}


def test_a_weak_field_is_not_drawn_with_the_others():
    slm = Scripted(Answer({"left": 1, "right": 9}, fields={"left": 0.9, "right": 0.5}))
    llm = Scripted(lambda r: Answer(dict.fromkeys(r.output.schema["properties"], 2)))
    agent = pairs(slm, llm)
    outcome = agent.run(pair, "number 1")
    assert outcome.served_by == "both"
    assert agent.audits.flush(60)
    assert [name[13:] for name in agent.audits.status().promises] == ["left"]
    assert only(agent).errors == 1


def test_feedback_on_fields_joins_those_it_names():
    slm = Scripted(Answer({"left": 1, "right": 9}, fields={"left": 0.9, "right": 0.9}))
    agent = pairs(slm)
    first, second, third = (agent.run(pair, row).trace_id for row in rows(3))
    assert agent.feedback(first, fields={"right": False}) == "joined"
    assert agent.feedback(first, correct=False) == "partial"
    assert agent.feedback(first, fields={"left": True}) == "joined"
    assert agent.feedback(second, value={"left": 1}) == "joined"
    assert agent.feedback(second, value=Pair(left=1, right=8)) == "joined"
    assert agent.feedback(third, correct=True) == "joined"
    found = {n[13:]: (s.answered, s.errors) for n, s in agent.audits.status().promises.items()}
    assert found == {"left": (3, 0), "right": (3, 2)}
    for fields in ({"middle": True}, {"left": "yes"}):
        with pytest.raises(InputError, match="field"):
            agent.feedback(third, fields=fields)


# --- feedback


def test_feedback_joins_a_drawn_answer_once():
    agent = audited(small(half))
    traces = [agent.run(sign, row).trace_id for row in rows(4)]
    assert agent.feedback(traces[0], correct=False) == "joined"
    assert agent.feedback(traces[0], correct=True) == "closed"
    assert agent.feedback(traces[2], value="plus") == "joined"
    assert agent.feedback(traces[2], value="plus") == "repeated"
    assert agent.feedback(traces[1], correct=True) == "joined"
    assert (only(agent).answered, only(agent).errors, only(agent).open) == (3, 2, 1)
    assert unjoined(agent) == {"closed": 1, "repeated": 1}


def test_volunteered_feedback_is_never_tested():
    agent = audited(small(), share=0.0)
    for row in rows(100):
        assert agent.feedback(agent.run(sign, row).trace_id, correct=False) == "volunteered"
    assert (only(agent).drawn, only(agent).state) == (0, "holding")
    assert unjoined(agent) == {"volunteered": 100}


def test_feedback_on_escalated_answers_is_never_tested():
    agent = audited(small(confidence=0.5), large(), by=None)
    for row in rows(100):
        outcome = agent.run(sign, row)
        assert outcome.escalated
        assert agent.feedback(outcome.trace_id, correct=False) == "volunteered"
    assert agent.audits.status().promises == {}
    assert unjoined(agent) == {"volunteered": 100}


def test_feedback_on_no_answer_is_volunteered():
    agent = audited(small(confidence=0.5))
    outcome = agent.run(sign, "number 1")
    assert outcome.served_by == "none"
    assert agent.feedback(outcome.trace_id, value="plus") == "volunteered"


def test_feedback_must_be_one_thing_and_a_value_a_possible_one():
    agent = audited(small())
    trace_id = agent.run(sign, "number 1").trace_id
    for given in ({}, {"correct": True, "value": "plus"}, {"correct": "yes"}):
        with pytest.raises(InputError, match="not one thing"):
            agent.feedback(trace_id, **given)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no value"):
        agent.feedback(trace_id, value="times")
    with pytest.raises(InputError, match="no field"):
        agent.feedback(trace_id, fields={"left": True})
    assert only(agent).answered == 0


def test_an_answer_that_is_forgotten_still_takes_a_verdict_but_no_value():
    agent = audited(small(), recent=1)
    first, second = (agent.run(sign, row).trace_id for row in rows(2))
    with pytest.raises(InputError, match="not remembered"):
        agent.feedback(first, value="plus")
    assert agent.feedback(first, correct=False) == "joined"
    assert agent.feedback(second, value="minus") == "joined"
    assert only(agent).errors == 2


def test_of_several_skills_in_one_trace_feedback_says_which():
    agent = audited(small())
    outcome = agent.run(sign, "number 1")
    request = pair.request("number 1")
    other = replace(outcome, value=Pair(left=1, right=2), skill="pair", basis=None)
    agent.audits.observe(other, pair, request, agent._options)
    with pytest.raises(InputError, match="Several skills"):
        agent.feedback(outcome.trace_id, correct=False)
    assert agent.feedback(outcome.trace_id, correct=False, skill="pair") == "volunteered"
    assert agent.feedback(outcome.trace_id, correct=False, skill="sign") == "joined"


def in_one_trace(agent: Orchestrator, count: int) -> list[Outcome[Any]]:
    trace = pytest.importorskip("opentelemetry.trace")
    context = trace.SpanContext(0xABC, 0xDEF, is_remote=False)
    with trace.use_span(trace.NonRecordingSpan(context)):
        outcomes = agent.map(sign, rows(count))
    assert {one.trace_id for one in outcomes} == {f"{0xABC:032x}"}
    return outcomes


def test_answers_that_share_a_trace_are_drawn_each_by_itself():
    """A batch within one span is as many chances, not one for all of it."""
    for seed in range(3):
        llm = large()
        agent = audited(small(half), llm, share=0.2, seed=seed, on_drift="warn")
        in_one_trace(agent, 300)
        assert agent.audits.flush(60)
        assert 30 < only(agent).drawn < 95
        assert only(agent).answered == only(agent).drawn == len(llm.requests)
        assert 10 < only(agent).errors < 60


def test_feedback_on_one_of_several_answers_in_a_trace_does_not_say_on_which():
    agent = audited(small())
    first, *_ = in_one_trace(agent, 3)
    assert agent.feedback(first.trace_id, correct=False) == "partial"
    assert agent.feedback(first.trace_id, value="minus") == "partial"
    assert (only(agent).drawn, only(agent).answered) == (3, 0)


def test_without_audits_there_is_no_feedback():
    agent = Orchestrator(small())
    for call in (lambda: agent.feedback("0" * 32, correct=True), lambda: agent.audits):
        with pytest.raises(SkillError, match="no audits"):
            call()


# --- whatever happens to an auditor, callers have their answers


def test_an_llm_that_is_down_gives_no_verdict_and_harms_nobody(caplog: pytest.LogCaptureFixture):
    llm = large(error=ConnectError("Nobody is there."))
    agent = audited(small(), llm, options={"breaker": Breaker(failures=3, pause=600)})
    outcomes = agent.map(sign, rows(50))
    assert agent.audits.flush(60)
    assert {(one.value, one.served_by) for one in outcomes} == {("plus", "slm")}
    summary = agent.audits.status()
    assert (only(agent).drawn, only(agent).answered, only(agent).open) == (50, 0, 50)
    assert (summary.unanswered, summary.under_way) == (50, 0)
    assert "without a verdict" in summary.explain()
    assert 3 <= len(llm.requests) <= 3 + 4
    assert len(caplog.records) == 1
    assert agent.feedback(outcomes[0].trace_id, correct=True) == "joined"


@pytest.mark.parametrize(
    "llm", [large(raw="rubbish"), large(raw="pl", truncated=True)], ids=["invalid", "cut off"]
)
def test_a_rubbish_verdict_is_none(llm: Scripted):
    agent = audited(small(), llm)
    agent.run(sign, "number 1")
    assert agent.audits.flush(60)
    assert (only(agent).answered, agent.audits.status().unanswered) == (0, 1)


def test_callers_do_not_wait_and_a_bounded_number_is_under_way():
    under_way, most, let_go = 0, 0, threading.Event()
    lock = threading.Lock()

    def slow(outcome: Outcome[Any], request: Request) -> bool:
        nonlocal under_way, most
        with lock:
            under_way, most = under_way + 1, max(most, under_way + 1)
        assert let_go.wait(60)
        with lock:
            under_way -= 1
        return True

    agent = audited(small(), by=slow, limit=3)
    outcomes = agent.map(sign, rows(20))
    assert len(outcomes) == 20
    assert agent.audits.status().under_way == 20
    assert not agent.audits.flush(0.05)
    let_go.set()
    assert agent.audits.flush(60)
    assert most == 3
    assert only(agent).answered == 20


def test_an_audit_has_a_time_limit():
    agent = audited(small(), large(delay=60), timeout=0.05)
    agent.run(sign, "number 1")
    assert agent.audits.flush(30)
    summary = agent.audits.status()
    assert summary.unanswered == 1
    assert "0.05 seconds" in str(summary.error)
    assert agent.spent.in_flight == 0


def test_audits_keep_the_budget():
    budget = Budget(windows=(Window(seconds=3600, llm_calls=5, usd=1.0),))
    llm = large(usd=0.01)
    agent = audited(small(), llm, options={"budget": budget})
    outcomes = agent.map(sign, rows(30))
    assert agent.audits.flush(60)
    assert {one.served_by for one in outcomes} == {"slm"}
    assert len(llm.requests) == 5
    assert agent.spent.usd == pytest.approx(0.05)
    assert (only(agent).answered, agent.audits.status().unanswered) == (5, 25)
    assert "budget" in str(agent.audits.status().error).lower()


def test_audits_keep_the_caps_of_the_scope_they_were_drawn_in():
    llm = large()
    agent = audited(small(), llm)
    with agent.spending(llm_calls=2) as scope:
        agent.map(sign, rows(10))
        assert agent.audits.flush(60)
        assert scope.llm_calls == 2
    assert len(llm.requests) == 2


def test_another_model_may_audit():
    auditor, llm = large("minus"), large("plus")
    agent = audited(small(), llm, by=auditor)
    agent.run(sign, "number 1")
    assert agent.audits.flush(60)
    assert (len(auditor.requests), len(llm.requests)) == (1, 0)
    assert only(agent).errors == 1


def test_a_function_may_audit(caplog: pytest.LogCaptureFixture):
    def look(outcome: Outcome[Any], request: Request) -> Any:
        number = number_of(request)
        if number == 3:
            raise ValueError("what?")
        return {0: True, 1: False, 2: None, 4: {"": True}, 5: "yes"}[number]

    agent = audited(small(), by=look)
    agent.map(sign, rows(6))
    assert agent.audits.flush(60)
    assert (only(agent).answered, only(agent).errors) == (3, 1)
    assert agent.audits.status().unanswered == 3


def test_a_function_may_audit_fields():
    slm = Scripted(Answer({"left": 1, "right": 9}, fields={"left": 0.9, "right": 0.9}))
    agent = pairs(slm, by=lambda outcome, request: {"left": True, "right": False})
    agent.run(pair, "number 1")
    assert agent.audits.flush(60)
    assert [one.errors for one in agent.audits.status().promises.values()] == [0, 1]


# --- every way to run


def test_a_stream_is_audited_and_falls_back():
    agent = audited(small(half), large())
    for row in rows(60):
        with agent.stream(sign, row) as stream:
            told = list(stream)
        if stream.outcome.reason == "drift":
            break
        assert agent.audits.flush(60)
    assert stream.outcome.reason == "drift"
    assert [(field.value, field.served_by) for _, field in told] == [("plus", "llm")]


def test_a_stream_of_fields_gives_a_broken_one_by_the_llm():
    slm = Scripted(Answer({"left": 1, "right": 9}, fields={"left": 0.9, "right": 0.9}))
    right = {"left": 1, "right": 2}
    llm = Scripted(lambda r: Answer({n: right[n] for n in r.output.schema["properties"]}))
    agent = pairs(slm, llm)
    agent.map(pair, rows(60))
    assert agent.audits.flush(60)
    with agent.stream(pair, "number 1") as stream:
        last = dict(stream)
    assert {path: field.value for path, field in last.items()} == right
    assert stream.outcome.value == Pair(left=1, right=2)


def test_asynchronous_callers_are_audited_too():
    async def main() -> None:
        agent = audited(small(half), large())
        first = await agent.arun(sign, "number 1")
        assert first.served_by == "slm"
        await agent.amap(sign, rows(60))
        assert await agent.audits.aflush(60)
        assert (await agent.arun(sign, "number 1")).reason == "drift"

    asyncio.run(main())


def test_waiting_ends_in_time_and_what_is_under_way_can_be_given_up():
    async def main() -> None:
        agent = audited(small(), large(delay=60))
        await agent.amap(sign, rows(10))
        assert not await agent.audits.aflush(0.05)
        assert agent.audits.status().under_way == 10
        agent.audits.cancel()
        assert await agent.audits.aflush(60)
        assert agent.spent.in_flight == 0
        assert only(agent).open == 10

    asyncio.run(main())


def test_an_audit_outlives_the_loop_its_answer_came_on():
    agent = audited(small(), large(delay=0.2))
    asyncio.run(agent.arun(sign, "number 1"))
    assert agent.audits.flush(60)
    assert only(agent).answered == 1


def test_sixteen_callers_at_once():
    slm, llm = small(lambda n: n >= 320 and half(n)), large()
    told: list[AuditStatus] = []
    agent = audited(slm, llm, notify=told.append)

    def call(caller: int) -> list[Outcome[Any]]:
        found = [agent.run(sign, f"number {16 * step + caller}") for step in range(20)]
        assert agent.audits.flush(120)
        return found + [agent.run(sign, f"number {16 * step + caller}") for step in range(20, 40)]

    with ThreadPoolExecutor(16) as pool:
        outcomes = [one for found in pool.map(call, range(16)) for one in found]
    assert agent.audits.flush(120)
    assert len(outcomes) == 640
    assert all(one.value is not None for one in outcomes)
    assert {one.reason for one in outcomes} == {None, "drift"}
    status = only(agent)
    assert status.state == "drift"
    assert status.drawn == sum(one.served_by == "slm" for one in outcomes)
    assert status.open == 0
    assert len(told) == 1
    assert agent.spent.in_flight == 0


# --- kept in a file


def test_what_was_found_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "deep" / "audits.json"
    agent = audited(small(half), state=path)
    waiting = agent.run(sign, "number 1")
    agent.audits.flush()
    agent = audited(small(half), state=path)
    assert only(agent).open == 1
    assert agent.feedback(waiting.trace_id, correct=True) == "joined"
    outcome = agent.run(sign, "number 0")
    while outcome.reason != "drift":
        agent.feedback(outcome.trace_id, correct=False)
        outcome = agent.run(sign, "number 0")
    status = only(agent)
    caplog.clear()
    again = audited(small(half), state=path)
    assert again.run(sign, "number 1").reason == "drift"
    assert only(again).errors == status.errors
    assert "found earlier" in caplog.text


def test_the_state_is_written_before_long_and_when_the_agent_is_dropped(tmp_path: Path):
    path = tmp_path / "audits.json"
    agent = audited(small(), state=path)
    agent.run(sign, "number 1")
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    agent.run(sign, "number 2")
    del agent
    gc.collect()
    (trial,) = json.loads(path.read_text())["trials"].values()
    assert len(trial["window"]) == 2
    assert [one.name for one in tmp_path.iterdir()] == ["audits.json"]


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 1, "share": 7}', '{"version": 99}'])
def test_a_file_that_cannot_be_read_is_put_aside(
    text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = tmp_path / "audits.json"
    path.write_text(text)
    agent = audited(small(), state=path)
    assert agent.audits.status().promises == {}
    assert (tmp_path / "audits.json.unreadable").read_text() == text
    assert "begin anew" in caplog.text
    agent.run(sign, "number 1")
    agent.audits.flush()
    assert only(audited(small(), state=path)).drawn == 1


def test_a_file_that_cannot_be_written_is_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "file").write_text("")
    agent = audited(small(), state=tmp_path / "file" / "audits.json")
    for row in rows(3):
        assert agent.run(sign, row).value == "plus"
        agent.audits.flush()
    assert caplog.text.count("cannot be kept") == 1


def test_audits_with_other_numbers_begin_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "audits.json"
    agent = audited(small(), state=path)
    agent.map(sign, rows(3))
    agent.audits.flush()
    other = audited(small(), state=path, auditor_error=0.1)
    other.run(sign, "number 1")
    assert (only(other).drawn, only(other).max_error) == (1, pytest.approx(0.2))
    assert "other options" in caplog.text


# --- the end


EXIT = """
import sys, time
from typing import Literal
from hetagent import *
from tests.support.certificates import certificate

@skill
def sign(text: str) -> Literal["plus", "minus"]:
    "Say which sign the number has."

def hang(outcome, request):
    time.sleep(600)

slm = Scripted(Answer("plus", confidence=0.9), name="small")
for by in (Scripted(Answer("plus", delay=600), name="large"), hang):
    agent = Orchestrator(slm, policy=Certified(certificate(sign, slm)), progress=False,
                         audit=Audit(share=1.0, by=by, state=sys.argv[1]))
    agent.map(sign, ["a", "b", "c", "d", "e", "f"])
    assert agent.audits.status().under_way == 6
print("done")
"""


def test_the_end_of_the_process_waits_for_no_audit_and_keeps_what_was_drawn(tmp_path: Path):
    path = tmp_path / "audits.json"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", EXIT, str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "done\n", "")
    (trial,) = json.loads(path.read_text())["trials"].values()
    assert len(trial["window"]) >= 6


INTERRUPTED = """
import os, signal, threading
from typing import Literal
from hetagent import *
from tests.support.certificates import certificate

@skill
def sign(text: str) -> Literal["plus", "minus"]:
    "Say which sign the number has."

signal.signal(signal.SIGINT, signal.default_int_handler)
slm = Scripted(Answer("plus", confidence=0.9), name="small")
agent = Orchestrator(slm, policy=Certified(certificate(sign, slm)), progress=False,
                     audit=Audit(share=1.0, by=Scripted(Answer("plus", delay=600))))
agent.map(sign, ["a", "b", "c"])
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    agent.audits.flush()
except KeyboardInterrupt:
    print(agent.run(sign, "d").value, agent.audits.status().under_way)
"""


def test_ctrl_c_ends_waiting_and_harms_nothing_else():
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", INTERRUPTED],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "plus 4\n", "")


def test_nothing_is_left_under_way():
    agent = audited(small(), large(delay=0.01))
    agent.map(sign, rows(40))
    assert agent.audits.flush(60)
    assert agent.audits.status().under_way == 0
    assert agent.spent.in_flight == 0

    async def others() -> int:
        return len(asyncio.all_tasks()) - 1

    deadline = time.monotonic() + 60
    while asyncio.run_coroutine_threadsafe(others(), audit_loop()).result():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_audit_does_not_wait_for_itself():
    raised: list[BaseException] = []

    def wait(_: AuditStatus) -> None:
        try:
            agent.audits.flush()
        except SkillError as error:
            raised.append(error)

    agent = audited(small(half), large(), notify=wait)
    agent.map(sign, rows(60))
    assert agent.audits.flush(60)
    assert len(raised) == 1


# --- options


@pytest.mark.parametrize(
    "options",
    [
        {"share": 1.5},
        {"share": "all"},
        {"by": 3},
        {"on_drift": "panic"},
        {"notify": 3},
        {"correct": 3},
        {"auditor_error": 1},
        {"confidence": 1},
        {"limit": 0},
        {"timeout": 0},
        {"recent": 0},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]):
    with pytest.raises(SkillError, match=next(iter(options))):
        Audit(**options)


def test_an_auditor_must_be_there():
    with pytest.raises(SkillError, match="no LLM"):
        Orchestrator(small(), audit=Audit())
    with pytest.raises(SkillError, match="audit is"):
        Orchestrator(small(), audit=0.1)  # type: ignore[arg-type]


def test_audits_can_be_changed_for_another_agent():
    agent = audited(small(), large())
    assert agent.with_options(timeout=5).audits is agent.audits
    assert agent.with_options(audit=Audit(by=None)).audits is not agent.audits
    with pytest.raises(SkillError, match="no audits"):
        _ = agent.with_options(audit=None).audits
