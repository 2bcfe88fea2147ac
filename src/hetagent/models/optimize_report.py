"""What optimising a model measured, and what came of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hetagent.engine.speed import Rates, Suggestion, TypicalCall
from hetagent.models.paired import PairedRows

__all__ = ["Measured", "Report"]


@dataclass(frozen=True, slots=True)
class Measured:
    """One weights file.

    Attributes:
        kind: The type of its weights.
        size_bytes: Its size.
        rates: Its prefill and decode rates, medians.
        calls_per_second: On the labelled rows, median.
        speedup: How many times as fast as the original it is: the median over rounds.
        accuracy: The share of labelled rows it has right.
        pairs: How its answers compare with the original's.
        upper_loss: The most accuracy it may have lost, with the confidence that was asked for.
        verdict: What became of it, in words.
    """

    kind: str
    size_bytes: int
    rates: Rates
    calls_per_second: float | None = None
    speedup: float = 1.0
    accuracy: float | None = None
    pairs: PairedRows | None = None
    upper_loss: float | None = None
    verdict: str = ""

    def answered(
        self, *, pairs: PairedRows, accuracy: float, calls_per_second: float, speedup: float
    ) -> Measured:
        """The same with what the labelled rows showed."""
        return replace(
            self,
            pairs=pairs,
            accuracy=accuracy,
            calls_per_second=calls_per_second,
            speedup=speedup,
        )

    def judged(self, verdict: str, *, upper_loss: float | None = None) -> Measured:
        """The same with a verdict."""
        known = self.upper_loss if upper_loss is None else upper_loss
        return replace(self, verdict=verdict, upper_loss=known)

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "type": self.kind,
            "size_bytes": self.size_bytes,
            "prefill_tokens_per_second": self.rates.prefill,
            "decode_tokens_per_second": self.rates.decode,
            "calls_per_second": self.calls_per_second,
            "speedup": self.speedup,
            "accuracy": self.accuracy,
            "loss": None if self.pairs is None else self.pairs.loss,
            "upper_loss": self.upper_loss,
            "rows_lost": None if self.pairs is None else self.pairs.lost,
            "rows_won": None if self.pairs is None else self.pairs.won,
            "verdict": self.verdict,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What optimising a model measured.

    Attributes:
        name: The model, as it was named.
        original: Its own weights.
        candidates: The types that were tried.
        kept: What the result is called; ``None`` where nothing was kept.
        path: Where it is.
        speed_by: What speed was judged by.
        call: The typical call.
        skill: The labelled skill.
        rows: How many labelled rows there were.
        max_loss: The accuracy that may be lost.
        confidence: With what probability the loss is within it.
        threads: CPU threads of all measurements.
        cpu: The CPU's name.
        llama_cpp: Version of llama-cpp-python.
        suggestion: Threads and batch size for the result, or for the original.
        notes: What else to know.
    """

    name: str
    original: Measured
    candidates: tuple[Measured, ...]
    kept: str | None
    path: Path | None
    speed_by: str
    call: TypicalCall
    skill: str | None
    rows: int | None
    max_loss: float | None
    confidence: float
    threads: int
    cpu: str
    llama_cpp: str
    suggestion: Suggestion
    notes: tuple[str, ...] = ()

    def keeping(self, kept: str, path: Path) -> Report:
        """The same with what was kept."""
        return replace(self, kept=kept, path=path)

    def rows_needed(self) -> int | None:
        """About how many labelled rows would let a candidate hold that had too few."""
        if self.max_loss is None or self.confidence == 0:
            return None
        level = 1 - (1 - self.confidence) / len(self.candidates)
        undecided = [c.pairs for c in self.candidates if c.verdict == "too few rows to tell"]
        needed = [p.rows_needed(self.max_loss, level) for p in undecided if p is not None]
        return min((number for number in needed if number is not None), default=None)

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        tuned = self.suggestion
        return {
            "name": self.name,
            "kept": self.kept,
            "path": None if self.path is None else str(self.path),
            "original": self.original.to_dict(),
            "candidates": [candidate.to_dict() for candidate in self.candidates],
            "speed_by": self.speed_by,
            "typical_call": asdict(self.call),
            "skill": self.skill,
            "rows": self.rows,
            "max_loss": self.max_loss,
            "confidence": self.confidence,
            "rows_needed": self.rows_needed(),
            "threads": self.threads,
            "cpu": self.cpu,
            "llama_cpp": self.llama_cpp,
            "suggestion": {
                "threads": tuned.threads,
                "batch": tuned.batch,
                "by_threads": {str(n): asdict(rates) for n, rates in tuned.by_threads.items()},
                "prefill_by_batch": {str(size): rate for size, rate in tuned.by_batch.items()},
            },
            "notes": list(self.notes),
        }
