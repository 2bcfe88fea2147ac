"""Run, decide, escalate, report: every reason, and every way a run can end."""

import asyncio
import copy
import json
import pickle
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, field_validator, model_validator

from hetagent import (
    Answer,
    Decision,
    LlamaCpp,
    NoAnswerError,
    Orchestrator,
    Scored,
    Scripted,
    Threshold,
    Usage,
    skill,
    tools,
)
from hetagent.errors import (
    InputError,
    InputTooLongError,
    MissingExtraError,
    ModelError,
    ModelTimeoutError,
    OutputError,
    ProviderError,
    RateLimitError,
    SkillError,
)
from hetagent.models.base import Completion, Request


class Guest(BaseModel):
    name: str
    phone: str | None


class Card(BaseModel):
    kind: Literal["card"]
    number: str


class Cash(BaseModel):
    kind: Literal["cash"]


class Order(BaseModel):
    guest: Guest
    dishes: list[str]
    pay: Annotated[Card | Cash, Field(discriminator="kind")]


class Span(BaseModel):
    start: int
    end: int

    @field_validator("start")
    @classmethod
    def not_seven(cls, start: int) -> int:
        if start == 7:
            raise ValueError("never seven")
        return start

    @model_validator(mode="after")
    def in_order(self) -> "Span":
        if self.end < self.start:
            raise ValueError("ends before it starts")
        return self


@skill
def intent(message: str) -> Literal["book", "cancel", "other"]:
    """Decide what the guest wants."""


@skill(max_tokens=60)
def order(message: str) -> Order:
    """Read the order."""


@skill
def span(message: str) -> Span:
    """Read the range."""


@skill
def two(first: str, second: int) -> bool:
    """Judge both."""


LLM = Answer("cancel", confidence=0.99, usage=Usage(10, 0, 5, 0.25))
ORDER: dict[str, Any] = {
    "guest": {"name": "Ann", "phone": None},
    "dishes": ["soup", "tea"],
    "pay": {"kind": "card", "number": "1"},
}


def sure(confidence: float = 0.97, **more: Any) -> Scripted:
    return Scripted(Answer("book", confidence=confidence, **more), name="small")


# --- accepting and escalating


def test_a_confident_answer_is_accepted():
    llm = Scripted(LLM)
    outcome = Orchestrator(slm=sure(), llm=llm).run(intent, "x")
    assert (outcome.value, outcome.served_by, outcome.reason) == ("book", "slm", None)
    assert outcome.confidence == pytest.approx(0.97)
    assert outcome.choices == pytest.approx({"book": 0.97, "cancel": 0.015, "other": 0.015})
    assert (outcome.draft, outcome.error, outcome.escalated) == (None, None, False)
    assert llm.requests == []
    assert len(outcome.trace_id) == 32
    int(outcome.trace_id, 16)


def test_low_confidence_escalates():
    llm = Scripted(LLM, name="large")
    outcome = Orchestrator(slm=sure(0.5), llm=llm, policy=0.8).run(intent, "x")
    assert (outcome.value, outcome.served_by) == ("cancel", "llm")
    assert outcome.reason == "low_confidence"
    assert outcome.confidence == pytest.approx(0.99)
    assert outcome.draft is not None
    assert (outcome.draft.value, outcome.draft.confidence) == ("book", 0.5)
    assert outcome.choices is not None
    assert outcome.choices["book"] == 0.5
    assert llm.requests[0].messages == intent.request("x").messages
    assert llm.requests[0].output is intent.output
    assert [call.role for call in outcome.calls] == ["slm", "llm"]
    assert [call.model for call in outcome.calls] == ["small", "large"]


FAILURES: list[tuple[Answer, str]] = [
    (Answer("book", confidence=0.1), "low_confidence"),
    (Answer(raw="fly"), "invalid_output"),
    (Answer(raw=""), "invalid_output"),
    (Answer(raw="boo", truncated=True), "truncated"),
    (Answer(error=ModelError("broken")), "model_error"),
    (Answer(error=RateLimitError("slow down", status=429)), "model_error"),
    (Answer(error=ModelTimeoutError("late")), "timeout"),
    (Answer(error=InputTooLongError("long", tokens=9, limit=5)), "input_too_long"),
    (Answer(error=OutputError("bad", text="bad")), "invalid_output"),
]


