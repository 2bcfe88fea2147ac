"""One risk for a whole workflow, against certifying each of its skills by itself.

    python -m benchmarks.escalation.workflow --json workflow.json

The workflow is fixed: the domain of a CLINC150 utterance, its intent within that domain, and
whether it is in scope at all. Nothing is decoded here: all three answers and their evidence come
from kept 150-way answers of the tuned SmolLM2 (`benchmarks.escalation.dumps`), as far as the five
best intents that were kept tell. A domain has the sum of its intents' probabilities; the intent
within a domain has them renormalised, and all alike where none is among the five; an utterance is
in scope with the probability that the model, unconstrained, would have given the intent it chose.

There is no LLM: escalated steps are answered by the labels, so that the risk counts nothing but the
SLM's part. Where an utterance is out of scope its domain and intent have no label, and the SLM's
answer stands for it; whether the run ends right then hangs on the last step alone.

Each draw takes labelled runs with replacement from the pool of all, which is the population: the
true risk and the escalations of the thresholds chosen are computed on it, without test noise.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.report import CannotMeasureError, Report, arguments, data_folder, main
from hetagent import Answer, Message, Orchestrator, OutputType, Request, Scripted, skill
from hetagent.calibrate.certifying import split
from hetagent.calibrate.even_split import evenly
from hetagent.calibrate.joint import Levels, certify_jointly, fit_steps
from hetagent.calibrate.measures import Floats
from hetagent.calibrate.replays import Forest
from hetagent.workflow_calibration import replays_of

NAME = "clinc150-smollm2-tuned"
PAIRS = Path(__file__).with_name("pairs") / f"{NAME}.jsonl.gz"
ALLOWED = (0.02, 0.05, 0.1)
CONFIDENCE = 0.95
LABELS = 1000
DRAWS = 100
SAVED = 0.15
OUT_OF_SCOPE = "out of scope"

Line = dict[str, Any]


class Kept:
    """The kept answers, as models that answer the three skills.

    Attributes:
        intents: Names of the 150 intents, by their number.
        domains: Name of the domain of each.
    """

    def __init__(self, lines: Sequence[Line]) -> None:
        data = data_folder("clinc150")
        splits = json.loads((data / "data_full.json").read_text(encoding="utf-8"))
        groups = json.loads((data / "domains.json").read_text(encoding="utf-8"))
        domain = {intent: name for name, members in groups.items() for intent in members}
        self.intents = sorted({label for _, label in splits["train"]})
        self.domains = [domain[intent] for intent in self.intents]
        self._lines = {name(line): line for line in lines}

    def label(self, line: Line) -> str:
        """The right final value."""
        return OUT_OF_SCOPE if line["label"] < 0 else self.intents[line["label"]]

    def answer(self, request: Request) -> Answer:
        """The SLM's answer to a step."""
        line, area = self._asked(request.messages[-1].content)
        known = dict(line["top"])
        if set(request.output.labels) == {"yes", "no"}:
            inside = line["raw"] * (1 - line["outside"])
            return _chosen({"yes": inside, "no": 1 - inside}, 0.0)
        if area is None:
            sums = dict.fromkeys(dict.fromkeys(self.domains), 0.0)
            for number, probability in known.items():
                sums[self.domains[number]] += probability
            return _chosen(sums, line["outside"])
        within = [n for n, domain in enumerate(self.domains) if domain == area]
        weights = {n: known.get(n, 0.0) for n in within}
        if not any(weights.values()):
            weights = dict.fromkeys(within, 1.0)
        return _chosen(
            {label: weights.get(n, 0.0) for n, label in enumerate(self.intents)}, line["outside"]
        )

    def reference(self, task: Any, text: str) -> Any:
        """The label of a step, or the SLM's answer where it has none."""
        line, area = self._asked(text)
        number = line["label"]
        if task.name == "in_scope":
            return "yes" if number >= 0 else "no"
        if number >= 0 and area is None:
            return self.domains[number]
        if number >= 0 and self.domains[number] == area:
            return self.intents[number]
        return self.answer(Request((Message("user", text),), task.output, 1)).value

    def _asked(self, text: str) -> tuple[Line, str | None]:
        first, _, rest = text.removeprefix("message: ").partition("\narea: ")
        return self._lines[first], rest or None


def name(line: Line) -> str:
    return f"{line['split']} {line['id']}"


def _chosen(weights: dict[str, float], outside: float) -> Answer:
    total = sum(weights.values())
    choices = {label: weight / total for label, weight in weights.items()}
    return Answer(max(choices, key=choices.__getitem__), choices=choices, outside=outside)


def load(path: Path) -> list[Line]:
    """The kept answers.

    Raises:
        CannotMeasureError: They are not there.
    """
    if not path.is_file():
        raise CannotMeasureError(f"{path} is not there; see benchmarks.escalation.dumps.")
    packed = path.suffix == ".gz"
    text = gzip.decompress(path.read_bytes()).decode() if packed else path.read_text("utf-8")
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def population(lines: Sequence[Line]) -> Forest:
    """The replays of the workflow on all utterances."""
    kept = Kept(lines)
    areas = tuple(dict.fromkeys(kept.domains))

    @skill(output=OutputType.of(Literal[areas]))  # type: ignore[valid-type]
    def domain(message: str):
        """Name the domain of the message."""

    @skill(output=OutputType.of(Literal[tuple(kept.intents)]))  # type: ignore[misc]
    def intent(message: str, area: str):
        """Name the intent of the message within the area."""

    @skill
    def in_scope(message: str) -> Literal["yes", "no"]:
        """Say whether the message is about one of the intents."""

    def classify(message: str) -> str:
        label = intent(message, domain(message))
        return label if in_scope(message) == "yes" else OUT_OF_SCOPE

    agent = Orchestrator(slm=Scripted(kept.answer, name=NAME), progress=False)
    pairs = [(name(line), kept.label(line)) for line in lines]
    found = replays_of(agent, classify, pairs, reference=kept.reference, concurrency=4)
    forest = Forest.of(found.runs, skills=("domain", "intent", "in_scope"))
    if not forest.usable.all() or found.raised:
        raise CannotMeasureError("a kept answer could not be read as a step's answer")
    return forest


