"""A certified policy that weighs what the LLMs would bring, and one that climbs a ladder."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetagent import Certified, Decision, Evidence, Scored, Threshold
from hetagent.calibrate.rungs import Counts, Ladder
from hetagent.errors import CertificateError, SkillError
from hetagent.policy import as_rung_policy
from tests.support.escalations import certificate, constant, log_odds, rung, straight

CHANCES = st.floats(0.01, 0.99)
VALUES = st.floats(0.0, 1.0)
COSTS = st.floats(0.0, 0.1)


def scored(confidence: float) -> Scored:
    return Scored("sign", confidence, evidence={"": Evidence(confidence)})


def weighing(*rungs, value: float, least: float | None = 0.8, usd_per_second: float = 0.0):
    made = certificate(*rungs, least=least, value=value, usd_per_second=usd_per_second)
    return Certified(made, value_of_correct_usd=value, usd_per_second=usd_per_second)


def test_the_llm_of_the_largest_gain_is_asked():
    llms = (rung(0.8, cost=0.001), rung(0.95, cost=0.002), rung(0.955, cost=0.01))
    policy = weighing(*llms, value=1)
    decision = policy.decide(scored(0.5))
    assert (decision.action, decision.rung, decision.skip) == ("escalate", 1, ())
    assert decision.basis is not None
    assert decision.basis.gains == pytest.approx((0.299, 0.448, 0.445), abs=1e-3)


def test_an_answer_that_no_llm_improves_is_accepted_where_it_is_certified():
    policy = weighing(rung(0.95, cost=0.01), value=0.02)
    assert policy.decide(scored(0.9)).action == "accept"
    unsure = policy.decide(scored(0.7))
    assert (unsure.action, unsure.reason) == ("abstain", "low_confidence")
    assert unsure.basis is not None
    assert unsure.basis.gains[0] < 0
    assert policy.decide(scored(0.3)).action == "escalate"


def test_a_certified_answer_escalates_where_that_is_worth_it():
    policy = weighing(rung(0.999, cost=0.0001), value=0.02)
    assert policy.decide(scored(0.9)).action == "escalate"
    assert policy.decide(scored(0.998)).action == "accept"


@given(CHANCES, CHANCES, COSTS, VALUES, VALUES)
def test_a_higher_value_never_turns_an_escalation_into_an_acceptance(slm, llm, cost, a, b):
    low, high = sorted((a, b))
    first = weighing(rung(llm, cost=cost), value=low).decide(scored(slm))
    second = weighing(rung(llm, cost=cost), value=high).decide(scored(slm))
    if first.action == "escalate":
        assert second.action == "escalate"


@given(CHANCES, st.lists(st.tuples(CHANCES, COSTS), min_size=1, max_size=4), VALUES)
def test_an_llm_dearer_than_a_right_answer_is_worth_is_never_asked(slm, llms, value):
    policy = weighing(*(rung(p, cost=cost) for p, cost in llms), value=value)
    for decision in (policy.decide(scored(slm)), policy.without_draft("sign")):
        if decision.action == "escalate":
            asked = [i for i in range(decision.rung, len(llms)) if i not in decision.skip]
            assert decision.rung in asked
            assert all(llms[i][1] < value for i in asked)


@given(CHANCES, CHANCES, VALUES, COSTS)
def test_nothing_escalates_to_an_llm_that_is_worse(slm, llm, value, cost):
    decision = weighing(rung(llm, cost=cost), value=value).decide(scored(slm))
    if llm <= slm - 1e-3:
        assert decision.action == ("accept" if slm >= 0.8 else "abstain")


def test_waiting_has_a_price_too():
    slow = rung(0.9, cost=0.0, seconds=10)
    assert weighing(slow, value=0.02).decide(scored(0.5)).action == "escalate"
    hurried = weighing(slow, value=0.02, usd_per_second=0.001)
    assert hurried.decide(scored(0.5)).action == "abstain"


def test_the_slm_is_not_asked_where_it_only_costs_time():
    perfect = rung(0.999, cost=0.0)
    hurried = weighing(perfect, value=0.02, usd_per_second=0.001, least=None)
    assert not hurried.asks_slm("sign")
    assert hurried.without_draft("sign") == Decision("escalate", "low_confidence")
    saving = weighing(rung(0.99, cost=0.01), value=0.02, least=0.5)
    assert saving.asks_slm("sign")
    nobody_else = weighing(rung(0.9, cost=5), value=0.02)
    assert nobody_else.asks_slm("sign")
    assert nobody_else.without_draft("sign").action == "abstain"


def test_a_promise_is_kept_for_the_value_it_was_made_with_only():
    made = certificate(rung(0.9), value=0.02)
    with pytest.raises(CertificateError, match=r"value_of_correct_usd=0\.03"):
        Certified(made, value_of_correct_usd=0.03)
    with pytest.raises(CertificateError, match="promises nothing"):
        Certified(certificate(rung(0.9)), value_of_correct_usd=0.02)
    with pytest.raises(SkillError, match="whole values"):
        Certified(made, value_of_correct_usd=0.02, accept="fields")
    assert Certified(made).decide(scored(0.9)).basis.gains == ()  # type: ignore[union-attr]


def test_without_probabilities_an_llm_is_asked():
    policy = weighing(rung(0.7), rung(0.9), value=0.02)
    decision = policy.decide(Scored("sign", 0.0))
    assert (decision.action, decision.reason, decision.rung) == ("escalate", "no_confidence", 1)


def two_rungs(*, second: float | None = 0.7, floor: float | None = 0.2) -> Ladder:
    return Ladder(
        (log_odds(0.9), None if second is None else log_odds(second)),
        (None if floor is None else log_odds(floor),),
        (straight(),),
        Counts(200, 150, 3, 0.04, 0.03),
        0.002,
        "usd",
    )


def climbing(**options) -> Certified:
    return Certified(certificate(rung(0.8), rung(0.95), ladder=two_rungs(**options)))


def opinion(confidence: float, draft: float | None) -> Scored:
    return Scored(
        "sign",
        confidence,
        evidence={"": Evidence(confidence)},
        draft={} if draft is None else {"": Evidence(draft)},
    )


@pytest.mark.parametrize(
    ("confidence", "action", "rung"),
    [(0.95, "accept", 0), (0.5, "escalate", 0), (0.1, "escalate", 1)],
)
def test_the_slms_score_says_who_is_asked(confidence, action, rung):
    decision = climbing().decide(scored(confidence))
    assert (decision.action, decision.rung) == (action, rung)
    assert decision.basis is not None
    assert decision.basis.confidence[""] == pytest.approx(confidence, abs=0.01)
    assert decision.basis.least[""] == pytest.approx(0.9, abs=0.01)


def test_the_answer_of_an_llm_has_a_threshold_of_its_own():
    policy = climbing()
    assert policy.judges_rungs
    assert policy.decide_rung(opinion(0.8, 0.5), rung=0).action == "accept"
    unsure = policy.decide_rung(opinion(0.6, 0.5), rung=0)
    assert (unsure.action, unsure.rung) == ("escalate", 1)
    assert policy.decide_rung(opinion(0.1, 0.5), rung=1).action == "accept", "it is the last"


def test_an_llm_that_was_to_be_passed_over_is_not_accepted():
    policy = climbing()
    assert policy.decide(scored(0.1)).skip == (0,)
    assert policy.decide_rung(opinion(0.99, 0.1), rung=0).action == "escalate"
    assert policy.without_draft("sign").rung == 1
    assert policy.decide_rung(opinion(0.99, None), rung=0).action == "escalate"
    always = climbing(floor=None)
    assert always.without_draft("sign").rung == 0
    assert always.decide_rung(opinion(0.99, None), rung=0).action == "accept"
    never = climbing(second=None)
    assert never.decide(scored(0.5)).rung == 1
    assert never.decide_rung(opinion(0.99, 0.5), rung=0).action == "escalate"


def test_agreement_and_the_slms_confidence_count():
    judge = straight().__class__(
        "combined", {"agrees": 1.0, "seconded": 1.0}, (-9.0, 9.0), (0.0, 1.0)
    )
    ladder = Ladder((None, 0.5), (None,), (judge,), Counts(9, 9, 0, 0.3, 0.0), 1.0, "usd")
    policy = Certified(certificate(rung(0.8), rung(0.9), ladder=ladder))

    def asked(draft: float, agrees: bool) -> str:
        one = Scored("sign", 0.0, agrees=agrees, draft={"": Evidence(draft, answer="plus")})
        return policy.decide_rung(one, rung=0).action

    assert asked(0.9, True) == "accept"
    assert asked(0.9, False) == "escalate"
    assert asked(0.1, False) == "accept"
    assert asked(0.1, True) == "escalate"


def test_without_a_ladder_llms_are_not_judged():
    plain = Certified(certificate(rung(0.8)), otherwise=Threshold(0.5))
    assert as_rung_policy(plain) is None
    assert as_rung_policy(climbing()) is not None
    assert as_rung_policy(Certified(climbing().certificates["sign"], accept="fields")) is None
    assert climbing().decide_rung(Scored("another", 0.0), rung=0).action == "accept"
    assert climbing().without_draft("another").rung == 0


@given(CHANCES, CHANCES, st.integers(0, 3))
def test_the_ladder_only_climbs(draft, own, asked):
    policy = climbing()
    decision = policy.decide_rung(opinion(own, draft), rung=asked)
    assert decision.action == "accept" or decision.rung > asked


def test_a_constant_llm_is_as_likely_right_everywhere():
    known = constant(0.7)
    assert known.probability(Evidence(0.1)) == known.probability(Evidence(0.9)) == 0.7
    assert math.isfinite(known.score(Evidence(1.0)))
