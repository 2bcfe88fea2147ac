"""A workload's calls as labelled lines for the skill that its exported file declares."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from hetagent.learn.cluster import Workloads
    from hetagent.learn.cluster.workload import Workload
    from hetagent.learn.record import CallRecord

__all__ = ["lines_of"]

_KINDS: Mapping[str, type] = {"int": int, "float": float, "bool": bool}


def lines_of(
    workloads: Workloads, name: str, records: Iterable[CallRecord], *, interactive: bool
) -> tuple[list[str], dict[str, int]]:
    """Lines as `hetagent tune` and `hetagent calibrate` take them, by time.

    Returns:
        The lines, and how many records have none, by why.

    Raises:
        InputError: There is no such workload, it is no task, or its input is too much for it.
    """
    from hetagent.learn.task import Task, rows

    workload = workloads[name]
    task = Task.of(workloads, name, whole=False)
    found = rows(task, records, workloads=workloads, interactive=interactive)
    types = _types(workload) if len(task.inputs) == len(workload.inputs) else {}
    named = {slot.name for slot in workload.inputs}
    left_out = Counter(found.left_out)
    lines = []
    for one in found.examples:
        if not all(_is_of(kind, one.row.get(key)) for key, kind in types.items()):
            left_out["an input is not of its exported type"] += 1
            continue
        # Of a skill with one input that is the row: a prompt without a template has no name.
        given: Any = one.row if len(one.row) > 1 else next(iter(one.row.values()))
        if given is one.row and not named <= given.keys():
            given = list(one.row.values())
        line = {
            "input": given,
            "label": _exported(workload, one.label),
            "time": one.time.astimezone(UTC).isoformat(),
            "record": one.record,
        }
        lines.append(json.dumps(line, ensure_ascii=False))
    return lines, dict(left_out.most_common())


def _types(workload: Workload) -> dict[str, TypeAdapter[Any]]:
    """What the exported inputs are, where that is not any text."""
    from pydantic import TypeAdapter

    found: dict[str, TypeAdapter[Any]] = {}
    for slot in workload.inputs:
        if slot.type == "choice":
            choice: Any = Literal[slot.options]
            found[slot.name] = TypeAdapter(choice)
        elif slot.type in _KINDS:
            found[slot.name] = TypeAdapter(_KINDS[slot.type])
    return found


def _is_of(kind: TypeAdapter[Any], value: Any) -> bool:
    try:
        kind.validate_python(value)
    except ValueError:
        return False
    return True


def _exported(workload: Workload, label: Any) -> Any:
    """A label as the exported skill has it, whose tools are functions of Python."""
    from hetagent.learn.cluster.export import tool_names

    if workload.output.kind != "tools" or not workload.tools or "arguments" not in label:
        return label
    name, keys = tool_names(workload)[label["tool"]]
    arguments = {keys[key]: value for key, value in label["arguments"].items()}
    return {"tool": name, "arguments": arguments}
