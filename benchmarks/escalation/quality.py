"""Keep what cascadeflow says of CLINC150's answers; it judges by their words, which no dump has.

    python -m benchmarks.escalation.quality --out FOLDER --venvs .nox

Makes `FOLDER/NAME-cascadeflow.jsonl.gz`, a line for each kept answer, in the same order: its
quality score and confidence, and whether its cascade would serve the answer. Of Restaurants-8k the
answers' words were not kept.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.escalation.dumps import PAIRS, key, load, pack, rounded
from benchmarks.escalation.peers.cascadeflow import Cascadeflow, Draft
from benchmarks.escalation.peers.worker import VENVS
from benchmarks.escalation.sets import Line, clinc_cases
from benchmarks.report import CannotMeasureError
from benchmarks.tune_clinc import intents

__all__ = ["served"]

ANSWERS = "clinc150-smollm2-tuned"


def main() -> None:
    parser = argparse.ArgumentParser(description="Keep cascadeflow's judgement of answers.")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--venvs", type=Path, default=VENVS, help="where nox keeps the peers")
    options = parser.parse_args()
    lines = load(ANSWERS)
    texts = {key(case.facts): case.row for case in clinc_cases()}
    names = [one.replace("_", " ") for one in intents()]
    drafts = [
        Draft(texts[key(line)], names[line["answer"]], (math.log(line["raw"]),)) for line in lines
    ]
    try:
        with Cascadeflow(venvs=options.venvs) as scorer:
            judged = list(scorer.judge(drafts))
    except CannotMeasureError as error:
        sys.exit(f"cannot measure: {error}")
    kept = [
        {
            "split": line["split"],
            "id": line["id"],
            **rounded({"quality": one.quality, "confidence": one.confidence}),
            "accepted": one.accepted,
        }
        for line, one in zip(lines, judged, strict=True)
    ]
    pack(kept, options.out / f"{ANSWERS}-cascadeflow.jsonl.gz")


def served(data: str, lines: Sequence[Line]) -> NDArray[np.bool_] | None:
    """Which answers its cascade serves; ``None`` where it is not known."""
    name = f"{data}-cascadeflow"
    if not (PAIRS / f"{name}.jsonl.gz").is_file():
        return None
    found = {key(line): bool(line["accepted"]) for line in load(name)}
    return np.array([found[key(line)] for line in lines])


if __name__ == "__main__":
    main()
