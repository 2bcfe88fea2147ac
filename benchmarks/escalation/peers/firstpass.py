"""firstpass 0.9.0: Learn-then-Test over the deferred verdicts in its database.

``firstpass calibrate --method ltt`` reads pairs out of SQLite and prints a report. A draw of 1,000
pairs costs it about 0.15 s to have in a database and 0.1 s to calibrate, so `Firstpass` applies
the rule that its source documents (``firstpass-core/src/ltt.rs``) and `Binary` runs the real
thing; ``python -m benchmarks.escalation.peers.simulate`` compares the two on random draws, with
and without ties, and counts every difference.

The rule: candidates are the distinct scores, greatest first; those with fewer than ``min_n`` pairs
at or above them are passed over; a candidate is certified where the exact binomial test of
"error > alpha" gives P(Bin(n, alpha) ≤ errors) ≤ delta; the walk ends at the first that is not.
Equal scores are accepted or refused together.

``min_n`` is 30 unless ``--min-n`` says otherwise. Where scores do not tie, the first candidate has
30 pairs, and no 30 pairs pass the test when (1 - alpha)^30 > delta: with delta 0.05, for every
alpha below 0.095. `least_min_n` is the least that can pass.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
import subprocess
import tempfile
import uuid
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from benchmarks.escalation.peers.worker import VENVS, environment

__all__ = ["DEFAULT_MIN_N", "Binary", "Firstpass", "allowed_errors", "least_min_n", "thresholds"]

DEFAULT_MIN_N = 30
AT = "2026-01-01T00:00:00Z"
TABLES = """
CREATE TABLE traces (seq INTEGER PRIMARY KEY AUTOINCREMENT, trace_id TEXT NOT NULL,
    ts TEXT NOT NULL, prev_hash TEXT NOT NULL, hash TEXT NOT NULL, tenant TEXT NOT NULL,
    session TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX traces_tenant_seq_idx ON traces(tenant, seq);
CREATE TABLE deferred_verdicts (id INTEGER PRIMARY KEY AUTOINCREMENT, trace_id TEXT NOT NULL,
    gate_id TEXT NOT NULL, verdict TEXT NOT NULL, score REAL, reported_at TEXT NOT NULL,
    reporter TEXT NOT NULL);
CREATE INDEX deferred_trace_idx ON deferred_verdicts(trace_id);
"""


def least_min_n(*, alpha: float, delta: float) -> int:
    """The least number of pairs, all right, that passes the test: (1 - alpha)^n ≤ delta."""
    return math.ceil(math.log(delta) / math.log1p(-alpha))


@lru_cache(maxsize=64)
def allowed_errors(n: int, *, alpha: float, delta: float) -> NDArray[np.int64]:
    """The most errors with which 0, 1, …, n pairs pass the test; -1 where none do."""
    logs = np.array([math.lgamma(i + 1) for i in range(n + 1)])
    allowed = np.full(n + 1, -1)
    for size in range(1, n + 1):
        errors = np.arange(size + 1)
        log_mass = (
            logs[size]
            - logs[errors]
            - logs[size - errors]
            + errors * math.log(alpha)
            + (size - errors) * math.log1p(-alpha)
        )
        below = np.cumsum(np.exp(log_mass)) <= delta
        allowed[size] = int(np.count_nonzero(below)) - 1
    return allowed


def thresholds(
    scores: NDArray[np.float64], correct: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Distinct scores, greatest first; pairs at or above each; wrong ones among them."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    wrong = np.cumsum(~correct[order])
    return ordered[last], last + 1, wrong[last]


class Firstpass:
    """The rule of ``firstpass calibrate --method ltt``.

    Args:
        min_n: As ``--min-n``; ``None`` for `least_min_n`.
        printed: Whether the threshold is the one it prints, with four decimals, which may be below
            the one it certified; else the certified one.
    """

    def __init__(self, *, min_n: int | None = DEFAULT_MIN_N, printed: bool = False) -> None:
        self.min_n, self.printed = min_n, printed
        self.name = "firstpass" if min_n == DEFAULT_MIN_N else f"firstpass --min-n {min_n or 'n*'}"
        if printed:
            self.name += ", as printed"

    def choose(
        self,
        scores: NDArray[np.float64],
        correct: NDArray[np.bool_],
        *,
        alpha: float,
        delta: float,
    ) -> float | None:
        """The least score accepted; ``None`` where nothing is certified."""
        min_n = least_min_n(alpha=alpha, delta=delta) if self.min_n is None else self.min_n
        candidates, sizes, wrong = thresholds(scores, correct)
        tested = sizes >= min_n
        candidates, sizes, wrong = candidates[tested], sizes[tested], wrong[tested]
        passed = wrong <= allowed_errors(len(scores), alpha=alpha, delta=delta)[sizes]
        certified = len(passed) if passed.all() else int(np.argmin(passed))
        if not certified:
            return None
        least = float(candidates[certified - 1])
        return float(f"{least:.4f}") if self.printed else least


class Binary:
    """The real ``firstpass``, over a database of its own form.

    Its report has the threshold with four decimals only. How many it says are served at it tells
    which score was meant: the one at that place, greatest first.

    Args:
        venvs: Folder with the virtual environments.
    """

    name = "firstpass binary"

    def __init__(self, *, venvs: Path = VENVS) -> None:
        self._program = environment("firstpass", venvs=venvs) / "bin" / "firstpass"
        self._folder = tempfile.TemporaryDirectory(prefix="firstpass-")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def choose(
        self,
        scores: NDArray[np.float64],
        correct: NDArray[np.bool_],
        *,
        alpha: float,
        delta: float,
        min_n: int = DEFAULT_MIN_N,
    ) -> float | None:
        """The least score it serves; ``None`` where it says that nothing is feasible."""
        report = self.calibrate(scores, correct, alpha=alpha, delta=delta, min_n=min_n)
        if report["feasible"] != "true":
            return None
        served = int(report["pairs"].split("(")[1].split()[0])
        return float(np.sort(scores)[::-1][served - 1])

    def calibrate(
        self,
        scores: NDArray[np.float64],
        correct: NDArray[np.bool_],
        *,
        alpha: float,
        delta: float,
        min_n: int = DEFAULT_MIN_N,
    ) -> dict[str, str]:
        """What it prints, by the names it prints it under."""
        path = Path(self._folder.name) / "firstpass.db"
        path.unlink(missing_ok=True)
        write_database(path, scores, correct)
        options = {"--alpha": alpha, "--delta": delta, "--min-n": min_n, "--method": "ltt"}
        command = [str(self._program), "calibrate"]
        for name, value in options.items():
            command += [name, str(value)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "FIRSTPASS_DB": str(path)},
            cwd=self._folder.name,
        )
        lines = (line.partition(": ") for line in done.stdout.splitlines())
        return {name: value for name, _, value in lines}


def write_database(path: Path, scores: NDArray[np.float64], correct: NDArray[np.bool_]) -> None:
    """Each pair as a served trace, whose one gate gave the score, and a verdict that came later."""
    names = [str(uuid.UUID(int=i + 1)) for i in range(len(scores))]
    connection = sqlite3.connect(path)
    connection.executescript(TABLES)
    connection.executemany(
        "INSERT INTO traces (trace_id, ts, prev_hash, hash, tenant, session, body)"
        " VALUES (?, ?, '', '', 'default', 's', ?)",
        [
            (name, AT, json.dumps(trace(name, float(score))))
            for name, score in zip(names, scores, strict=True)
        ],
    )
    connection.executemany(
        "INSERT INTO deferred_verdicts (trace_id, gate_id, verdict, score, reported_at, reporter)"
        " VALUES (?, 'outcome', ?, NULL, ?, 'label')",
        [
            (name, "pass" if right else "fail", AT)
            for name, right in zip(names, correct, strict=True)
        ],
    )
    connection.commit()
    connection.close()


def trace(name: str, score: float) -> dict[str, Any]:
    """The least that it reads as a trace of one attempt."""
    gate = {"gate_id": "score@v1", "verdict": "pass", "score": score, "cost_usd": 0.0, "ms": 0}
    attempt = {"rung": 0, "model": "slm", "provider": "local", "in_tokens": 0, "out_tokens": 0}
    attempt |= {"cost_usd": 0.0, "latency_ms": 0, "gates": [gate], "verdict": "pass"}
    features = {"version": 2, "task_kind": "other", "prompt_token_bucket": 0, "tool_count": 0}
    features |= {"has_images": False, "session_failure_count": 0, "hour_bucket": 0}
    final = {"served_rung": 0, "served_from": "attempt", "total_latency_ms": 0, "escalations": 0}
    final |= dict.fromkeys(
        ("total_cost_usd", "gate_cost_usd", "counterfactual_baseline_usd", "savings_usd"), 0.0
    )
    return {
        "trace_id": name,
        "prev_hash": "0" * 64,
        "tenant_id": "default",
        "session_id": "s",
        "ts": AT,
        "mode": "enforce",
        "policy": {"id": "static@v0"},
        "request": {"api": "anthropic.messages", "prompt_hash": "0", "features": features},
        "attempts": [attempt],
        "final": final,
    }
