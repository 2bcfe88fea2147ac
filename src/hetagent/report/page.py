"""The page: one HTML file without scripts, and with nothing to fetch."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from hetagent import __version__
from hetagent.calibrate.certificate import Certificate, Part
from hetagent.explain import money
from hetagent.report.certified import certificate_section
from hetagent.report.charts import percent, table
from hetagent.report.figures import Report, SkillReport, llm_for_everything
from hetagent.report.logged import runs_section
from hetagent.report.markup import Element, Node, el, rendered
from hetagent.report.style import STYLE
from hetagent.report.workloads import workloads_section

if TYPE_CHECKING:
    from hetagent.learn.cluster import Workloads

__all__ = ["page"]

# Should anything slip through, a browser neither fetches nor runs it.
_NOTHING_ELSE = "default-src 'none'; style-src 'unsafe-inline'"


def page(report: Report, *, workloads: Workloads | None = None) -> str:
    """The whole page, as HTML.

    Args:
        report: What certificates and logs say.
        workloads: The tasks of recorded calls, which then have a section.
    """
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", http_equiv="Content-Security-Policy", content=_NOTHING_ELSE),
        el("title", "hetagent report"),
        el("style", STYLE),
    )
    body = el(
        "body",
        el(
            "header",
            el("h1", "hetagent report"),
            el(
                "p",
                _sources(report, workloads.total if workloads is not None else 0),
                class_="soft",
            ),
        ),
        el(
            "main",
            *([] if workloads is not None and not report.skills else _overview(report)),
            *[_skill(number, one) for number, one in enumerate(report.skills, 1)],
            workloads_section(workloads) if workloads is not None else None,
        ),
    )
    return f"<!DOCTYPE html>\n{rendered(el('html', head, body, lang='en'))}\n"


def _sources(report: Report, calls: int) -> str:
    certificates = sum(len(one.certificates) for one in report.skills)
    sources = []
    if certificates or not (report.logs or calls):
        sources.append(_many(certificates, "certificate"))
    if report.logs:
        sources.append(f"{_many(report.lines, 'outcome')} in {', '.join(report.logs)}")
    if calls:
        sources.append(_many(calls, "recorded call"))
    named = f"{', '.join(sources[:-1])} and {sources[-1]}" if sources[1:] else sources[0]
    said = f"Made {_day(report.made)} by hetagent {__version__} from {named}"
    if report.unreadable:
        said += f", where {_many(report.unreadable, 'line')} could not be read"
    return f"{said}."


def _overview(report: Report) -> Iterator[Element]:
    heads = ["skill", "promised", "SLM may serve", "SLM served", "LLM asked", "spent", "audits"]
    rows = [_overview_row(number, one) for number, one in enumerate(report.skills, 1)]
    yield el("div", table(heads, rows, "All skills"), class_="wide")


def _overview_row(number: int, one: SkillReport) -> list[Node]:
    newest = one.certificates[0] if one.certificates else None
    runs = one.runs
    cells: list[Node] = [el("a", one.skill, href=f"#skill-{number}")]
    cells += _promise_cells(newest)
    if runs is None:
        cells += ["-", "-", "-"]
    else:
        spent = money(runs.usd) + (" and more" if runs.unpriced else "")
        slm, llm = runs.served["slm"] / runs.calls, runs.asked_llm / runs.calls
        cells += [percent(slm), percent(llm), spent]
    return [*cells, _audit_cell(one, newest)]


def _promise_cells(newest: Certificate | None) -> list[Node]:
    if newest is None:
        return ["-", "-"]
    whole = newest.parts.get("")
    if _promising(newest.parts):
        by_whole = whole is not None and whole.threshold is not None
        share = percent(newest.coverage) if by_whole else "by field"
        return [f"at most {percent(newest.max_error)} wrong", share]
    return [el("span", "nothing", class_="bad"), percent(0.0)]


def _promising(parts: object) -> bool:
    found: list[Part] = list(parts.values()) if isinstance(parts, dict) else []
    return any(part.threshold is not None for part in found)


def _audit_cell(one: SkillReport, newest: Certificate | None) -> Node:
    status = one.audits.get(newest.id) if newest is not None else None
    if status is None:
        return "-"
    return el("span", status.state, class_="good" if status.state == "holding" else "bad")


def _skill(number: int, one: SkillReport) -> Element:
    section = el("section", el("h2", one.skill, id=f"skill-{number}"))
    if not one.certificates:
        section.append(
            el("p", "There is no certificate, so nothing is promised. Make one with ",
               el("code", "agent.calibrate(skill, examples).save(\"certificate.json\")"),
               ", and name it with ", el("code", "--certificate", class_="option"), ".",
               class_="todo")
        )  # fmt: skip
    for certificate in one.certificates:
        section.append(certificate_section(certificate, one))
    section.append(el("h3", "What was run"))
    if one.runs is None:
        section.append(
            el("p", "No log tells of this skill. Record its outcomes with ",
               el("code", "Orchestrator(..., log=\"runs.jsonl\")"), ", and name the file with ",
               el("code", "--log", class_="option"), ".", class_="todo")
        )  # fmt: skip
    else:
        section.extend(runs_section(one.skill, one.runs, llm_for_everything(one.runs)))
    return section


def _day(when: datetime) -> str:
    return when.strftime("%d %B %Y, %H:%M %Z").rstrip(", ")


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
