"""Weights that suit the machine: requantise a model, measure it, and keep what is worth keeping.

Every candidate is compared with the original on this machine, in turns: by the calls a second of a
skill on labelled rows, where there are some, and else by the time of a typical call at the measured
rates. The fastest one whose loss of accuracy is within the user's bound is kept as a variant.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from hetagent.engine.library import version
from hetagent.engine.quantize import (
    LOSSLESS,
    check_type,
    default_types,
    requantise,
    weights_type,
)
from hetagent.engine.speed import TypicalCall, usable_cpus
from hetagent.errors import InputError, ModelError, ModelFileError
from hetagent.machine import cpu
from hetagent.models.fetch import resolve
from hetagent.models.fetch_store import locked, sha256_of
from hetagent.models.labelled import Labelled
from hetagent.models.optimize_report import Measured, Report
from hetagent.models.optimize_trial import Trial, suggest_for
from hetagent.models.variants import (
    Variant,
    commit_variant,
    source_hash,
    split_reference,
    variant_path,
)

__all__ = ["Limits", "optimize"]

OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a candidate must hold to be kept.

    Attributes:
        max_loss: The accuracy it may lose, as a share of the rows: 0.01 is one point.
        confidence: The probability with which the loss must be within ``max_loss``, whichever
            candidate is kept; 0 goes by the measured loss alone.
        min_speedup: How many times as fast as the original it must be.
        unchecked: Keep the fastest without any labelled rows.

    Raises:
        InputError: One of them is out of range.
    """

    max_loss: float | None = None
    confidence: float = 0.95
    min_speedup: float = 1.0
    unchecked: bool = False

    def __post_init__(self) -> None:
        checks = {
            "max_loss": (self.max_loss is None or 0 <= self.max_loss < 1, "from 0 to below 1"),
            "confidence": (
                self.confidence == 0 or 0.5 <= self.confidence < 1,
                "0, or from 0.5 to below 1",
            ),
            "min_speedup": (self.min_speedup >= 0, "0 or more"),
        }
        for name, (fine, allowed) in checks.items():
            if not fine:
                raise InputError(f"{name} is {getattr(self, name)}.", hint=f"Give {allowed}.")


def optimize(
    name: str | os.PathLike[str],
    *,
    kinds: Sequence[str] = (),
    labelled: Labelled | None = None,
    limits: Limits | None = None,
    threads: int | None = None,
    adapters: Sequence[Path] = (),
    call: TypicalCall | None = None,
    output: Path | None = None,
    on_progress: OnProgress = lambda stage, done, total: None,
) -> Report:
    """Requantise a model in several ways, and keep the fastest one that is accurate enough.

    Nothing is kept of what does not hold, fails or is interrupted.

    Args:
        name: A model as `LlamaCpp` takes it.
        kinds: Types to try, of `hetagent.engine.quantize.TYPES`; by default a few that suit this
            CPU.
        labelled: Rows to judge accuracy and calls a second on; ``limits.max_loss`` says what may be
            lost.
        limits: What a candidate must hold.
        threads: CPU threads; by default one for each CPU this process may use.
        adapters: LoRA adapters the labelled skill runs with.
        call: The call that speed is judged by where there are no labelled rows.
        output: Where to keep the result, instead of beside the original.
        on_progress: Called with a stage and how far it is; 0 of 0 where that is not known.

    Returns:
        What was measured, and what was kept.

    Raises:
        InputError: ``labelled`` without ``max_loss``, or an option is out of range.
        ModelError: The model cannot be found, run or requantised.
    """
    limits = limits or Limits()
    _check(name, labelled, limits, output)
    source = resolve(os.fspath(name))
    before = source.stat()
    on_progress("reading the original", 0, 0)
    digest = source_hash(source)
    original = weights_type(source)
    chosen = _kinds(kinds, original, source)
    trial = Trial(
        source,
        original=original,
        labelled=labelled,
        adapters=tuple(adapters),
        threads=threads or usable_cpus(),
        call=call or TypicalCall(),
        on_progress=on_progress,
    )
    target_folder = source.parent if output is None else output.absolute().parent
    with trial, _workspace(target_folder, source.stem, on_progress) as folder:
        search = _Search(trial, limits, folder, candidates=len(chosen))
        for kind in chosen:
            search.try_kind(kind)
        best = search.best
        on_progress("threads and batch sizes", 0, 0)
        tuned = source if best is None else search.path(best.kind)
        report = Report(
            name=os.fspath(name),
            original=trial.original_measured(),
            candidates=tuple(search.done()),
            kept=None,
            path=None,
            speed_by="calls on the labelled rows" if labelled else "a typical call",
            call=trial.call,
            skill=labelled.skill.name if labelled else None,
            rows=len(labelled) if labelled else None,
            max_loss=limits.max_loss,
            confidence=limits.confidence,
            threads=trial.threads,
            cpu=str(cpu()["name"]),
            llama_cpp=version(),
            suggestion=suggest_for(tuned, call=trial.call),
            notes=tuple(_notes(original, labelled, limits)),
        )
        if best is None:
            return report
        _refuse_changed(source, before)
        path = output or variant_path(source, best.kind)
        reference = f"{report.name}@{best.kind}" if output is None else str(output)
        report = report.keeping(reference, path)
        staged = search.path(best.kind)
        variant = Variant(
            best.kind,
            sha256_of(staged),
            staged.stat().st_size,
            source=source.name,
            source_sha256=digest,
            source_size_bytes=before.st_size,
            source_mtime_ns=before.st_mtime_ns,
            facts=report.to_dict(),
        )
        commit_variant(staged, path, variant=variant)
    return report


