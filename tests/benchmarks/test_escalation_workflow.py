"""The benchmark's three skills, made of one kept answer, answer as that answer says."""

import numpy as np
import pytest

from benchmarks.escalation.workflow import PAIRS, Kept, load, population
from benchmarks.report import CannotMeasureError
from hetagent.calibrate.replays import Forest


@pytest.fixture(scope="module")
def lines() -> list[dict]:
    try:
        kept = load(PAIRS)[:150]
        Kept(kept)
    except CannotMeasureError as error:
        pytest.skip(str(error))
    return kept


@pytest.fixture(scope="module")
def pool(lines: list[dict]) -> Forest:
    return population(lines)


def test_with_every_answer_accepted_the_run_ends_as_the_kept_answers_say(lines, pool):
    kept = Kept(lines)
    expected = []
    for line in lines:
        sums = dict.fromkeys(kept.domains, 0.0)
        for number, probability in line["top"]:
            sums[kept.domains[number]] += probability
        area = max(sums, key=sums.__getitem__)
        best = next(number for number, _ in line["top"] if kept.domains[number] == area)
        inside = line["raw"] * (1 - line["outside"]) >= 0.5
        expected.append((best if inside else -1) == line["label"])
    scored = pool.scored({})
    scored.scores[:] = 0.0
    everything = type(scored).of(pool, scored.scores).results([[-1.0] * 3])
    assert everything.accepted.all()
    assert np.array_equal(~everything.wrong[0], expected)
    assert 0 < np.sum(expected) < len(expected)


def test_with_every_step_escalated_all_runs_end_right(pool):
    nothing = pool.scored({}).results([[np.inf] * 3])
    assert not nothing.accepted.any()
    assert pool.right[pool.starts[:-1]].all()
    assert (nothing.escalated == 3).all()
