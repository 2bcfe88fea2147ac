"""Thresholds keep their promise, whatever the scores look like."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetagent.calibrate.bounds import allowed_errors, p_value, upper_bound
from hetagent.calibrate.thresholds import find_threshold, labels_needed, plan, shortfall
from hetagent.errors import InputError


def exact_tail(errors: int, n: int, rate: float) -> float:
    return sum(math.comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(errors + 1))


@given(st.integers(1, 60), st.data(), st.sampled_from([0.01, 0.1, 0.4]))
def test_the_p_value_is_the_binomial_tail(n, data, rate):
    errors = data.draw(st.integers(0, n))
    assert float(p_value(errors, n, rate)) == pytest.approx(exact_tail(errors, n, rate))


@given(st.integers(0, 300), st.sampled_from([0.01, 0.05, 0.2]), st.sampled_from([0.05, 0.1]))
def test_allowed_errors_are_the_most_that_pass(n, rate, level):
    allowed = int(allowed_errors(n, rate=rate, level=level))
    assert allowed == -1 or p_value(allowed, n, rate) <= level
    assert allowed + 1 > n or p_value(allowed + 1, n, rate) > level


def test_the_upper_bound_is_that_of_clopper_and_pearson():
    assert upper_bound(0, 59, confidence=0.95) == pytest.approx(1 - 0.05 ** (1 / 59))
    bound = upper_bound(3, 100, confidence=0.95)
    assert exact_tail(3, 100, bound) == pytest.approx(0.05)
    assert upper_bound(4, 4, confidence=0.95) == 1.0


def population(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores and correctness of 2,000 answers that stand for all there will ever be."""
    random = np.random.default_rng(1)
    score = random.beta(4, 1, 2000)
    right = random.random(2000) < score
    if name == "ties":
        score = np.round(score * 4) / 4
    elif name == "two values":
        score = np.where(right ^ (random.random(2000) < 0.1), 1.0, 0.0)
    elif name == "one value":
        score = np.ones(2000)
        right = random.random(2000) < 0.88
    elif name == "surest are wrong":
        right &= score < 0.97
    elif name == "up and down":
        # The error rate among the accepted crosses what is promised many times.
        place = np.argsort(np.argsort(-score))
        right = np.where(place // 40 % 2 == 0, place % 7 != 0, place % 25 != 0)
    return score, right


NAMES = ["plain", "ties", "two values", "one value", "surest are wrong", "up and down"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("max_error", [0.05, 0.1])
def test_the_true_error_exceeds_the_promised_one_in_few_draws(name, max_error):
    score, right = population(name)
    random = np.random.default_rng(2)
    planned = random.integers(0, len(score), 200)
    chosen = plan(score[planned], score[planned] * 0.98, n=400, max_error=max_error, confidence=0.9)
    broken, draws = 0, 400
    for _ in range(draws):
        tested = random.integers(0, len(score), 400)
        found = find_threshold(
            score[tested],
            right[tested],
            counts=chosen.counts,
            max_error=max_error,
            confidence=0.9,
        )
        if found is not None:
            accepted = score >= found.threshold
            broken += bool((~right[accepted]).mean() > max_error)
    # 0.1 is promised; three standard deviations of 400 draws more would be chance.
    assert broken / draws <= 0.1 + 3 * math.sqrt(0.09 / draws)


def test_the_promise_is_not_kept_by_refusing_everything():
    score, right = population("plain")
    rows = np.random.default_rng(3).integers(0, len(score), 1000)
    chosen = plan(score, score, n=1000, max_error=0.1, confidence=0.9)
    found = find_threshold(
        score[rows], right[rows], counts=chosen.counts, max_error=0.1, confidence=0.9
    )
    assert found is not None
    assert found.coverage > 0.25


@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.4, 0.7, 0.9]), st.booleans()), min_size=1),
    st.sets(st.integers(1, 12)).map(sorted),
)
@settings(max_examples=200)
def test_what_is_found_is_what_the_sequence_says(pairs, counts):
    score, right = map(np.array, zip(*pairs, strict=True))
    level, rate = 0.4, 0.3
    expected = None
    for count in (one for one in counts if one <= len(score)):
        accepted = score >= np.sort(score)[-count]  # with all that tie
        errors, n = int((~right[accepted]).sum()), int(accepted.sum())
        if exact_tail(errors, n, rate) > level:
            break
        expected = (n, errors)
    found = find_threshold(score, right, counts=counts, max_error=rate, confidence=1 - level)
    assert (None if found is None else (found.accepted, found.errors)) == expected
    if found is not None:
        assert (score >= found.threshold).sum() == found.accepted