@pytest.mark.parametrize(("answer", "reason"), FAILURES)
def test_every_failure_escalates_and_says_why(answer: Answer, reason: str):
    outcome = Orchestrator(slm=Scripted(answer), llm=Scripted(LLM)).run(intent, "x")
    assert (outcome.value, outcome.served_by, outcome.reason) == ("cancel", "llm", reason)
    if reason != "low_confidence":
        assert outcome.error is not None
        assert (outcome.draft is not None) == bool(answer.raw)


@pytest.mark.parametrize(("answer", "reason"), FAILURES)
def test_without_an_llm_the_outcome_says_so(answer: Answer, reason: str):
    agent = Orchestrator(slm=Scripted(answer))
    outcome = agent.run(intent, "x")
    assert (outcome.value, outcome.served_by, outcome.reason) == (None, "none", reason)
    assert outcome.confidence is None
    assert not outcome.escalated
    if answer.raw:
        assert outcome.draft is not None
        assert (outcome.draft.text, outcome.draft.value) == (answer.raw, None)
        assert outcome.draft.confidence == 0.0
    with agent, pytest.raises(NoAnswerError, match=reason) as caught:
        intent("x")
    assert caught.value.outcome.reason == reason


@pytest.mark.parametrize("broken", [a for a, r in FAILURES if r != "low_confidence"])
def test_an_llm_that_fails(broken: Answer):
    agent = Orchestrator(slm=sure(0.3), llm=Scripted(broken))
    outcome = agent.run(intent, "x")
    assert (outcome.served_by, outcome.reason) == ("none", "low_confidence")
    assert outcome.error is not None
    assert outcome.draft is not None
    assert outcome.draft.value == "book"
    assert outcome.escalated
    with agent, pytest.raises(NoAnswerError):
        intent("x")


def test_no_probabilities_count_as_no_confidence():
    class Silent:
        name = "silent"

        async def complete(self, request: Request) -> Completion:
            return Completion("book", self.name)

    outcome = Orchestrator(slm=Silent(), llm=Scripted(LLM)).run(intent, "x")
    assert (outcome.served_by, outcome.reason) == ("llm", "no_confidence")
    accepted = Orchestrator(slm=Silent(), policy=0.0).run(intent, "x")
    assert (accepted.served_by, accepted.confidence) == ("slm", None)


def test_an_llm_without_probabilities_serves_without_confidence():
    class Silent:
        name = "silent"

        async def complete(self, request: Request) -> Completion:
            return Completion("cancel", self.name)

    outcome = Orchestrator(slm=sure(0.1), llm=Silent()).run(intent, "x")
    assert (outcome.value, outcome.confidence) == ("cancel", None)


def test_a_threshold_above_one_asks_the_llm_alone():
    slm = sure()
    outcome = Orchestrator(slm=slm, llm=Scripted(LLM), policy=1.5).run(intent, "x")
    assert (outcome.served_by, outcome.reason) == ("llm", "policy")
    assert slm.requests == []
    assert outcome.draft is None


def test_without_an_slm_the_llm_answers():
    outcome = Orchestrator(llm=Scripted(LLM)).run(intent, "x")
    assert (outcome.value, outcome.served_by, outcome.reason) == ("cancel", "llm", "policy")


def test_a_policy_may_abstain():
    class Shy:
        def asks_slm(self, skill: str) -> bool:
            return True

        def decide(self, scored: Scored) -> Decision:
            return Decision("abstain", "policy")

    llm = Scripted(LLM)
    outcome = Orchestrator(slm=sure(), llm=llm, policy=Shy()).run(intent, "x")
    assert (outcome.served_by, outcome.reason) == ("none", "policy")
    assert llm.requests == []


@pytest.mark.parametrize("raw", ['{"start": 5, "end": 1}', '{"start": 7, "end": 9}'])
def test_validators_that_refuse_count_as_no_confidence(raw: str):
    slm = Scripted(Answer(raw=raw, confidence=1.0))
    llm = Scripted(Answer(Span(start=1, end=5)))
    outcome = Orchestrator(slm=slm, llm=llm, policy=0.0).run(span, "x")
    assert (outcome.value, outcome.reason) == (Span(start=1, end=5), "invalid_output")
    assert outcome.draft is not None
    assert (outcome.draft.confidence, outcome.draft.value) == (0.0, None)


