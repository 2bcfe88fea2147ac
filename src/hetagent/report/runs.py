"""Reading run logs, and counting what they tell, a skill at a time.

Logs may be long: lines are counted as they are read, and none is kept.
"""

from __future__ import annotations

import json
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hetagent.errors import InputError

__all__ = ["ACCEPTED", "SERVED", "ModelRuns", "Runs", "SkillRuns", "read_runs"]

ACCEPTED = "accepted"
"""Stands among reasons for calls that were accepted, and have none."""

SERVED = ("slm", "both", "llm", "none")
"""Who may have served a call."""

_FORMAT = 1
_MINUTE = 60
_NOT_ASKED = ("invalid_input", "cancelled")


@dataclass(slots=True)
class ModelRuns:
    """Calls of one model, as the SLM or as one LLM.

    Attributes:
        calls: How many.
        failed: Those that gave no answer.
        priced: Those that answered at a known price.
        usd: What these cost together.
        unpriced: Calls whose price is not known.
        seconds: What all calls took together.
    """

    calls: int = 0
    failed: int = 0
    priced: int = 0
    usd: float = 0.0
    unpriced: int = 0
    seconds: float = 0.0

    @property
    def price(self) -> float | None:
        """Mean US dollars of a call that answered; ``None`` where no price is known."""
        return self.usd / self.priced if self.priced else None


@dataclass(slots=True)
class SkillRuns:
    """What a log tells of a skill.

    Attributes:
        calls: Outcomes in all.
        unasked: Of these, those that no model was asked for.
        asked_llm: Outcomes that an LLM was asked for.
        first: When the first of them ended.
        last: When the last of them ended.
        served: Outcomes by who served them.
        reasons: Outcomes by reason, or `ACCEPTED`.
        minutes: The same by minute since 1970.
        weak: How often each field was not sure enough.
        compared: Outcomes of an LLM that could be compared with the SLM's draft.
        same: Of these, those that said the same.
        models: Calls by role, rung and name.
        usd: What all calls cost whose price is known.
        unpriced: Outcomes whose price is not known.
        seconds: Of each outcome.
        certified: Calibrated confidences in the whole value, by the certificate they come from.
    """

    calls: int = 0
    unasked: int = 0
    asked_llm: int = 0
    first: datetime | None = None
    last: datetime | None = None
    served: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    minutes: dict[int, Counter[str]] = field(default_factory=dict)
    weak: Counter[str] = field(default_factory=Counter)
    compared: int = 0
    same: int = 0
    models: dict[tuple[str, int | None, str], ModelRuns] = field(default_factory=dict)
    usd: float = 0.0
    unpriced: int = 0
    seconds: array[float] = field(default_factory=lambda: array("d"))
    certified: dict[str, array[float]] = field(default_factory=dict)

    def models_as(self, role: str) -> dict[str, ModelRuns]:
        """Calls of models by name, in one role; one of several rungs has its calls together."""
        found: dict[str, ModelRuns] = {}
        for (each, _, name), runs in sorted(self.models.items(), key=lambda one: one[0][1] or 0):
            if each != role:
                continue
            total = found.setdefault(name, ModelRuns())
            for part in ("calls", "failed", "priced", "usd", "unpriced", "seconds"):
                setattr(total, part, getattr(total, part) + getattr(runs, part))
        return found

    def add(self, line: Mapping[str, Any]) -> None:
        """Count one outcome.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: It is not a line of a log.
        """
        when = datetime.fromisoformat(line["time"]).astimezone(UTC)
        minute = int(when.timestamp()) // _MINUTE
        served, seconds, spent = str(line["served_by"]), _finite(line["seconds"]), line["cost_usd"]
        usd = None if spent is None else _finite(spent)
        if served not in SERVED:
            raise ValueError(f"nobody is called {served!r}")
        reason = ACCEPTED if line["reason"] is None else str(line["reason"])
        models = [_model_call(call) for call in line["calls"]]
        confidence = _calibrated(line["basis"])
        weak = [str(path).partition("[")[0] for path in line["weak"]]
        changed = line["changed"]
        # From here on nothing fails: a broken line is counted wholly or not at all.
        self.calls += 1
        self.unasked += reason in _NOT_ASKED
        self.asked_llm += any(key[0] == "llm" for key, _ in models)
        self.first = when if self.first is None else min(self.first, when)
        self.last = when if self.last is None else max(self.last, when)
        self.served[served] += 1
        self.reasons[reason] += 1
        self.minutes.setdefault(minute, Counter())[reason] += 1
        self.weak.update(set(weak))
        if changed is not None:
            self.compared += 1
            self.same += not changed
        self.usd += usd or 0.0
        self.unpriced += usd is None
        self.seconds.append(seconds)
        if confidence is not None:
            self.certified.setdefault(confidence[0], array("d")).append(confidence[1])
        for key, one in models:
            total = self.models.setdefault(key, ModelRuns())
            for part in ("calls", "failed", "priced", "usd", "unpriced", "seconds"):
                setattr(total, part, getattr(total, part) + getattr(one, part))


@dataclass(slots=True)
class Runs:
    """What logs tell.

    Attributes:
        skills: By name.
        lines: Outcomes read.
        unreadable: Lines that are none: half a line after a crash, say, or another program's.
    """

    skills: dict[str, SkillRuns] = field(default_factory=dict)
    lines: int = 0
    unreadable: int = 0


def read_runs(paths: Iterable[Path]) -> Runs:
    """Read logs, such as `hetagent.sink.JsonLines` writes.

    Raises:
        InputError: A file cannot be read, or has lines and none of them is of a log.
    """
    found = Runs()
    for path in paths:
        before = found.lines, found.unreadable
        try:
            with path.open("rb") as file:
                for line in file:
                    if line.strip():
                        _count(found, line)
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error}.", hint="Check the path.") from error
        if found.lines == before[0] and found.unreadable > before[1]:
            raise InputError(
                f"{path} is no log of runs.", hint="Make one with Orchestrator(log=PATH)."
            )
    return found


def _count(found: Runs, text: bytes) -> None:
    try:
        line = json.loads(text)
        if line["format"] != _FORMAT:
            raise ValueError
        skill = str(line["skill"])
        runs = found.skills.get(skill) or SkillRuns()
        runs.add(line)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, OverflowError):
        found.unreadable += 1
    else:
        found.skills[skill] = runs
        found.lines += 1


def _model_call(call: Mapping[str, Any]) -> tuple[tuple[str, int | None, str], ModelRuns]:
    rung, usd, failed = call["rung"], call["cost_usd"], call["error"] is not None
    key = (str(call["role"]), None if rung is None else int(rung), str(call["model"]))
    priced = usd is not None and not failed
    return key, ModelRuns(
        calls=1,
        failed=int(failed),
        priced=int(priced),
        usd=_finite(usd) if priced else 0.0,
        unpriced=int(usd is None),
        seconds=_finite(call["seconds"] or 0.0),
    )


def _calibrated(basis: Mapping[str, Any] | None) -> tuple[str, float] | None:
    whole = None if basis is None else basis["confidence"].get("")
    if basis is None or whole is None:
        return None
    confidence = float(whole)
    if not 0 <= confidence <= 1:
        raise ValueError(f"{whole!r} is no confidence")
    return str(basis["certificate"]), confidence


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is no finite number")
    return number
