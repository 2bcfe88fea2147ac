"""Caps on cost and time: per call of a skill, per scope and per window, and what is done there."""

import asyncio
import math
import re
import threading
import time
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from hetagent import (
    Answer,
    Budget,
    Decision,
    LlamaCpp,
    Orchestrator,
    Outcome,
    PricedModel,
    Scored,
    Scripted,
    Threshold,
    Usage,
    Window,
    skill,
)
from hetagent.errors import BudgetError, ConnectError, ModelTimeoutError, NoAnswerError, SkillError
from hetagent.models.base import Completion, Request
from hetagent.models.tries import current_tries


@skill
def intent(message: str) -> Literal["book", "cancel", "other"]:
    """Decide what the guest wants."""


class Table(BaseModel):
    date: str
    time: str


@skill
def table(message: str) -> Table:
    """Find out which table is wanted."""


DRAFT = {"date": "Monday", "time": "nine"}


def unsure(**more: Any) -> Scripted:
    return Scripted(Answer("book", confidence=0.5, **more), name="small")


def paid_answer(usd: float | None = 1.0, value: Any = "cancel", **more: Any) -> Answer:
    return Answer(value, usage=Usage(10, 0, 5, usd), **more)


def paid(usd: float | None = 1.0, value: Any = "cancel", **more: Any) -> Scripted:
    return Scripted(paid_answer(usd, value, **more), name="large")


class Priced(Scripted):
    """Tells its price beforehand."""

    def __init__(self, usd: float, **more: Any) -> None:
        super().__init__(Answer("cancel", usage=Usage(10, 0, 5, usd), **more), name="priced")
        self.usd = usd

    async def price(self, request: Request) -> float | None:
        return self.usd


def agent_with(llm: Any, *, slm: Any = None, policy: Any = 0.9, **budget: Any) -> Orchestrator:
    return Orchestrator(slm or unsure(), llm=llm, policy=policy, budget=Budget(**budget))


def window(usd: float | None = None, calls: int | None = None) -> dict[str, Any]:
    return {"windows": (Window(seconds=3600, usd=usd, llm_calls=calls),)}


# --- what is done at the cap


def test_within_the_budget_nothing_changes():
    agent = agent_with(paid(), usd_per_call=2.0, seconds_per_call=60, **window(10.0, 10))
    outcome = agent.run(intent, "x")
    assert (outcome.value, outcome.reason) == ("cancel", "low_confidence")
    spent = agent.spent
    assert (spent.usd, spent.unknown, spent.in_flight, spent.refused) == (1.0, 0, 0, 0)
    assert [(one.usd, one.llm_calls) for one in spent.windows] == [(1.0, 1)]


def test_at_the_cap_it_abstains():
    llm = paid()
    agent = agent_with(llm, **window(1.0))
    assert agent.run(intent, "x").value == "cancel"
    outcome = agent.run(intent, "x")
    assert (outcome.served_by, outcome.value, outcome.reason) == ("none", None, "budget")
    assert isinstance(outcome.error, BudgetError)
    assert (outcome.error.cap, outcome.error.limit, outcome.error.spent) == ("window", 1.0, 1.0)
    assert "$1 of $1 is spent" in str(outcome.error)
    assert outcome.draft is not None
    assert outcome.draft.value == "book"
    assert not outcome.escalated
    assert len(llm.requests) == 1
    assert agent.spent.refused == 1
    with agent, pytest.raises(NoAnswerError, match="budget"):
        intent("x")


def test_at_the_cap_it_degrades():
    agent = agent_with(paid(), at_cap="degrade", **window(calls=1))
    assert agent.run(intent, "x").value == "cancel"
    outcome = agent.run(intent, "x")
    assert (outcome.served_by, outcome.value, outcome.reason) == ("slm", "book", "budget")
    assert outcome.confidence == 0.5
    assert isinstance(outcome.error, BudgetError)
    assert outcome.draft is not None, "it was not accepted"
    assert outcome.to_dict()["error"]["type"] == "BudgetError"
    with agent:
        assert intent("x") == "book"