def test_thresholds_by_skill_and_field():
    slm = Scripted(Answer(ORDER, fields={"guest.name": 0.5, "dishes[0]": 0.6}))
    policy = Threshold(0.9, {"order": {"guest.name": 0.4, "dishes[0]": 0.5}})
    assert Orchestrator(slm=slm, policy=policy).run(order, "x").served_by == "slm"
    policy = Threshold(0.9, {"order": {"guest.name": 0.4}})
    assert Orchestrator(slm=slm, policy=policy).run(order, "x").served_by == "none"


def test_fields_of_an_accepted_record():
    slm = Scripted(Answer(ORDER, fields={"guest.name": 0.9, "dishes[1]": 0.8}))
    outcome = Orchestrator(slm=slm, policy=0.7).run(order, "x")
    assert outcome.confidence == pytest.approx(0.72)
    assert outcome.fields["guest.name"].confidence == pytest.approx(0.9)
    assert outcome.fields["dishes[1]"].value == "tea"
    assert outcome.fields["guest.phone"].confidence == 1.0
    assert {field.served_by for field in outcome.fields.values()} == {"slm"}


# --- asking for fields


def ask_fields(
    weak: dict[str, float], llm: Any, *, draft: Any = ORDER, policy: Any = 0.8
) -> tuple[Any, Scripted]:
    model = llm if isinstance(llm, Scripted) else Scripted(llm)
    slm = Scripted(Answer(draft, fields=weak))
    agent = Orchestrator(slm=slm, llm=model, policy=policy, escalate="fields")
    return agent.run(order, "Soup for Ann"), model


def test_only_the_weak_fields_are_asked():
    answer = Answer({"guest": {"phone": "5"}}, fields={"guest.phone": 0.95})
    outcome, llm = ask_fields({"guest.phone": 0.3, "dishes[0]": 0.9}, answer)
    assert outcome.served_by == "both"
    assert outcome.value == Order.model_validate({**ORDER, "guest": {"name": "Ann", "phone": "5"}})
    assert outcome.reason == "low_confidence"
    assert list(llm.requests[0].output.schema["properties"]) == ["guest"]
    assert "soup" in llm.requests[0].messages[-1].content
    served = {path: field.served_by for path, field in outcome.fields.items()}
    assert served["guest.phone"] == "llm"
    assert served["guest.name"] == served["dishes[0]"] == "slm"
    assert outcome.fields["guest.phone"].value == "5"
    assert outcome.confidence == pytest.approx(0.95 * 0.9)
    assert outcome.draft is not None
    assert outcome.draft.fields["guest.phone"] == pytest.approx(0.3)
    assert list(outcome.fields) == [
        "guest.name",
        "guest.phone",
        "dishes[0]",
        "dishes[1]",
        "pay.kind",
        "pay.number",
    ]


def test_a_weak_item_is_asked_for_with_its_whole_list():
    outcome, llm = ask_fields({"dishes[1]": 0.2}, Answer({"dishes": ["soup"]}))
    assert list(llm.requests[0].output.schema["properties"]) == ["dishes"]
    assert outcome.value.dishes == ["soup"]
    assert "dishes[1]" not in outcome.fields
    assert outcome.fields["dishes[0]"].served_by == "llm"


def test_a_weak_part_of_a_union_is_asked_for_with_the_whole_union():
    outcome, llm = ask_fields({"pay.number": 0.2}, Answer({"pay": {"kind": "cash"}}))
    assert list(llm.requests[0].output.schema["properties"]) == ["pay"]
    assert outcome.value.pay == Cash(kind="cash")
    assert "pay.number" not in outcome.fields
    assert outcome.fields["pay.kind"].served_by == "llm"


def test_where_all_is_weak_the_llm_answers_whole():
    weak = dict.fromkeys(["guest.name", "guest.phone", "dishes[0]", "pay.kind"], 0.1)
    outcome, llm = ask_fields(weak, Answer(ORDER))
    assert outcome.served_by == "llm"
    assert len(llm.requests) == 1
    assert llm.requests[0].output is order.output


