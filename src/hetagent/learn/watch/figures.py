"""Figures of a watched binding: the share served, errors, what can be read, and new answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from hetagent.calibrate.audits import Audits
from hetagent.calibrate.bounds import interval
from hetagent.calibrate.certificate import Certificate
from hetagent.calibrate.drift import DriftMonitor
from hetagent.learn.watch.calls import Seen
from hetagent.learn.watch.result import Day, Reading, Share, Verdicts
from hetagent.learn.watch.settings import WatchSettings
from hetagent.shadow import Comparison

__all__ = ["more_now", "new_answers", "reading_of", "share_of", "verdicts_of"]

_DAILY = 0.95
# What could not be read may be so many where it is not known how many there were.
_UNREAD = 0.05
_LEAST_RATE, _MOST_RATE = 0.01, 0.999
# Times that an answer must have come to be one of the workload's rather than a slip.
_REPEATED = 5
_SHOWN = 5


def share_of(
    answered: Sequence[tuple[datetime, bool]],
    *,
    expected: float | None,
    calls: int,
    settings: WatchSettings,
) -> Share:
    """How many calls were served, and whether that are fewer than before.

    The calls the skill was decided on bound its escalation rate from above (Clopper and Pearson
    1934), and later calls are bet on against that bound (`hetagent.calibrate.drift`): each has half
    of the doubt.

    Args:
        answered: Time of each call, and whether it was served.
        expected: The share that was served before; ``None`` where that is not known.
        calls: Of how many calls.
        settings: How surely.
    """
    ordered = sorted(answered)
    by_day: dict[Any, Counter[bool]] = {}
    for time, served in ordered:
        by_day.setdefault(time.astimezone(UTC).date(), Counter())[served] += 1
    days = tuple(
        Day(day, some.total(), some[True], *interval(some[True], some.total(), confidence=_DAILY))
        for day, some in by_day.items()
    )
    if expected is None or not calls or not ordered:
        return Share(days, expected, fallen=False, since=None)
    low, _ = interval(round(expected * calls), calls, confidence=settings.confidence)
    monitor = _monitor(1 - low, settings)
    for _, served in ordered:
        monitor.update(served)
    began = None if monitor.onset is None else ordered[monitor.onset - 1][0].astimezone(UTC)
    return Share(days, expected, fallen=monitor.drift, since=began)


def reading_of(seen: Seen, *, settings: WatchSettings) -> Reading:
    """How many of a workload's calls the skill can be asked, and whether that are fewer."""
    ordered = sorted(seen.reads, key=lambda one: one[0])
    unread = Counter(fault for _, fault in ordered if fault is not None)
    known = seen.reads_before.total()
    before = seen.reads_before[False] / known if known else None
    allowed = _UNREAD
    if known:
        _, allowed = interval(seen.reads_before[False], known, confidence=settings.confidence)
    monitor = _monitor(allowed, settings)
    for _, fault in ordered:
        monitor.update(fault is None)
    return Reading(
        len(ordered),
        dict(unread.most_common()),
        before,
        monitor.drift,
        seen.elsewhere,
        seen.elsewhere >= _REPEATED
        and more_now(
            seen.elsewhere,
            seen.elsewhere + len(ordered),
            seen.elsewhere_before,
            seen.elsewhere_before + known,
        )
        <= settings.level,
    )


def verdicts_of(
    comparisons: Iterable[Comparison], audits: Iterable[Audits], certificate: Certificate | None
) -> tuple[Verdicts, ...]:
    """What is known of the errors among a binding's accepted answers.

    Args:
        comparisons: With what was served in its place; the LLM's answers stand for what is right.
        audits: What audits found of any certificates.
        certificate: The binding's.
    """
    if certificate is None:
        return ()
    found = []
    for one in audits:
        if certificate.id in one.certificates:
            status = one.status(certificate.id)
            found.append(
                Verdicts(
                    "audits", status.answered, status.errors, status.max_error,
                    status.interval.low, status.interval.high, status.state == "drift",
                )
            )  # fmt: skip
    monitor = DriftMonitor(certificate.max_error, confidence=certificate.confidence)
    for two in comparisons:
        if two.accepted and two.served_by == "llm":
            monitor.update(two.same)
    if monitor.counts.audits:
        bounds = monitor.interval
        found.append(
            Verdicts(
                "shadow", monitor.counts.audits, monitor.counts.errors, monitor.max_error,
                bounds.low, bounds.high, monitor.drift,
            )
        )  # fmt: skip
    return tuple(found)


def new_answers(seen: Seen, *, settings: WatchSettings) -> dict[str, int]:
    """Answers that the skill has no value for, and that come more often than they did."""
    now, before = seen.labelled + seen.strays.total(), seen.before + seen.strays_before.total()
    level = settings.level / max(1, len(seen.strays))
    found = {
        said: count
        for said, count in seen.strays.most_common()
        if count >= _REPEATED and more_now(count, now, seen.strays_before[said], before) <= level
    }
    return dict(list(found.items())[:_SHOWN])


def more_now(now: int, calls: int, then: int, before: int) -> float:
    """Chance of so many or more now, were they as often then (Fisher's exact test, one-sided)."""
    from scipy.stats import fisher_exact

    table = [[now, calls - now], [then, before - then]]
    return float(fisher_exact(table, alternative="greater").pvalue)


def _monitor(allowed: float, settings: WatchSettings) -> DriftMonitor:
    """A test of a rate whose bound has half of the doubt itself."""
    rate = min(_MOST_RATE, max(_LEAST_RATE, allowed))
    return DriftMonitor(rate, confidence=1 - (1 - settings.confidence) / 2)