def test_without_a_valid_draft_there_is_nothing_to_degrade_to():
    slm = Scripted(Answer(raw="fly"))
    outcome = agent_with(paid(), slm=slm, at_cap="degrade", **window(calls=0)).run(intent, "x")
    assert (outcome.served_by, outcome.reason) == ("none", "budget")


def test_it_degrades_to_the_best_rung_that_answered():
    class Strict(Threshold):
        def decide_rung(self, scored: Scored, *, rung: int) -> Decision:
            return Decision("escalate", "low_confidence")

    ladder = [paid(), paid(value="other")]
    agent = Orchestrator(
        unsure(), llm=ladder, policy=Strict(), budget=Budget(at_cap="degrade", **window(calls=1))
    )
    outcome = agent.run(intent, "x")
    assert (outcome.value, outcome.served_by, outcome.rung) == ("cancel", "llm", 0)
    assert outcome.reason == "budget"


def test_at_the_cap_it_raises():
    agent = agent_with(paid(), at_cap="raise", **window(calls=0))
    with pytest.raises(BudgetError, match="0 of 0 calls") as caught:
        agent.run(intent, "x")
    outcome = caught.value.outcome
    assert outcome is not None
    assert (outcome.reason, outcome.draft.value) == ("budget", "book")
    with agent, pytest.raises(BudgetError):
        intent("x")
    with agent.stream(intent, "x") as answer, pytest.raises(BudgetError):
        list(answer)


def test_what_raises_in_a_row_of_map_is_its_outcome():
    agent = agent_with(paid(), at_cap="raise", **window(calls=2))
    outcomes = agent.map(intent, ["x"] * 5)
    assert sorted(one.served_by for one in outcomes) == ["llm"] * 2 + ["none"] * 3
    assert {one.reason for one in outcomes if one.served_by == "none"} == {"budget"}


def test_every_way_of_running_goes_through_the_budget():
    agent = agent_with(paid(), **window(calls=0))

    async def main() -> list[Any]:
        async with agent.astream(intent, "x") as answer:
            told = [item async for item in answer]
        assert told == []
        return [await agent.arun(intent, "x"), *await agent.amap(intent, ["x"]), answer.outcome]

    outcomes = [agent.run(intent, "x"), *agent.map(intent, ["x", "y"]), *asyncio.run(main())]
    with agent.stream(intent, "x") as answer:
        assert list(answer) == []
    outcomes.append(answer.outcome)
    assert {(one.served_by, one.reason) for one in outcomes} == {("none", "budget")}
    assert agent.spent.refused == len(outcomes) == 7


def test_accepted_answers_need_no_budget():
    agent = agent_with(paid(), policy=0.4, **window(0.0, 0))
    assert agent.run(intent, "x").reason is None


# --- money


def test_the_cap_of_a_call_holds_for_all_its_model_calls():
    first = Scripted(Answer(raw="fly", usage=Usage(cost_usd=0.4)), name="first")
    second = Priced(0.7)
    agent = Orchestrator(unsure(), llm=[first, second], budget=Budget(usd_per_call=1.0))
    outcome = agent.run(intent, "x")
    assert (outcome.served_by, outcome.reason) == ("none", "budget")
    assert outcome.error.cap == "call"
    assert second.requests == []
    assert agent.spent.usd == 0.4
    agent = agent.with_options(budget=Budget(usd_per_call=1.2))
    assert agent.run(intent, "x").rung == 1


def test_what_the_slm_costs_counts_too():
    slm = unsure(usage=Usage(cost_usd=0.6))
    agent = agent_with(Priced(0.5), slm=slm, usd_per_call=1.0)
    outcome = agent.run(intent, "x")
    assert (outcome.reason, outcome.cost_usd) == ("budget", 0.6)
    assert [call.role for call in outcome.calls] == ["slm"]


def test_an_slm_that_is_too_dear_is_not_asked():
    slm = Priced(0.6)
    outcome = Orchestrator(slm, budget=Budget(usd_per_call=0.5)).run(intent, "x")
    assert (outcome.served_by, outcome.reason, outcome.calls) == ("none", "budget", ())
    assert slm.requests == []


