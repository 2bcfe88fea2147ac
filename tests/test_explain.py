"""What an outcome says of itself, for every reason and every form of answer."""

import random
import re
from collections.abc import Callable
from typing import Any, Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from hetagent import (
    Answer,
    Basis,
    Budget,
    Call,
    Certified,
    Completion,
    Decision,
    Draft,
    Orchestrator,
    Outcome,
    Reason,
    Scripted,
    Threshold,
    Usage,
    Window,
    skill,
)
from hetagent.errors import InputTooLongError, ModelError, ModelTimeoutError, RateLimitError
from hetagent.explain import ABSENT, REASONS, changes, explain, money


@skill
def intent(message: str) -> Literal["book", "cancel", "other"]:
    """Decide what the guest wants."""


@skill
def sizes(message: str) -> list[int]:
    """List the sizes."""


@skill
def maybe(message: str) -> Literal["book"] | None:
    """Decide whether to book."""


class Booking(BaseModel):
    date: str | None
    people: int
    tags: list[str]


@skill
def booking(message: str) -> Booking:
    """Copy out the booking."""


NO_CALLS = (Window(seconds=3600, llm_calls=0),)
DRAFT = Booking(date="May 5", people=4, tags=["quiet"])


class Silent:
    """A model without probabilities."""

    name = "silent"

    async def complete(self, request: Any) -> Completion:
        return Completion("book", "silent")


class Refusing:
    """A policy that asks the SLM and then refuses it, for a reason of its own."""

    def asks_slm(self, skill: str) -> bool:
        return True

    def decide(self, scored: Any) -> Decision:
        return Decision("abstain", "policy")


def slm(*args: Any, **kwargs: Any) -> Scripted:
    return Scripted(Answer(*args, **kwargs), name="tiny")


def llm(*args: Any, **kwargs: Any) -> Scripted:
    return Scripted(Answer(*args, **kwargs), name="big")


def failing(error: Exception) -> Callable[[], Outcome[Any]]:
    return lambda: Orchestrator(slm(error=error), llm=llm("book")).run(intent, "x")


CASES: dict[str, tuple[Callable[[], Outcome[Any]], list[str]]] = {
    "low_confidence": (
        lambda: Orchestrator(slm("book", confidence=0.6), llm=llm("cancel")).run(intent, "x"),
        [
            'intent: the LLM big answered "cancel".',
            'The SLM tiny had said "book".',
            "The SLM's answer was not sure enough.",
            "Raw confidence in the whole value: 0.600; 0.900 or more is accepted.",
            "The LLM big put a raw confidence of 1.000 on it.",
            "The LLM said otherwise than the SLM.",
        ],
    ),
    "invalid_output": (
        lambda: Orchestrator(slm(raw='{"date": 7}')).run(booking, "x"),
        [
            "booking: no answer was given.",
            'The SLM tiny had written "{\\"date\\": 7}".',
            "No LLM was asked.",
        ],
    ),
    "truncated": (
        lambda: Orchestrator(slm(raw='{"da', truncated=True)).run(booking, "x"),
        [
            'The SLM tiny had written "{\\"da".',
            "What to do: Raise the skill's max_tokens, or bound its strings and lists.",
        ],
    ),
    "model_error": (
        failing(ModelError("It broke.")),
        ['intent: the LLM big answered "book".', "The SLM could not answer: It broke."],
    ),
    "timeout": (
        failing(ModelTimeoutError("tiny was slow.")),
        ["The SLM gave no answer in time: tiny was slow."],
    ),
    "input_too_long": (
        failing(InputTooLongError("900 tokens are too many.")),
        ["The input is too long for the SLM: 900 tokens are too many."],
    ),
    "invalid_input": (
        lambda: Orchestrator(slm("book"), progress=False).map(intent, [""])[0],
        ["intent: no answer was given."],
    ),
    "no_confidence": (
        lambda: Orchestrator(Silent(), llm=llm("book")).run(intent, "x"),
        [
            'The SLM silent had said "book".',
            "The SLM gives no probabilities, so nothing tells how far to trust it.",
            "The LLM said the same as the SLM.",
        ],
    ),
    "policy": (
        lambda: Orchestrator(llm=llm("book")).run(intent, "x"),
        ["The SLM was not asked: there is none, or the policy passes this skill over it."],
    ),
    "drift": (
        lambda: Outcome("intent", None, None, "none", "0" * 32, 0.0, reason="drift"),
        ["Audits found that the certificate does not hold any more."],
    ),
    "cancelled": (
        lambda: Outcome("intent", None, None, "none", "0" * 32, 0.0, reason="cancelled"),
        ["The run was cancelled before this input was finished.", "No model was called. Trace "],
    ),
    "budget": (
        lambda: Orchestrator(
            slm("book", confidence=0.6), llm=llm("book"), budget=Budget(windows=NO_CALLS)
        ).run(intent, "x"),
        [
            "intent: no answer was given.",
            "Raw confidence in the whole value: 0.600; 0.900 or more is accepted.",
            "No LLM was asked.",
        ],
    ),
}  # fmt: skip