def truth(pool: Forest, calibrators: Any, thresholds: Floats) -> dict[str, float]:
    """Escalations per run, true risk and share of runs that rely on the SLM, on the pool."""
    found = pool.scored(calibrators).results(thresholds[None])
    relying = int(found.accepted.sum())
    return {
        "escalations": float(found.escalated.mean()),
        "risk": float(found.wrong.sum() / relying) if relying else 0.0,
        "relying": relying / len(pool),
    }


def one_draw(pool: Forest, seed: int, labels: int) -> list[dict[str, Any]]:
    """Both ways for every allowed error rate, on the same labelled runs and fits."""
    random = np.random.default_rng(seed)
    drawn = pool.take(random.integers(0, len(pool), labels))
    rows = split(labels, fit_share=0.25, seed=seed)
    fitting = drawn.take(rows[0])
    ends = fit_steps(fitting, fitting.harmless, seed=seed)
    alike = np.array_equal(fitting.harmless[fitting.on_trunk], fitting.agrees[fitting.on_trunk])
    steps = ends if alike else fit_steps(fitting, fitting.agrees, seed=seed)
    found = []
    for allowed in ALLOWED:
        levels = Levels(allowed, CONFIDENCE)
        joint = certify_jointly(drawn, ends, rows=rows, levels=levels, seed=seed)
        chosen = (
            dict.fromkeys(pool.skills, np.inf) if joint.thresholds is None else joint.thresholds
        )
        ways = {
            "joint": (ends, np.array([chosen[one] for one in pool.skills])),
            "even split": (steps, evenly(drawn, steps, rows=rows, levels=levels, seed=seed)),
        }
        found += [
            {"allowed": allowed, "way": way, **truth(pool, fits.calibrators, thresholds)}
            for way, (fits, thresholds) in ways.items()
        ]
    return found


def measure(
    report: Report,
    *,
    pairs: Path = PAIRS,
    draws: int = DRAWS,
    labels: int = LABELS,
    limit: int | None = None,
) -> None:
    """Compare both ways over draws of labelled runs.

    Args:
        report: Takes the rows and targets.
        pairs: The kept answers.
        draws: How many.
        labels: Labelled runs in each.
        limit: Utterances of the pool, at most.

    Raises:
        CannotMeasureError: There are no kept answers, or no data set.
    """
    pool = population(load(pairs)[:limit])
    agreeing = [float(pool.agrees[pool.of_skill(k)].mean()) for k in range(len(pool.skills))]
    report.row(
        part="workflow: skills",
        runs=len(pool),
        **{f"{one} right": share for one, share in zip(pool.skills, agreeing, strict=True)},
        replays=len(pool.right) / len(pool),
    )
    found = []
    for seed in range(draws):
        for row in one_draw(pool, seed, labels):
            found.append(row)
            report.row(part="workflow: draws", raw=True, seed=seed, **row)
    for allowed in ALLOWED:
        summary = {}
        for way in ("joint", "even split"):
            own = [one for one in found if (one["allowed"], one["way"]) == (allowed, way)]
            risks = np.array([one["risk"] for one in own])
            summary[way] = float(np.mean([one["escalations"] for one in own]))
            over = float((risks > allowed).mean())
            report.row(
                part="workflow: escalations per run",
                allowed=allowed,
                way=way,
                escalations=summary[way],
                spread=float(np.std([one["escalations"] for one in own])),
                relying=float(np.mean([one["relying"] for one in own])),
                nothing=float(np.mean([one["relying"] == 0 for one in own])),
                risk=float(risks.mean()),
                violations=over,
            )
            # What a promise that just holds gives in 19 of 20 such benchmarks.
            most = (1 - CONFIDENCE) + 1.645 * np.sqrt(CONFIDENCE * (1 - CONFIDENCE) / draws)
            report.target(
                f"workflow, {way}: share of draws with a true risk above {allowed:g}",
                value=over,
                target=f"at most {most:.3f}: δ = {1 - CONFIDENCE:.2f} and {draws} draws' noise",
                holds=over <= most,
            )
        saved = 1 - summary["joint"] / summary["even split"]
        report.target(
            f"workflow: fewer escalations than the even split at {allowed:g}",
            value=saved,
            target=f"at least {SAVED:.0%}",
            holds=saved >= SAVED,
        )


def _parser() -> argparse.ArgumentParser:
    parser = arguments("One risk for a whole workflow, against one for each skill.")
    parser.add_argument("--pairs", type=Path, default=PAIRS, help="kept answers of the model")
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--labels", type=int, default=LABELS, help="labelled runs in each draw")
    parser.add_argument("--limit", type=int, help="utterances of the pool, at most")
    return parser


if __name__ == "__main__":
    main(
        lambda report, options: measure(
            report,
            pairs=options.pairs,
            draws=options.draws,
            labels=options.labels,
            limit=options.limit,
        ),
        _parser(),
    )