def test_a_rung_that_is_too_dear_is_passed_over_for_one_that_is_not():
    dear, free = Priced(5.0), Priced(0.0)
    agent = Orchestrator(unsure(), llm=[dear, free], budget=Budget(usd_per_call=1.0))
    outcome = agent.run(intent, "x")
    assert (outcome.value, outcome.rung, outcome.reason) == ("cancel", 1, "low_confidence")
    assert isinstance(outcome.error, BudgetError)
    assert dear.requests == []


def test_the_largest_cost_seen_is_expected_of_a_model_that_does_not_know_its_price():
    llm = Scripted([Answer("cancel", usage=Usage(cost_usd=cost)) for cost in (0.3, 0.1, 0.1)])
    agent = agent_with(llm, usd_per_call=0.25)
    assert agent.run(intent, "x").cost_usd == 0.3, "nothing was known of it"
    outcome = agent.run(intent, "x")
    assert outcome.reason == "budget"
    assert "may cost $0.3" in str(outcome.error)


def test_a_failure_that_cost_nothing_does_not_make_an_llm_free():
    """Else all callers at once would be let through under a cap that has room for one."""
    answers = [Answer(error=ConnectError("It is down.")), *[paid_answer(1.0, delay=0.02)] * 8]
    agent = agent_with(Scripted(answers), first_reserve=1.0, **window(1.0))
    assert agent.run(intent, "x").served_by == "none"
    outcomes = agent.map(intent, ["x"] * 8)
    assert sorted(one.served_by for one in outcomes) == ["llm"] + ["none"] * 7
    assert agent.spent.usd == 1.0


def test_a_cap_of_nothing_lets_no_llm_of_unknown_price_be_called():
    llm = paid(1.0)
    outcome = agent_with(llm, **window(0.0)).run(intent, "x")
    assert (outcome.served_by, outcome.reason) == ("none", "budget")
    assert llm.requests == []


@pytest.mark.parametrize("price", [math.nan, -1.0, math.inf, "0.1", True])
def test_a_price_that_is_no_amount_is_not_known(price: Any, caplog: pytest.LogCaptureFixture):
    class Confused(Priced):
        async def price(self, request: Request) -> float | None:
            return price

    agent = agent_with(Confused(0.2), **window(1.0))
    assert agent.run(intent, "x").value == "cancel"
    assert agent.spent.usd == 0.2
    assert "could not tell its price" in caplog.text


@pytest.mark.parametrize("usd", [math.nan, -1.0, math.inf])
def test_a_cost_that_is_no_amount_counts_as_not_known(usd: float):
    agent = agent_with(paid(usd), first_reserve=0.4, **window(1.0))
    outcomes = [agent.run(intent, "x") for _ in range(3)]
    assert [one.served_by for one in outcomes] == ["llm", "llm", "none"]
    assert (agent.spent.usd, agent.spent.unknown) == (0.8, 2)


def test_unknown_costs_are_counted_as_estimated():
    agent = agent_with(paid(None), first_reserve=0.02, **window(0.05))
    outcomes = [agent.run(intent, "x") for _ in range(4)]
    assert [one.served_by for one in outcomes] == ["llm", "llm", "none", "none"]
    assert outcomes[0].cost_usd is None
    assert (agent.spent.usd, agent.spent.unknown) == (0.04, 2)


def test_a_call_that_was_cut_may_be_billed():
    agent = agent_with(paid(delay=5), first_reserve=0.25).with_options(timeout=0.05)
    outcome = agent.run(intent, "x")
    assert isinstance(outcome.error, ModelTimeoutError)
    assert outcome.cost_usd is None
    assert (agent.spent.usd, agent.spent.unknown) == (0.25, 1)


@pytest.mark.parametrize("by", ["timeout", "caller"])
def test_of_a_call_that_was_cut_every_try_may_be_billed(by: str):
    class Trying(Priced):
        async def complete(self, request: Request) -> Completion:
            tries = current_tries.get()
            assert tries is not None
            for _ in range(2):
                tries.begun += 1
                await asyncio.sleep(0)
            tries.begun += 1
            return await super().complete(request)

    llm = Trying(0.2, delay=30)
    agent = agent_with(llm, **window(1.0))

    async def main() -> Outcome[Any] | None:
        if by == "timeout":
            return await agent.with_options(timeout=0.2).arun(intent, "x")
        task = asyncio.create_task(agent.arun(intent, "x"))
        while not llm.requests:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        return None

    outcome = asyncio.run(main())
    assert outcome is None or outcome.calls[-1].attempts == 3
    assert (agent.spent.usd, agent.spent.unknown) == (pytest.approx(0.6), 1)


