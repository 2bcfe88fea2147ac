"""Nothing that fails loses a call: an LLM that fails in every way, under 16 callers and a budget.

The LLM is `LiteLLM` over real HTTP on loopback. Its server changes at random between answering well
and failing, goes down and comes up again, and keeps a bill of its own: of every answer that it
began to write, whether or not anybody was there to read it.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from hetagent import (
    Answer,
    Breaker,
    Budget,
    LiteLLM,
    LlamaCpp,
    Orchestrator,
    Outcome,
    Scripted,
    Window,
    skill,
)
from hetagent.errors import BudgetError, HetagentError, ModelDownError, RateLimitError
from hetagent.models.base import Request
from tests.support.openai_server import OpenAIServer, Reply

# LiteLLM leaves a coroutine of its own behind where it is cancelled before it begins.
pytestmark = pytest.mark.filterwarnings("ignore:coroutine .*acompletion.* was never awaited")

CALLERS = 16
LABELS = ("book", "cancel", "other")
PRICE = (100.0, 1000.0)  # US dollars for a million tokens, so that sums are worth comparing
RETRIES = 1
TRIES = 2 * (1 + RETRIES)  # an answer and its repair, each tried again
SECONDS = 4.0  # for a try that may meet a slow server
MANY_SECONDS = 60.0  # for one that does not: enough also on a busy machine


@skill(max_tokens=50)
def intent(message: str) -> Literal["book", "cancel", "other"]:
    """Decide what the guest wants."""


class Table(BaseModel):
    date: str
    people: int


@skill(max_tokens=80)
def table(message: str) -> Table:
    """Find out which table is wanted."""


def truth(message: str) -> str:
    return LABELS[int(message.rpartition(" ")[2]) % 3]


def people(message: str) -> int:
    return int(message.rpartition(" ")[2])


def draft_intent(request: Request) -> Answer:
    """Never the truth, and hardly ever sure."""
    number = int(request.messages[-1].content.split()[-1])
    return Answer(LABELS[(number + 1) % 3], confidence=0.95 if number % 10 == 0 else 0.4)


def draft_table(request: Request) -> Answer:
    draft = {"date": "Monday", "people": 99_999}
    return Answer(draft, fields={"date": 0.99, "people": 0.3}, delay=0.02)


class Provider:
    """Answers and fails at random, and keeps the bill.

    What it does is drawn like cards from a deck, so that every fault comes before any comes again.

    Attributes:
        deck: What it does, as often as it does it in each round.
        served: How often it did what.
        usd: What it has billed.
    """

    def __init__(self, server: OpenAIServer, modes: dict[str, int], *, seed: int = 0) -> None:
        self.deck = [mode for mode, times in modes.items() for _ in range(times)]
        self.served: Counter[str] = Counter()
        self.usd = 0.0
        self._left: list[str] = []
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        server.handler = self._reply

    def _reply(self, request: dict[str, Any]) -> Reply:
        prompt = len(json.dumps(request["messages"])) // 4
        with self._lock:
            self._left = self._left or self._chance.sample(self.deck, len(self.deck))
            mode = self._left.pop()
            written = self._chance.randint(1, request["max_tokens"])
            self.served[mode] += 1
            if mode not in ("limit", "busy", "failing"):
                self.usd += (prompt * PRICE[0] + written * PRICE[1]) / 1e6
        usage = {"prompt_tokens": prompt, "completion_tokens": written}
        replies: dict[str, Callable[[], Reply]] = {
            "good": lambda: Reply(_right(request), **usage),
            "slow": lambda: Reply(hang=True),
            "limit": lambda: Reply(status=429, headers={"Retry-After": "0"}),
            "busy": lambda: Reply(status=429, headers={"Retry-After": "3600"}),
            "failing": lambda: Reply(status=500),
            "prose": lambda: Reply("I would say they want a table.", **usage),
            "wrong": lambda: Reply('{"answer": "fly", "people": "many"}', **usage),
            "empty": lambda: Reply("", **usage),
            "null": lambda: Reply(None, **usage),
            "truncated": lambda: Reply(_right(request)[:5], finish_reason="length", **usage),
            "page": lambda: Reply(raw_body="<html>Hello</html>", content_type="text/html"),
            "silent": lambda: Reply(raw_body=""),
            "dropped": lambda: Reply(drop=True),
            "cut": lambda: Reply(_right(request), cut=True, **usage),
        }
        return replies[mode]()


def _right(request: dict[str, Any]) -> str:
    """The true answer to what is asked for."""
    # Of a repair, the question is further up.
    users = [turn["content"] for turn in request["messages"] if turn["role"] == "user"]
    (message,) = set(re.findall(r"guest number \d+", " ".join(users)))
    asked = request["response_format"]["json_schema"]["schema"]["properties"]
    known = {"answer": truth(message), "date": "Friday", "people": people(message)}
    return json.dumps({name: known[name] for name in asked})


KNOWN = ("prose", "wrong", "empty", "null", "truncated", "limit", "busy", "failing")
UNKNOWN = ("slow", "page", "silent", "dropped", "cut")
EVERYTHING = {**dict.fromkeys((*KNOWN, *UNKNOWN), 1), "good": 8}
NEVER_SLOW = {mode: times for mode, times in EVERYTHING.items() if mode != "slow"}


@pytest.fixture(autouse=True, scope="module")
def _imported() -> None:
    """LiteLLM takes seconds to be imported and called for the first time."""
    with OpenAIServer() as server:
        Provider(server, {"good": 1})
        outcome = Orchestrator(llm=remote(server, timeout=MANY_SECONDS)).run(
            intent, "guest number 1"
        )
        assert outcome.served_by == "llm"


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as running:
        yield running


def remote(server: OpenAIServer, **more: Any) -> LiteLLM:
    settings: dict[str, Any] = {
        "timeout": SECONDS,
        "max_retries": RETRIES,
        "backoff": 0.01,
        "price": PRICE,
        "structured": "schema",
    }
    return LiteLLM("openai/any", api_base=server.base_url, **{**settings, **more})


class Outages:
    """A small model's script, during which the server goes down and comes up again.

    It counts in calls and not in seconds: a caller that finds the server down is soon done, and a
    short outage would take all of them.

    Attributes:
        met: How often it went down.
    """

    def __init__(
        self, server: OpenAIServer, script: Callable[[Request], Answer], *, up: int, down: int
    ) -> None:
        self.met = 0
        self._server, self._script, self._up, self._down = server, script, up, down
        self._calls = 0
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Answer:
        with self._lock:
            self._calls += 1
            at = self._calls % (self._up + self._down)
            if at == self._up:
                self._server.go_down()
                self.met += 1
            elif at == 0 and self.met:
                self._server.come_up()
        return self._script(request)


def messages(count: int) -> list[str]:
    return [f"guest number {n}" for n in range(count)]


def check(outcomes: list[Outcome[Any]], *, rungs: int = 1) -> Counter[str]:
    """Every outcome is a value with its provenance, or a clear refusal; how many are which."""
    for number, outcome in enumerate(outcomes):
        text = json.dumps(outcome.to_dict())
        assert isinstance(text, str)
        assert len(outcome.trace_id) == 32
        assert outcome.calls or outcome.error is not None
        for call in outcome.calls:
            assert (call.role == "slm") == (call.rung is None)
            assert call.rung is None or 0 <= call.rung < rungs
            assert call.usage.cost_usd is None or call.usage.cost_usd >= 0
            assert call.error is None or isinstance(call.error, HetagentError)
        if outcome.served_by == "none":
            assert outcome.value is None
            assert outcome.reason is not None
            assert isinstance(outcome.error, HetagentError)
            assert str(outcome.error)
            assert outcome.error.hint
            assert outcome.rung is None
            assert (outcome.reason == "budget") == isinstance(outcome.error, BudgetError)
            continue
        message = f"guest number {number}"
        if isinstance(outcome.value, Table):
            if outcome.served_by != "slm":
                assert outcome.value.people == people(message)
                assert outcome.fields["people"].served_by == "llm"
        elif outcome.served_by == "llm":
            assert outcome.value == truth(message), "each caller got its own answer"
        else:
            assert outcome.value == LABELS[(number + 1) % 3]
        if outcome.served_by == "slm":
            assert outcome.reason in (None, "budget")
        else:
            assert outcome.calls[-1].error is None
            assert outcome.calls[-1].rung == outcome.rung
    return Counter(outcome.served_by for outcome in outcomes)


def settled(agent: Orchestrator) -> float:
    spent = agent.spent
    assert (spent.in_flight, spent.reserved_usd) == (0, 0.0)
    return spent.usd


@pytest.mark.parametrize("mode", sorted(EVERYTHING))
def test_each_fault_by_itself(server: OpenAIServer, mode: str):
    provider = Provider(server, {mode: 1})
    llm = remote(server, timeout=SECONDS if mode == "slow" else MANY_SECONDS)
    agent = Orchestrator(Scripted(draft_intent), llm=llm, concurrency=CALLERS)
    outcomes = agent.map(intent, messages(CALLERS))
    served = check(outcomes)
    assert served["llm"] == (14 if mode == "good" else 0)
    assert served["slm"] == 2
    assert settled(agent) >= provider.usd - 1e-9
    if mode in UNKNOWN:
        assert agent.spent.unknown > 0
    else:
        assert agent.spent.unknown == 0
        assert settled(agent) == pytest.approx(provider.usd)


def test_an_llm_that_refuses_connections(server: OpenAIServer):
    llm = remote(server, timeout=MANY_SECONDS)
    server.go_down()
    agent = Orchestrator(Scripted(draft_intent), llm=llm, breaker=Breaker(failures=5, pause=60))
    assert check(agent.map(intent, messages(40))) == {"slm": 4, "none": 36}
    assert settled(agent) == 0.0
    server.come_up()
    Provider(server, {"good": 1})
    assert isinstance(agent.run(intent, "guest number 1").error, ModelDownError)
    assert check([agent.with_options(breaker=None).run(intent, "guest number 0")])


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("escalate", ["whole", "fields"])
def test_all_faults_at_random_lose_no_call(
    server: OpenAIServer, seed: int, escalate: Literal["whole", "fields"]
):
    provider = Provider(server, EVERYTHING, seed=seed)
    draft = draft_table if escalate == "fields" else draft_intent
    outages = Outages(server, draft, up=35, down=15)
    agent = Orchestrator(
        Scripted(outages),
        llm=remote(server),
        escalate=escalate,
        concurrency=CALLERS,
        breaker=Breaker(failures=5, pause=0.1),
    )
    task: Any = table if escalate == "fields" else intent
    outcomes = agent.map(task, messages(120))
    assert outages.met == 2
    assert len(outcomes) == 120
    served = check(outcomes)
    assert served["llm"] + served["both"] > 0
    assert served["none"] > 0
    assert len(provider.served) > 8, "most of the faults were met"
    assert settled(agent) >= provider.usd - 1e-9, "nothing that was billed is missing"


@pytest.mark.parametrize("at_cap", ["abstain", "degrade", "raise"])
def test_the_budget_holds_whatever_fails(
    server: OpenAIServer, at_cap: Literal["abstain", "degrade", "raise"]
):
    provider = Provider(server, EVERYTHING, seed=4)
    cap = 2.0
    llm = remote(server)
    budget = Budget(windows=(Window(seconds=3600, usd=cap),), at_cap=at_cap)
    agent = Orchestrator(
        Scripted(draft_intent),
        llm=llm,
        concurrency=CALLERS,
        budget=budget,
        breaker=Breaker(failures=5, pause=0.1),
    )
    dearest = asyncio.run(llm.price(intent.request("guest number 100"))) or 0.0
    assert 0.05 < dearest < 0.5, "the cap bounds how many may be in flight"
    most = Watcher(agent)
    outcomes = agent.map(intent, messages(200))
    most.stop()
    served = check(outcomes)
    refused = sum(outcome.reason == "budget" for outcome in outcomes)
    assert refused > 20, "the cap was reached"
    assert served["slm"] == (20 + refused if at_cap == "degrade" else 20)
    spent = settled(agent)
    # A call in flight reserves one try, and may need more.
    assert provider.usd - 1e-9 <= spent <= cap + most.in_flight * (TRIES - 1) * dearest
    assert most.in_flight <= CALLERS
    assert most.held <= cap + 1e-9, "no call began that did not fit"


class Watcher:
    """Looks at what is spent while calls go on.

    Attributes:
        in_flight: The most calls seen in flight.
        held: The most that was reserved.
    """

    def __init__(self, agent: Orchestrator) -> None:
        self.in_flight, self.held = 0, 0.0
        self._agent, self._over = agent, threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.001):
            spent = self._agent.spent
            self.in_flight = max(self.in_flight, spent.in_flight)
            self.held = max(self.held, spent.reserved_usd)


def test_where_each_try_is_answered_the_ledger_is_the_bill(server: OpenAIServer):
    """Nothing is lost on the way, so what is spent is known to the last token."""
    modes = {"good": 4, "prose": 1, "wrong": 1, "empty": 1, "truncated": 1, "failing": 1}
    provider = Provider(server, {**modes, "limit": 1}, seed=6)
    agent = Orchestrator(
        Scripted(draft_intent),
        llm=remote(server, timeout=MANY_SECONDS),
        concurrency=CALLERS,
        budget=Budget(windows=(Window(seconds=3600, usd=2.5),)),
    )
    outcomes = agent.map(intent, messages(150))
    check(outcomes)
    assert any(outcome.reason == "budget" for outcome in outcomes)
    assert agent.spent.unknown == 0
    assert settled(agent) == pytest.approx(provider.usd)
    assert settled(agent) == pytest.approx(sum(outcome.cost_usd or 0.0 for outcome in outcomes))


def test_a_ladder_serves_from_the_rung_that_is_up(server: OpenAIServer):
    with OpenAIServer() as steady:
        faulty, good = Provider(server, NEVER_SLOW, seed=7), Provider(steady, {"good": 1})
        agent = Orchestrator(
            Scripted(Outages(server, draft_intent, up=35, down=15)),
            llm=[remote(one, timeout=MANY_SECONDS) for one in (server, steady)],
            concurrency=CALLERS,
            breaker=Breaker(failures=5, pause=0.1),
        )
        outcomes = agent.map(intent, messages(120))
    assert check(outcomes, rungs=2) == {"slm": 12, "llm": 108}
    rungs = Counter(outcome.rung for outcome in outcomes)
    assert rungs[0] > 5
    assert rungs[1] > 5
    assert settled(agent) >= faulty.usd + good.usd - 1e-9


def test_every_way_of_running_at_once(server: OpenAIServer):
    """Threads with `run`, `map` and `stream`, and a loop of its own with `arun` and `amap`."""
    provider = Provider(server, EVERYTHING, seed=8)
    budget = Budget(windows=(Window(seconds=3600, usd=3.0),), usd_per_call=0.5, at_cap="degrade")
    slm = Scripted(Outages(server, draft_intent, up=20, down=10))
    agent = Orchestrator(slm, llm=remote(server), budget=budget)
    rows = messages(12)
    found: dict[str, list[Outcome[Any]]] = {}

    def streamed(message: str) -> Outcome[Any]:
        with agent.stream(intent, message) as answer:
            last = dict(answer)
        if answer.outcome.served_by != "none":
            assert last[""].value == answer.outcome.value
        return answer.outcome

    async def in_a_loop() -> list[Outcome[Any]]:
        first = [agent.arun(intent, row) for row in rows[:6]]
        return [*await asyncio.gather(*first), *(await agent.amap(intent, rows))[6:]]

    ways: dict[str, Callable[[], list[Outcome[Any]]]] = {
        "run": lambda: [agent.run(intent, row) for row in rows],
        "map": lambda: agent.map(intent, rows),
        "stream": lambda: [streamed(row) for row in rows],
        "loop": lambda: asyncio.run(in_a_loop()),
    }

    def work(name: str) -> None:
        found[name] = ways[name]()

    threads = [threading.Thread(target=work, args=(name,)) for name in ways]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == set(ways), "none of them raised"
    for outcomes in found.values():
        assert len(outcomes) == len(rows)
        check(outcomes)
    assert settled(agent) >= provider.usd - 1e-9


def test_callers_that_give_up_leave_nothing_behind(server: OpenAIServer):
    provider = Provider(server, {"slow": 1, "good": 1}, seed=9)
    budget = Budget(windows=(Window(seconds=3600, usd=5.0),))
    agent = Orchestrator(Scripted(draft_intent), llm=remote(server), budget=budget)

    async def main() -> list[Any]:
        tasks = [asyncio.create_task(agent.arun(intent, row)) for row in messages(32)]
        chance = random.Random(9)
        for task in tasks[::2]:
            await asyncio.sleep(chance.uniform(0.0, 0.05))
            task.cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(main())
    assert any(isinstance(one, asyncio.CancelledError) for one in results)
    assert all(isinstance(one, Outcome | asyncio.CancelledError) for one in results)
    assert settled(agent) >= provider.usd - 1e-9


@pytest.mark.parametrize("by", ["timeout", "caller"])
def test_a_repair_that_is_cut_is_paid_for_beside_what_it_was_to_repair(
    server: OpenAIServer, by: str
):
    """What the first try wrote is billed, and the second may have been."""
    longest = intent.max_tokens
    prose = Reply("I would say they want a table.", prompt_tokens=150, completion_tokens=longest)
    server.script([prose, Reply(hang=True)])
    agent = Orchestrator(Scripted(draft_intent), llm=remote(server, timeout=MANY_SECONDS))
    bill = 2 * (150 * PRICE[0] + longest * PRICE[1]) / 1e6

    async def main() -> None:
        if by == "timeout":
            outcome = await agent.with_options(timeout=SECONDS).arun(intent, "guest number 1")
            assert (outcome.calls[-1].attempts, outcome.cost_usd) == (2, None)
            return
        task = asyncio.create_task(agent.arun(intent, "guest number 1"))
        while len(server.requests) < 2:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(main())
    assert agent.spent.unknown == 1
    assert settled(agent) >= bill


def test_a_slow_llm_does_not_hold_callers_beyond_their_time(server: OpenAIServer):
    Provider(server, {"slow": 3, "good": 1}, seed=10)
    budget = Budget(seconds_per_call=4.0, at_cap="degrade")
    agent = Orchestrator(
        Scripted(draft_intent), llm=remote(server, timeout=30.0), budget=budget, concurrency=CALLERS
    )
    outcomes = agent.map(intent, messages(48))
    assert check(outcomes)["none"] == 0
    assert all(outcome.seconds < 4.0 + 10.0 for outcome in outcomes)
    assert any(outcome.reason == "budget" for outcome in outcomes)


def test_a_rate_limit_is_not_an_outage(server: OpenAIServer):
    Provider(server, {"limit": 1})
    agent = Orchestrator(
        Scripted(draft_intent),
        llm=remote(server, timeout=MANY_SECONDS),
        breaker=Breaker(failures=1, pause=60),
    )
    outcomes = agent.map(intent, messages(30))
    check(outcomes)
    kinds = {type(one.error) for one in outcomes if one.served_by == "none"}
    assert kinds == {RateLimitError}


def test_with_the_real_small_model(server: OpenAIServer, smol: LlamaCpp):
    provider = Provider(server, EVERYTHING, seed=11)
    budget = Budget(windows=(Window(seconds=3600, llm_calls=20),), at_cap="degrade")
    agent = Orchestrator(smol, llm=remote(server), policy=0.999, budget=budget, concurrency=CALLERS)
    rows = messages(32)
    outcomes = agent.map(intent, rows)
    for row, outcome in zip(rows, outcomes, strict=True):
        assert (outcome.value is None) == (outcome.served_by == "none")
        assert outcome.value in (*LABELS, None)
        if outcome.served_by == "llm":
            assert outcome.value == truth(row)
        if outcome.served_by == "none":
            assert isinstance(outcome.error, HetagentError)
    assert any(outcome.reason == "budget" for outcome in outcomes)
    assert settled(agent) >= provider.usd - 1e-9
