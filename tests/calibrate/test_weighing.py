"""Calibrating with the LLMs asked too: what is learnt of them, what is certified, what is run."""

import json
import random
from dataclasses import replace
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from hetagent import (
    Answer,
    Benefit,
    Certificate,
    Certified,
    Orchestrator,
    Request,
    Scripted,
    Usage,
    skill,
)
from hetagent.calibrate.pairs import pairs_of
from hetagent.errors import (
    CertificateError,
    ConnectError,
    InputError,
    SkillError,
    StaleCertificate,
)

PRICES = {"small": 0.0002, "large": 0.01}


@skill
def sign(text: str) -> Literal["plus", "minus"]:
    """Say which sign the number has."""


def number(request: Request) -> float:
    return float(request.messages[-1].content.split()[-1])


def right_with(probability: float, x: float, who: str) -> str:
    wrong = random.Random(f"{who} {x!r}").random() > probability
    return "plus" if (x > 0) != wrong else "minus"


def slm(request: Request) -> Answer:
    """Right with the probability that it says, which rises towards the ends."""
    x = number(request)
    sure = 0.5 + abs(x) / 2
    return Answer(right_with(sure, x, "slm"), confidence=sure)


def llm(name: str, accuracy: float, **more: Any) -> Scripted:
    def answer(request: Request) -> Answer:
        x = number(request)
        cost = Usage(cost_usd=PRICES.get(name, 0.001))
        return Answer(right_with(accuracy, x, name), confidence=accuracy, usage=cost, **more)

    return Scripted(answer, name=name)


def examples(count: int, seed: int = 0) -> list[tuple[str, str]]:
    drawn = random.Random(seed)
    rows = [drawn.uniform(-1, 1) for _ in range(count)]
    return [(f"number {x!r}", "plus" if x > 0 else "minus") for x in rows]


def agent(*llms: Scripted, **options: Any) -> Orchestrator:
    return Orchestrator(Scripted(slm, name="noisy"), llm=list(llms), progress=False, **options)


LADDER = (llm("small", 0.88), llm("large", 0.99))


@pytest.fixture(scope="module")
def certificate() -> Certificate:
    return agent(*LADDER).calibrate(
        sign, examples(1500), max_error=0.1, confidence=0.9, ask_llm=True,
        value_of_correct_usd=0.03,
    )  # fmt: skip


def test_what_is_learnt_of_the_llms(certificate: Certificate):
    small, large = certificate.rungs
    assert (small.model, large.model) == ("small", "large")
    assert (small.n, large.n) == (1500, 1500)
    assert small.accuracy == pytest.approx(0.88, abs=0.03)
    assert large.accuracy == pytest.approx(0.99, abs=0.01)
    assert (small.cost_usd, large.cost_usd) == pytest.approx((0.0002, 0.01))
    assert small.seconds > 0
    assert "LLM 0 small: right on" in certificate.explain()
    assert "Ladder:" in certificate.explain()


def test_a_certificate_with_llms_survives_its_file(certificate: Certificate, tmp_path):
    path = certificate.save(tmp_path / "sign.json")
    loaded = Certificate.load(path)
    assert loaded == certificate
    assert json.loads(path.read_text(), parse_constant=pytest.fail)
    data = certificate.to_dict()
    data["escalation"]["rungs"][0]["cost_usd"] = 0.0
    with pytest.raises(CertificateError, match="not those it was made with"):
        Certificate.from_dict(data)
    data["escalation"]["ladder"]["floors"] = []
    with pytest.raises(CertificateError, match="no certificate"):
        Certificate.from_dict(data)


def test_other_llms_than_those_that_were_asked_are_refused(certificate: Certificate):
    policy = Certified(certificate)
    agent(*LADDER, policy=policy).run(sign, "number 0.9")
    with pytest.raises(StaleCertificate) as refused:
        agent(LADDER[0], llm("other", 0.99), policy=policy).run(sign, "number 0.9")
    assert refused.value.changed == ("llm 1",)
    with pytest.raises(StaleCertificate):
        agent(LADDER[0], policy=policy).run(sign, "number 0.9")


