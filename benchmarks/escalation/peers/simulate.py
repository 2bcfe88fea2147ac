"""Whether the peers keep alpha where the truth is known.

    python -m benchmarks.escalation.peers.simulate --json FILE --venvs .nox

A population of 5,500 answers to a choice of 20 labels, about 90% right: each has probabilities for
all labels, and the right label is drawn from them, so the greatest probability is a calibrated
score. Once all scores differ, and once only 40 kinds of answer are there, so that every score is
shared by more than a hundred. A draw is 1,000 of the population, with replacement; the population
is the truth on which what a draw chose is judged.

For each rule and alpha: the share of draws in which the error among the accepted exceeds alpha,
the mean share accepted, the share of draws in which nothing is, and the seconds for one draw.
`oracle` is the lowest threshold at which the population's error is at most alpha. Last, how often
firstpass's rule as applied here differs from the binary, over `--check` draws of each population.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.escalation.peers.bare import BareThreshold
from benchmarks.escalation.peers.firstpass import (
    DEFAULT_MIN_N,
    Binary,
    Firstpass,
    least_min_n,
    thresholds,
)
from benchmarks.escalation.peers.pydecide import Pydecide, PydecideLabels
from benchmarks.escalation.peers.tracer_llm import Tracer, TracerLabels
from benchmarks.escalation.peers.worker import VENVS
from benchmarks.report import Report, arguments, main

ALPHAS = (0.01, 0.02, 0.05, 0.1)
DELTA = 0.05
ANSWERS = 5500
LABELS = 20
KINDS = 40
SPREAD = 13.5  # of the logits; gives 90% right
DRAWN = 1000


@dataclass(frozen=True)
class Population:
    """Answers whose right labels are known.

    Attributes:
        name: In the report.
        probabilities: For each label; shape (answers, labels).
        right: The right label's index for each answer.
    """

    name: str
    probabilities: NDArray[np.float64]
    right: NDArray[np.int64]

    @property
    def scores(self) -> NDArray[np.float64]:
        """The greatest probability of each answer."""
        return self.probabilities.max(axis=1)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the most probable label is the right one."""
        return self.probabilities.argmax(axis=1) == self.right


class Rule(Protocol):
    """What accepts some of a population, having seen the labels of a draw from it."""

    name: str

    def accepts(self, draw: NDArray[np.int64], *, alpha: float, delta: float) -> NDArray[np.bool_]:
        """Which of the population it accepts."""


class Chooser(Protocol):
    """What chooses a threshold from pairs."""

    name: str

    def choose(
        self,
        scores: NDArray[np.float64],
        correct: NDArray[np.bool_],
        *,
        alpha: float,
        delta: float,
    ) -> float | None:
        """The least score accepted; ``None`` where nothing is."""


class OnPairs:
    """A threshold, as a rule over a population."""

    def __init__(self, chooser: Chooser, population: Population) -> None:
        self.name = chooser.name
        self._chooser = chooser
        self._scores, self._correct = population.scores, population.correct

    def accepts(self, draw: NDArray[np.int64], *, alpha: float, delta: float) -> NDArray[np.bool_]:
        """Those whose score is at least the threshold."""
        least = self._chooser.choose(
            self._scores[draw], self._correct[draw], alpha=alpha, delta=delta
        )
        return self._scores >= (np.inf if least is None else least)


class Oracle:
    """The lowest threshold at which the population's own error is at most alpha."""

    name = "oracle"

    def __init__(self, population: Population) -> None:
        self._scores, self._correct = population.scores, population.correct

    def accepts(
        self,
        draw: NDArray[np.int64],
        *,
        alpha: float,
        delta: float,
    ) -> NDArray[np.bool_]:
        """Those whose score is at least that threshold."""
        candidates, sizes, wrong = thresholds(self._scores, self._correct)
        good = np.flatnonzero(wrong <= alpha * sizes)
        return self._scores >= (candidates[good[-1]] if len(good) else np.inf)