def test_every_reason_has_words_and_a_case():
    assert set(CASES) == set(get_args(Reason)) == set(REASONS)


@pytest.mark.parametrize("reason", CASES)
def test_each_reason_is_told(reason: str):
    make, expected = CASES[reason]
    outcome = make()
    assert outcome.reason == reason
    said = outcome.explain().splitlines()
    for line in expected:
        assert any(one.startswith(line) for one in said), (line, said)
    if not (reason == "policy" and not outcome.draft):
        assert any(one.startswith(REASONS[outcome.reason]) for one in said)
    assert said[-1].endswith(f"Trace {outcome.trace_id}.")


def test_a_policys_own_refusal():
    outcome = Orchestrator(slm("book"), policy=Refusing()).run(intent, "x")
    assert "The policy did not accept the SLM's answer." in outcome.explain()


def test_an_accepted_choice():
    outcome = Orchestrator(slm("book", confidence=0.97)).run(intent, "x")
    assert outcome.explain().splitlines()[:3] == [
        'intent: the SLM tiny answered "book".',
        "It was sure enough.",
        "Raw confidence in the whole value: 0.970; 0.900 or more is accepted.",
    ]
    assert len(outcome.explain().splitlines()) == 4


def test_close_numbers_do_not_look_the_same():
    outcome = Orchestrator(slm("book", confidence=0.89996)).run(intent, "x")
    assert "0.89996; 0.90000 or more is accepted" in outcome.explain()


def test_a_record_whose_weak_field_the_llm_gave():
    agent = Orchestrator(
        slm(DRAFT, fields={"people": 0.4, "date": 0.95}),
        llm=llm({"people": 5}, usage=Usage(cost_usd=0.0012)),
        escalate="fields",
    )
    said = agent.run(booking, "x").explain().splitlines()
    assert said[0].startswith("booking: the SLM tiny and the LLM big together answered {")
    assert "Least sure: people 0.400." in said
    assert "The LLM changed people from 4 to 5." in said
    assert said[-1].startswith("It cost $0.0012, and took ")


def test_a_field_the_llm_confirms():
    agent = Orchestrator(
        slm(DRAFT, fields={"people": 0.4}), llm=llm({"people": 4}), escalate="fields"
    )
    outcome = agent.run(booking, "x")
    assert outcome.served_by == "both"
    assert changes(outcome) == {}
    assert "The LLM said the same as the SLM." in outcome.explain()


def test_thresholds_by_field():
    policy = Threshold(0.9, {"booking": {"people": 0.5, "date": 0.99}})
    outcome = Orchestrator(slm(DRAFT, fields={"people": 0.4, "date": 0.95}), policy=policy).run(
        booking, "x"
    )
    assert outcome.weak == ("date", "people")
    said = outcome.explain().splitlines()
    assert "Raw confidence in people: 0.400; 0.500 or more is accepted." in said
    assert "Raw confidence in date: 0.950; 0.990 or more is accepted." in said
    assert "1 other reached what is asked." in said


def test_a_list_that_the_llm_made_longer():
    agent = Orchestrator(slm([38, 40], confidence=0.2), llm=llm([38, 41, 42]))
    said = agent.run(sizes, "x").explain()
    assert "The LLM changed [1] from 40 to 41; [2] from nothing to 42." in said
    assert "It left 1 other field as the SLM had it." in said


def test_a_null_is_a_value():
    outcome = Orchestrator(slm(None, confidence=0.3), llm=llm("book")).run(maybe, "x")
    assert outcome.draft is not None
    assert "The SLM tiny had said null." in outcome.explain()
    assert changes(outcome) == {"": (None, "book")}


def test_true_is_not_one():
    draft = Draft("", {"a": True, "b": 1}, 0.5, {})
    outcome = Outcome(
        "s", {"a": 1, "b": 1.0}, None, "llm", "0" * 32, 0.0, reason="low_confidence", draft=draft
    )
    assert changes(outcome) == {"a": (True, 1)}


def test_nothing_is_compared_where_there_is_no_valid_draft():
    outcome = Orchestrator(slm(raw="{"), llm=llm(DRAFT)).run(booking, "x")
    assert outcome.served_by == "llm"
    assert changes(outcome) is None
    assert changes(Orchestrator(slm("book")).run(intent, "x")) is None


def test_a_failed_llm_and_what_to_do():
    agent = Orchestrator(
        slm("book", confidence=0.2), llm=llm(error=RateLimitError("Slow down.", hint="Wait."))
    )
    said = agent.run(intent, "x").explain()
    assert "The LLM big gave no answer: Slow down." in said
    assert "What to do: Wait." in said
    assert said.count("Slow down.") == 1


