"""What the records of a run show: whether they are whole, and the workloads in them."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import CannotMeasureError, Report

__all__ = ["ACTIONS", "LEAST", "PAPER", "action", "compare", "keep", "report_on"]

# Belcak et al. (arXiv 2506.02153), appendix B: the share of MetaGPT's queries that they expect
# small models to handle.
PAPER = 0.6
# Calls that make a workload; a short run has few of each.
LEAST = 4

# A phrase of MetaGPT 0.8.2's own prompt of each action, to tell what a call was for.
ACTIONS: Mapping[str, str] = {
    "WritePRD": r"- Competitive Quadrant Chart: <",
    "WritePRD: bug?": r"- issue_type: <",
    "WritePRD: related?": r"- is_relative: <",
    "WritePRD, change": r"- Refined Requirements: <",
    "WriteDesign": r"- Implementation approach: <",
    "WriteDesign, change": r"- Refined Implementation Approach: <",
    "WriteTasks": r"- Logic Analysis: typing",
    "WriteTasks, change": r"- Refined Logic Analysis: typing",
    "WriteCodePlanAndChange": r"- Incremental Change: typing",
    "WriteCode": r"\n7\. Write out EVERY CODE DETAIL",
    "WriteCode, change": r"\n9\. Attention: Retain details that are not related",
    "WriteCodeReview: rewrite": r"\n## Rewrite Code: CodeBlock",
    "WriteCodeReview": r"# Instruction: Based on the actual code, follow one of",
    "SummarizeCode": r"your main task is to review the code\.",
    "Engineer: done?": r"Does the above log indicate anything that needs to be done\?",
    "WriteTest": r"You are a QA engineer; the main goal is to design",
}


def action(prompt: str) -> str:
    """The action of MetaGPT's that a prompt is of; ``other`` where it is none of `ACTIONS`."""
    return next((name for name, text in ACTIONS.items() if re.search(text, prompt)), "other")


def keep(store: Path, target: Path, *, keys: Path) -> int:
    """Copy a store's records to a file of lines, redacted as they are; how many there are."""
    from hetagent.integrations.exporting import export_records
    from hetagent.learn.keys import FolderKeys
    from hetagent.learn.store import Reader

    with Reader(store, keys=FolderKeys(keys)) as reader:
        return export_records(reader.records(), target, format="hetagent").written


def compare(report: Report, served: Mapping[str, Any], kept: Path) -> None:
    """Every call that the gateway answered is a record."""
    records = _read(kept)
    report.row(
        part="gateway",
        calls=served["calls"],
        failed=served["failed"],
        written=served["records"]["written"],
        lost=served["records"]["lost"],
        read_back=len(records),
    )
    report.target(
        "calls without a record",
        value=served["calls"] - len(records),
        target="= 0",
        holds=served["calls"] == len(records),
    )


def report_on(report: Report, path: Path) -> None:
    """Report on the records of a file.

    Raises:
        CannotMeasureError: There are none, or what finds workloads is not installed.
    """
    records = _read(path)
    if not records:
        raise CannotMeasureError(f"{path} has no records.")
    _calls(report, records)
    _actions(report, records)
    _workloads(report, records)


def _read(path: Path) -> list[Any]:
    from hetagent.integrations.sources import record_source

    with record_source(path) as records:
        return list(records)


def _calls(report: Report, records: Sequence[Any]) -> None:
    """Counts, and whether each record has all that a record can have."""
    answered = [one for one in records if one.error is None and one.complete]
    whole = [one for one in answered if not lacks(one)]
    report.row(
        part="calls",
        calls=len(records),
        streamed=sum(one.streamed for one in records),
        failed=sum(one.error is not None for one in records),
        broken_off=sum(one.error is None and not one.complete for one in records),
        cut_short=sum(_finish(one) == "length" for one in answered),
        prompt_tokens=sum(one.usage.prompt or 0 for one in records),
        answer_tokens=sum(one.usage.completion or 0 for one in records),
        median_s=_median(one.seconds for one in answered),
        median_first_token_s=_median(one.first_token_seconds for one in answered if one.streamed),
        replaced=sum(sum((one.redacted or {}).values()) for one in records),
    )
    for name, count in Counter(what for one in answered for what in lacks(one)).items():
        report.row(part="lacking", what=name, records=count)
    report.target(
        "answered calls whose record lacks something",
        value=len(answered) - len(whole),
        target="= 0",
        holds=len(whole) == len(answered),
    )


def lacks(record: Any) -> list[str]:
    """What the record of an answered call does not have."""
    message = _message(record)
    has = {
        "messages": bool(record.request.get("messages")),
        "answer": bool(message.get("content")),
        "finish_reason": bool(_finish(record)),
        "model": bool(record.model and record.served_model),
        "tokens": record.usage.prompt is not None and record.usage.completion is not None,
        "seconds": record.seconds is not None,
        "first token's seconds": not record.streamed or record.first_token_seconds is not None,
        "redaction": record.redacted is not None,
    }
    return [name for name, there in has.items() if not there]


def _message(record: Any) -> Mapping[str, Any]:
    choices = (record.response or {}).get("choices") or [{}]
    found: Mapping[str, Any] = choices[0].get("message") or {}
    return found


def _finish(record: Any) -> str | None:
    choices = (record.response or {}).get("choices") or [{}]
    found: str | None = choices[0].get("finish_reason")
    return found


def _median(values: Iterable[float | None]) -> float | None:
    known = [one for one in values if one is not None]
    return statistics.median(known) if known else None


def _actions(report: Report, records: Sequence[Any]) -> None:
    """What the calls were for, by MetaGPT's own prompts."""
    by_action: dict[str, list[Any]] = {}
    for one in records:
        by_action.setdefault(_action_of(one), []).append(one)
    for name, some in sorted(by_action.items(), key=lambda item: -len(item[1])):
        report.row(
            part="actions",
            action=name,
            calls=len(some),
            streamed=sum(one.streamed for one in some),
            median_prompt_tokens=_median(one.usage.prompt for one in some),
            median_answer_tokens=_median(one.usage.completion for one in some),
        )


def _action_of(record: Any) -> str:
    return action("\n".join(str(one["content"]) for one in record.request["messages"]))


def _workloads(report: Report, records: Sequence[Any]) -> None:
    """The workloads, what actions they hold, and how much of all is judged convertible."""
    try:
        from hetagent.learn.cluster import Workloads
    except ImportError as error:
        raise CannotMeasureError(f"{error}: pip install '.[learn]'") from error
    workloads = Workloads.fit(records, least=LEAST)
    held: dict[str | None, Counter[str]] = {}
    for one in records:
        held.setdefault(workloads.assign(one), Counter())[_action_of(one)] += 1
    for one in workloads:
        report.row(
            part="workloads",
            name=one.name,
            calls=one.size,
            share=one.share,
            token_share=one.token_share,
            answers=one.output.kind,
            verdict=one.verdict.in_words,
            actions=_told(held.get(one.name, Counter())),
            reasons=" ".join(one.verdict.reasons),
        )
    if workloads.unassigned:
        report.row(
            part="workloads",
            name="(none)",
            calls=workloads.unassigned,
            share=workloads.unassigned / workloads.total,
            actions=_told(held.get(None, Counter())),
        )
    narrow = [one for one in workloads if one.verdict.narrow]
    for what, value in (
        ("calls", sum(one.share for one in narrow)),
        ("tokens", sum(one.token_share for one in narrow)),
    ):
        report.row(part="convertible", of=what, share=value, paper=PAPER)


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())
