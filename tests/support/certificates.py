"""Certificates written by hand, for tests of what runs by them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from hetagent import Certificate, Model, Skill
from hetagent.calibrate.calibrator import Calibrator
from hetagent.calibrate.certificate import Curves, Part, Quality
from hetagent.fingerprint import fingerprint


def certificate(
    skill: Skill[Any, Any],
    model: Model,
    *,
    max_error: float = 0.1,
    least: float = 0.8,
    fields: Iterable[str] = (),
    made: str = "2026-01-01T00:00:00+00:00",
) -> Certificate:
    """One that accepts raw confidences of at least ``least``, whole and field by field.

    Its counts are made up: it promises nothing.
    """
    calibrator = Calibrator("raw", {"log_odds": 1.0}, (-3.0, 3.0), (0.05, 0.95))
    quality = Quality(0.0, 0.1, None, 0.0)
    part = Part(
        calibrator=calibrator,
        threshold=math.log(least / (1 - least)),
        n=100,
        accepted=90,
        errors=1,
        upper_bound=max_error,
        p_value=0.01,
        raw=quality,
        calibrated=quality,
        labels_needed=None,
        must_escalate=0.1,
        surest_error=0.0,
        curves=Curves((1.0,), (0.01,), ((0.9, 0.99, 100),)),
    )
    parts = dict.fromkeys(["", *fields], part)
    bare = Certificate(skill.name, max_error, 0.95, made, 100, 25, 0, parts)
    bound = {**fingerprint(skill, model), "data": "none", "calibrator": bare.calibrators_digest}
    return bare.bound_to(bound)
