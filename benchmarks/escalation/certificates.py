"""Whether what is promised holds, and how much it lets through, beside what others do.

The answers of a pool are the population: what a rule accepts is judged on all of them. Each draw
takes labelled answers from it, with replacement; a rule sees the draw's labels, then accepts some
of the pool. Reported for each rule and alpha: the share of draws in which the true error among the
accepted exceeds alpha, and the mean share accepted.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.escalation.peers.bare import BareThreshold
from benchmarks.escalation.peers.firstpass import Firstpass, thresholds
from benchmarks.escalation.peers.pydecide import Pydecide
from benchmarks.escalation.peers.tracer_llm import Tracer
from benchmarks.escalation.pools import Pool
from benchmarks.report import Report
from hetagent.calibrate.certifying import (
    Split,
    certified_threshold,
    fit_any,
    share_to_fit,
    split,
)
from hetagent.calibrate.fitting import Fit

__all__ = ["ALPHAS", "DELTA", "OURS", "compare", "hold"]

ALPHAS = (0.01, 0.02, 0.05, 0.1)
DELTA = 0.05
OURS = "hetagent"
SEED = 20261121


@dataclass(frozen=True)
class Job:
    """Some draws of one pool."""

    pool: Pool
    size: int
    draws: range
    venvs: Path
    fit_share: float | None


def compare(
    report: Report,
    pools: Sequence[Pool],
    *,
    size: int,
    draws: int,
    venvs: Path,
    fit_share: float | None,
    tell: Any = print,
) -> None:
    """Measure all rules on all pools, and write a row for each of them and alpha."""
    workers = os.cpu_count() or 1
    parts = [range(k, draws, workers) for k in range(workers)]
    with ProcessPoolExecutor(workers, initializer=_single_threaded) as executor:
        for pool in pools:
            jobs = [Job(pool, size, part, venvs, fit_share) for part in parts]
            cells: dict[tuple[str, float], list[tuple[float, bool]]] = {}
            for found in executor.map(_run, jobs):
                for key, values in found.items():
                    cells.setdefault(key, []).extend(values)
            best = {alpha: _oracle(pool.scores, pool.correct, alpha) for alpha in ALPHAS}
            for (rule, alpha), values in cells.items():
                report.row(
                    part=f"error and coverage over {draws} draws of {size}",
                    pool=pool.name,
                    alpha=alpha,
                    rule=rule,
                    coverage=float(np.mean([one for one, _ in values])),
                    violations=float(np.mean([broken for _, broken in values])),
                    refused=float(np.mean([one == 0 for one, _ in values])),
                    oracle=best[alpha],
                )
            tell(f"{pool.name}: {draws} draws of {size}")


def hold(report: Report, *, draws: int, delta: float = DELTA) -> None:
    """The targets: the promise is kept, and among those that keep it hetagent accepts the most.

    Rules that keep it in every cell are compared with, and are given two standard errors of the
    draws. A second comparison is with those that happen to keep it in the cell.
    """
    cells: dict[tuple[str, float], dict[str, dict[str, Any]]] = {}
    for row in report.rows:
        if "rule" in row:
            cells.setdefault((row["pool"], row["alpha"]), {})[row["rule"]] = row
    certifiable = [key for key, rows in cells.items() if rows[OURS]["oracle"] > 0]
    share = len(certifiable) / len(cells)
    report.target("cells the oracle certifies", value=share, target=">= 0.5", holds=share >= 0.5)
    most = delta + 2 * math.sqrt(delta * (1 - delta) / draws)
    rules = {name for rows in cells.values() for name in rows} - {OURS}
    keeping = {
        name
        for name in rules
        if all(rows[name]["violations"] <= most for rows in cells.values() if name in rows)
    }
    for (pool, alpha), rows in cells.items():
        cell = f"{pool}, alpha {alpha}"
        broken = rows[OURS]["violations"]
        report.target(
            f"{cell}: draws in which the error exceeds alpha",
            value=broken,
            target=f"<= {delta}",
            holds=broken <= delta,
        )
        here = {name for name in rules & set(rows) if rows[name]["violations"] <= delta}
        for names, which in (
            (keeping & set(rows), "every cell"),
            (here - keeping, "this cell alone"),
        ):
            _ahead(report, rows, names, f"{cell}: coverage less that of {{}}, kept in {which}")


def _ahead(report: Report, rows: dict[str, dict[str, Any]], others: set[str], what: str) -> None:
    if not others:
        return
    best = max(others, key=lambda name: rows[name]["coverage"])
    ahead = rows[OURS]["coverage"] - rows[best]["coverage"]
    report.target(what.format(best), value=ahead, target=">= 0", holds=ahead >= 0)


def _run(job: Job) -> dict[tuple[str, float], list[tuple[float, bool]]]:
    pool = job.pool
    scores, correct = pool.scores, pool.correct
    found: dict[tuple[str, float], list[tuple[float, bool]]] = {}
    with contextlib.ExitStack() as stack:
        peers = [BareThreshold(), Firstpass(), Firstpass(min_n=None)]
        peers += [stack.enter_context(make(venvs=job.venvs)) for make in (Pydecide, Tracer)]
        for number in job.draws:
            draw = np.random.default_rng([SEED, number]).integers(0, len(correct), job.size)
            for alpha in ALPHAS:
                for peer in peers:
                    least = peer.choose(scores[draw], correct[draw], alpha=alpha, delta=DELTA)
                    accepted = scores >= (np.inf if least is None else least)
                    found.setdefault((peer.name, alpha), []).append(
                        _judge(accepted, correct, alpha)
                    )
                if pool.served is not None:
                    found.setdefault(("cascadeflow", alpha), []).append(
                        _judge(pool.served, correct, alpha)
                    )
            for alpha, accepted in _ours(pool, draw, number, job.fit_share):
                found.setdefault((OURS, alpha), []).append(_judge(accepted, correct, alpha))
    return found


def _ours(
    pool: Pool, draw: NDArray[np.int64], seed: int, fit_share: float | None
) -> Iterator[tuple[float, NDArray[np.bool_]]]:
    """What `hetagent.calibrate.certifying.certify` does, with one fit for alphas of one share."""
    shares: dict[float, list[float]] = {}
    for alpha in ALPHAS:
        share = fit_share or share_to_fit(len(draw), max_error=alpha, confidence=1 - DELTA)
        shares.setdefault(share, []).append(alpha)
    for share, alphas in shares.items():
        yield from _certified(pool, draw, split(len(draw), fit_share=share, seed=seed), alphas)


def _certified(
    pool: Pool, draw: NDArray[np.int64], rows: Split, alphas: Sequence[float]
) -> Iterator[tuple[float, NDArray[np.bool_]]]:
    correct = pool.correct[draw]
    everywhere, fitting = pool.table, pool.table.take(draw[rows[0]])
    if pool.fields:
        fits = [_fit(field, draw[rows[0]]) for field in pool.fields]
        fitting = fitting.jointly(np.column_stack([one.held_out for one in fits]))
        confidence = [
            field.table.probabilities(one.calibrator)
            for field, one in zip(pool.fields, fits, strict=True)
        ]
        everywhere = everywhere.jointly(np.column_stack(confidence))
    fitted = fit_any(fitting, correct[rows[0]])
    population = everywhere.scores(fitted.calibrator)
    known = population[draw]
    # Of the rows that fit, the scores they were fitted with.
    known[rows[0]] = fitting.scores(fitted.calibrator)
    for alpha in alphas:
        chosen = certified_threshold(
            known,
            correct,
            rows=rows,
            held_out=fitted.held_out,
            max_error=alpha,
            confidence=1 - DELTA,
        )
        yield alpha, population >= (np.inf if chosen is None else chosen.threshold)


def _fit(pool: Pool, rows: NDArray[np.int64]) -> Fit:
    return fit_any(pool.table.take(rows), pool.correct[rows])


def _judge(
    accepted: NDArray[np.bool_], correct: NDArray[np.bool_], alpha: float
) -> tuple[float, bool]:
    """The share accepted, and whether the true error among the accepted exceeds alpha."""
    count = int(accepted.sum())
    wrong = int((~correct[accepted]).sum())
    return count / len(correct), wrong > alpha * count


def _oracle(scores: NDArray[np.float64], correct: NDArray[np.bool_], alpha: float) -> float:
    """The greatest share that a threshold on the raw score can accept at an error of alpha."""
    _, sizes, wrong = thresholds(scores, correct)
    good = sizes[wrong <= alpha * sizes]
    return float(good.max() / len(correct)) if len(good) else 0.0


def _single_threaded() -> None:
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
