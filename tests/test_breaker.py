"""When a model is left alone, and when it is tried again."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetagent import Answer, Breaker, Orchestrator, Scripted, skill
from hetagent.breaker import Circuit, says_down
from hetagent.errors import (
    ConnectError,
    CredentialsError,
    HetagentError,
    InputTooLongError,
    ModelDownError,
    ModelError,
    ModelTimeoutError,
    OutputError,
    ProviderError,
    RateLimitError,
    SkillError,
)
from hetagent.models.base import Request

BREAKER = Breaker(failures=3, pause=10.0)


@skill
def urgent(message: str) -> bool:
    """Decide whether the message is urgent."""


def fail(circuit: Circuit, times: int, *, at: float = 0.0) -> None:
    for _ in range(times):
        assert circuit.enter(at)
        circuit.failed(at, BREAKER)


def test_it_opens_after_failures_in_a_row():
    circuit = Circuit()
    fail(circuit, 2)
    circuit.succeeded()
    fail(circuit, 2)
    assert circuit.seconds_left(0.0) == 0.0
    fail(circuit, 1)
    assert circuit.seconds_left(4.0) == 6.0
    assert not circuit.enter(9.9)


def test_after_the_pause_one_probe_goes_through():
    circuit = Circuit()
    fail(circuit, 3)
    assert circuit.enter(10.0)
    assert not circuit.enter(10.0), "only one"
    circuit.failed(10.5, BREAKER)
    assert circuit.seconds_left(10.5) == 10.0
    assert circuit.enter(20.5)
    circuit.succeeded()
    assert circuit.enter(20.5)
    assert circuit.enter(20.5)


def test_a_probe_that_was_given_up_lets_the_next_go():
    circuit = Circuit()
    fail(circuit, 3)
    assert circuit.enter(10.0)
    circuit.left()
    assert circuit.enter(10.0)


def test_late_failures_do_not_lengthen_the_pause():
    circuit = Circuit()
    begun = [circuit.enter(0.0) for _ in range(8)]
    assert all(begun)
    for at in range(8):
        circuit.failed(float(at), BREAKER)
    assert circuit.seconds_left(2.0) == 10.0


def test_a_late_answer_closes_it():
    circuit = Circuit()
    fail(circuit, 3)
    circuit.succeeded()
    assert circuit.enter(0.0)


@given(st.lists(st.sampled_from(["enter", "enter", "ok", "down", "left", "wait"])))
def test_it_is_never_stuck(steps):
    """Whatever happened, a call may begin once the pause is over and the last one has ended."""
    circuit, now, under_way = Circuit(), 0.0, 0
    for step in steps:
        now += 1.0
        if step == "enter":
            under_way += circuit.enter(now)
        elif step != "wait" and under_way:
            under_way -= 1
            if step == "down":
                circuit.failed(now, BREAKER)
            else:
                (circuit.succeeded if step == "ok" else circuit.left)()
    for _ in range(under_way):
        circuit.left()
    assert circuit.enter(now + BREAKER.pause)


@pytest.mark.parametrize(
    ("error", "down"),
    [
        (ConnectError("no"), True),
        (ModelTimeoutError("late"), True),
        (ProviderError("503", status=503, retryable=True), True),
        (RateLimitError("slow", status=429), False),
        (ProviderError("400", status=400), False),
        (CredentialsError("key", status=401), False),
        (InputTooLongError("long"), False),
        (OutputError("bad"), False),
        (ModelError("a fault"), False),
        (None, False),
    ],
)
def test_what_says_that_a_model_is_down(error: HetagentError | None, down: bool):
    assert says_down(error) is down


@pytest.mark.parametrize("bad", [{"failures": 0}, {"pause": 0.0}, {"pause": float("nan")}])
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(
        SkillError, match=re.escape(f"{next(iter(bad))}={next(iter(bad.values()))}")
    ):
        Breaker(**bad)


# --- in an orchestrator


def test_an_llm_that_is_down_is_left_alone():
    llm = Scripted(Answer(error=ConnectError("down")), name="large")
    slm = Scripted(Answer(True, confidence=0.5))
    agent = Orchestrator(slm, llm=llm, breaker=Breaker(failures=3, pause=60), concurrency=1)
    outcomes = agent.map(urgent, ["x"] * 6)
    assert len(llm.requests) == 3
    assert {(one.served_by, one.reason) for one in outcomes} == {("none", "low_confidence")}
    kinds = [type(one.error) for one in outcomes]
    assert kinds == [ConnectError] * 3 + [ModelDownError] * 3
    last = outcomes[-1]
    assert [call.role for call in last.calls] == ["slm"], "it was not called"
    assert not last.escalated
    assert last.draft is not None
    assert isinstance(last.error, ModelDownError)
    assert 0 < last.error.seconds <= 60
    assert agent.with_options(policy=0.9).run(urgent, "x").calls[1:] == (), "others share it"


def test_without_a_breaker_it_is_asked_each_time():
    llm = Scripted(Answer(error=ConnectError("down")))
    agent = Orchestrator(Scripted(Answer(raw="")), llm=llm, breaker=None)
    agent.map(urgent, ["x"] * 20)
    assert len(llm.requests) == 20


def test_the_next_rung_is_asked_at_once():
    down, up = Scripted(Answer(error=ConnectError("down"))), Scripted(Answer(False))
    agent = Orchestrator(llm=[down, up], breaker=Breaker(failures=2, pause=60), concurrency=1)
    outcomes = agent.map(urgent, ["x"] * 5)
    assert [one.rung for one in outcomes] == [1] * 5
    assert len(down.requests) == 2
    assert isinstance(outcomes[-1].error, ModelDownError)


def test_a_probe_brings_it_back():
    answers = [Answer(error=ConnectError("down"))] * 2 + [Answer(False)] * 3
    llm = Scripted(answers)
    agent = Orchestrator(llm=llm, breaker=Breaker(failures=2, pause=0.05))
    for _ in range(2):
        assert isinstance(agent.run(urgent, "x").error, ConnectError)
    assert isinstance(agent.run(urgent, "x").error, ModelDownError)
    agent._admission.clock = lambda clock=agent._admission.clock: clock() + 1.0
    assert [agent.run(urgent, "x").value for _ in range(3)] == [False] * 3


@pytest.mark.parametrize(
    "answer", [Answer(raw="maybe"), Answer(error=RateLimitError("slow down", status=429))]
)
def test_an_llm_that_answers_rubbish_or_limits_its_rate_is_not_down(answer: Answer):
    llm = Scripted(answer)
    agent = Orchestrator(llm=llm, breaker=Breaker(failures=2, pause=60))
    agent.map(urgent, ["x"] * 9)
    assert len(llm.requests) == 9


def test_the_slm_has_no_breaker():
    calls = []

    def answer(request: Request) -> Answer:
        calls.append(request)
        return Answer(error=ConnectError("down"))

    Orchestrator(Scripted(answer), breaker=Breaker(failures=1, pause=60)).map(urgent, ["x"] * 4)
    assert len(calls) == 4


def test_a_budget_that_ran_out_says_nothing_about_the_model():
    llm = Scripted(Answer(True, delay=0.05))
    agent = Orchestrator(llm=llm, breaker=Breaker(failures=1, pause=60), timeout=5)
    with agent.spending(seconds=0.02):
        assert agent.run(urgent, "x").reason == "budget"
    assert agent.run(urgent, "x").value is True
