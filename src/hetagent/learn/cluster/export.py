"""A workload as a Python file that declares its skill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from keyword import iskeyword
from typing import Any

from hetagent.learn.cluster.slot_types import RESERVED, Types, class_name, literal, unused
from hetagent.learn.cluster.slots import Slot, slug
from hetagent.learn.cluster.workload import Workload

__all__ = ["export", "instructions_of", "skill_name", "tool_names"]

_WIDTH = 100
_ALIAS = "Answer"


def export(workload: Workload) -> str:
    """The source of a module in which the workload is a skill, typed as its calls are.

    Inputs are the template's slots. The output is a ``Literal`` of the labels, a pydantic model of
    the JSON Schema, a tool's call, or ``str``. Tools are declared as functions that do nothing yet.
    """
    types = Types()
    name = skill_name(workload)
    inputs = _inputs(workload.inputs, types)
    functions: list[_Function] = []
    aliases: list[str] = []
    decorator = "@skill"
    if workload.output.kind == "tools" and workload.tools:
        functions = _functions(workload.tools, types, taken={name})
        offered = ", ".join(one.name for one in functions)
        decorator, kind = f"@skill(output=tools({offered}))", "None"
    else:
        kind = _output(workload, types)
        if kind.startswith("Literal[") and len(kind) > _WIDTH // 2:
            listed = "".join(f"    {literal([one])[8:-1]},\n" for one in workload.output.labels)
            aliases, kind = [f"{_ALIAS} = Literal[\n{listed}]"], _ALIAS
        if workload.output.kind == "tools":
            inputs.append(f"{unused('tools', [slot.name for slot in workload.inputs])}: Offered")
    signature = _signature(name, inputs, kind)
    body = [f"{decorator}\n{signature}\n{_docstring(instructions_of(workload))}"]
    sources = [one.source for one in functions]
    blocks = [*aliases, *types.classes.values(), *sources, *body]
    imports = _imports(types, workload)
    return "\n\n\n".join([f"{_head(workload)}\n\n{imports}", *blocks]) + "\n"


def skill_name(workload: Workload) -> str:
    """What its skill is called."""
    name = slug(workload.name)
    return f"{name}_task" if name in RESERVED.union(workload.output.tools) else name


def _head(workload: Workload) -> str:
    said = (
        f"The workload {workload.name}: {workload.size:,} calls, {workload.share:.1%} of all, "
        f"{workload.verdict.in_words}."
    )
    lines = [f'"""{_escaped(said)}"""', "", '# mypy: disable-error-code="empty-body"']
    return "\n".join([*lines, "", "from __future__ import annotations"])


def _imports(types: Types, workload: Workload) -> str:
    typing, pydantic = (
        sorted(name for found, name in types.uses if found == module)
        for module in ("typing", "pydantic")
    )
    names = ["skill"]
    if workload.output.kind == "tools":
        names = ["skill", "tools"] if workload.tools else ["Offered", "ToolCall", "skill"]
    ours = [f"from hetagent import {', '.join(names)}"]
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
            return "ToolCall[object] | None"
        case "text":
            return "str"


@dataclass(frozen=True, slots=True)
class _Function:
    """A tool as a function: its source, its name, and its parameter for each key of the tool's."""

    source: str
    name: str
    keys: Mapping[str, str]


def tool_names(workload: Workload) -> dict[str, tuple[str, Mapping[str, str]]]:
    """What `export` calls a workload's tools: the function, and its parameter for each argument."""
    functions = _functions(workload.tools, Types(), taken={skill_name(workload)})
    return {
        str(tool["name"]): (one.name, one.keys)
        for tool, one in zip(workload.tools, functions, strict=True)
    }


def _functions(
    tools: Sequence[Mapping[str, Any]], types: Types, *, taken: set[str]
) -> list[_Function]:
    """A function for each tool."""
    found: list[_Function] = []
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
        source = (
            f"{_signature(name, [*wanted, *others], 'object')}\n{_docstring(about)}\n"
            f'    raise NotImplementedError("Put here what {name} does.")'
        )
        found.append(_Function(source, name, dict(zip(properties, keys, strict=True))))
        names.append(name)
    return found


def _identifier(name: str) -> str:
    plain = name.isidentifier() and name.isascii() and not iskeyword(name)
    return name if plain and slug(name) == name.lower() else slug(name)


def _signature(name: str, inputs: Sequence[str], kind: str) -> str:
    line = f"def {name}({', '.join(inputs)}) -> {kind}:"
    if len(line) <= _WIDTH:
        return line
    parts = "".join(f"    {one},\n" for one in inputs)
    return f"def {name}(\n{parts}) -> {kind}:"


def instructions_of(workload: Workload) -> str:
    """What its skill is told to do: its template's text, or at least its name."""
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
