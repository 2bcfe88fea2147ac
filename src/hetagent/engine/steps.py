"""What an answer in the making asks of whoever evaluates tokens, and what it is given back.

An answer is a generator of steps. Each step names the tokens to evaluate next and the function that
reads the logits; nothing here knows how tokens are evaluated, so that one sequence without a cache
(`hetagent.engine.serial`) and many in a batch (`hetagent.engine.scheduler`) serve the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from hetagent.engine.tries import ROOT, Logits, Tree

__all__ = ["END", "Answer", "Cancelled", "Logits", "Step"]

END = ROOT
"""The place at the end of the text, among the nodes of a trie."""


class Cancelled(Exception):  # noqa: N818 - a signal between threads, never seen by users
    """The caller no longer wants the answer."""


def _nothing() -> None:
    return None


@dataclass(slots=True)
class Step:
    """Tokens to evaluate, and who reads the logits.

    Attributes:
        append: Tokens that extend the text; none only where there is a trie.
        read: Called once for every evaluation that holds wanted places: with those places (`END`,
            or positions in ``trie.wanted``), and their logits, shape ``[places, vocabulary]``,
            which are only valid during the call.
        trie: Continuations of the extended text to look at; they do not become part of it.
        kept: Node of the previous step's trie whose path ``append`` begins with, and which need
            not be evaluated again where it is still there; `END` for none.
        meanwhile: Work that needs no logits, done while they are computed.
        guess: Says how the text may go on; what it gives may be evaluated as a trie is, where that
            costs little, or left out.
    """

    append: Sequence[int]
    read: Callable[[Sequence[int], Logits], None]
    trie: Tree | None = None
    kept: int = END
    meanwhile: Callable[[], None] = field(default=_nothing)
    guess: Callable[[], Tree | None] | None = None


Answer = Generator[Step, None, dict[str, Any]]
