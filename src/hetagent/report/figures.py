"""The numbers of a report: certificates, what logs tell, and audits, put together by skill."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from hetagent.calibrate.audits import AuditStatus
from hetagent.calibrate.certificate import Certificate
from hetagent.report.runs import ModelRuns, Runs, SkillRuns

__all__ = [
    "CostQuality",
    "Point",
    "Report",
    "SkillReport",
    "Timeline",
    "certified_cost",
    "expected_cost",
    "llm_for_everything",
    "quantile",
    "timeline",
]

_POINTS = 200
_WIDTHS = (1, 5, 15, 60, 180, 360, 720, 1440, 2880, 10080, 40320)
_COLUMNS = 30


@dataclass(frozen=True, slots=True)
class Point:
    """What one threshold leads to.

    Attributes:
        escalated: Share of all calls that the LLM is asked for, in [0, 1].
        wrong: Share of all calls that the SLM serves wrongly, in [0, 1].
    """

    escalated: float
    wrong: float


@dataclass(frozen=True, slots=True)
class CostQuality:
    """Wrong answers against escalations, over all thresholds.

    Attributes:
        points: From none escalated to all, or the other way round.
        chosen: Where the certificate's threshold is; ``None`` where it accepts nothing.
    """

    points: tuple[Point, ...]
    chosen: Point | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """Outcomes by time and reason.

    Attributes:
        minutes: Length of a stretch.
        starts: When each begins, in minutes since 1970.
        counts: Outcomes of each by reason; empty where there were none.
    """

    minutes: int
    starts: tuple[int, ...]
    counts: tuple[Mapping[str, int], ...]


@dataclass(frozen=True, slots=True)
class SkillReport:
    """All that is known of a skill.

    Attributes:
        skill: Its name.
        certificates: Its certificates, the newest first.
        runs: What logs tell of it; ``None`` where they do not.
        audits: How its certificates stand, by id.
    """

    skill: str
    certificates: tuple[Certificate, ...] = ()
    runs: SkillRuns | None = None
    audits: Mapping[str, AuditStatus] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """All that a page shows.

    Attributes:
        made: When.
        skills: By name, those with certificates first.
        logs: Names of the logs read.
        lines: Outcomes in them.
        unreadable: Lines in them that are none.
    """

    made: datetime
    skills: tuple[SkillReport, ...]
    logs: tuple[str, ...] = ()
    lines: int = 0
    unreadable: int = 0

    @classmethod
    def of(
        cls,
        certificates: Iterable[Certificate],
        runs: Runs,
        audits: Iterable[AuditStatus],
        *,
        made: datetime,
        logs: Sequence[str] = (),
    ) -> Report:
        """Put together what belongs to one skill."""
        by_skill: dict[str, list[Certificate]] = {}
        for one in sorted(certificates, key=lambda one: one.made, reverse=True):
            if one.id not in [other.id for other in by_skill.setdefault(one.skill, [])]:
                by_skill[one.skill].append(one)
        status = {one.certificate: one for one in audits}
        names = [*sorted(by_skill), *sorted(set(runs.skills) - set(by_skill))]
        skills = tuple(
            SkillReport(
                name,
                tuple(by_skill.get(name, ())),
                runs.skills.get(name),
                {one.id: status[one.id] for one in by_skill.get(name, ()) if one.id in status},
            )
            for name in names
        )
        return cls(made, skills, tuple(logs), runs.lines, runs.unreadable)

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "made": self.made.isoformat(timespec="seconds"),
            "logs": list(self.logs),
            "outcomes": self.lines,
            "unreadable_lines": self.unreadable,
            "skills": [_skill(one) for one in self.skills],
        }


def certified_cost(certificate: Certificate) -> CostQuality | None:
    """Of the certifying answers: their labels say what is wrong.

    Returns:
        ``None`` where the whole value is not certified, but fields alone.
    """
    whole = certificate.parts.get("")
    if whole is None:
        return None
    usable = 1 - certificate.unusable / certificate.labels
    pairs = zip(whole.curves.coverage, whole.curves.risk, strict=True)
    points = [Point(1.0, 0.0)]
    points += [Point(1 - usable * cover, usable * cover * risk) for cover, risk in pairs]
    chosen = None
    if whole.threshold is not None and whole.accepted:
        share = usable * whole.coverage
        chosen = Point(1 - share, share * whole.errors / whole.accepted)
    return CostQuality(tuple(points), chosen)


def expected_cost(runs: SkillRuns, certificate: Certificate) -> CostQuality | None:
    """Of the calls of a log: calibrated confidences say how much is expected to be wrong.

    Returns:
        ``None`` where no call of the log was decided by the certificate.
    """
    confidences = sorted(runs.certified.get(certificate.id, ()), reverse=True)
    if not confidences:
        return None
    whole = certificate.parts.get("")
    least = whole.least_confidence if whole is not None else None
    wrong, points, chosen = 0.0, [Point(1.0, 0.0)], None
    for index, confidence in enumerate(confidences):
        wrong += 1 - confidence
        point = Point(1 - (index + 1) / len(confidences), wrong / len(confidences))
        if index + 1 == len(confidences) or confidences[index + 1] < confidence:
            points.append(point)
            if least is not None and confidence >= least:
                chosen = point
    kept = sorted({round(i * (len(points) - 1) / _POINTS) for i in range(_POINTS + 1)})
    return CostQuality(tuple(points[i] for i in kept), chosen)


def llm_for_everything(runs: SkillRuns) -> dict[str, float]:
    """US dollars that each LLM would have cost, had it been asked for every call by itself.

    At the mean price of its calls in the log. LLMs of unknown price are left out.
    """
    asked = runs.calls - runs.unasked
    models: Mapping[str, ModelRuns] = runs.models_as("llm")
    return {name: asked * one.price for name, one in models.items() if one.price is not None}


def timeline(runs: SkillRuns) -> Timeline:
    """Outcomes by time, in a number of equal stretches that can be drawn."""
    first, last = min(runs.minutes), max(runs.minutes)
    fitting = [width for width in _WIDTHS if last // width - first // width < _COLUMNS]
    width = fitting[0] if fitting else math.ceil((last - first + 1) / _COLUMNS)
    starts = range(first // width * width, last + 1, width)
    counts: list[dict[str, int]] = [{} for _ in starts]
    for minute, found in runs.minutes.items():
        column = counts[(minute - starts[0]) // width]
        for reason, count in found.items():
            column[reason] = column.get(reason, 0) + count
    return Timeline(width, tuple(starts), tuple(counts))


def quantile(values: Iterable[float], share: float) -> float:
    """The smallest value that this share of them does not exceed.

    Raises:
        IndexError: There are none.
    """
    rising = sorted(values)
    return rising[max(0, math.ceil(share * len(rising)) - 1)]


def _skill(one: SkillReport) -> dict[str, Any]:
    return {
        "skill": one.skill,
        "certificates": [
            {
                "id": each.id,
                "guarantee": each.guarantee,
                "explanation": each.explain(),
                "coverage": each.coverage,
                "cost_quality": _as_dict(certified_cost(each)),
                "expected_cost_quality": _as_dict(
                    expected_cost(one.runs, each) if one.runs is not None else None
                ),
                "audits": _as_dict(one.audits.get(each.id)),
                **each.to_dict(),
            }
            for each in one.certificates
        ],
        "runs": None if one.runs is None else _runs(one.runs),
    }


def _runs(runs: SkillRuns) -> dict[str, Any]:
    time = timeline(runs)
    return {
        "calls": runs.calls,
        "asked_llm": runs.asked_llm,
        "first": runs.first.isoformat() if runs.first else None,
        "last": runs.last.isoformat() if runs.last else None,
        "served": dict(runs.served),
        "reasons": dict(runs.reasons),
        "weak": dict(runs.weak),
        "compared": runs.compared,
        "same": runs.same,
        "usd": runs.usd,
        "unpriced": runs.unpriced,
        "llm_for_everything_usd": llm_for_everything(runs),
        "seconds": {"median": quantile(runs.seconds, 0.5), "p95": quantile(runs.seconds, 0.95)},
        "models": [
            {"role": role, "rung": rung, "model": name, **asdict(one), "price": one.price}
            for (role, rung, name), one in runs.models.items()
        ],
        "timeline": asdict(time),
    }


def _as_dict(one: Any) -> dict[str, Any] | None:
    return None if one is None else asdict(one)