def test_an_invalid_draft_is_answered_whole():
    slm = Scripted(Answer(raw="{}"))
    llm = Scripted(Answer(ORDER))
    outcome = Orchestrator(slm=slm, llm=llm, escalate="fields").run(order, "x")
    assert (outcome.served_by, outcome.reason) == ("llm", "invalid_output")


def test_a_merged_value_that_is_not_valid_is_answered_whole():
    slm = Scripted(Answer({"start": 5, "end": 6}, fields={"end": 0.1}))
    llm = Scripted([Answer({"end": 1}), Answer(Span(start=1, end=2))])
    agent = Orchestrator(slm=slm, llm=llm, escalate="fields")
    outcome = agent.run(span, "x")
    assert (outcome.value, outcome.served_by) == (Span(start=1, end=2), "llm")
    assert [call.role for call in outcome.calls] == ["slm", "llm", "llm"]


def test_a_field_question_that_is_answered_badly_is_asked_whole():
    llm = Scripted([Answer(error=OutputError("bad", text="bad")), Answer(ORDER)])
    outcome, _ = ask_fields({"guest.phone": 0.1}, llm)
    assert outcome.served_by == "llm"
    assert outcome.calls[1].error is not None


@pytest.mark.parametrize("error", [ModelError("broken"), ModelTimeoutError("late")])
def test_an_llm_that_is_down_is_not_asked_again(error: ModelError):
    llm = Scripted([Answer(error=error), Answer(ORDER)])
    outcome, _ = ask_fields({"guest.phone": 0.1}, llm)
    assert (outcome.served_by, outcome.error) == ("none", error)
    assert len(llm.requests) == 1


# --- models that misbehave


def test_an_unexpected_error_is_a_model_error(caplog: pytest.LogCaptureFixture):
    class Faulty:
        name = "faulty"

        async def complete(self, request: Request) -> Completion:
            raise ZeroDivisionError("oops")

    outcome = Orchestrator(slm=Faulty()).run(intent, "x")
    assert outcome.reason == "model_error"
    assert "ZeroDivisionError: oops" in str(outcome.error)
    assert isinstance(outcome.error.__cause__, ZeroDivisionError)
    assert "unexpected error" in caplog.text


def test_a_models_own_timeout_error():
    class Slow:
        name = "slow"

        async def complete(self, request: Request) -> Completion:
            raise TimeoutError

    outcome = Orchestrator(slm=Slow()).run(intent, "x")
    assert outcome.reason == "timeout"
    assert "None" not in str(outcome.error)


def test_a_slow_model_is_given_up_after_the_timeout():
    agent = Orchestrator(slm=sure(delay=20), llm=Scripted(LLM), timeout=0.1)
    began = time.perf_counter()
    outcome = agent.run(intent, "x")
    assert time.perf_counter() - began < 5
    assert (outcome.served_by, outcome.reason) == ("llm", "timeout")
    assert "0.1 seconds" in str(outcome.error)


def test_no_model_at_all():
    with pytest.raises(SkillError, match="no model"):
        Orchestrator().run(intent, "x")
    with pytest.raises(SkillError, match="no model"):
        Orchestrator().map(intent, ["x"])
    assert Orchestrator().run(intent.using(sure()), "x").value == "book"


@pytest.mark.parametrize("text", ["", "\0", "\ud800"])
def test_an_input_no_model_can_be_given_raises(text: str):
    slm = sure()
    with pytest.raises(InputError):
        Orchestrator(slm=slm).run(intent, text)
    assert slm.requests == []


# --- options


@pytest.mark.parametrize(
    "options",
    [{"escalate": "half"}, {"timeout": 0}, {"timeout": -1}, {"concurrency": 0}, {"policy": -1}],
)
def test_options_out_of_range(options: dict[str, Any]):
    with pytest.raises(SkillError):
        Orchestrator(slm=sure(), **options)
    with pytest.raises(SkillError):
        Orchestrator(slm=sure()).with_options(**options)


