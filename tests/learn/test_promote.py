"""Promotion is refused where it should be, and granted where nothing speaks against it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetagent import Answer, Scripted, skill
from hetagent.errors import InputError
from hetagent.fingerprint import fingerprint
from hetagent.learn import promote
from hetagent.learn.evaluate import Trial
from hetagent.learn.promote import Decision, Learned, decide
from tests.support.certificates import certificate

LEARNED = datetime(2026, 9, 1, tzinfo=UTC)
LATER = LEARNED + timedelta(days=1)


@skill
def urgent(message: str) -> bool:
    """Is it urgent?"""


MODEL = Scripted(Answer(True))
RUNS = fingerprint(urgent, MODEL)


def made(**changes):
    return certificate(urgent, MODEL, **{"max_error": 0.05, **changes})


def learned(**changes):
    known = {"teachers": {"trainable": 900}, "inputs": {"old"}, "until": LEARNED}
    return Learned(**{**known, **changes})


def later(*, served=600, wrong=0, escalated=150, inputs=None, **changes):
    trials = [Trial(True, right=at >= wrong) for at in range(served)]
    trials += [Trial(False, right=False)] * escalated
    known = {"inputs": inputs or [f"new {at}" for at in range(len(trials))], "since": LATER}
    return promote.Tested(trials, **{**known, **changes})


def reasons(decision):
    return [one.why for one in decision.objections]


def test_it_is_promoted_where_nothing_speaks_against_it():
    found = decide(made(), later(wrong=3), learned=learned(), runs=RUNS)
    assert found.promoted
    assert (found.calls, found.accepted, found.lost, found.won) == (750, 600, 3, 0)
    assert found.loss == pytest.approx(3 / 750)
    assert 3 / 750 < found.upper_loss < 0.02
    assert found.coverage[1] < 0.8 < found.coverage[2]
    assert Decision.from_dict(found.to_dict()) == found
    assert found.explain().startswith("Promoted.")


def test_answers_that_may_train_nobody():
    found = decide(
        made(), later(), learned=learned(teachers={"trainable": 899, "no-train": 1}), runs=RUNS
    )
    assert reasons(found) == ["no-train"]
    assert "1 are no-train" in found.explain()


def test_answers_of_unknown_terms_need_the_users_word():
    teachers = {"unknown": 900}
    assert reasons(decide(made(), later(), learned=learned(teachers=teachers), runs=RUNS)) == [
        "no-train"
    ]
    permitted = learned(teachers=teachers, permitted={"trainable", "unknown"})
    assert decide(made(), later(), learned=permitted, runs=RUNS).promoted


def test_a_leaked_test_set():
    inputs = ["old", *(f"new {at}" for at in range(749))]
    found = decide(made(), later(inputs=inputs), learned=learned(), runs=RUNS)
    assert reasons(found) == ["leaked"]
    assert "1 calls that decide" in found.explain()


def test_a_leaked_set_that_certifies():
    found = decide(made(), later(certified={"old", "x"}), learned=learned(), runs=RUNS)
    assert reasons(found) == ["leaked"]


@pytest.mark.parametrize("since", [None, LEARNED - timedelta(seconds=1)])
def test_calls_that_are_not_later(since):
    assert reasons(decide(made(), later(since=since), learned=learned(), runs=RUNS)) == [
        "not-later"
    ]


def test_a_stale_certificate():
    found = decide(made(), later(), learned=learned(), runs={**RUNS, "model": "another"})
    assert reasons(found) == ["stale"]
    assert "model" in found.explain()


def test_too_little_data():
    found = decide(made(), later(served=60, escalated=15), learned=learned(), runs=RUNS)
    assert reasons(found) == ["too-few"]
    assert found.calls_needed is not None
    assert found.calls_needed > 75
    assert f"about {found.calls_needed:,} would decide" in found.explain()
    # And so many do, if it goes on like this.
    enough = later(served=found.calls_needed, escalated=0)
    assert decide(made(), enough, learned=learned(), runs=RUNS).promoted


def test_a_worse_model():
    found = decide(made(max_error=0.1), later(wrong=40), learned=learned(), runs=RUNS)
    assert reasons(found) == ["worse"]
    assert found.calls_needed is None


def test_more_errors_than_were_certified():
    found = decide(made(max_error=0.02), later(wrong=40), learned=learned(), runs=RUNS, margin=0.2)
    assert reasons(found) == ["errors"]


def test_it_serves_too_seldom():
    found = decide(made(), later(served=20, escalated=730), learned=learned(), runs=RUNS)
    assert reasons(found) == ["too-seldom"]


def test_no_calls_at_all():
    found = decide(made(), later(served=0, escalated=0), learned=learned(), runs=RUNS)
    assert "too-few" in reasons(found)
    assert found.upper_loss == 1


@pytest.mark.parametrize("wrong", [{"margin": 0}, {"confidence": 0.4}, {"least_coverage": 2}])
def test_numbers_out_of_range(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        decide(made(), later(), learned=learned(), runs=RUNS, **wrong)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 400))
def test_the_bound_is_above_what_was_measured_and_decides(wrong, won, fine):
    trials = [Trial(True, right=False)] * wrong + [Trial(True, right=True)] * fine
    trials += [Trial(True, right=True, incumbent=False)] * won
    if not trials:
        return
    known = promote.Tested(trials, [str(at) for at in range(len(trials))], LATER)
    found = decide(made(max_error=0.5), known, learned=learned(), runs=RUNS)
    assert found.upper_loss >= found.loss
    assert found.promoted == (found.upper_loss <= found.margin)