def populations(*, seed: int) -> Iterator[Population]:
    """One without and one with ties."""
    generator = np.random.default_rng(seed)
    for name, kinds in (("all scores differ", ANSWERS), ("40 scores", KINDS)):
        logits = generator.normal(scale=SPREAD, size=(kinds, LABELS))
        logits = logits[generator.integers(0, kinds, ANSWERS)] if kinds < ANSWERS else logits
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = odds / odds.sum(axis=1, keepdims=True)
        drawn = generator.random((ANSWERS, 1)) > probabilities.cumsum(axis=1)
        right = np.minimum(drawn.sum(axis=1), LABELS - 1)
        yield Population(name, probabilities, right)


def draws(count: int, *, seed: int) -> list[NDArray[np.int64]]:
    """The draws' places in the population, with replacement."""
    generator = np.random.default_rng(seed)
    return [generator.integers(0, ANSWERS, DRAWN) for _ in range(count)]


def judge(
    rule: Rule, population: Population, picked: Sequence[NDArray[np.int64]], *, alpha: float
) -> dict[str, Any]:
    """What a rule does over all draws."""
    correct = population.correct
    above, coverage = 0, []
    began = time.perf_counter()
    for draw in picked:
        accepted = rule.accepts(draw, alpha=alpha, delta=DELTA)
        coverage.append(accepted.mean())
        above += bool(accepted.any()) and float(1 - correct[accepted].mean()) > alpha
    seconds = time.perf_counter() - began
    return {
        "violations": above / len(picked),
        "coverage": float(np.mean(coverage)),
        "nothing": float(np.mean([share == 0 for share in coverage])),
        "seconds_a_draw": seconds / len(picked),
    }


def differences(
    binary: Binary, population: Population, picked: Sequence[NDArray[np.int64]]
) -> dict[str, int]:
    """How often firstpass's rule as applied here and the binary choose different thresholds."""
    differ = asked = certified = 0
    for draw in picked:
        scores, correct = population.scores[draw], population.correct[draw]
        for alpha in ALPHAS:
            for min_n in (DEFAULT_MIN_N, least_min_n(alpha=alpha, delta=DELTA)):
                real = binary.choose(scores, correct, alpha=alpha, delta=DELTA, min_n=min_n)
                ours = Firstpass(min_n=min_n).choose(scores, correct, alpha=alpha, delta=DELTA)
                asked, differ = asked + 1, differ + (real != ours)
                certified += real is not None
    return {"asked": asked, "certified": certified, "differences": differ}


def measure(report: Report, options: Any) -> None:
    picked = draws(options.draws, seed=options.seed + 1)
    for population in populations(seed=options.seed):
        with contextlib.ExitStack() as stack:
            choosers: list[Chooser] = [
                BareThreshold(),
                Firstpass(),
                Firstpass(min_n=None),
                Firstpass(min_n=None, printed=True),
                stack.enter_context(Pydecide(venvs=options.venvs)),
                stack.enter_context(Tracer(venvs=options.venvs)),
            ]
            known = population.probabilities, population.right
            rules: list[Rule] = [
                Oracle(population),
                *(OnPairs(chooser, population) for chooser in choosers),
                stack.enter_context(PydecideLabels(*known, venvs=options.venvs)),
                stack.enter_context(TracerLabels(*known, venvs=options.venvs)),
            ]
            for rule in rules:
                for alpha in ALPHAS:
                    found = judge(rule, population, picked, alpha=alpha)
                    report.row(
                        part=population.name,
                        accuracy=float(population.correct.mean()),
                        rule=rule.name,
                        alpha=alpha,
                        **found,
                    )
            if options.check:
                binary = stack.enter_context(Binary(venvs=options.venvs))
                found = differences(binary, population, picked[: options.check])
                report.row(part="firstpass: rule and binary", population=population.name, **found)


if __name__ == "__main__":
    parser = arguments("Whether the peers keep their error where the truth is known.")
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--check", type=int, default=20, help="draws that the binary runs, too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--venvs", type=Path, default=VENVS)
    main(measure, parser)
