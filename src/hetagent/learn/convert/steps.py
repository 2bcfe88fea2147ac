"""What the stages of a conversion do, from a task's rows to the decision about its skill."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from hetagent.calibrate.calibration import certificate_of, judged
from hetagent.calibrate.certificate import Certificate
from hetagent.fingerprint import digest, fingerprint
from hetagent.learn.convert.settings import ConvertSettings
from hetagent.learn.evaluate import AT_ONCE, Evaluation, evaluate, outcomes_of
from hetagent.learn.promote import Decision, Learned, Tested, decide
from hetagent.learn.record import Trainable
from hetagent.learn.task import Example, Split, Task
from hetagent.models.llamacpp import LlamaCpp
from hetagent.orchestrator import Orchestrator

__all__ = ["brief", "certified", "decided", "evaluated", "pairs", "save"]

CERTIFICATE, EVALUATION, DECISION = "certificate.json", "evaluation.json", "decision.json"

# A sentence of instructions, at most so long.
_SENTENCE = re.compile(r"[^{}]{10,200}?[.!?:](?=\s|$)")

OnRows = Callable[[int, int], None]


def brief(instructions: str) -> str:
    """The first sentence of some instructions; all of them where it is none of common length.

    Instructions for an LLM list labels, rules and examples. A model that is tuned for the task has
    learned these, and whatever its prompt says costs time at every call.
    """
    found = _SENTENCE.match(instructions.strip())
    return found[0] if found else instructions


def pairs(examples: Sequence[Example]) -> list[tuple[Any, Any]]:
    """Rows with their labels."""
    return [(one.row, one.label) for one in examples]


def certified(
    task: Task,
    model: LlamaCpp,
    data: Split,
    *,
    settings: ConvertSettings,
    on_rows: OnRows = lambda done, total: None,
) -> Certificate:
    """Certify a skill on the calls that are for it; what no label is right for counts as wrong.

    Raises:
        InputError: There are too few.
        CertificateError: No answer has a confidence.
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    skill = task.skill
    strays = data.strays.get("calibrate", ())
    every = [*data.calibrate, *strays]
    agent = Orchestrator(model, policy=0.0, progress=False, concurrency=AT_ONCE)
    outcomes = outcomes_of(agent, skill, [one.row for one in every], on_progress=on_rows)
    known = len(data.calibrate)
    answers = judged(skill, outcomes[:known], [one.label for one in data.calibrate])
    answers += judged(skill, outcomes[known:], [None] * len(strays), correct=lambda *_: False)
    return certificate_of(
        skill.name,
        answers,
        depends_on={
            **fingerprint(skill, model),
            "data": digest([[dict(one.row), one.label] for one in every]),
        },
        max_error=settings.max_error,
        confidence=settings.confidence,
        seed=settings.seed,
    )


def evaluated(
    task: Task,
    model: LlamaCpp,
    certificate: Certificate,
    data: Split,
    *,
    on_rows: OnRows = lambda done, total: None,
) -> Evaluation:
    """See how a skill does on the latest calls."""
    return evaluate(
        task.skill,
        model,
        certificate,
        pairs(data.test),
        strays=[one.row for one in data.strays.get("test", ())],
        on_progress=on_rows,
    )


def decided(
    task: Task,
    model: LlamaCpp,
    certificate: Certificate,
    evaluation: Evaluation,
    data: Split,
    *,
    teachers: dict[Trainable, int],
    settings: ConvertSettings,
) -> Decision:
    """Decide about promotion, by what came of the latest calls."""
    learned = [*data.train, *data.validate]
    tested = [*data.test, *data.strays.get("test", ())]
    certifying = [*data.calibrate, *data.strays.get("calibrate", ())]
    return decide(
        certificate,
        Tested(
            evaluation.trials,
            tuple(one.group for one in tested),
            _earliest(tested),
            frozenset(one.group for one in certifying),
        ),
        learned=Learned(
            teachers,
            frozenset(one.group for one in learned),
            max((one.time for one in learned), default=None),
            settings.permitted,
        ),
        runs=fingerprint(task.skill, model),
        margin=settings.allowed_loss,
        confidence=settings.confidence,
        least_coverage=settings.least_coverage,
    )


def save(path: Path, data: Any) -> None:
    """Write JSON data to a file of a stage."""
    path.write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _earliest(examples: Sequence[Example]) -> datetime | None:
    return min((one.time for one in examples), default=None)
