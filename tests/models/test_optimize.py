"""Optimising a tiny model, on labels half of which are what the original itself says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from hetagent import LlamaCpp, Orchestrator, skill
from hetagent.engine import speed
from hetagent.engine.speed import TypicalCall
from hetagent.errors import InputError, ModelError, ModelFileError
from hetagent.models import optimize_trial
from hetagent.models.fetch import resolve
from hetagent.models.labelled import Labelled
from hetagent.models.optimize import Limits, optimize
from hetagent.models.optimize_report import Report
from hetagent.models.variants import read_variant, variant_path


@dataclass(frozen=True)
class Bench:
    path: Path
    labelled: Labelled


@skill
def rhyme(word: str) -> Annotated[str, Field(max_length=6)]:
    """Find a rhyme."""


@pytest.fixture(scope="module")
def bench(tiny_q4_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Weights in a folder of their own, rows half of which they get right, and short rounds.

    What random weights say is a near tie, which coarser ones often decide otherwise.
    """
    folder = tmp_path_factory.mktemp("optimize")
    path = folder / "mine.gguf"
    path.symlink_to(tiny_q4_path)
    words = ["moss", "chalk", "rust", "soot", "clay", "sand", "loam", "peat"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HETAGENT_CACHE", str(folder / "cache"))
        patch.setattr(optimize_trial, "_ROUNDS", 1)
        patch.setattr(optimize_trial, "_ROUND_SECONDS", 0.1)
        patch.setattr(optimize_trial, "_SUGGEST_ROUNDS", 1)
        patch.setattr(speed, "_SAMPLE_SECONDS", 0.05)
        patch.setattr(speed, "BATCH_SIZES", (32, 256))
        with LlamaCpp(path) as model:
            outcomes = Orchestrator(model, policy=0.0).map(rhyme, words)
        said = [outcome.value for outcome in outcomes]
        right = [value if index % 2 else "none" for index, value in enumerate(said)]
        yield Bench(path, Labelled(rhyme, words, right))


@pytest.fixture(autouse=True)
def _clean(bench: Bench) -> Iterator[None]:
    yield
    for path in bench.path.parent.glob("mine@*"):
        path.unlink()
    left = {path.name for path in bench.path.parent.iterdir()}
    assert left <= {"mine.gguf", "cache", ".mine.optimize.lock"}


def test_the_measured_loss_decides(bench: Bench):
    def optimized(max_loss: float, confidence: float) -> Report:
        limits = Limits(max_loss, confidence, min_speedup=0)
        return optimize(bench.path, kinds=["q4_0"], labelled=bench.labelled, limits=limits)

    refused = optimized(0.0, 0)
    (measured,) = refused.candidates
    assert measured.pairs is not None
    assert measured.pairs.loss > 0
    assert (refused.kept, refused.path) == (None, None)
    assert measured.verdict == "loses too much"
    # The same loss within a bound is proved by many rows, not by eight.
    enough = measured.pairs.loss + 0.001
    assert measured.pairs.upper_loss(0.95) > enough
    kept = optimized(enough, 0)
    assert kept.candidates[0].verdict == "kept"
    assert kept.kept == f"{bench.path}@q4_0"


def test_what_is_kept_has_its_facts_and_can_be_loaded(bench: Bench):
    limits = Limits(0.95, 0.9, min_speedup=0)
    report = optimize(bench.path, kinds=["q8_0"], labelled=bench.labelled, limits=limits)
    assert report.kept == f"{bench.path}@q8_0"
    assert report.path == variant_path(bench.path, "q8_0")
    (measured,) = report.candidates
    assert measured.pairs is not None
    assert measured.upper_loss == measured.pairs.upper_loss(0.9)
    assert report.original.accuracy == 0.5
    assert measured.accuracy == pytest.approx(0.5 - measured.pairs.loss)
    assert measured.calls_per_second
    known = read_variant(report.path)
    assert known is not None
    assert known.facts == json.loads(json.dumps(report.to_dict()))
    with LlamaCpp(report.kept) as model:
        outcome = Orchestrator(model, policy=0.0).run(rhyme, "moss")
    assert outcome.served_by == "slm"


def test_the_fastest_of_those_that_hold_is_kept(bench: Bench):
    limits = Limits(min_speedup=0, unchecked=True)
    report = optimize(bench.path, kinds=["q8_0", "q5_0"], limits=limits, call=TypicalCall(64, 64))
    fastest = max(report.candidates, key=lambda measured: measured.speedup)
    assert report.kept == f"{bench.path}@{fastest.kind}"
    verdicts = {measured.kind: measured.verdict for measured in report.candidates}
    assert sorted(verdicts.values()) == ["kept", "not the fastest"]
    assert "Accuracy was not checked." in report.notes


def test_nothing_is_kept_without_labels(bench: Bench):
    report = optimize(bench.path, kinds=["q8_0"])
    assert report.candidates[0].verdict == "not checked"
    assert report.candidates[0].accuracy is None
    assert report.kept is None


def test_the_result_goes_where_it_is_wanted(bench: Bench, tmp_path: Path):
    output = tmp_path / "mine-fast.gguf"
    limits = Limits(min_speedup=0, unchecked=True)
    report = optimize(bench.path, kinds=["q8_0"], limits=limits, output=output)
    assert report.kept == str(output)
    assert resolve(output) == output
    assert read_variant(output) is not None
    with pytest.raises(ModelFileError, match="exists already"):
        optimize(bench.path, kinds=["q8_0"], limits=limits, output=output)
    assert {path.name for path in tmp_path.glob("[!.]*")} == {output.name, f"{output.name}.json"}


def test_what_is_not_fast_enough_is_not_kept(bench: Bench):
    report = optimize(bench.path, kinds=["q8_0"], limits=Limits(min_speedup=99, unchecked=True))
    assert report.candidates[0].verdict == "not faster"
    assert report.kept is None


def test_a_source_that_changes_meanwhile_is_refused(bench: Bench, tmp_path: Path):
    moving = tmp_path / "moving.gguf"
    moving.write_bytes(bench.path.read_bytes())

    def touch(stage: str, done: int, total: int) -> None:
        if stage.startswith("threads"):
            moving.touch()

    limits = Limits(min_speedup=0, unchecked=True)
    with pytest.raises(ModelFileError, match="changed while it was measured"):
        optimize(moving, kinds=["q8_0"], limits=limits, on_progress=touch)
    assert list(tmp_path.glob("moving@*")) == []


@pytest.mark.parametrize("stage", ["writing q8_0", "speed of q8_0", "rows on q8_0"])
def test_an_interrupt_leaves_nothing(bench: Bench, stage: str):
    def press_control_c(now: str, done: int, total: int) -> None:
        if now == stage and done != 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        optimize(
            bench.path,
            kinds=["q8_0"],
            labelled=bench.labelled,
            limits=Limits(0.9),
            on_progress=press_control_c,
        )


def test_options_that_cannot_be(bench: Bench, tmp_path: Path):
    with pytest.raises(InputError, match="is q4_1 already"):
        optimize(bench.path, kinds=["q8_0", "q4_1"])
    with pytest.raises(InputError, match="how much accuracy may be lost"):
        optimize(bench.path, labelled=bench.labelled)
    with pytest.raises(InputError, match="no labelled rows"):
        optimize(bench.path, limits=Limits(0.01))
    with pytest.raises(InputError, match="need not be checked"):
        optimize(bench.path, labelled=bench.labelled, limits=Limits(0.01, unchecked=True))
    with pytest.raises(InputError, match=r"end in \.gguf"):
        optimize(bench.path, output=tmp_path / "out")
    with pytest.raises(ModelError, match="is a variant already"):
        optimize(f"{bench.path}@q8_0")
    for wrong in ({"max_loss": 1.5}, {"confidence": 0.3}, {"min_speedup": -1}):
        with pytest.raises(InputError, match="is"):
            Limits(**wrong)
