"""Calibrators: each kind recovers what it can, and the best is chosen."""

import numpy as np
import pytest

from hetagent.calibrate.evidence_table import EvidenceTable
from hetagent.calibrate.fitting import KINDS, fit
from hetagent.calibrate.measures import auroc, calibration_error, log_loss
from hetagent.errors import InputError
from hetagent.evidence import Evidence


def overconfident(n: int, *, seed: int = 0) -> tuple[list[Evidence], np.ndarray]:
    """Log-odds are three times what they should be, plus a part that shows in ``outside``."""
    random = np.random.default_rng(seed)
    truth = random.normal(0.5, 1.5, n)
    hidden = random.normal(0, 1, n)
    right = random.random(n) < 1 / (1 + np.exp(-(truth + 1.5 * hidden)))
    raw = 1 / (1 + np.exp(-3 * truth))
    outside = 1 - np.exp(-np.exp(-hidden))
    rows = zip(raw, outside, strict=True)
    return [Evidence(float(p), float(o), tokens=1, least=float(p)) for p, o in rows], right


@pytest.mark.parametrize("kind", [name for name in KINDS if name != "raw"])
def test_each_kind_mends_overconfidence(kind: str):
    evidence, right = overconfident(1500)
    fitted = fit(EvidenceTable.of(evidence), right, kinds=[kind])
    fresh, labels = overconfident(3000, seed=1)
    table = EvidenceTable.of(fresh)
    calibrated = table.probabilities(fitted.calibrator)
    raw = [one.raw for one in fresh]
    assert calibration_error(calibrated, labels) < 0.5 * calibration_error(raw, labels)
    assert log_loss(calibrated, labels) < log_loss(raw, labels)
    assert auroc(calibrated, labels) > auroc(raw, labels) - 0.01


def test_more_features_are_used_where_they_help():
    evidence, right = overconfident(1500)
    table = EvidenceTable.of(evidence)
    fitted = fit(table, right)
    assert fitted.calibrator.kind.startswith("combined")
    assert fitted.calibrator.weights["inside"] > 0
    fresh, labels = overconfident(3000, seed=1)
    better = EvidenceTable.of(fresh).probabilities(fitted.calibrator)
    assert auroc(better, labels) > auroc([one.raw for one in fresh], labels) + 0.03
    assert fitted.losses[fitted.calibrator.kind] == pytest.approx(log_loss(fitted.held_out, right))


def test_the_simplest_is_chosen_where_nothing_is_wrong():
    random = np.random.default_rng(0)
    raw = random.random(2000)
    table = EvidenceTable.of([Evidence(float(p)) for p in raw])
    assert fit(table, random.random(2000) < raw).calibrator.kind == "raw"


def test_answers_have_their_own_offsets():
    random = np.random.default_rng(0)
    answers = random.choice(["easy", "hard"], 1000)
    raw = random.uniform(0.5, 1, 1000)
    right = random.random(1000) < np.where(answers == "easy", 0.97, 0.5)
    rows = zip(raw, answers, strict=True)
    table = EvidenceTable.of([Evidence(float(p), answer=str(a)) for p, a in rows])
    found = fit(table, right).calibrator
    assert found.answers
    assert found.answers["easy"] > found.answers["hard"] + 1


def test_answers_have_their_own_weights():
    random = np.random.default_rng(0)
    answers = random.choice(["null", "text"], 1500)
    raw = random.uniform(0.05, 0.95, 1500)
    # What the model is sure of it gets right where it copies, and wrong where it says nothing.
    right = random.random(1500) < np.where(answers == "text", raw, 1 - raw)
    rows = zip(raw, answers, strict=True)
    table = EvidenceTable.of([Evidence(float(p), answer=str(a)) for p, a in rows])
    found = fit(table, right).calibrator
    assert found.kind == "each answer apart"
    assert found.probability(Evidence(0.9, answer="text")) > 0.8
    assert found.probability(Evidence(0.9, answer="null")) < 0.2
    assert found.probability(Evidence(0.9, answer="other")) == pytest.approx(0.5, abs=0.1)


def test_a_single_confidence_is_fitted_too():
    table = EvidenceTable.of([Evidence(0.9)] * 100)
    found = fit(table, np.arange(100) % 4 > 0).calibrator
    assert found.probability(Evidence(0.9)) == pytest.approx(0.75, abs=0.02)


def test_equal_seeds_give_equal_calibrators():
    evidence, right = overconfident(200)
    table = EvidenceTable.of(evidence)
    assert fit(table, right).calibrator == fit(table, right).calibrator


@pytest.mark.parametrize(
    ("right", "words"),
    [
        ([True] * 10, "nothing to tell"),
        ([True] * 9 + [False], "nothing to tell"),
        ([True], "shape"),
    ],
)
def test_what_cannot_be_fitted(right, words):
    with pytest.raises(InputError, match=words):
        fit(EvidenceTable.of([Evidence(0.5)] * 10), right)
    with pytest.raises(InputError, match="no calibrator magic"):
        fit(EvidenceTable.of([Evidence(0.5)] * 4), [True, False] * 2, kinds=["magic"])
