"""The evidence of many answers as arrays, so that calibrators are fitted and applied at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hetagent.calibrate.calibrator import DIGITS, EDGE, FEATURES, Calibrator, features
from hetagent.calibrate.measures import Floats
from hetagent.evidence import Evidence

__all__ = ["EvidenceTable", "probabilities_of"]


@dataclass(frozen=True, slots=True)
class EvidenceTable:
    """Evidence of n answers.

    Attributes:
        columns: Of shape (n, len(FEATURES)).
        answers: Which answer each was; of shape (n,), of str.
    """

    columns: Floats
    answers: Any

    @classmethod
    def of(cls, evidence: Sequence[Evidence]) -> EvidenceTable:
        """Of a sequence of evidence."""
        rows = [features(one) for one in evidence]
        columns = np.array([[row[name] for name in FEATURES] for row in rows])
        answers = np.array([one.answer for one in evidence], dtype=object)
        return cls(columns.reshape(len(rows), len(FEATURES)), answers)

    def __len__(self) -> int:
        return len(self.answers)

    def column(self, name: str) -> Floats:
        """One feature of all answers, of shape (n,)."""
        column: Floats = self.columns[:, FEATURES.index(name)]
        return column

    def take(self, rows: Any) -> EvidenceTable:
        """Some answers, by their numbers; repeated where a number is."""
        return EvidenceTable(self.columns[rows], self.answers[rows])

    def without(self, names: Sequence[str]) -> EvidenceTable:
        """The same with some features 0 for all answers, so that nothing can be learnt of them."""
        columns = self.columns.copy()
        columns[:, [FEATURES.index(name) for name in names]] = 0.0
        return EvidenceTable(columns, self.answers)

    def jointly(self, confidence: Floats) -> EvidenceTable:
        """As `hetagent.evidence.jointly` for each answer.

        Args:
            confidence: Calibrated, of the fields of each answer; of shape (n, fields).
        """
        p = np.clip(confidence.prod(axis=1), EDGE, 1 - EDGE)
        least = np.clip(confidence.min(axis=1), EDGE, 1 - EDGE)
        new = {"log_odds": np.log(p / (1 - p)), "right": np.log(p), "wrong": -np.log1p(-p)}
        columns = self.columns.copy()
        for name, column in {**new, "least": np.log(least)}.items():
            columns[:, FEATURES.index(name)] = column
        return EvidenceTable(columns, self.answers)

    def scores(self, calibrator: Calibrator) -> Floats:
        """`Calibrator.score` of each answer, of shape (n,)."""
        weights = np.array([calibrator.weights.get(name, 0.0) for name in FEATURES])
        scores: Floats = self.columns @ weights
        if calibrator.answers:
            scores = scores + [calibrator.answers.get(one, 0.0) for one in self.answers]
        for answer, slopes in calibrator.slopes.items():
            rows = self.answers == answer
            scores[rows] += self.columns[rows] @ [slopes.get(name, 0.0) for name in FEATURES]
        return np.round(scores, DIGITS)

    def probabilities(self, calibrator: Calibrator) -> Floats:
        """`Calibrator.probability` of each answer, of shape (n,)."""
        return probabilities_of(self.scores(calibrator), calibrator)


def probabilities_of(scores: Floats, calibrator: Calibrator) -> Floats:
    """`Calibrator.of_score` of each score, of shape (n,)."""
    return np.interp(scores, calibrator.scores, calibrator.probabilities)
