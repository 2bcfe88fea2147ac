"""Calls of a skill that is declared in code, as rows and labels of that very skill."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hetagent.errors import HetagentError, InputError, OutputError
from hetagent.learn.chat import Said, chat
from hetagent.learn.cluster.actions import undecorated
from hetagent.learn.record import CallRecord
from hetagent.learn.task.requests import request_fault
from hetagent.schema import OutputType
from hetagent.skill import Skill

__all__ = ["DeclaredAnswers", "DeclaredPrompts"]


@dataclass(frozen=True, slots=True)
class DeclaredPrompts:
    """How calls of a declared skill are read.

    Attributes:
        skill: It.
        workload: The workload that its calls are recorded as.
    """

    skill: Skill[..., Any]
    workload: str

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the skill's inputs."""
        return self.skill.parameters

    def read(self, record: CallRecord, workload: str | None) -> dict[str, Any] | str:
        """The inputs of a call, or why it has none in a word or two.

        Args:
            record: The orchestrator's own record, or a chat of the skill's very prompt.
            workload: Which one it is known to be of.
        """
        if workload not in (None, self.workload):
            return "another workload"
        found = chat(record)
        if fault := request_fault(record, found, ()):
            return fault
        if record.form == "hetagent.skill":
            if record.request.get("skill") != self.skill.name:
                return "another skill"
            text = record.request.get("text")
        else:
            fixed = [(one.role, one.content) for one in self.skill.messages]
            *before, last = [(one.role, one.text) for one in found.messages] or [("", "")]
            if before != fixed or last[0] != "user":
                return "another wording"
            text = last[1]
        return self._inputs(text) if isinstance(text, str) else "another wording"

    def _inputs(self, text: str) -> dict[str, Any] | str:
        """The inputs whose rendering is a text: `hetagent.prompt.render_inputs` turned round."""
        names = self.skill.parameters
        parts = [text]
        if len(names) > 1:
            lines = text.split("\n")
            if len(lines) != len(names):
                return "other inputs"
            pairs = list(zip(names, lines, strict=True))
            if not all(line.startswith(f"{name}: ") for name, line in pairs):
                return "other inputs"
            parts = [line.removeprefix(f"{name}: ") for name, line in pairs]
        row = {name: self._value(name, part) for name, part in zip(names, parts, strict=True)}
        try:
            same = self.skill.request_text(**row) == text
        except (HetagentError, TypeError):
            same = False
        return row if same else "other inputs"

    def _value(self, name: str, part: str) -> Any:
        """The input that is written so."""
        for value in _values(part, alone=len(self.skill.parameters) == 1):
            try:
                self.skill.input_json(name, value)
            except InputError:
                continue
            return value
        return part


def _values(part: str, *, alone: bool) -> Iterator[Any]:
    """What may be written so: what is no text is JSON, as is one of several lines among others."""
    try:
        value = json.loads(part)
    except (ValueError, RecursionError):
        value = part
    if not alone and isinstance(value, str) and len(value.splitlines()) > 1:
        yield value
    yield part
    yield value


@dataclass(frozen=True, slots=True)
class DeclaredAnswers:
    """Answers of a declared skill.

    Attributes:
        output: Their type.
    """

    output: OutputType[Any]

    def read(self, answer: Said) -> Any:
        """The value of a recorded answer, as JSON data.

        Raises:
            OutputError: It has none of the type.
        """
        if answer.calls:
            raise OutputError("A tool is called.")
        text = answer.text
        if self.output.form == "json":
            text = undecorated(text)[1]
        elif self.output.form == "choice":
            text = text.strip()
        return self.output.to_json(self.output.parse(text))

    def write(self, value: Any) -> Said | None:
        """A value, given as JSON data, as a model says it.

        Raises:
            OutputError: It is no value of the type.
        """
        text = self.output.text_of_json(value)
        self.output.parse(text)
        return Said("assistant", text)