@dataclass
class _Search:
    """Tries one candidate after another; only the best one's file stays on the disk."""

    trial: Trial
    limits: Limits
    folder: Path
    candidates: int
    best: Measured | None = None
    _done: list[Measured] = field(default_factory=list)

    def path(self, kind: str) -> Path:
        return self.folder / f"{kind}.gguf"

    def done(self) -> list[Measured]:
        """All candidates, with what became of them."""
        return [
            measured.judged("kept" if measured.kind == self.best.kind else "not the fastest")
            if self.best is not None and measured.verdict == "holds"
            else measured
            for measured in self._done
        ]

    def try_kind(self, kind: str) -> None:
        requantise(
            self.trial.source,
            self.path(kind),
            kind=kind,
            threads=self.trial.threads,
            on_progress=lambda done, total: self.trial.on_progress(f"writing {kind}", done, total),
        )
        measured = self.trial.measure(kind, self.path(kind))
        measured = measured.judged(self._verdict(measured), upper_loss=self._upper_loss(measured))
        self._done.append(measured)
        if measured.verdict == "holds" and (
            self.best is None or measured.speedup > self.best.speedup
        ):
            loser, self.best = self.best, measured
        else:
            loser = measured
        if loser is not None:
            self.path(loser.kind).unlink()

    def _verdict(self, measured: Measured) -> str:
        upper = self._upper_loss(measured)
        if upper is None and not self.limits.unchecked:
            return "not checked"
        if upper is not None and self.limits.max_loss is not None and upper > self.limits.max_loss:
            return "loses too much" if self._lost(measured) else "too few rows to tell"
        return "holds" if measured.speedup >= self.limits.min_speedup else "not faster"

    def _lost(self, measured: Measured) -> bool:
        """Whether the loss itself, and not only its upper bound, is over the limit."""
        limit = self.limits.max_loss
        return limit is not None and measured.pairs is not None and measured.pairs.loss > limit

    def _upper_loss(self, measured: Measured) -> float | None:
        if measured.pairs is None:
            return None
        if self.limits.confidence == 0:
            return measured.pairs.loss
        # One of several is picked, so that each has a share of the error (Bonferroni).
        error = (1 - self.limits.confidence) / self.candidates
        return measured.pairs.upper_loss(1 - error)


def _check(
    name: str | os.PathLike[str], labelled: Labelled | None, limits: Limits, output: Path | None
) -> None:
    if split_reference(os.fspath(name)) is not None:
        raise ModelError(
            f"{os.fspath(name)} is a variant already.",
            hint="Optimise what it was made from: each requantising loses something.",
        )
    if labelled is not None and limits.max_loss is None:
        raise InputError(
            "Labelled rows were given, but not how much accuracy may be lost.",
            hint="Give a bound, such as --max-loss 0.01 for one point.",
        )
    if labelled is None and limits.max_loss is not None:
        raise InputError(
            "A bound of the loss was given, but no labelled rows to measure it on.",
            hint="Give --skill MODULE:NAME and --file ROWS.jsonl.",
        )
    if labelled is not None and limits.unchecked:
        raise InputError(
            "Labelled rows were given, and that accuracy need not be checked.",
            hint="Leave one of the two out.",
        )
    if output is not None and output.exists():
        raise ModelFileError(f"{output} exists already.", hint="Remove it, or name another file.")
    if output is not None and output.suffix.lower() != ".gguf":
        raise InputError(f"{output} does not end in .gguf.", hint="llama.cpp's files do.")


def _kinds(wanted: Sequence[str], original: str | None, source: Path) -> list[str]:
    if not wanted:
        return [kind for kind in default_types() if kind != original]
    kinds = list(dict.fromkeys(check_type(kind) for kind in wanted))
    if original in kinds:
        raise InputError(
            f"{source.name} is {original} already.", hint="Leave it out, or choose another type."
        )
    return kinds


def _notes(original: str | None, labelled: Labelled | None, limits: Limits) -> Iterator[str]:
    if original not in LOSSLESS:
        yield (
            f"The original is {original or 'of an unknown type'} and has lost precision already, "
            "which a finer type does not bring back; f16 or bf16 weights would be a better source."
        )
    if labelled is None and limits.unchecked:
        yield "Accuracy was not checked."
    if labelled is not None:
        yield (
            "Confidence calibrated on the original does not hold for other weights: calibrate anew."
        )


@contextmanager
def _workspace(folder: Path, stem: str, on_progress: OnProgress) -> Iterator[Path]:
    """A folder for candidates, on the disk of the result; gone afterwards whatever happens."""
    staging = folder / f".{stem}.optimize"
    try:
        waiting = partial(on_progress, "waiting for another process that optimises it", 0, 0)
        with locked(folder / f"{stem}.optimize", on_wait=waiting):
            # What a killed process left.
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir(parents=True)
            try:
                yield staging
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise ModelFileError(
            f"{folder} cannot be written: {error.strerror or error}.",
            hint="Name a file elsewhere with --output, or set HETAGENT_CACHE to another folder.",
        ) from error


def _refuse_changed(source: Path, before: os.stat_result) -> None:
    now = source.stat()
    if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise ModelFileError(f"{source} changed while it was measured.", hint="Run this again.")