def test_with_options_changes_only_what_is_given():
    agent = Orchestrator(slm=sure(0.5), llm=Scripted(LLM), policy=0.8, timeout=9, concurrency=3)
    easy = agent.with_options(policy=0.1)
    assert easy.run(intent, "x").served_by == "slm"
    assert agent.run(intent, "x").served_by == "llm"
    assert (easy.slm, easy.llm) == (agent.slm, agent.llm)
    assert easy._options.timeout == 9
    assert easy._options.concurrency == 3
    assert agent.with_options(policy=Threshold(0.2)).run(intent, "x").served_by == "slm"


# --- accounting


def test_usage_cost_and_latency_are_summed():
    slm = sure(0.1, usage=Usage(100, 60, 2))
    outcome = Orchestrator(slm=slm, llm=Scripted(LLM)).run(intent, "x")
    assert outcome.usage == Usage(110, 60, 7, 0.25)
    assert outcome.cost_usd == 0.25
    latency = outcome.latency
    assert set(latency) == {"slm", "llm", "total"}
    assert 0 < latency["slm"] + latency["llm"] <= latency["total"] == outcome.seconds


def test_a_failed_call_is_counted_too():
    outcome = Orchestrator(slm=Scripted(Answer(error=ModelError("x")))).run(intent, "x")
    assert len(outcome.calls) == 1
    assert str(outcome.calls[0].error) == "x"
    assert outcome.calls[0].seconds["total"] > 0


def test_trace_ids_differ():
    agent = Orchestrator(slm=sure())
    assert len({outcome.trace_id for outcome in agent.map(intent, ["x"] * 20)}) == 20


# --- many rows


def test_map_keeps_the_order():
    def answer(request: Request) -> Answer:
        number = int(request.messages[-1].content)
        return Answer(number, delay=0.02 * (5 - number % 5))

    @skill
    def same(n: int) -> int:
        """Repeat the number."""

    outcomes = Orchestrator(slm=Scripted(answer)).map(same, range(20))
    assert [outcome.value for outcome in outcomes] == list(range(20))


def test_map_of_nothing():
    assert Orchestrator(slm=sure()).map(intent, []) == []


@pytest.mark.parametrize("concurrency", [1, 3])
def test_map_has_a_bounded_number_under_way(concurrency: int):
    class Counting:
        name = "counting"
        now = most = 0

        async def complete(self, request: Request) -> Completion:
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.01)
            self.now -= 1
            return Completion("book", self.name, choices={"book": 1.0})

    model = Counting()
    Orchestrator(slm=model, concurrency=concurrency).map(intent, ["x"] * 10)
    assert model.most == concurrency


def test_bad_rows_do_not_stop_the_others():
    rows: list[Any] = ["x", "", "\0", 5, "y", None]
    outcomes = Orchestrator(slm=sure()).map(intent, rows)
    good = [o.value for o in outcomes if o.served_by == "slm"]
    assert good == ["book", "book"]
    for index in (1, 2, 3, 5):
        assert outcomes[index].reason == "invalid_input"
        assert isinstance(outcomes[index].error, InputError)


def test_rows_of_several_inputs():
    agent = Orchestrator(slm=Scripted(Answer(True)))
    rows: list[Any] = [("a", 1), {"first": "a", "second": 2}, "a", {1: "a"}, ("a",), {"third": 1}]
    outcomes = agent.map(two, rows)
    assert [outcome.reason for outcome in outcomes] == [None, None] + ["invalid_input"] * 4


