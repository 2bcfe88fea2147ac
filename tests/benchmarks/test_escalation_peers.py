"""What is ours of the peers of the escalation benchmark: rules applied here, and what is sent."""

import json
import math
import sqlite3
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.escalation.peers.bare import BareThreshold
from benchmarks.escalation.peers.firstpass import (
    Firstpass,
    allowed_errors,
    least_min_n,
    thresholds,
    write_database,
)
from benchmarks.escalation.peers.simulate import OnPairs, Oracle, Population, judge
from benchmarks.escalation.peers.typed_gguf import multiple_choice

PAIRS = st.lists(
    st.tuples(st.integers(0, 8).map(lambda i: i / 8), st.booleans()), min_size=1, max_size=60
)
ALPHA = st.sampled_from([Fraction(1, 100), Fraction(1, 20), Fraction(1, 10), Fraction(3, 10)])
DELTA = Fraction(1, 20)


def arrays(pairs):
    scores, correct = zip(*pairs, strict=True)
    return np.array(scores), np.array(correct, bool)


def at_most(errors, n, alpha):
    """P(Bin(n, alpha) ≤ errors), exactly."""
    terms = (math.comb(n, k) * alpha**k * (1 - alpha) ** (n - k) for k in range(errors + 1))
    return sum(terms, Fraction(0))


@given(PAIRS)
def test_equal_scores_are_counted_together(pairs):
    scores, correct = arrays(pairs)
    candidates, sizes, wrong = thresholds(scores, correct)
    assert sorted(set(scores), reverse=True) == candidates.tolist()
    assert sizes.tolist() == [int((scores >= t).sum()) for t in candidates]
    assert wrong.tolist() == [int((~correct[scores >= t]).sum()) for t in candidates]


@given(PAIRS, ALPHA, st.integers(1, 40))
def test_firstpass_walks_down_while_the_exact_test_passes(pairs, alpha, min_n):
    scores, correct = arrays(pairs)
    expected = None
    for t in sorted(set(scores), reverse=True):
        accepted = scores >= t
        n = int(accepted.sum())
        if n < min_n:
            continue
        if at_most(int((~correct[accepted]).sum()), n, alpha) > DELTA:
            break
        expected = t
    chosen = Firstpass(min_n=min_n).choose(scores, correct, alpha=float(alpha), delta=float(DELTA))
    assert chosen == expected


@given(ALPHA, st.integers(1, 200))
def test_one_error_more_than_is_allowed_does_not_pass(alpha, n):
    allowed = int(allowed_errors(200, alpha=float(alpha), delta=float(DELTA))[n])
    assert allowed == -1 or at_most(allowed, n, alpha) <= DELTA
    assert at_most(allowed + 1, n, alpha) > DELTA


@pytest.mark.parametrize(("alpha", "least"), [(0.01, 299), (0.02, 149), (0.05, 59), (0.1, 29)])
def test_the_least_number_of_pairs_that_passes(alpha, least):
    assert least_min_n(alpha=alpha, delta=0.05) == least
    assert (1 - alpha) ** least <= 0.05 < (1 - alpha) ** (least - 1)


def test_firstpass_as_it_comes_certifies_nothing_without_ties():
    scores = np.linspace(0, 1, 2000)
    correct = np.ones(2000, bool)
    assert Firstpass().choose(scores, correct, alpha=0.05, delta=0.05) is None
    assert Firstpass(min_n=None).choose(scores, correct, alpha=0.05, delta=0.05) == 0.0
    assert Firstpass().choose(np.full(2000, 0.7), correct, alpha=0.05, delta=0.05) == 0.7


def test_a_printed_threshold_may_be_below_the_one_that_was_certified():
    scores, correct = np.full(100, 0.99993), np.ones(100, bool)
    exact = Firstpass(min_n=None).choose(scores, correct, alpha=0.1, delta=0.05)
    printed = Firstpass(min_n=None, printed=True).choose(scores, correct, alpha=0.1, delta=0.05)
    assert (exact, printed) == (0.99993, 0.9999)


def test_the_database_holds_each_pair_once(tmp_path):
    scores, correct = np.array([0.1, 0.1, 0.9999999999]), np.array([True, False, True])
    write_database(tmp_path / "pairs.db", scores, correct)
    connection = sqlite3.connect(tmp_path / "pairs.db")
    rows = connection.execute(
        "SELECT body, verdict FROM traces JOIN deferred_verdicts USING (trace_id) ORDER BY seq"
    ).fetchall()
    connection.close()
    gates = [json.loads(body)["attempts"][0]["gates"] for body, _ in rows]
    assert [gate["score"] for (gate,) in gates] == scores.tolist()
    assert [verdict for _, verdict in rows] == ["pass", "fail", "pass"]


def test_the_bare_threshold_does_not_look_at_labels():
    scores = np.array([0.2, 0.8])
    chosen = {
        BareThreshold().choose(scores, np.array(correct), alpha=0.1, delta=0.05)
        for correct in ([True, True], [False, False])
    }
    assert chosen == {0.9}


def population(right):
    return Population(
        "four", np.array([[0.9, 0.1], [0.9, 0.1], [0.8, 0.2], [0.6, 0.4]]), np.array(right)
    )


def test_the_oracle_takes_equal_scores_together():
    four = population([0, 1, 0, 0])
    nothing = np.array([], int)
    assert Oracle(four).accepts(nothing, alpha=0.3, delta=0.05).tolist() == [True] * 4
    assert Oracle(four).accepts(nothing, alpha=0.2, delta=0.05).tolist() == [False] * 4
    two = population([0, 0, 1, 1])
    accepted = Oracle(two).accepts(nothing, alpha=0.1, delta=0.05)
    assert accepted.tolist() == [True, True, False, False]


def test_a_violation_is_an_error_above_alpha_among_the_accepted():
    picked = [np.array([0, 1])] * 3
    for right, violations in (([0, 0, 1, 1], 0.0), ([0, 1, 0, 0], 1.0)):
        known = population(right)
        found = judge(OnPairs(BareThreshold(), known), known, picked, alpha=0.15)
        assert (found["violations"], found["coverage"]) == (violations, 0.5)


def test_a_multiple_choice_prompt_becomes_a_state_and_criteria():
    asked = multiple_choice("Two\nlines.\nA. one\nB. two\nand more\nC. D. Roosevelt\nD. \nAnswer:")
    assert asked["state"] == "Two\nlines."
    assert asked["criteria"] == {"A": "one", "B": "two\nand more", "C": "D. Roosevelt", "D": ""}


def test_a_prompt_without_four_options_is_refused():
    with pytest.raises(ValueError, match="no options"):
        multiple_choice("Why?\nA. so\nB. thus\nAnswer:")