@pytest.mark.parametrize("rate", [0.02, 0.1])
def test_a_plan_skips_counts_that_only_ask_for_more(rate):
    score = np.linspace(1, 0, 300)
    planned = plan(score, 1 - 0.3 * (1 - score) ** 2, n=1000, max_error=rate, confidence=0.95)
    counts = planned.counts
    allowed = allowed_errors(np.arange(1001), rate=rate, level=0.05)
    dense = counts[np.nonzero(np.diff(counts) == 1)[0][0]]
    assert (np.diff(counts) > 0).all()
    assert counts[-1] == 1000
    assert (allowed[counts[counts <= dense]] > allowed[counts[counts <= dense] - 1]).all()
    assert len(counts) < 1000 - counts[0]


def test_there_is_no_plan_where_no_test_can_pass():
    assert len(plan([0.5] * 9, [0.9] * 9, n=58, max_error=0.05, confidence=0.95).counts) == 0
    assert len(plan([0.5] * 9, [0.9] * 9, n=59, max_error=0.05, confidence=0.95).counts) == 1
    assert find_threshold([0.5], [True], counts=[], max_error=0.1, confidence=0.9) is None


def test_the_threshold_lies_between_scores():
    score = np.linspace(1, 0, 101)
    right = score > 0.35
    found = find_threshold(score, right, counts=range(50, 102), max_error=0.1, confidence=0.95)
    assert found is not None
    assert found.threshold not in score
    below, above = max(score[score < found.threshold]), min(score[score > found.threshold])
    assert found.threshold == pytest.approx((below + above) / 2)
    everything = find_threshold(
        score, np.ones(101, bool), counts=range(50, 102), max_error=0.1, confidence=0.95
    )
    assert everything is not None
    assert everything.threshold == -math.inf


def test_shortfall_says_how_many_labels_would_do():
    random = np.random.default_rng(0)
    score = random.random(150)
    right = random.random(150) < 0.2 + 0.79 * score
    found = shortfall(score, right, tested_share=0.8, max_error=0.1, confidence=0.95)
    assert found.labels is not None
    assert found.labels > 150
    assert 0 < found.escalated < 1
    more = shortfall(score, right, tested_share=0.4, max_error=0.1, confidence=0.95)
    assert more.labels == pytest.approx(2 * found.labels, rel=0.02)


def test_where_no_number_of_labels_would_do():
    found = shortfall(
        np.linspace(0, 1, 200), np.arange(200) % 2 == 0, tested_share=1, max_error=0.1,
        confidence=0.95,
    )  # fmt: skip
    assert found.labels is None
    assert found.escalated == 1.0
    assert found.surest_error == 0.5


def test_shapes_are_checked():
    with pytest.raises(InputError):
        find_threshold([0.5], [True, False], counts=[1], max_error=0.1, confidence=0.9)


def test_a_rate_that_is_all_but_the_promised_one_takes_more_labels_than_there_are():
    promised = 1 - 0.95  # a little more than 0.05
    assert labels_needed(0.05, 0.75, promised, 0.95) is None
    one_wrong_of_twenty = shortfall(
        np.linspace(1, 0, 20), np.arange(20) != 10, tested_share=0.75, max_error=promised,
        confidence=0.95,
    )  # fmt: skip
    assert one_wrong_of_twenty.escalated == 0
    assert one_wrong_of_twenty.labels is not None, "the surest ten are all right"


def test_how_many_labels_would_do_is_worked_out_at_some_thresholds_only(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "hetagent.calibrate.thresholds.labels_needed", lambda *given: asked.append(given) or 100
    )
    score = np.linspace(1, 0, 5000)
    found = shortfall(
        score, np.arange(5000) % 50 > 0, tested_share=0.75, max_error=0.1, confidence=0.95
    )
    assert found.labels == 100
    assert 10 < len(asked) <= 50


@pytest.mark.parametrize("scores", [[0.9, math.nan], [math.nan, math.nan]])
def test_scores_that_are_no_numbers_are_refused(scores):
    with pytest.raises(InputError, match="no number"):
        find_threshold(scores, [True, True], counts=[1, 2], max_error=0.6, confidence=0.5)
