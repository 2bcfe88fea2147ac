"""Answers of a workload: read from records as values of a type, and written as the LLM writes them.

Labels, JSON of a schema, and calls of tools are such answers; free text is not.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal, Self

from hetagent import constraint
from hetagent.errors import InputError, OutputError
from hetagent.json_shape import NO_TOOL, Shape, Sizes, choice_of_tools, output_of
from hetagent.learn.chat import Said, Wanted
from hetagent.learn.cluster.actions import label_of, undecorated
from hetagent.learn.curate.example import json_of
from hetagent.offered import any_call, call_of
from hetagent.schema import OutputType
from hetagent.tools import ToolCall

__all__ = ["Answers", "Kind", "Style"]

Kind = Literal["labels", "json", "tools"]

_NO_TOOL: Mapping[str, Any] = {"tool": NO_TOOL}
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Style:
    """How an LLM writes its answers.

    Attributes:
        before: Text before the answer, such as a fence or a mark.
        after: Text after it.
        indent: Spaces that JSON is indented by; ``None`` where it is on one line.
        compact: Whether there is no space after commas and colons.
    """

    before: str = ""
    after: str = ""
    indent: int | None = None
    compact: bool = False

    @classmethod
    def of_labels(cls, texts: Iterable[str], labels: Sequence[str]) -> Style:
        """What most of some answers have around a label."""
        return _most(_around(text, labels) for text in texts)

    @classmethod
    def of_json(cls, texts: Iterable[str]) -> Style:
        """What most of some answers in JSON have around it, and how it is spaced."""
        return _most(_spaced(*undecorated(text)) for text in texts)

    def json(self, value: Any) -> str:
        """JSON data as it is written, without what is around it."""
        separators = (",", ":") if self.compact else None
        return json.dumps(value, ensure_ascii=False, indent=self.indent, separators=separators)


def _most(found: Iterable[Style | None]) -> Style:
    counts = Counter(one for one in found if one is not None)
    return counts.most_common(1)[0][0] if counts else Style()


def _around(text: str, labels: Sequence[str]) -> Style | None:
    label = label_of(text)
    before, _, after = text.partition(label)
    return Style(before, after) if label in labels else None


def _spaced(before: str, inside: str, after: str) -> Style | None:
    value = json_of(inside, _MISSING)
    if value is _MISSING:
        return None
    body = inside.strip()
    start = inside.index(body)
    around = (before + inside[:start], inside[start + len(body) :] + after)
    for indent, compact in ((None, False), (None, True), (2, False), (4, False)):
        style = Style(*around, indent=indent, compact=compact)
        if style.json(value) == body:
            return style
    return None


@dataclass(frozen=True)
class Answers:
    """What a workload answers.

    Attributes:
        kind: ``"labels"``, ``"json"`` or ``"tools"``.
        labels: Of ``"labels"``.
        schema: Of ``"json"``: as it was recorded.
        tools: Of ``"tools"``: name, description and parameters of each; none where they come with
            the call.
        style: How they are written.
        sizes: Bounds of strings and lists that have none of their own.
    """

    kind: Kind
    labels: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    style: Style = Style()
    sizes: Sizes = field(default_factory=Sizes)

    @cached_property
    def output(self) -> OutputType[Any]:
        """The type of the answers.

        It is a ``Literal`` of labels; JSON data; or ``{"tool": …, "arguments": {…}}``, which is
        ``{"tool": "none"}`` where the LLM answers in words. Where tools come with the call it is
        `hetagent.offered.any_call`, whose values are calls.

        Raises:
            UnsupportedTypeError: It cannot be constrained.
        """
        if self.kind == "labels":
            found: OutputType[Any] = OutputType.of(Literal[self.labels], where="the labels")
            constraint.check(found, where="the labels")
            return found
        if self.kind == "json":
            return output_of(self._shape.closed, where="the answers")
        if self.of_call:
            return any_call(ToolCall[Any] | None, where="the workload")
        shapes = [
            (name, str(tool["description"]), self._shapes[name])
            for tool in self.tools
            for name in [str(tool["name"])]
        ]
        return output_of(choice_of_tools(shapes), where="the choice of tools")

    @property
    def of_call(self) -> bool:
        """Whether tools come with the call."""
        return self.kind == "tools" and not self.tools

    def output_for(self, tools: Sequence[Mapping[str, Any]]) -> OutputType[Any]:
        """The type of the answer to a call.

        Args:
            tools: What the call offers: name, description and parameters of each.

        Raises:
            OutputError: They come with the call, and cannot be offered.
        """
        if not self.of_call:
            return self.output
        try:
            return call_of(self.output, tools)
        except InputError as error:
            raise OutputError(error.message) from error

    def read(self, answer: Said, tools: Sequence[Mapping[str, Any]] = ()) -> Any:
        """The value of a recorded answer, as JSON data.

        Args:
            answer: It.
            tools: What its call offers.

        Raises:
            OutputError: It has none of the type.
        """
        if self.of_call:
            output = self.output_for(tools)
            return output.to_json(output.parse_json(_any_call(answer.calls)))
        if self.kind == "tools":
            return self._called(answer.calls) if answer.calls else dict(_NO_TOOL)
        if answer.calls:
            raise OutputError("A tool is called.")
        if self.kind == "labels":
            return self._label(answer.text)
        written = json_of(undecorated(answer.text)[1], _MISSING)
        if written is _MISSING:
            raise OutputError("The answer is no JSON.", text=answer.text)
        return _fitting(self._shape, written, answer.text)

    def write(self, value: Any) -> Said | None:
        """A value as the LLM would have said it.

        Args:
            value: JSON data; where tools come with the call, also the call itself.

        Returns:
            The message; ``None`` where only the LLM can say it: no tool is called.

        Raises:
            OutputError: It is no value of the type.
        """
        if self.of_call:
            return self._said_call(value)
        text = self.output.text_of_json(value)
        self.output.parse(text)
        if self.kind == "tools":
            if value == _NO_TOOL:
                return None
            written = self._shapes[value["tool"]].stripped(value["arguments"])
            return Said("assistant", "", (Wanted(value["tool"], self.style.json(written)),))
        plain = text if self.kind == "labels" else self.style.json(self._shape.stripped(value))
        decorated = Said("assistant", f"{self.style.before}{plain}{self.style.after}")
        # A label that itself ends with what stands around labels is written alone.
        return decorated if self._reads(decorated, value) else Said("assistant", plain)

    def to_dict(self) -> dict[str, Any]:
        """As JSON data; `from_dict` reads it."""
        return {
            "kind": self.kind,
            "labels": list(self.labels),
            "schema": self.schema,
            "tools": [dict(one) for one in self.tools],
            "style": asdict(self.style),
            "sizes": asdict(self.sizes),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote."""
        return cls(
            data["kind"],
            tuple(data["labels"]),
            data["schema"],
            tuple(data["tools"]),
            Style(**data["style"]),
            Sizes(**data["sizes"]),
        )

    @cached_property
    def _shape(self) -> Shape:
        return Shape(self.schema or {}, "the recorded JSON Schema", self.sizes)

    @cached_property
    def _shapes(self) -> dict[str, Shape]:
        return dict(self._tool_shapes())

    def _tool_shapes(self) -> Iterator[tuple[str, Shape]]:
        for tool in self.tools:
            # Some servers are sent no schema for a tool that takes nothing.
            schema = tool["parameters"] or {"type": "object", "properties": {}}
            yield tool["name"], Shape(schema, f"the parameters of {tool['name']}", self.sizes)

    def _said_call(self, value: Any) -> Said | None:
        try:
            call = self.output.adapter.validate_python(value)
        except ValueError as error:
            raise OutputError(f"The value is no call: {value!r}.") from error
        if call is None:
            return None
        arguments = self.output.to_json(call)["arguments"]
        return Said("assistant", "", (Wanted(call.name, self.style.json(arguments)),))

    def _label(self, text: str) -> str:
        for found in (text.strip(), label_of(text)):
            if found in self.labels:
                return found
        raise OutputError("The answer is none of the labels.", text=text)

    def _called(self, calls: Sequence[Wanted]) -> dict[str, Any]:
        first, written = _one_call(calls)
        if first.name not in self._shapes:
            raise OutputError("A tool is called that was not offered.", text=first.name)
        arguments = _fitting(self._shapes[first.name], written, first.arguments)
        return {"tool": first.name, "arguments": arguments}

    def _reads(self, said: Said, value: Any) -> bool:
        try:
            return bool(self.read(said) == value)
        except OutputError:
            return False


def _one_call(calls: Sequence[Wanted]) -> tuple[Wanted, Any]:
    """The one tool that is called, and its arguments as JSON data."""
    (first, *others) = calls
    if others:
        raise OutputError("Several tools are called.")
    written = json_of(first.arguments or "{}", _MISSING)
    if written is _MISSING:
        raise OutputError("The arguments are no JSON.", text=first.arguments)
    return first, written


def _any_call(calls: Sequence[Wanted]) -> dict[str, Any]:
    """A call as `hetagent.offered` has it as JSON data."""
    if not calls:
        return {"tool": NO_TOOL, "arguments": {}}
    first, written = _one_call(calls)
    return {"tool": first.name, "arguments": written}


def _fitting(shape: Shape, written: Any, text: str) -> Any:
    value = shape.filled(written)
    if not shape.fits(value):
        raise OutputError("The answer does not fit its schema.", text=text)
    return value