def test_a_model_that_costs_nothing_still_does_when_it_is_cut():
    agent = Orchestrator(unsure(), llm=Priced(0.0, delay=5), timeout=0.05)
    assert agent.run(intent, "x").cost_usd == 0.0
    assert agent.spent.unknown == 0


def test_a_call_that_was_cancelled_gives_its_reserve_back():
    agent = agent_with(paid(delay=30), **window(1.0))

    async def main() -> None:
        task = asyncio.create_task(agent.arun(intent, "x"))
        while agent.spent.reserved_usd == 0:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert (agent.spent.reserved_usd, agent.spent.in_flight) == (0.0, 0)
    assert agent.spent.usd == 0.01, "what it did cost is not known"


def test_calls_wait_for_those_in_flight_where_the_rest_may_be_enough():
    """Eight at once, of which each may cost 0.5 and costs 0.1: all fit, but not at once."""

    class Cheaper(Priced):
        at_once = most = 0

        async def complete(self, request: Request) -> Completion:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            try:
                return await super().complete(request)
            finally:
                self.at_once -= 1

        async def price(self, request: Request) -> float | None:
            return 0.5

    llm = Cheaper(0.1, delay=0.01)
    agent = agent_with(llm, **window(1.25))
    outcomes = agent.map(intent, ["x"] * 8)
    assert [one.served_by for one in outcomes] == ["llm"] * 8
    assert llm.most == 2
    assert agent.spent.usd == pytest.approx(0.8)


def test_who_waits_for_the_budget_does_so_no_longer_than_its_time():
    llm = Priced(1.0, delay=0.5)
    agent = agent_with(llm, **window(1.9))
    hurried = agent.with_options(budget=Budget(seconds_per_call=0.1, **window(1.9)))

    async def main() -> list[Any]:
        slow = asyncio.create_task(agent.arun(intent, "x"))
        await asyncio.sleep(0.1)
        return [await hurried.arun(intent, "x"), await slow]

    outcomes = asyncio.run(main())
    assert [one.reason for one in outcomes] == ["budget", "low_confidence"]
    assert outcomes[0].error.cap == "call"
    assert len(llm.requests) == 1


def test_a_cap_holds_over_threads_and_loops():
    agent = agent_with(Priced(0.3, delay=0.01), **window(2.0))
    outcomes: list[Any] = []

    def work(number: int) -> None:
        if number % 2:
            outcomes.extend(asyncio.run(agent.amap(intent, ["x"] * 3)))
        else:
            outcomes.extend(agent.map(intent, ["x"] * 3))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.served_by for one in outcomes) == ["llm"] * 6 + ["none"] * 18
    assert agent.spent.usd == pytest.approx(1.8)


def test_a_price_that_cannot_be_told_is_not_known(caplog: pytest.LogCaptureFixture):
    class Confused(Priced):
        async def price(self, request: Request) -> float | None:
            raise ZeroDivisionError

    agent = agent_with(Confused(0.2), usd_per_call=1.0)
    assert agent.run(intent, "x").value == "cancel"
    assert "could not tell its price" in caplog.text


def test_what_calibrating_costs_counts_and_is_in_no_log(tmp_path: Path):
    log = tmp_path / "runs.jsonl"
    slm = Scripted(lambda _: paid_answer(0.01, "book", confidence=0.8))
    agent = Orchestrator(slm, llm=paid(1.0), budget=Budget(usd_per_call=0.001), log=log)
    agent.calibrate(intent, [(f"{n}", "cancel" if n % 3 else "book") for n in range(40)])
    assert agent.spent.usd == pytest.approx(0.4), "the SLM's, which no budget refused"
    assert not log.exists()