def test_ctrl_c_returns_what_is_finished():
    code = """
        import sys
        from typing import Literal
        from hetagent import Answer, Orchestrator, Scripted, skill
        @skill
        def f(message: str) -> Literal["a"]:
            "Decide."
        def answer(request):
            number = int(request.messages[-1].content)
            if number == 5:
                print("waiting", flush=True)
            return Answer("a", delay=0 if number < 4 else 60)
        outcomes = Orchestrator(slm=Scripted(answer), concurrency=2).map(f, map(str, range(8)))
        print([(o.value, o.reason) for o in outcomes])
        again = Orchestrator(slm=Scripted(Answer("a"))).run(f, "x")
        print(again.value)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "waiting\n"
        time.sleep(0.2)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=30)
    assert child.returncode == 0, err
    finished, rest = [("a", None)] * 4, [(None, "cancelled")] * 4
    assert out.splitlines() == [str(finished + rest), "a"]
    assert "4 of 8 rows are finished" in err


def test_cancelling_amap_stops_everything():
    model = sure(delay=30)

    async def main() -> int:
        task = asyncio.create_task(Orchestrator(slm=model, concurrency=2).amap(intent, ["x"] * 6))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return len(asyncio.all_tasks())

    assert asyncio.run(main()) == 1
    assert len(model.requests) == 2


def test_cancelling_arun():
    async def main() -> None:
        task = asyncio.create_task(Orchestrator(slm=sure(delay=30)).arun(intent, "x"))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


# --- threads, tasks and loops


def test_run_within_a_running_loop():
    async def main() -> Any:
        return Orchestrator(slm=sure()).run(intent, "x").value

    assert asyncio.run(main()) == "book"


def test_a_synchronous_call_from_within_a_model_is_a_clear_error():
    inner = Orchestrator(slm=sure())

    class Nested:
        name = "nested"

        async def complete(self, request: Request) -> Completion:
            return Completion(str(inner.run(intent, "y").value), self.name)

    outcome = Orchestrator(slm=Nested()).run(intent, "x")
    assert outcome.reason == "model_error"
    assert "arun" in str(outcome.error)


def test_eight_threads_with_their_own_orchestrators():
    seen: dict[int, Any] = {}

    def work(number: int) -> None:
        label = ("book", "cancel", "other")[number % 3]
        with Orchestrator(slm=Scripted(Answer(label, delay=0.02))):
            seen[number] = [intent("x") for _ in range(3)] == [label] * 3

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == dict.fromkeys(range(8), True)


def test_with_blocks_of_several_tasks_may_overlap():
    agent = Orchestrator(slm=sure())

    async def hold(seconds: float) -> str:
        with agent:
            await asyncio.sleep(seconds)
            return intent("x")

    async def main() -> list[str]:
        return await asyncio.gather(hold(0.02), hold(0.06), hold(0.04))

    assert asyncio.run(main()) == ["book"] * 3


def test_with_blocks_nest():
    outer, inner = Orchestrator(slm=sure()), Orchestrator(slm=Scripted(Answer("other")))
    with outer:
        with inner, inner:
            assert intent("x") == "other"
        assert intent("x") == "book"
    with pytest.raises(SkillError):
        intent("x")


def test_a_new_thread_needs_its_own_with():
    errors: list[Exception] = []

    def work() -> None:
        try:
            intent("x")
        except SkillError as error:
            errors.append(error)

    with Orchestrator(slm=sure()):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert len(errors) == 1


# --- the real model


def test_the_real_model_end_to_end(smol: LlamaCpp):
    agent = Orchestrator(slm=smol, llm=Scripted(Answer(ORDER)), policy=0.0)
    outcome = agent.run(order, "Soup and tea for Ann, card 1")
    assert outcome.served_by in ("slm", "llm")
    assert outcome.usage.prompt_tokens > 20
    assert outcome.latency["slm.prefill"] > 0
    choice = agent.run(intent, "I want a table")
    assert choice.served_by == "slm"
    assert choice.choices is not None
    assert sum(choice.choices.values()) == pytest.approx(1, abs=1e-6)


def test_an_input_beyond_the_context_goes_to_the_llm(smol: LlamaCpp):
    agent = Orchestrator(slm=smol, llm=Scripted(LLM))
    outcome = agent.run(intent, "table " * 5000)
    assert (outcome.served_by, outcome.reason) == ("llm", "input_too_long")
    assert isinstance(outcome.error, InputTooLongError)
    assert outcome.error.tokens > outcome.error.limit


def test_a_policy_that_breaks_stops_the_other_rows():
    class Broken:
        def asks_slm(self, skill: str) -> bool:
            return True

        def decide(self, scored: Scored) -> Decision:
            raise ZeroDivisionError("on purpose")

    model = Scripted([Answer("book"), Answer("book", delay=30)])
    began = time.perf_counter()
    with pytest.raises(ZeroDivisionError, match="on purpose"):
        Orchestrator(slm=model, policy=Broken(), concurrency=2).map(intent, ["x", "y"])
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Orchestrator("smollm2-135m-instruct"), "slm is 'smollm2-135m-instruct'"),
        (lambda: Orchestrator(llm=object()), "llm is <object"),
        (lambda: Orchestrator(policy={"intent": 0.4}), "policy is {'intent': 0.4}"),
        (lambda: Orchestrator(policy=True), "policy is True"),
        (lambda: Orchestrator(timeout="5"), "timeout is '5'"),
        (lambda: Orchestrator(concurrency=1.5), "concurrency is 1.5"),
        (lambda: Threshold("0.9"), "threshold of the default is 0.9"),
        (lambda: Orchestrator(Scripted(Answer(True))).run(len, "x"), "is not a skill"),
        (lambda: Orchestrator(Scripted(Answer(True))).map(len, ["x"]), "is not a skill"),
    ],
)
def test_wrong_kinds_of_arguments_are_clear_errors(build, words):
    with pytest.raises(SkillError, match=re.escape(words)):
        build()


def test_map_refuses_what_is_no_list_of_rows():
    @skill
    def urgent(message: str) -> bool:
        """Judge it."""

    agent = Orchestrator(Scripted(Answer(True)))
    for rows in ("hello", b"hello", {"message": "hello"}):
        with pytest.raises(SkillError, match="instead of rows"):
            agent.map(urgent, rows)


def test_a_model_that_breaks_its_promises_is_an_outcome_and_not_a_crash():
    @skill
    def urgent(message: str) -> bool:
        """Judge it."""

    class Broken:
        name = "broken"

        def __init__(self, completion):
            self.completion = completion

        async def complete(self, request):
            return self.completion

    for completion in (
        None,
        Completion("true", "m", choices={"false": 1.0}),
        Completion("maybe", "m", choices={"true": 0.5, "false": 0.5}),
    ):
        (outcome,) = Orchestrator(Broken(completion)).map(urgent, ["x"])
        assert (outcome.served_by, outcome.reason) == ("none", "model_error")
        assert "at fault" in str(outcome.error)


def test_options_can_be_lifted_again():
    agent = Orchestrator(Scripted(Answer(True, delay=0.2)), timeout=0.01)

    @skill
    def urgent(message: str) -> bool:
        """Judge it."""

    assert agent.run(urgent, "x").reason == "timeout"
    assert agent.with_options(policy=0.5).run(urgent, "x").reason == "timeout"
    assert agent.with_options(timeout=None).run(urgent, "x").value is True


def test_what_a_failed_call_cost_is_counted():
    @skill
    def urgent(message: str) -> bool:
        """Judge it."""

    error = ProviderError("It failed.")
    error.usage, error.attempts = Usage(1000, 0, 500, 0.05), 2
    outcome = Orchestrator(llm=Scripted(Answer(error=error))).run(urgent, "x")
    assert outcome.served_by == "none"
    assert outcome.cost_usd == 0.05
    assert outcome.usage.prompt_tokens == 1000
    assert outcome.calls[0].attempts == 2


def test_outcomes_of_tools_are_json():
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    @skill(output=tools(add))
    def act(message: str):
        """Choose."""

    chosen = Answer({"tool": "add", "arguments": {"a": 1, "b": 2}}, confidence=0.95)
    outcome = Orchestrator(Scripted(chosen)).run(act, "one and two")
    assert json.loads(json.dumps(outcome.to_dict()))["value"] == {
        "name": "add",
        "arguments": {"a": 1, "b": 2},
        "function": "add",
    }
    draft = Orchestrator(Scripted(chosen), policy=0.99).run(act, "one and two").to_dict()["draft"]
    assert json.loads(json.dumps(draft))["value"]["name"] == "add"


def test_errors_survive_pickling():
    @skill
    def urgent(message: str) -> bool:
        """Judge it."""

    with pytest.raises(NoAnswerError) as caught, Orchestrator(Scripted(Answer(True)), policy=2):
        urgent("x")
    for error in (caught.value, MissingExtraError("torch", extra="transformers")):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.hint) == (type(error), str(error), error.hint)
        assert copy.copy(error).message == error.message
