"""Prompts of a workload as a skill's inputs: the slots of its templates, or the whole prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from hetagent.learn.chat import Chat, Said, chat
from hetagent.learn.cluster.read import read_call, whole_prompt
from hetagent.learn.cluster.slots import Template
from hetagent.learn.record import CallRecord
from hetagent.learn.task.requests import request_fault

__all__ = ["WHOLE", "Prompts", "Wording", "definitions"]

WHOLE = "request"
"""Input that holds a whole prompt."""


@dataclass(frozen=True, slots=True)
class Wording:
    """A template of a workload.

    Attributes:
        pieces: Its fixed texts, as `hetagent.learn.cluster.slots.Template` has them.
        slots: Names of what is between them.
        alone: Whether a prompt that fits it is of this workload whatever else is known.
    """

    pieces: tuple[str, ...]
    slots: tuple[str, ...]
    alone: bool

    def read(self, text: str) -> dict[str, str] | None:
        """What a prompt has in the slots; ``None`` where the template does not show all of it.

        Args:
            text: The whole prompt.
        """
        template = Template(self.pieces)
        values = template.values(text)
        if values is None or not _same(template.filled(values), text):
            return None
        return dict(zip(self.slots, values, strict=True))


@dataclass(frozen=True, slots=True)
class Prompts:
    """How the calls of a workload are read.

    Attributes:
        workload: Its name.
        inputs: Names of the skill's inputs that its words are.
        wordings: Templates whose slots are these inputs; none where the input is the whole prompt.
        schemas: Schemas that are asked for, as `hetagent.learn.cluster.read.Call` has them.
        tools: Tools that are offered.
        offered: Name of the input that is the tools, where these come with the call.
    """

    workload: str
    inputs: tuple[str, ...]
    wordings: tuple[Wording, ...]
    schemas: tuple[str, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    offered: str | None = None

    def read(self, record: CallRecord, workload: str | None) -> dict[str, Any] | str:
        """The inputs of a call, or why it has none in a word or two.

        Args:
            record: The call; its response is not looked at.
            workload: Which one it is known to be of.
        """
        if workload not in (None, self.workload):
            return "another workload"
        found = chat(record)
        tools = definitions(found) if self.offered else self.tools
        if self.offered and not tools:
            return "offers no tools"
        if fault := request_fault(record, found, tools):
            return fault
        if read_call(record).schema not in self.schemas:
            return "another schema"
        if not self.wordings:
            words = "not known to be of it" if workload is None else {WHOLE: _whole(found)}
        else:
            words = self._slots(record, found, known=workload is not None)
        if isinstance(words, str) or self.offered is None:
            return words
        return {**words, self.offered: list(tools)}

    def to_dict(self) -> dict[str, Any]:
        """As JSON data; `from_dict` reads it."""
        return {
            "workload": self.workload,
            "inputs": list(self.inputs),
            "wordings": [asdict(one) for one in self.wordings],
            "schemas": list(self.schemas),
            "tools": [dict(one) for one in self.tools],
            "offered": self.offered,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote."""
        return cls(
            data["workload"],
            tuple(data["inputs"]),
            tuple(
                Wording(tuple(one["pieces"]), tuple(one["slots"]), one["alone"])
                for one in data["wordings"]
            ),
            tuple(data["schemas"]),
            tuple(data["tools"]),
            data["offered"],
        )

    def _slots(self, record: CallRecord, found: Chat, *, known: bool) -> dict[str, str] | str:
        if fault := _unseen(found.messages):
            return fault
        text = whole_prompt(record)
        for one in self.wordings:
            values = one.read(text)
            if values is not None:
                if not known and not one.alone:
                    return "not known to be of it"
                return {name: values[name] for name in self.inputs}
        return "another wording"


def definitions(found: Chat) -> tuple[dict[str, Any], ...]:
    """The tools that a call offers: name, description and parameters of each."""
    return tuple(
        {"name": one.name, "description": one.description, "parameters": dict(one.parameters)}
        for one in found.tools
    )


def _unseen(messages: Sequence[Said]) -> str | None:
    """What of a prompt no template shows: history, tools' calls, the order of messages."""
    roles = [one.role for one in messages]
    others = [role for role in roles if role != "system"]
    if len(others) > 2:
        return "has a history"
    if any(one.calls for one in messages):
        return "has tool calls in it"
    if roles != ["system"] * (len(roles) - len(others)) + others:
        return "system messages among others"
    return None


def _whole(found: Chat) -> str:
    """All messages of a prompt, with their roles."""
    return "\n\n".join(
        "\n".join([f"{one.role}: {one.text}".rstrip(), *map(_called, one.calls)])
        for one in found.messages
    )


def _called(call: Any) -> str:
    return f"called {call.name} with {call.arguments}"


def _same(one: str, other: str) -> bool:
    """Whether two texts are the same but for white space."""
    return "".join(one.split()) == "".join(other.split())