def test_local_models_cost_nothing(tiny: LlamaCpp):
    assert isinstance(tiny, PricedModel)
    agent = Orchestrator(tiny, llm=tiny, policy=2.0, budget=Budget(usd_per_call=0.0))
    assert agent.run(intent, "x").served_by == "llm"
    assert (agent.spent.usd, agent.spent.unknown) == (0.0, 0)


# --- time


def test_the_time_of_a_call_limits_each_model_call():
    began = time.perf_counter()
    agent = agent_with(paid(delay=30), seconds_per_call=0.1)
    outcome = agent.run(intent, "x")
    assert time.perf_counter() - began < 5
    assert (outcome.served_by, outcome.reason) == ("none", "budget")
    assert "s are over" in str(outcome.error)
    assert isinstance(outcome.calls[1].error, BudgetError)


def test_out_of_time_it_degrades_to_the_draft():
    agent = agent_with(paid(delay=30), seconds_per_call=0.1, at_cap="degrade")
    outcome = agent.run(intent, "x")
    assert (outcome.value, outcome.served_by, outcome.reason) == ("book", "slm", "budget")


def test_an_slm_that_takes_all_the_time_leaves_none():
    llm = paid()
    outcome = agent_with(llm, slm=unsure(delay=30), seconds_per_call=0.1).run(intent, "x")
    assert (outcome.served_by, outcome.reason) == ("none", "budget")
    assert llm.requests == []


def test_no_llm_is_asked_that_is_not_expected_to_answer_in_time():
    llm = paid(delay=0.2)
    agent = agent_with(llm)
    assert agent.run(intent, "x").value == "cancel"
    hurried = agent.with_options(budget=Budget(seconds_per_call=0.1))
    outcome = hurried.run(intent, "x")
    assert outcome.reason == "budget"
    assert re.search(r"takes about 0\.2\d* s", str(outcome.error))
    assert len(llm.requests) == 1
    agent._admission.clock = lambda clock=agent._admission.clock: clock() + 61
    assert hurried.run(intent, "x").reason == "budget"
    assert len(llm.requests) == 2, "a minute later it is tried again"


def test_a_shorter_timeout_stays_a_timeout():
    agent = agent_with(paid(delay=30), seconds_per_call=60).with_options(timeout=0.05)
    outcome = agent.run(intent, "x")
    assert (outcome.reason, type(outcome.error)) == ("low_confidence", ModelTimeoutError)


# --- scopes


def test_a_scope_holds_for_all_calls_inside():
    agent = agent_with(Priced(1.0))
    with agent.spending(usd=2.5) as scope:
        outcomes = [agent.run(intent, "x") for _ in range(3)]
        assert [one.reason for one in outcomes] == ["low_confidence"] * 2 + ["budget"]
        assert (scope.usd, scope.llm_calls) == (2.0, 2)
    assert outcomes[2].error.cap == "scope"
    assert agent.run(intent, "x").value == "cancel"
    assert scope.usd == 2.0


def test_scopes_nest_and_hold_for_other_orchestrators():
    agent, other = agent_with(Priced(1.0)), agent_with(Priced(1.0))
    with agent.spending(llm_calls=3), agent.spending(usd=10.0):
        with other.spending(llm_calls=1):
            assert [agent.run(intent, "x").reason for _ in range(2)][1] == "budget"
        assert [other.run(intent, "x").reason for _ in range(3)][2] == "budget"
    assert agent.run(intent, "x").value == "cancel"


def test_a_scope_says_what_is_done_at_its_cap():
    agent = agent_with(Priced(1.0), at_cap="abstain")
    with agent.spending(usd=0.0, at_cap="degrade"):
        assert agent.run(intent, "x").value == "book"
    with agent.spending(usd=0.0, at_cap="raise"), pytest.raises(BudgetError):
        agent.run(intent, "x")
    with agent.spending(usd=0.0):
        assert agent.run(intent, "x").value is None


def test_a_scope_needs_no_budget_beside_it():
    agent = Orchestrator(unsure(), llm=Priced(1.0))
    with agent.spending(seconds=60, usd=1.0):
        assert [agent.run(intent, "x").reason for _ in range(2)] == ["low_confidence", "budget"]


