"""Whether escalation can be trusted, measured on kept answers beside what others do.

    python -m benchmarks.escalation --json escalation.json --venvs .nox

Parts: `calibration` (confidence before and after), `certificates` (error and coverage of each rule
over draws of labelled answers; wants `nox -s peers`), `routing` (which calls are worth an LLM) and
`drift` (false alarms and delays of the monitor). `benchmarks.escalation.workflow` and `ladder` are
commands of their own. The answers are in ``benchmarks/escalation/pairs``; no model runs. Takes
about an hour on two cores.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.escalation import calibration, certificates, drift, routing
from benchmarks.escalation.peers.worker import VENVS
from benchmarks.escalation.pools import pools
from benchmarks.report import Report, arguments, main

PARTS = ("calibration", "certificates", "routing", "drift")
SETS = ("clinc150-smollm2-tuned", "restaurants8k-qwen1.5b")


def measure(report: Report, options: argparse.Namespace) -> None:
    chosen = list(pools(options.sets))
    if "calibration" in options.parts:
        calibration.measure(report, chosen)
    if "certificates" in options.parts:
        certificates.compare(
            report,
            chosen,
            size=options.size,
            draws=options.draws,
            venvs=options.venvs,
            fit_share=options.fit_share,
        )
        certificates.hold(report, draws=options.draws)
    if "routing" in options.parts:
        routing.measure(report)
    if "drift" in options.parts:
        drift.measure(report)


def parser() -> argparse.ArgumentParser:
    found = arguments("Escalation: calibration, certificates, routing, drift.")
    found.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    found.add_argument("--sets", nargs="+", default=list(SETS))
    found.add_argument("--draws", type=int, default=500)
    found.add_argument("--size", type=int, default=2000, help="labelled answers of a draw")
    found.add_argument("--fit-share", type=float, help="by default hetagent's own")
    found.add_argument("--venvs", type=Path, default=VENVS, help="where nox keeps the peers")
    return found


if __name__ == "__main__":
    main(measure, parser())
