"""The card of a dataset: what it is, in Markdown, for whoever is to use it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from hetagent.errors import UnknownModelError
from hetagent.learn.curate.report import CurationReport

__all__ = ["card"]

_LIMITS = (
    "Answers are a model's, as it gave them: that they keep their schema was checked, not that "
    "they are right.",
    "Copies and near-duplicates are removed, so that shares of prompts are not those of calls. "
    "`copies` of an example says how many records said just the same.",
    "Near-duplicates are found by shared words. Paraphrases are not found.",
    "Personal data is out as far as redaction took it out; nothing was redacted here.",
    "Whether answers may train a model is what each record says of it (`trainable`), which comes "
    "from the catalogue and from settings. It is no legal advice.",
)


def card(data: Mapping[str, Any], report: CurationReport) -> str:
    """A dataset's card.

    Args:
        data: As in ``dataset.json``.
        report: What curation did.
    """
    facts, counts = report.facts, data["counts"]
    parts = [
        "# Dataset card",
        f"{sum(counts.values()):,} examples of {report.read:,} call records, curated by hetagent "
        f"{data['version']}.\n\nContent hash (SHA-256): `{data['hash']}`",
        _section("Splits", _splits(data, report)),
        _section("What was removed", _removed(report)),
        _section("Answers", _classes(facts)),
        _section("Where it came from", _provenance(data, facts)),
        _section("Writing systems", _scripts(facts)),
        _section("To look at", [f"- {one}" for one in report.warnings]),
        _section("Known limits", [f"- {one}" for one in _LIMITS]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(title: str, lines: Sequence[str]) -> str:
    return f"## {title}\n\n" + "\n".join(lines) if lines else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(_cell(one) for one in line) + " |" for line in lines]


def _cell(value: object) -> str:
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return " ".join(text.replace("|", "\\|").replace("`", "'").split())


def _splits(data: Mapping[str, Any], report: CurationReport) -> list[str]:
    facts, recipe = report.facts, data["recipe"]["split"]
    rows = []
    for name, count in data["counts"].items():
        span = facts["times"].get(name)
        begin, end = (_time(span[0]), _time(span[1])) if span else ("-", "-")
        rows.append((name, count, begin, end))
    units = facts["units"]
    how = {
        "time": "Units that begin latest are the test set, those before them validation.",
        "conversation": "Units are parted by a hash, whatever their time.",
    }[recipe["by"]]
    return [
        *_table(("split", "examples", "first call", "last call"), rows),
        "",
        f"A unit holds a conversation or trace whole"
        f"{', with near-duplicates' if recipe['across'] == 'earlier' else ''}; no unit is in two "
        f"splits. {how} There are {units['count']:,} units; the largest has {units['largest']:,} "
        "examples.",
    ]


def _removed(report: CurationReport) -> list[str]:
    rows: list[tuple[object, ...]] = []
    for step in report.steps:
        reasons = "; ".join(f"{reason}: {one.count:,}" for reason, one in step.reasons.items())
        rows.append((step.name, step.before, step.removed, step.after, reasons or "-"))
    return _table(("step", "before", "removed", "after", "why"), rows)


def _classes(facts: Mapping[str, Any]) -> list[str]:
    names = ("train", "validation", "test")
    rows = [(one["class"], *(one[name] for name in names)) for one in facts["classes"]]
    lines = _table(("class", *names), rows)
    if facts["other_classes"]:
        lines += ["", f"And {facts['other_classes']:,} more classes."]
    if facts["several_answers"]:
        lines += [
            "",
            f"{facts['several_answers']:,} prompts have more than one answer; all are kept.",
        ]
    return lines


def _provenance(data: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    rows = [
        (one["model"], one["examples"], one["trainable"], _licence(one["model"]))
        for one in facts["models"]
    ]
    lines = _table(("answered by", "examples", "may train", "licence"), rows)
    lines += ["", "Captured by: " + _counted(facts["captured"]) + "."]
    if facts["workloads"]:
        lines.append("\nWorkloads: " + _counted(facts["workloads"]) + ".")
    for one in data["sources"]:
        said = ", ".join(f"{name} {_cell(value)}" for name, value in one.items())
        lines.append(f"\nMade with: {said}.")
    return lines


def _licence(model: str) -> str:
    from hetagent.models.catalog import find

    try:
        found = find(model.rpartition("/")[2])
    except UnknownModelError:
        return "not in the catalogue"
    return f"{found.licence}: {found.outputs_note}"


def _scripts(facts: Mapping[str, Any]) -> list[str]:
    if not facts["scripts"]:
        return []
    return [f"By the first letters of each prompt: {_counted(facts['scripts'])}."]


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{_cell(name)} {count:,}" for name, count in counts.items())


def _time(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
