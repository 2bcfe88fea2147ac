"""What calls ask for beside their words: which tools they offer, which JSON Schema they want."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from hetagent.learn.cluster.read import Call

__all__ = ["ANY", "PLAIN", "Forms"]

# A set of tools that shares this much with a known one is the same set, grown or shrunk.
_SAME_TOOLS = 0.75

ANY = "*"
"""A set of tools, or a schema, that is not one of those that recur."""

Form = tuple[str, str]
PLAIN: Form = ("", "")
"""Of a call that offers no tools and wants no schema."""


@dataclass(frozen=True, slots=True)
class Forms:
    """The sets of tools and the schemas that recur.

    Attributes:
        tools: Sets of tools, each a sorted tuple of names.
        schemas: As in `Call.schema`.
    """

    tools: tuple[tuple[str, ...], ...]
    schemas: tuple[str, ...]

    @classmethod
    def of(cls, calls: Iterable[Call], *, least: int) -> Self:
        """Learn which recur.

        Args:
            calls: To count them in.
            least: Calls that must have one.
        """
        tools: Counter[tuple[str, ...]] = Counter()
        schemas: Counter[str] = Counter()
        for call in calls:
            tools[call.tools] += 1
            schemas[call.schema] += 1
        return cls(
            tuple(one for one, n in tools.most_common() if one and n >= least),
            tuple(one for one, n in schemas.most_common() if one and n >= least),
        )

    def of_call(self, call: Call) -> Form:
        """The form of a call: its tools and its schema, in text."""
        return self._tools(call.tools), self._schema(call.schema)

    def _tools(self, tools: tuple[str, ...]) -> str:
        if not tools or tools in self.tools:
            return ",".join(tools)
        best = max(self.tools, key=lambda known: _share(known, tools), default=())
        return ",".join(best) if _share(best, tools) >= _SAME_TOOLS else ANY

    def _schema(self, schema: str) -> str:
        return schema if not schema or schema in self.schemas else ANY


def _share(one: Sequence[str], other: Sequence[str]) -> float:
    """Jaccard's index."""
    every = set(one) | set(other)
    return len(set(one) & set(other)) / max(1, len(every))
