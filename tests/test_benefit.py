"""A policy that asks an LLM where that is worth its price, end to end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetagent import Benefit, Decision, Evidence, Scored, Threshold
from hetagent.errors import CertificateError, SkillError
from tests.support.escalations import certificate, rung

CHANCES = st.floats(0.01, 0.99)


def scored(confidence: float) -> Scored:
    return Scored("sign", confidence, evidence={"": Evidence(confidence)})


def test_what_no_llm_improves_enough_is_accepted_however_unsure():
    policy = Benefit(certificate(rung(0.5, cost=0.01), least=None), value_of_correct_usd=0.02)
    decision = policy.decide(scored(0.2))
    assert decision.action == "accept"
    assert decision.basis is not None
    assert (decision.basis.max_error, decision.basis.least) == (1.0, {})
    assert decision.basis.gains[0] == pytest.approx(0.02 * 0.3 - 0.01, abs=1e-3)


def test_nothing_goes_to_an_llm_that_is_worse():
    policy = Benefit(certificate(rung(0.6, cost=0.0)), value_of_correct_usd=100)
    assert policy.decide(scored(0.61)).action == "accept"
    assert policy.decide(scored(0.5)).action == "escalate"


@given(CHANCES, st.lists(st.tuples(CHANCES, st.floats(0, 0.1)), min_size=1), st.floats(0, 1))
def test_the_largest_positive_gain_decides(slm, llms, value):
    policy = Benefit(
        certificate(*(rung(p, cost=cost) for p, cost in llms)), value_of_correct_usd=value
    )
    decision = policy.decide(scored(slm))
    assert decision.basis is not None
    gains = decision.basis.gains
    assert (decision.action == "escalate") == (max(gains) > 0)
    if decision.action == "escalate":
        assert gains[decision.rung] == max(gains)
        assert decision.skip == tuple(i for i, gain in enumerate(gains) if gain <= 0)


@given(CHANCES, CHANCES, st.floats(0, 0.1), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_value_never_ends_an_escalation(slm, llm, cost, a, b):
    known = certificate(rung(llm, cost=cost))
    low, high = (
        Benefit(known, value_of_correct_usd=value).decide(scored(slm)) for value in sorted((a, b))
    )
    assert not (low.action == "escalate" and high.action == "accept")


def test_the_slm_is_asked_where_that_saves():
    cheap = certificate(rung(0.99, cost=0.0001), slm_seconds=1.0)
    assert Benefit(cheap, value_of_correct_usd=0.02).asks_slm("sign")
    hurried = Benefit(cheap, value_of_correct_usd=0.02, usd_per_second=0.001)
    assert not hurried.asks_slm("sign")
    assert hurried.without_draft("sign") == Decision("escalate", "low_confidence")
    dear = certificate(rung(0.99, cost=1.0), slm_seconds=1.0)
    assert Benefit(dear, value_of_correct_usd=0.02, usd_per_second=0.001).asks_slm("sign")


def test_other_skills_have_their_own_policy():
    policy = Benefit(certificate(rung(0.9)), value_of_correct_usd=1, otherwise=Threshold(0.5))
    assert policy.asks_slm("another")
    assert policy.certificate("another") is None
    assert policy.without_draft("another") == Decision("escalate")
    assert policy.decide(Scored("another", 0.6)).action == "accept"
    assert not Benefit(certificate(rung(0.9)), value_of_correct_usd=1).asks_slm("another")
    assert policy.decide(Scored("sign", 0.0)).reason == "no_confidence"


def test_what_cannot_be_weighed_is_refused():
    with pytest.raises(CertificateError, match="not known"):
        Benefit(certificate(rung(0.9, cost=None)), value_of_correct_usd=1)
    plain = certificate(rung(0.9)).__class__(
        "sign", 0.05, 0.95, "now", 1, 1, 0, certificate().parts
    )
    with pytest.raises(CertificateError, match="knows nothing of the LLMs"):
        Benefit(plain, value_of_correct_usd=1)
    for wrong in (-1.0, float("nan"), float("inf"), "much"):
        with pytest.raises(SkillError, match="value_of_correct_usd"):
            Benefit(certificate(rung(0.9)), value_of_correct_usd=wrong)  # type: ignore[arg-type]
