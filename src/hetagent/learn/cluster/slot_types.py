"""Python types of JSON Schemas, as source text: pydantic models, literals, lists and unions."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Mapping, Sequence
from typing import Any

from hetagent.learn.cluster.slots import slug

__all__ = ["RESERVED", "Types", "class_name", "literal", "unused"]

_SIMPLE = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
# Names that pydantic keeps for itself begin so, or are these.
_KEPT = re.compile(r"model_|_|(copy|json|dict|schema|construct|validate|parse_\w+|fields)$")
# A field of such a name with a default hides the type from the fields after it, and from itself.
_TYPES = frozenset({"bool", "float", "int", "list", "str"})

RESERVED = frozenset({
    "Answer", "BaseModel", "Field", "Literal", "NotImplementedError", "Offered", "ToolCall",
    "annotations", "bool", "float", "int", "list", "none", "object", "skill", "str", "tools",
})  # fmt: skip
"""Names that an exported file has a use for."""


class Types:
    """Writes types, and collects the classes that they need.

    Attributes:
        classes: Source of each class by name, in the order in which they must stand.
        uses: Names to import: of ``"typing"`` and ``"pydantic"``.
    """

    def __init__(self) -> None:
        self.classes: dict[str, str] = {}
        self.uses: set[tuple[str, str]] = set()
        self._names: dict[str, str] = {}

    def of(
        self, schema: Mapping[str, Any], *, name: str, root: Mapping[str, Any] | None = None
    ) -> str:
        """The type of a schema's values.

        What has no type of a closed form, such as an object of any keys, is text that holds JSON.

        Args:
            schema: JSON Schema; one of OpenAI's or pydantic's dialect.
            name: For a class, should one be needed.
            root: Where its references lead.
        """
        top = schema if root is None else root
        if "$ref" in schema:
            return self._reference(str(schema["$ref"]), top)
        values = [schema["const"]] if "const" in schema else schema.get("enum")
        if isinstance(values, list) and values:
            return self._values(values)
        options = schema.get("anyOf") or schema.get("oneOf")
        if isinstance(options, list) and options:
            return _union(self.of(one, name=name, root=top) for one in options)
        kind = schema.get("type", "object" if "properties" in schema else "string")
        if isinstance(kind, list):
            return _union(self.of({**schema, "type": one}, name=name, root=top) for one in kind)
        if kind == "array":
            items = schema.get("items")
            inner = items if isinstance(items, Mapping) else {"type": "string"}
            return f"list[{self.of(inner, name=f'{name}Item', root=top)}]"
        properties = schema.get("properties")
        if kind == "object" and isinstance(properties, Mapping) and properties:
            return self._model(schema, properties, name, top)
        return _SIMPLE.get(str(kind), "str")

    def _reference(self, reference: str, root: Mapping[str, Any]) -> str:
        if reference in self._names:
            return self._names[reference]
        found: Any = root
        for part in reference.removeprefix("#").strip("/").split("/"):
            found = found.get(part, {}) if isinstance(found, Mapping) else {}
        name = class_name(reference.rsplit("/", 1)[-1])
        if isinstance(found, Mapping) and "properties" in found:
            self._names[reference] = name  # it may hold itself
        return self.of(found if isinstance(found, Mapping) else {}, name=name, root=root)

    def _values(self, values: Sequence[Any]) -> str:
        if all(value is None or isinstance(value, str | int | bool) for value in values):
            self.uses.add(("typing", "Literal"))
            return literal(values)
        return "str"

    def _model(
        self, schema: Mapping[str, Any], properties: Mapping[str, Any], name: str, root: Any
    ) -> str:
        title = unused(name, RESERVED.union(self.classes))
        self.classes[title] = ""  # the name is taken while its parts are written
        self.uses.add(("pydantic", "BaseModel"))
        required = schema.get("required", ())
        lines = [f"class {title}(BaseModel):"]
        taken: list[str] = []
        for key, part in properties.items():
            inner = part if isinstance(part, Mapping) else {}
            kind = self.of(inner, name=f"{title}{class_name(key)}", root=root)
            if key not in required and "None" not in kind.split(" | "):
                kind = f"{kind} | None"
            lines.append(f"    {self._field(key, inner, kind, taken)}")
        # Parts stand before what they are parts of.
        del self.classes[title]
        self.classes[title] = "\n".join(lines)
        return title

    def _field(self, key: str, schema: Mapping[str, Any], kind: str, taken: list[str]) -> str:
        name = key if key.isidentifier() and key == slug(key) else slug(key)
        while _KEPT.match(name) or name in taken or name in _TYPES:
            name = f"field_{name.strip('_')}" if _KEPT.match(name) else f"{name}_"
        taken.append(name)
        options = []
        if name != key:
            options.append(f"alias={key!r}")
        if isinstance(schema.get("description"), str):
            options.append(f"description={schema['description']!r}")
        if not options:
            return f"{name}: {kind}"
        self.uses.add(("pydantic", "Field"))
        return f"{name}: {kind} = Field({', '.join(options)})"


def class_name(words: str) -> str:
    """Words as a class is named."""
    found = "".join(part[:1].upper() + part[1:] for part in re.findall(r"[A-Za-z0-9]+", words))
    return found if found[:1].isalpha() else f"Value{found}"


def literal(values: Sequence[Any]) -> str:
    """A ``Literal`` of some values."""
    return f"Literal[{', '.join(_text(v) if isinstance(v, str) else repr(v) for v in values)}]"


def unused(name: str, taken: Container[str]) -> str:
    """A name like this one that is not taken yet."""
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    return found


def _text(value: str) -> str:
    """A string of Python's; JSON's own escapes of what is beyond 16 bits mean something else."""
    plain = value.encode("utf-8", "replace").decode("utf-8")
    return json.dumps(plain, ensure_ascii=False).replace("\x7f", "\\x7f")


def _union(kinds: Any) -> str:
    return " | ".join(dict.fromkeys(part for kind in kinds for part in _parts(kind)))


def _parts(kind: str) -> list[str]:
    """The members of a union, which may hold brackets with unions in them."""
    depth, found, last = 0, [], 0
    for place, sign in enumerate(kind):
        depth += (sign == "[") - (sign == "]")
        if depth == 0 and kind.startswith(" | ", place):
            found.append(kind[last:place])
            last = place + 3
    return [*found, kind[last:]]
