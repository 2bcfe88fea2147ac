"""Thresholds of a ladder keep one promise together, and are chosen at least cost."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetagent.calibrate.bounds import p_value
from hetagent.calibrate.evidence_table import EvidenceTable
from hetagent.calibrate.ladder import Answers, find_ladder, find_vector, plan_start
from hetagent.calibrate.ladder_path import Vector, path, route
from hetagent.evidence import Evidence, second_opinion

PRICES = (0.1, 1.0)
SCORES = st.lists(
    st.tuples(*[st.sampled_from([-math.inf, 0.0, 0.3, 0.6, 0.9])] * 2), min_size=1, max_size=12
)
LIMITS = st.sampled_from([0.0, 0.3, 0.6, 0.9, math.inf])
FLOORS = st.sampled_from([-math.inf, 0.0, 0.3, 0.6])


def world(n: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of being right, of an SLM and a better LLM; and whether they are."""
    random = np.random.default_rng(seed)
    ease = random.normal(0.5, 1.5, n)
    chance = np.column_stack([1 / (1 + np.exp(-(ease + skill))) for skill in (0.0, 1.5)])
    return chance, random.random((n, 2)) < chance


@given(SCORES, LIMITS, LIMITS, FLOORS)
def test_a_call_is_routed_one_step_after_the_other(scores, first, second, floor):
    routed = route(np.array(scores), Vector((first, second), (floor,)), PRICES)
    for (slm, llm), stage, cost in zip(scores, routed.stage, routed.cost, strict=True):
        if slm >= first:
            expected = (0, 0.0)
        elif second == math.inf or slm < floor:
            expected = (2, 1.0)
        else:
            expected = (1, 0.1) if llm >= second else (2, 1.1)
        assert (stage, pytest.approx(cost)) == expected


@given(st.integers(0, 50))
def test_the_path_leads_from_room_for_errors_to_less_cost(seed):
    chance, _ = world(120, seed)
    vectors = path(chance, 1 - chance, prices=PRICES, max_error=0.1)
    costs = [float(route(chance, one, PRICES).cost.mean()) for one in vectors]
    shares = [float(np.mean(route(chance, one, PRICES).stage < 2)) for one in vectors]
    assert len(set(vectors)) > 1
    assert costs[-1] == min(costs)
    # All answers are accepted in the end, and of the SLM, which costs nothing.
    assert shares[-1] == 1.0
    assert costs[-1] <= PRICES[0]


def test_the_true_error_exceeds_the_promised_one_in_few_draws():
    chance, right = world()
    chance = np.round(chance, 2)  # with ties
    random = np.random.default_rng(1)
    planned = random.integers(0, len(chance), 250)
    max_error, confidence, draws = 0.1, 0.9, 300
    vectors = path(chance[planned], 1 - chance[planned], prices=PRICES, max_error=max_error)
    start = plan_start(
        chance[planned], 1 - chance[planned], vectors, prices=PRICES, n=500,
        max_error=max_error, confidence=confidence,
    )  # fmt: skip
    broken, costs = 0, []
    for _ in range(draws):
        rows = random.integers(0, len(chance), 500)
        found = find_vector(
            chance[rows], ~right[rows], vectors[start:], prices=PRICES, max_error=max_error,
            confidence=confidence,
        )  # fmt: skip
        if found is None:
            costs.append(PRICES[-1])
            continue
        routed = route(chance, found[0], PRICES)
        early = routed.stage < 2
        error = 1 - right[early, routed.stage[early]].mean()
        broken += bool(error > max_error)
        costs.append(float(routed.cost.mean()))
    assert broken / draws <= 0.1 + 3 * math.sqrt(0.09 / draws)
    assert np.mean(costs) < 0.7, "the promise is not kept by asking the last LLM for all"


def test_what_is_found_is_the_last_before_the_first_failure():
    scores = np.column_stack([np.linspace(1, 0, 200), np.zeros(200)])
    wrong = np.column_stack([scores[:, 0] < 0.5, np.zeros(200, dtype=bool)])
    vectors = [Vector((t, math.inf), (-math.inf,)) for t in (0.6, 0.52, 0.1, 0.55)]
    found = find_vector(scores, wrong, vectors, prices=PRICES, max_error=0.1, confidence=0.9)
    assert found is not None
    vector, counts = found
    assert vector == vectors[1], "a later one would pass again, but is not reached"
    assert (counts.n, counts.accepted, counts.errors) == (200, 96, 0)
    assert counts.p_value == pytest.approx(float(p_value(0, 96, 0.1)))
    assert counts.upper_bound == pytest.approx(1 - 0.1 ** (1 / 96))
    assert find_vector(scores, wrong, vectors[2:], prices=PRICES, max_error=0.1,
                       confidence=0.9) is None  # fmt: skip


def test_a_ladder_is_cheaper_together_than_with_the_slm_alone():
    chance, right = world(1500, seed=3)
    before = chance[:, 0]
    opinions = [
        second_opinion(Evidence(float(llm)), agrees=bool(a == b), before=float(slm), draft=None)
        for (slm, llm), (a, b) in zip(chance, right, strict=True)
    ]
    log_odds = np.log(before / (1 - before))
    answers = Answers(
        log_odds, before, [EvidenceTable.of(opinions)], np.ones((1500, 2), dtype=bool), right
    )
    rows = (np.arange(500), np.arange(500, 1500))
    found = find_ladder(answers, prices=(PRICES, "usd"), rows=rows, max_error=0.1, confidence=0.9)
    assert found is not None
    assert found.cost < 0.6
    assert found.counts.errors / found.counts.accepted <= 0.1
    assert found.thresholds[1] is not None
    too_few = (np.arange(10), np.arange(500, 1500))
    assert find_ladder(
        answers, prices=(PRICES, "usd"), rows=too_few, max_error=0.1, confidence=0.9
    ) is None  # fmt: skip
    hopeless = Answers(log_odds, before, answers.opinions, answers.valid, np.zeros_like(right))
    assert find_ladder(
        hopeless, prices=(PRICES, "usd"), rows=rows, max_error=0.1, confidence=0.9
    ) is None  # fmt: skip
