"""Certificates made by hand, of a skill called ``sign``, with chosen probabilities."""

import math

from hetagent import Certificate
from hetagent.calibrate.calibrator import DIGITS, Calibrator
from hetagent.calibrate.certificate import Curves, Part, Quality
from hetagent.calibrate.rungs import Counts, Escalation, Ladder, Rung, Weighed

QUALITY = Quality(0.0, 0.5, 0.8, 0.1)


def straight(kind: str = "raw") -> Calibrator:
    """Takes the raw confidence as it is."""
    odds = [x / 4 for x in range(-64, 65)]
    return Calibrator(
        kind, {"log_odds": 1.0}, tuple(odds), tuple(1 / (1 + math.exp(-x)) for x in odds)
    )


def constant(probability: float) -> Calibrator:
    return Calibrator("constant", {"log_odds": 1.0}, (0.0,), (probability,))


def log_odds(p: float) -> float:
    return math.log(p / (1 - p))


def part(least: float | None) -> Part:
    threshold = None if least is None else round(log_odds(least), DIGITS)
    return Part(
        straight(), threshold, n=200, accepted=100, errors=1, upper_bound=0.04, p_value=0.02,
        raw=QUALITY, calibrated=QUALITY, labels_needed=None, must_escalate=0.3, surest_error=0.0,
        curves=Curves((1.0,), (0.1,), ()),
    )  # fmt: skip


def rung(
    probability: float, *, cost: float | None = 0.001, seconds: float = 0.5, name: str = "llm"
) -> Rung:
    """An LLM that is right with the same probability, whatever the SLM made of it."""
    return Rung(name, 200, probability, cost, seconds, constant(probability))


def certificate(
    *rungs: Rung,
    least: float | None = 0.8,
    value: float | None = None,
    usd_per_second: float = 0.0,
    ladder: Ladder | None = None,
    slm_seconds: float = 0.1,
) -> Certificate:
    """SLM's confidences are taken as they are; in the sample they are spread evenly."""
    tested = Counts(200, 100, 1, 0.04, 0.02)
    weighed = None
    if value is not None:
        threshold = None if least is None else round(log_odds(least), DIGITS)
        weighed = Weighed(value, usd_per_second, threshold, tested if least is not None else None)
    sample = tuple((log_odds((i + 0.5) / 50), *(one.accuracy for one in rungs)) for i in range(50))
    bare = Certificate(
        "sign", 0.05, 0.95, "2026-01-01T00:00:00+00:00", labels=300, fitted=100, unusable=0,
        parts={"": part(least)},
        escalation=Escalation(rungs, 0.0, slm_seconds, 0.0, sample, weighed, ladder),
    )  # fmt: skip
    return bare.bound_to({"calibrator": bare.calibrators_digest})
