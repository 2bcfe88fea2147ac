"""A workload as a Python file that declares its skill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from keyword import iskeyword
from typing import Any

from hetagent.learn.cluster.slot_types import RESERVED, Types, class_name, literal, unused
from hetagent.learn.cluster.slots import Slot, slug
from hetagent.learn.cluster.workload import Workload

__all__ = ["export"]

_WIDTH = 100
_ALIAS = "Answer"


def export(workload: Workload) -> str:
    """The source of a module in which the workload is a skill, typed as its calls are.

    Inputs are the template's slots. The output is a ``Literal`` of the labels, a pydantic model of
    the JSON Schema, a tool's call, or ``str``. Tools are declared as functions that do nothing yet.
    """
    types = Types()
    name = slug(workload.name)
    name = f"{name}_task" if name in RESERVED.union(workload.output.tools) else name
    inputs = _inputs(workload.inputs, types)
    functions: list[str] = []
    aliases: list[str] = []
    decorator = "@skill"
    if workload.output.kind == "tools" and workload.tools:
        functions, offered = _functions(workload.tools, types, taken={name})
        decorator, kind = f"@skill(output=tools({', '.join(offered)}))", "None"
    else:
        kind = _output(workload, types)
        if kind.startswith("Literal[") and len(kind) > _WIDTH // 2:
            listed = "".join(f"    {literal([one])[8:-1]},\n" for one in workload.output.labels)
            aliases, kind = [f"{_ALIAS} = Literal[\n{listed}]"], _ALIAS
        if workload.output.kind == "tools":
            inputs.append("tools: str")
    signature = _signature(name, inputs, kind)
    body = [f"{decorator}\n{signature}\n{_docstring(_instructions(workload))}"]
    blocks = [*aliases, *types.classes.values(), *functions, *body]
    imports = _imports(types, tools=bool(functions))
    return "\n\n\n".join([f"{_head(workload)}\n\n{imports}", *blocks]) + "\n"


def _head(workload: Workload) -> str:
    said = (
        f"The workload {workload.name}: {workload.size:,} calls, {workload.share:.1%} of all, "
        f"{workload.verdict.in_words}."
    )
    lines = [f'"""{_escaped(said)}"""', "", '# mypy: disable-error-code="empty-body"']
    return "\n".join([*lines, "", "from __future__ import annotations"])


def _imports(types: Types, *, tools: bool) -> str:
    typing, pydantic = (
        sorted(name for found, name in types.uses if found == module)
        for module in ("typing", "pydantic")
    )
    ours = ["from hetagent import skill, tools" if tools else "from hetagent import skill"]
    if pydantic:
        ours.append(f"from pydantic import {', '.join(pydantic)}")
    standard = [f"from typing import {', '.join(typing)}", ""] if typing else []
    return "\n".join([*standard, *ours])


def _inputs(slots: Sequence[Slot], types: Types) -> list[str]:
    found = []
    for slot in slots:
        kind = {"json": "str", "choice": "Literal"}.get(slot.type, slot.type)
        if kind == "Literal":
            types.uses.add(("typing", "Literal"))
            kind = literal(slot.options)
        found.append(f"{slot.name}: {kind}")
    return found or ["request: str"]


def _output(workload: Workload, types: Types) -> str:
    output = workload.output
    match output.kind:
        case "labels":
            types.uses.add(("typing", "Literal"))
            return literal(list(output.labels))
        case "json":
            return types.of(output.schema, name=class_name(workload.name))
        case "tools":
            return types.of(_ANY_CALL, name="Call")
        case "text":
            return "str"


_ANY_CALL: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "tool": {"type": "string", "description": "name of the tool"},
        "arguments": {"type": "string", "description": "JSON object"},
    },
    "required": ["tool", "arguments"],
}


def _functions(
    tools: Sequence[Mapping[str, Any]], types: Types, *, taken: set[str]
) -> tuple[list[str], list[str]]:
    """A function for each tool, and their names."""
    sources: list[str] = []
    names: list[str] = []
    for tool in tools:
        name = unused(_identifier(str(tool["name"])), RESERVED.union(taken, types.classes, names))
        schema = tool["parameters"]
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        wanted: list[str] = []
        others: list[str] = []
        keys: list[str] = []
        for key, part in properties.items():
            keys.append(unused(slug(key), keys))
            kind = types.of(part, name=class_name(f"{name} {key}"), root=schema)
            if key in required:
                wanted.append(f"{keys[-1]}: {kind}")
            else:
                union = kind if "None" in kind.split(" | ") else f"{kind} | None"
                others.append(f"{keys[-1]}: {union} = None")
        about = tool["description"] or f"The tool {tool['name']}."
        sources.append(
            f"{_signature(name, [*wanted, *others], 'object')}\n{_docstring(about)}\n"
            f'    raise NotImplementedError("Put here what {name} does.")'
        )
        names.append(name)
    return sources, names


def _identifier(name: str) -> str:
    plain = name.isidentifier() and name.isascii() and not iskeyword(name)
    return name if plain and slug(name) == name.lower() else slug(name)


def _signature(name: str, inputs: Sequence[str], kind: str) -> str:
    line = f"def {name}({', '.join(inputs)}) -> {kind}:"
    if len(line) <= _WIDTH:
        return line
    parts = "".join(f"    {one},\n" for one in inputs)
    return f"def {name}(\n{parts}) -> {kind}:"


def _instructions(workload: Workload) -> str:
    if workload.instructions:
        return workload.instructions
    if workload.output.kind == "tools":
        return "Call the tool that does what the message asks for, with its arguments as JSON."
    return f"Do the task {workload.name.replace('-', ' ')}."


def _docstring(text: str) -> str:
    lines = _escaped(text).splitlines() or [""]
    body = "\n".join(f"    {line}".rstrip() for line in lines[1:])
    if not body:
        return f'    """{lines[0]}"""'
    return f'    """{lines[0]}\n{body}\n    """'


def _escaped(text: str) -> str:
    """Text that may stand between three quotation marks."""
    found = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    found = "".join(sign if sign.isprintable() or sign in "\n\t" else " " for sign in found)
    return f'{found[:-1]}\\"' if found.endswith('"') else found