def test_the_ladder_keeps_its_promise_on_new_inputs(certificate: Certificate):
    fresh = examples(900, seed=1)
    run = agent(*LADDER, policy=Certified(certificate))
    outcomes = run.map(sign, [text for text, _ in fresh])
    early = [(one, label) for one, (_, label) in zip(outcomes, fresh, strict=True) if one.rung != 1]
    errors = sum(one.value != label for one, label in early)
    assert all(one.value is not None for one in outcomes)
    assert errors / len(early) <= 0.1
    assert certificate.escalation is not None
    assert certificate.escalation.ladder is not None
    counts = certificate.escalation.ladder.counts
    assert len(early) / len(fresh) == pytest.approx(counts.accepted / counts.n, abs=0.08)
    assert {one.rung for one in outcomes} == {None, 0, 1}
    cost = sum(one.cost_usd or 0.0 for one in outcomes) / len(fresh)
    assert cost == pytest.approx(certificate.escalation.ladder.cost, rel=0.2)
    assert cost < 0.5 * PRICES["large"]
    plain = certificate.parts[""].coverage
    assert len(early) / len(fresh) > plain + 0.2, "the small LLM serves where the SLM cannot"


def test_weighed_answers_keep_their_promise_too(certificate: Certificate):
    fresh = examples(700, seed=2)
    run = agent(*LADDER, policy=Certified(certificate, value_of_correct_usd=0.03))
    outcomes = run.map(sign, [text for text, _ in fresh])
    accepted = [
        (one, label)
        for one, (_, label) in zip(outcomes, fresh, strict=True)
        if one.served_by == "slm"
    ]
    assert len(accepted) > 100
    assert sum(one.value != label for one, label in accepted) / len(accepted) <= 0.1
    for one in outcomes:
        assert one.basis is not None
        assert (max(one.basis.gains) > 0) == (one.served_by == "llm")
    # An answer of the large one costs more than it is likelier to be right than the small one.
    assert {one.rung for one in outcomes} == {None, 0}


def test_benefit_alone_brings_more_than_any_model(certificate: Certificate):
    fresh = examples(600, seed=3)

    def worth(one: Any, label: str) -> float:
        return 0.03 * (one.value == label) - (one.cost_usd or 0.0)

    def total(run: Orchestrator) -> float:
        outcomes = run.map(sign, [text for text, _ in fresh])
        return sum(map(worth, outcomes, [label for _, label in fresh])) / len(fresh)

    ours = total(agent(*LADDER, policy=Benefit(certificate, value_of_correct_usd=0.03)))
    alone = total(agent(*LADDER, policy=0.0))
    each = [total(Orchestrator(llm=one, progress=False)) for one in LADDER]
    assert ours > max(alone, *each)


def test_nothing_escalates_to_an_llm_that_guesses():
    guesses = llm("guess", 0.5)
    made = agent(guesses).calibrate(sign, examples(400), max_error=0.2, ask_llm=True)
    assert made.escalation is not None
    assert made.escalation.ladder is None, "there is but one"
    run = agent(guesses, policy=Benefit(made, value_of_correct_usd=0.02))
    asked = len(guesses.requests)
    outcomes = run.map(sign, [text for text, _ in examples(300, seed=4)])
    assert sum(one.escalated for one in outcomes) <= 0.05 * 300
    assert len(guesses.requests) - asked == sum(one.escalated for one in outcomes)


def test_a_certificate_that_asked_no_llm_holds_with_any(certificate: Certificate):
    made = agent(LADDER[0]).calibrate(sign, examples(300), max_error=0.2)
    assert (made.escalation, made.rungs) == (None, ())
    agent(llm("other", 0.9), policy=Certified(made)).run(sign, "number 0.9")


def test_the_budget_holds_and_what_was_not_asked_says_nothing():
    run = agent(*LADDER)
    with run.spending(llm_calls=400) as spent:
        made = run.calibrate(sign, examples(300), max_error=0.2, ask_llm=True)
    assert spent.llm_calls == 400
    assert sum(one.n for one in made.rungs) == 400
    assert all(one.accuracy > 0.8 for one in made.rungs)


def test_pairs_say_who_was_asked_and_who_was_right():
    broken = Scripted(lambda r: Answer(error=ConnectError("down")), name="down")
    run = agent(llm("small", 1.0), broken, policy=0.8, breaker=None)
    rows = examples(40)
    outcomes = run.map(sign, [text for text, _ in rows])
    logged = pairs_of(sign, outcomes, [label for _, label in rows], rungs=1)
    for outcome, pair in zip(outcomes, logged, strict=True):
        (reply,) = pair.replies
        assert pair.draft == outcome.evidence[""]
        assert (reply is not None) == outcome.escalated
        if reply is not None:
            assert reply.correct
            assert reply.agrees == pair.correct
            assert reply.cost_usd == PRICES["small"]
            assert reply.evidence is not None
    with pytest.raises(CertificateError, match="LLM 1 gave no valid answer"):
        pairs_of(sign, outcomes, [label for _, label in rows], rungs=2)
    with pytest.raises(CertificateError, match="down"):
        agent(broken, breaker=None).calibrate(sign, examples(40), ask_llm=True)


