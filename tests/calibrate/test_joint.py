"""Joint thresholds on populations that are known: the promise, ties, and what they save."""

import numpy as np
import pytest

from hetagent.calibrate.certifying import split
from hetagent.calibrate.even_split import evenly
from hetagent.calibrate.joint import Fits, Levels, certify_jointly, fit_steps
from hetagent.calibrate.replays import Forest, Replay, Run, Step
from hetagent.evidence import Evidence

NAMES = ("first", "second")


def run_of(sure: list[float], right: list[bool]) -> Run:
    """All replays of steps that are asked one after the other, whose LLM is always right."""
    replays = []

    def go(forced: dict[int, bool]) -> None:
        steps = tuple(
            Step(k, NAMES[k], Evidence(sure[k]), right[k], forced.get(k, False))
            for k in range(len(sure))
        )
        replays.append(Replay(steps, all(right[k] or not forced.get(k) for k in range(len(sure)))))
        open_ = [k for k in range(len(sure)) if not right[k] and k not in forced]
        for count, k in enumerate(open_):
            go({**forced, **dict.fromkeys(open_[:count], False), k: True})

    go({})
    return tuple(replays)


def population(size: int, *, ties: bool, seed: int) -> Forest:
    random = np.random.default_rng(seed)
    hardness = random.beta(1, 4, size)  # both steps of a run are hard, or neither
    sure = 1 - np.column_stack([hardness, np.clip(hardness * 1.5, 0, 0.9)])
    right = random.random(sure.shape) < sure
    told = np.round(sure * 4) / 4 if ties else sure
    return Forest.of(
        [run_of(list(s), list(r)) for s, r in zip(told.clip(0.01, 0.99), right, strict=True)],
        skills=NAMES,
    )


def true_risk(pool: Forest, calibrators, thresholds) -> float:
    found = pool.scored(calibrators).results([thresholds])
    return float(found.wrong.sum() / max(1, found.accepted.sum()))


def predicted(forest: Forest, calibrators) -> np.ndarray:
    wrong = np.zeros(len(forest.skill))
    for number, name in enumerate(forest.skills):
        rows = np.nonzero(forest.of_skill(number))[0]
        wrong[rows] = 1 - forest.table.take(rows).probabilities(calibrators[name])
    return wrong


@pytest.mark.parametrize("ties", [False, True])
def test_the_risk_is_kept_as_often_as_promised_over_draws(ties: bool):
    pool = population(4000, ties=ties, seed=0)
    apart = population(300, ties=ties, seed=1)
    calibrators = fit_steps(apart, apart.harmless).calibrators
    levels = Levels(0.15, 0.9)
    risks, naive = [], []
    for seed in range(60):
        drawn = pool.take(np.random.default_rng(seed).integers(0, len(pool), 400))
        rows = split(400, fit_share=0.25, seed=seed)
        fits = Fits(calibrators, predicted(drawn.take(rows[0]), calibrators))
        found = certify_jointly(drawn, fits, rows=rows, levels=levels, seed=seed)
        chosen = found.thresholds or dict.fromkeys(NAMES, np.inf)
        risks.append(true_risk(pool, calibrators, [chosen[name] for name in NAMES]))
        # Whatever looks good enough on the same runs, without a test.
        grid = np.quantile(drawn.scored(calibrators).scores, np.linspace(0, 1, 30))
        vectors = np.column_stack([grid, grid])
        seen = drawn.take(rows[1]).scored(calibrators).results(vectors)
        fine = seen.wrong.sum(1) <= 0.15 * seen.accepted.sum(1)
        lowest = vectors[np.nonzero(fine)[0][0]] if fine.any() else [np.inf, np.inf]
        naive.append(true_risk(pool, calibrators, lowest))
    # More than 11 of 60 come in 2% of such tests if each draw breaks the promise with 0.1.
    assert np.sum(np.array(risks) > 0.15) <= 11
    assert np.sum(np.array(risks) > 0) > 30
    if not ties:
        assert np.sum(np.array(naive) > 0.15) > 11


def test_fewer_steps_escalate_than_with_each_skill_by_itself():
    pool = population(1200, ties=False, seed=1)
    rows = split(len(pool), fit_share=0.25, seed=0)
    fitting = pool.take(rows[0])
    fits = fit_steps(fitting, fitting.harmless)
    levels = Levels(0.1, 0.9)
    joint = certify_jointly(pool, fits, rows=rows, levels=levels)
    alone = evenly(pool, fits, rows=rows, levels=levels)
    even = pool.take(rows[1]).scored(fits.calibrators).results(alone[None]).escalated.mean()
    assert joint.thresholds is not None
    assert joint.measured.escalations < 0.9 * even


def test_where_hardly_any_answer_is_right_nothing_is_accepted():
    random = np.random.default_rng(0)
    runs = [run_of([0.9, 0.9], [bool(random.random() < 0.4)] * 2) for _ in range(200)]
    forest = Forest.of(runs)
    rows = split(200, fit_share=0.5, seed=0)
    fitting = forest.take(rows[0])
    found = certify_jointly(
        forest, fit_steps(fitting, fitting.harmless), rows=rows, levels=Levels(0.1, 0.9)
    )
    assert found.thresholds is None
    assert found.labels_needed is None
    assert found.measured.accepted == 0
    assert found.measured.escalations == 2


def test_every_vector_of_thresholds_has_one_replay_of_each_run():
    forest = population(200, ties=True, seed=3)
    scored = forest.scored(fit_steps(forest, forest.harmless).calibrators)
    random = np.random.default_rng(0)
    for _ in range(50):
        vector = random.choice(scored.scores, 2)
        happens = (vector > scored.above).all(1) & (vector <= scored.upto).all(1)
        assert (np.add.reduceat(happens, forest.starts[:-1]) == 1).all()


def test_taking_examples_is_as_if_only_they_had_been_there():
    random = np.random.default_rng(0)
    runs = [run_of([0.8, 0.7], list(random.random(2) < 0.6)) for _ in range(30)]
    rows = [4, 4, 0, 29]
    taken, made = Forest.of(runs).take(rows), Forest.of([runs[k] for k in rows])
    for name in ("right", "starts", "first_steps", "skill", "decided", "harmless", "on_trunk"):
        assert np.array_equal(getattr(taken, name), getattr(made, name)), name


def test_minus_infinity_accepts_all_that_has_evidence():
    forest = population(100, ties=False, seed=4)
    calibrators = fit_steps(forest, forest.harmless).calibrators
    everything = forest.scored(calibrators).results([[-np.inf, -np.inf]])
    assert everything.accepted.all()
    assert (everything.escalated == 0).all()
    only_first = forest.scored({"first": calibrators["first"]}).results([[-np.inf, -np.inf]])
    assert (only_first.escalated == 1).all()
