"""Which rules keep alpha where the score tells nothing, which is the hardest case for a promise.

    python -m benchmarks.escalation.flat --json FILE --venvs .nox

All scores differ, and every answer is wrong with the same probability, 2% above alpha: whatever is
accepted breaks the promise, so the share of draws in which anything is must be at most delta. A
rule that looks for the lowest threshold whose bound holds has thousands of chances here.
"""

from __future__ import annotations

import contextlib
from argparse import Namespace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.escalation.certificates import ALPHAS, DELTA, OURS, SEED
from benchmarks.escalation.peers.firstpass import Firstpass
from benchmarks.escalation.peers.pydecide import Pydecide
from benchmarks.escalation.peers.simulate import Chooser
from benchmarks.escalation.peers.tracer_llm import Tracer
from benchmarks.escalation.peers.worker import VENVS
from benchmarks.report import Report, arguments, main
from hetagent.calibrate.certifying import certified_threshold, share_to_fit, split

ABOVE = 1.02


class Ours:
    """hetagent's tests; the probabilities that plan them are the true ones."""

    name = OURS

    def choose(
        self,
        scores: NDArray[np.float64],
        correct: NDArray[np.bool_],
        *,
        alpha: float,
        delta: float,
    ) -> float | None:
        share = share_to_fit(len(scores), max_error=alpha, confidence=1 - delta)
        rows = split(len(scores), fit_share=share, seed=0)
        found = certified_threshold(
            scores,
            correct,
            rows=rows,
            held_out=np.full(len(rows[0]), 1 - ABOVE * alpha),
            max_error=alpha,
            confidence=1 - delta,
        )
        return None if found is None else found.threshold


def measure(report: Report, options: Namespace) -> None:
    random = np.random.default_rng(SEED)
    with contextlib.ExitStack() as stack:
        rules: list[Chooser] = [Ours(), Firstpass(min_n=None)]
        rules += [stack.enter_context(make(venvs=options.venvs)) for make in (Tracer, Pydecide)]
        for alpha in ALPHAS:
            accepted = dict.fromkeys((rule.name for rule in rules), 0)
            for _ in range(options.draws):
                scores = random.random(options.size)
                correct = random.random(options.size) >= ABOVE * alpha
                for rule in rules:
                    least = rule.choose(scores, correct, alpha=alpha, delta=DELTA)
                    accepted[rule.name] += least is not None and bool((scores >= least).any())
            for name, count in accepted.items():
                report.row(
                    part="draws in which anything is accepted where the score tells nothing",
                    alpha=alpha,
                    rule=name,
                    violations=count / options.draws,
                )
            report.target(
                f"alpha {alpha}: draws in which hetagent accepts",
                value=accepted[OURS] / options.draws,
                target=f"<= {DELTA}",
                holds=accepted[OURS] <= DELTA * options.draws,
            )


if __name__ == "__main__":
    parser = arguments("Rules where the score tells nothing.")
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--size", type=int, default=2000, help="labelled answers of a draw")
    parser.add_argument("--venvs", type=Path, default=VENVS, help="where nox keeps the peers")
    main(measure, parser)