def test_an_llm_that_sometimes_fails_is_right_less_often():
    def sometimes(request: Request) -> Answer:
        x = number(request)
        return Answer("plus" if x > 0 else "minus", raw="neither" if x > 0.5 else None)

    made = agent(Scripted(sometimes, name="moody")).calibrate(
        sign, examples(400), max_error=0.2, ask_llm=True
    )
    assert made.rungs[0].accuracy == pytest.approx(0.75, abs=0.05)


def test_where_the_slm_gives_no_valid_answer_the_ladder_goes_on():
    def sometimes(request: Request) -> Answer:
        x = number(request)
        return replace(slm(request), raw="neither") if x > 0.6 else slm(request)

    run = Orchestrator(Scripted(sometimes), llm=list(LADDER), progress=False)
    made = run.calibrate(sign, examples(1000), max_error=0.1, confidence=0.9, ask_llm=True)
    assert made.escalation is not None
    assert made.escalation.unusable == pytest.approx(0.2, abs=0.03)
    assert made.escalation.ladder is not None
    certified = run.with_options(policy=Certified(made))
    outcome = certified.run(sign, "number 0.7")
    assert outcome.served_by == "llm"
    assert outcome.reason == "invalid_output"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"value_of_correct_usd": 0.02}, "no LLM is asked"),
        ({"ask_llm": True, "value_of_correct_usd": -1.0}, "value_of_correct_usd is"),
        ({"ask_llm": True, "usd_per_second": float("inf")}, "usd_per_second is"),
    ],
)
def test_values_are_checked(options, words):
    with pytest.raises(InputError, match=words):
        agent(LADDER[0]).calibrate(sign, examples(40), **options)


def test_somebody_must_be_there_to_be_asked():
    with pytest.raises(SkillError, match="no LLM to ask"):
        agent().calibrate(sign, examples(40), ask_llm=True)


class Bounds(BaseModel):
    low: int
    high: int


@skill
def bounds(text: str) -> Bounds:
    """Copy the bounds."""


def bounds_examples(count: int, seed: int) -> list[tuple[str, Bounds]]:
    drawn = random.Random(seed)
    pairs = [(drawn.randrange(1000), drawn.randrange(1000)) for _ in range(count)]
    return [(f"bounds {a} {b}", Bounds(low=a, high=b)) for a, b in pairs]


def slm_bounds(request: Request) -> Answer:
    low, high = map(int, request.messages[-1].content.split()[-2:])
    drawn = random.Random(f"bounds {low} {high}")
    sure = {"low": drawn.uniform(0.8, 1), "high": drawn.uniform(0.3, 1)}
    wrong = {name: drawn.random() > p for name, p in sure.items()}
    return Answer({"low": low + wrong["low"], "high": high + wrong["high"]}, fields=sure)


def llm_bounds(request: Request) -> Answer:
    low, high = map(int, request.messages[-1].content.split()[-2:])
    return Answer({"low": low, "high": high}, usage=Usage(cost_usd=0.004))


def test_of_a_record_whole_values_are_weighed_as_they_were_certified():
    model = Scripted(llm_bounds, name="copies")
    run = Orchestrator(Scripted(slm_bounds), llm=[model], escalate="fields", progress=False)
    made = run.calibrate(
        bounds, bounds_examples(800, 0), max_error=0.25, confidence=0.9, ask_llm=True,
        value_of_correct_usd=0.01,
    )  # fmt: skip
    assert set(made.parts) == {"", "low", "high"}
    assert made.escalation is not None
    assert made.escalation.weighed is not None
    counts = made.escalation.weighed.counts
    assert counts is not None
    policy = Certified(made, value_of_correct_usd=0.01)
    fresh = bounds_examples(500, 1)
    outcomes = run.with_options(policy=policy).map(bounds, [text for text, _ in fresh])
    accepted = [
        one.value == label
        for one, (_, label) in zip(outcomes, fresh, strict=True)
        if one.served_by == "slm"
    ]
    assert len(accepted) / len(fresh) == pytest.approx(counts.accepted / counts.n, abs=0.1)
    assert sum(accepted) / len(accepted) >= 0.75
    served = {one.served_by for one in outcomes}
    assert served == {"slm", "llm", "none"}, "an LLM is never asked for some fields only"
    labels = [(text, {"low": label.low}) for text, label in bounds_examples(60, 2)]
    with pytest.raises(InputError, match="leave fields out"):
        run.calibrate(bounds, labels, ask_llm=True)