def test_the_time_of_a_scope_runs_from_its_beginning():
    agent = Orchestrator(unsure(), llm=paid(delay=30))
    began = time.perf_counter()
    with agent.spending(seconds=0.2):
        time.sleep(0.1)
        assert agent.run(intent, "x").reason == "budget"
    assert time.perf_counter() - began < 5


def test_tasks_have_scopes_of_their_own():
    agent = agent_with(Priced(1.0, delay=0.02))

    async def work(usd: float) -> list[Any]:
        with agent.spending(usd=usd):
            return [one.reason for one in await agent.amap(intent, ["x"] * 3)]

    async def main() -> list[list[Any]]:
        return await asyncio.gather(work(1.0), work(2.0), work(3.0))

    counts = [reasons.count("budget") for reasons in asyncio.run(main())]
    assert counts == [2, 1, 0]


# --- streams


def test_a_stream_under_a_cap_writes_its_draft_to_the_end_where_it_may_be_served():
    fields = {"date": 0.3, "time": 0.99}
    slm = Scripted(Answer(DRAFT, fields=fields))
    for escalate in ("whole", "fields"):
        agent = Orchestrator(
            slm,
            llm=paid(),
            policy=0.9,
            escalate=escalate,
            budget=Budget(at_cap="degrade", **window(calls=0)),
        )
        with agent.stream(table, "x") as answer:
            last = dict(answer)
        outcome = answer.outcome
        assert (outcome.served_by, outcome.reason) == ("slm", "budget")
        assert outcome.value == Table(**DRAFT)
        assert last == outcome.fields


def test_questions_asked_while_the_slm_writes_go_through_the_budget():
    fields = {"date": 0.3, "time": 0.3}
    slm = Scripted(Answer(DRAFT, fields=fields, delay=0.1))
    llm = Scripted(
        lambda request: Answer(
            dict.fromkeys(request.output.schema["properties"], "ten"), usage=Usage(cost_usd=0.5)
        )
    )
    agent = Orchestrator(
        slm, llm=llm, policy=0.9, escalate="fields", budget=Budget(usd_per_call=0.5)
    )
    with agent.stream(table, "x") as answer:
        list(answer)
    assert len(llm.requests) == 1
    assert (answer.outcome.served_by, answer.outcome.reason) == ("none", "budget")
    assert agent.spent.usd == 0.5
    assert agent.spent.in_flight == 0


# --- arguments


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Budget(usd_per_call=-1), "usd_per_call is -1"),
        (lambda: Budget(usd_per_call="1"), "usd_per_call is '1'"),
        (lambda: Budget(seconds_per_call=0), "seconds_per_call is 0"),
        (lambda: Budget(first_reserve=math.nan), "first_reserve is nan"),
        (lambda: Budget(first_reserve=None), "first_reserve is None"),  # type: ignore[arg-type]
        (lambda: Budget(at_cap="stop"), "at_cap is 'stop'"),
        (lambda: Budget(windows=Window(seconds=1)), "windows is Window"),
        (lambda: Budget(windows=(3600,)), "windows is (3600,)"),
        (lambda: Window(seconds=0), "seconds is 0"),
        (lambda: Window(seconds=None), "seconds is 0"),
        (lambda: Window(seconds=1, llm_calls=1.5), "llm_calls is 1.5"),
        (lambda: Window(seconds=1, usd=True), "usd is True"),
        (lambda: Orchestrator(unsure(), budget=5), "budget is 5"),
        (lambda: Orchestrator(unsure(), breaker=5), "breaker is 5"),
        (lambda: Orchestrator(unsure()).spending(usd=-1), "usd is -1"),
        (lambda: Orchestrator(unsure()).spending(at_cap="stop"), "at_cap is 'stop'"),
    ],
)
def test_caps_out_of_range_are_clear_errors(build: Any, words: str):
    with pytest.raises(SkillError, match=re.escape(words)):
        build()


def test_options_share_what_was_spent():
    agent = agent_with(Priced(1.0))
    agent.run(intent, "x")
    other = agent.with_options(budget=None)
    other.run(intent, "x")
    assert agent.spent.usd == other.spent.usd == 2.0
    assert agent.with_options(policy=0.8)._options.budget is agent._options.budget
