"""What a page says of a certificate: the promise, its counts, its curves, its audits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from hetagent.calibrate.audits import AuditStatus
from hetagent.calibrate.certificate import Certificate, Part
from hetagent.report import charts
from hetagent.report.charts import percent, table
from hetagent.report.figures import SkillReport, certified_cost, expected_cost
from hetagent.report.markup import Element, Node, el
from hetagent.report.runs import SkillRuns

__all__ = ["certificate_section"]


_CAPTION = "Each row holds by itself. Calibration error: raw → calibrated."


def certificate_section(certificate: Certificate, skill: SkillReport) -> Element:
    """Everything about one certificate."""
    promising = any(part.threshold is not None for part in certificate.parts.values())
    section = el(
        "div",
        el("h3", "Certificate ", el("code", certificate.id)),
        el("p", certificate.guarantee if promising else _no_promise(certificate),
           class_="promise" if promising else "promise none"),
        el("p", f"Made {_day(certificate.made)} from {certificate.labels:,} labelled examples: "
           f"{certificate.fitted:,} fitted the calibrators, the others certify; for "
           f"{certificate.unusable:,} the SLM gave no valid answer, and such always escalate.",
           class_="soft"),
        el("div", _parts(certificate), class_="wide"),
    )  # fmt: skip
    section.extend(_shortfalls(certificate))
    if certificate.escalation is not None:
        lines = certificate.escalation.explain().splitlines()
        section.extend([el("p", line, class_="soft") for line in lines])
    for path, part in certificate.parts.items():
        name = f"Field {path}" if path else "Whole value"
        whole = f"{certificate.skill}, {name[:1].lower()}{name[1:]}"
        section.append(
            el(
                "div",
                el("h4", name),
                el(
                    "div",
                    charts.risk_coverage(whole, part, certificate.max_error),
                    charts.reliability(whole, part),
                    *([] if path else _cost(certificate, skill.runs)),
                    class_="grid",
                ),
                class_="part",
            )
        )
    if "" in certificate.parts and not _price(skill.runs):
        section.append(_price_todo(skill.runs))
    section.append(el("h4", "Does it still hold?"))
    section.extend(_audits(skill.audits.get(certificate.id)))
    section.append(
        el("details", el("summary", "What it depends on"),
           el("div", _hashes(certificate), class_="wide"))
    )  # fmt: skip
    return section


def _day(made: str) -> str:
    try:
        return datetime.fromisoformat(made).astimezone(UTC).strftime("%d %B %Y, %H:%M UTC")
    except ValueError:  # it is any text, as far as its file goes
        return made


def _no_promise(certificate: Certificate) -> str:
    return (
        f"Nothing can be accepted without the LLM at an error rate of "
        f"{percent(certificate.max_error)}: every answer escalates."
    )


def _parts(certificate: Certificate) -> Element:
    heads = [
        "", "accepted from", "accepted", "wrong", "at most wrong", "calibration error", "AUROC",
    ]  # fmt: skip
    return table(
        heads,
        [_row(p, part) for p, part in certificate.parts.items()],
        _CAPTION,
    )


def _row(path: str, part: Part) -> list[Node]:
    error = f"{part.raw.calibration_error:.3f} → {part.calibrated.calibration_error:.3f}"
    ranking = "-" if part.calibrated.auroc is None else f"{part.calibrated.auroc:.3f}"
    name: Node = el("code", path) if path else "whole value"
    least = part.least_confidence
    if least is None:
        return [name, "never", percent(0.0), "-", "-", error, ranking]
    return [
        name,
        f"{least:.3f}",
        f"{percent(part.coverage)} of {part.n:,}",
        f"{part.errors:,} of {part.accepted:,}",
        percent(part.upper_bound),
        error,
        ranking,
    ]


def _shortfalls(certificate: Certificate) -> Iterator[Element]:
    """What would have to be otherwise, for each part that is not certified."""
    for path, part in certificate.parts.items():
        if part.threshold is None:
            yield el("p", certificate.in_words(path), class_="todo")


def _cost(certificate: Certificate, runs: SkillRuns | None) -> list[Element]:
    certified = certified_cost(certificate)
    if certified is None:
        return []
    actual = None
    if runs is not None and runs.calls:
        priced = runs.calls - runs.unpriced
        actual = (runs.asked_llm / runs.calls, runs.usd / priced if priced else 0.0)
    chart = charts.cost_quality(
        certified,
        expected_cost(runs, certificate) if runs is not None else None,
        llm_price=_price(runs),
        slm_price=_slm_price(runs),
        actual=actual,
    )
    return [chart]


def _price(runs: SkillRuns | None) -> float | None:
    """Of the LLM that is asked first, as far as the log knows."""
    models = runs.models_as("llm") if runs is not None else {}
    return next((one.price for one in models.values() if one.price is not None), None)


def _slm_price(runs: SkillRuns | None) -> float:
    models = runs.models_as("slm") if runs is not None else {}
    return next((one.price for one in models.values() if one.price is not None), 0.0)


def _price_todo(runs: SkillRuns | None) -> Element:
    if runs is not None and _price(runs) == 0:
        return el("p", "Calls of the LLM cost nothing in the log, so the chart counts them instead "
                  "of dollars.", class_="soft")  # fmt: skip
    return el(
        "p",
        "What a call of the LLM costs is not known, so the chart counts calls. Give a log with ",
        el("code", "--log", class_="option"),
        " in which an LLM of known price was asked.",
        class_="todo",
    )


def _audits(status: AuditStatus | None) -> Iterator[Element]:
    if status is None:
        yield el(
            "p",
            "No audits are known. Have a random share of accepted answers checked, and name the "
            "file with their state with ",
            el("code", "--audits", class_="option"),
            ".",
            class_="todo",
        )
        return
    holding = status.state == "holding"
    state = el("span", status.state, class_="good" if holding else "bad")
    low, high = status.interval.low, status.interval.high
    said = (
        f": {status.errors:,} of {status.answered:,} audited answers were wrong; the error rate is "
        f"between {percent(low)} and {percent(high)}, and {percent(status.max_error)} is allowed. "
        f"{status.drawn:,} were drawn, {status.open:,} wait, {status.lost:,} were given up. The "
        f"evidence against the certificate is {status.wealth:.3g}; drift is raised at "
        f"{status.needed:.3g}."
    )
    if status.onset is not None:
        said += f" It most likely began with drawn answer {status.onset:,}."
    yield el("p", state, said)


def _hashes(certificate: Certificate) -> Element:
    rows: list[list[Node]] = [
        [name, el("code", value)] for name, value in sorted(certificate.depends_on.items())
    ]
    found = table(["part", "what it was"], rows, "A change of any of these makes it stale")
    found.set("class", "hashes")
    return found