def test_a_ladder_tells_of_every_rung():
    broken = Scripted(Answer(error=ModelError("It broke.")), name="middle")
    agent = Orchestrator(slm("book", confidence=0.2), llm=[broken, llm("cancel")])
    said = agent.run(intent, "x").explain()
    assert "The LLM middle gave no answer: It broke." in said
    assert 'intent: the LLM big answered "cancel".' in said
    assert "Last error" not in said


def test_an_answer_served_for_want_of_money_says_so():
    budget = Budget(windows=NO_CALLS, at_cap="degrade")
    agent = Orchestrator(slm("book", confidence=0.6), llm=llm("book"), budget=budget)
    said = agent.run(intent, "x").explain()
    assert 'intent: the SLM tiny answered "book".' in said
    assert "It was not accepted, but the budget had no room to ask further" in said
    assert "Last error: BudgetError: " in said


def noisy(request: Any) -> Answer:
    drawn = random.Random(request.messages[-1].content)
    sure = drawn.uniform(0.4, 1)
    return Answer("book" if drawn.random() < sure else "cancel", confidence=sure)


def test_a_certificate_is_named_with_what_it_promises():
    agent = Orchestrator(Scripted(noisy, name="tiny"), progress=False)
    examples = [(f"message {number}", "book") for number in range(400)]
    certificate = agent.calibrate(intent, examples, max_error=0.2, confidence=0.9)
    agent = agent.with_options(policy=Certified(certificate))
    least = certificate.parts[""].least_confidence
    assert least is not None
    refused = False
    for outcome in agent.map(intent, [text for text, _ in examples[:40]]):
        said = outcome.explain()
        assert f"By certificate {certificate.id}: at most 20% of what is accepted" in said
        assert outcome.basis is not None
        assert outcome.least == {"": least}
        match = re.search(r"Calibrated confidence in the whole value: ([\d.]+); ([\d.]+) or", said)
        assert match, said
        assert float(match[1]) == pytest.approx(outcome.basis.confidence[""], abs=0.0006)
        assert float(match[2]) == pytest.approx(least, abs=0.0006)
        refused |= outcome.reason is not None
    assert refused


def test_a_refusal_at_the_very_threshold_is_not_a_contradiction():
    basis = Basis("abc", 0.05, {"": 0.8}, {"": 0.8})
    outcome = Outcome(
        "s", None, None, "none", "0" * 32, 0.0, reason="low_confidence",
        draft=Draft("x", "x", 0.5, {}), basis=basis, least={"": 0.8},
    )  # fmt: skip
    assert "0.800; of answers as sure as this, only those with a higher score" in explain(outcome)


def test_where_nothing_is_accepted_and_what_asking_was_expected_to_gain():
    basis = Basis("abc", 0.05, {"": 0.8}, {"": None}, gains=(0.002,))
    call = Call("slm", "tiny", Usage(cost_usd=None), {"total": 2.0}, attempts=3)
    outcome = Outcome(
        "s", None, None, "none", "0" * 32, 2.0, reason="low_confidence",
        draft=Draft("x", "x", 0.5, {}), basis=basis, least={"": None}, calls=(call,),
    )  # fmt: skip
    said = explain(outcome)
    assert "Calibrated confidence in the whole value: 0.800; none is accepted there." in said
    assert "Expected gain of asking: the LLM $0.002." in said
    assert "What it cost is not known, and took 2.0 s (the SLM tiny 2.0 s in 3 tries)." in said


def test_many_fields_are_not_all_listed():
    before = {f"f{number}": number for number in range(20)}
    after = {name: value + 1 for name, value in before.items()}
    outcome = Outcome(
        "s", after, None, "llm", "0" * 32, 0.0, reason="low_confidence",
        draft=Draft("{}", before, 0.5, {}),
    )  # fmt: skip
    assert "f5 from 5 to 6, and 14 more." in explain(outcome)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=80),
                    lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(st.text(max_size=5), inner, max_size=3)))  # fmt: skip
def test_whatever_is_answered_can_be_told_and_is_the_same_as_itself(value: Any):
    outcome = Outcome(
        "s", value, None, "llm", "0" * 32, 0.0, reason="low_confidence",
        draft=Draft("null", value, 0.5, {}),
    )  # fmt: skip
    assert changes(outcome) == {}
    assert "The LLM said the same as the SLM." in explain(outcome)


@pytest.mark.parametrize(
    ("usd", "text"),
    [(0.0, "$0.00"), (0.5, "$0.50"), (0.0012, "$0.0012"), (1234.5, "$1,234.50"),
     (0.341385, "$0.3414"), (1e-9, "less than $0.000001"), (0.00051234, "$0.0005123")],
)  # fmt: skip
def test_money(usd: float, text: str):
    assert money(usd) == text


def test_absent_has_a_name():
    assert repr(ABSENT) == "nothing"
