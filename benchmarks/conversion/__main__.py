"""From recorded calls to promoted skills: how good, how sure, how fast, and beside what.

    python -m benchmarks.conversion --work FOLDER --json conversion.json

Parts: `clinc150` (150 intents and out of scope), `restaurants8k` (five slots). Each makes records
of a data set's training split, converts them as `hetagent convert` does, and measures the skill on
the test split, which nothing of this saw, beside baselines on the same data. A run that was
interrupted goes on from its last stage in FOLDER. On two cores with bfloat16 instructions it takes
about two hours, without them several times as long; `--labels` and `--rows` narrow it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.conversion.parts import measure_clinc, measure_restaurants
from benchmarks.report import Report, arguments, main

PARTS = {"clinc150": measure_clinc, "restaurants8k": measure_restaurants}


def measure(report: Report, options: Any) -> None:
    options.work.mkdir(parents=True, exist_ok=True)
    for part in options.parts:
        PARTS[part](report, options)


if __name__ == "__main__":
    parser = arguments("Measure the conversion of recorded workloads.")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[*PARTS])
    parser.add_argument("--labels", type=int, help="intents of clinc150; all unless told")
    parser.add_argument("--rows", type=int, default=200, help="test rows of slow baselines")
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--minutes", type=float, default=30.0, help="most that training may take")
    main(measure, parser)
