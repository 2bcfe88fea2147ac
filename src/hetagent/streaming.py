"""From tokens, while they are written, to complete fields with their raw confidence."""

from __future__ import annotations

from typing import Any

from hetagent.confidence import FieldScore, Ledger, Score, free_tokens, joint
from hetagent.errors import OutputError
from hetagent.models.base import Token
from hetagent.scanner import Scanner

__all__ = ["FieldReader"]


class FieldReader:
    """Reads the fields of one JSON answer as they become complete.

    Their confidences are those that `hetagent.confidence.score` reads from the whole completion:
    all tokens of a field are there once its last byte is, or for a number the byte behind it.

    Args:
        wholes: As in `hetagent.schema.OutputType`.

    Attributes:
        fields: Those that are complete, by path.
    """

    def __init__(self, wholes: tuple[str, ...] = ()) -> None:
        self._wholes = wholes
        self.fields: dict[str, FieldScore] = {}
        self._scanner = Scanner()
        self._ledger = Ledger()
        self._free: list[Token] = []
        self._offset = 0
        self._failed = False

    def feed(self, token: Token) -> list[tuple[str, FieldScore]]:
        """Read the next token.

        Returns:
            The fields it completes, by path, in order of completion. None any more once the text
            turned out not to be JSON.
        """
        for within, free in free_tokens([token]):
            self._free.append(free)
            self._ledger.add(self._offset + within, free)
        self._offset += len(token.text)
        if self._failed:
            return []
        try:
            completed = self._scanner.feed(token.text)
        except OutputError:
            # Said again, and better, where the whole answer is validated.
            self._failed = True
            return []
        found = []
        for span in completed:
            if self._wholes and span.path not in ("", *self._wholes):
                continue
            self._ledger.claim(span)
            # Lists decide their length between their items; such a decision is a field of its own.
            if span.path and (span.is_leaf or self._wholes or self._ledger.decides(span.path)):
                found.append((span.path, self._ledger.score(span)))
        self.fields.update(found)
        return found

    @property
    def partial(self) -> Any:
        """The answer so far as JSON data; see `hetagent.scanner.Scanner.partial`."""
        return self._scanner.partial

    @property
    def score(self) -> Score:
        """Of the answer so far. Its confidence can only fall as the answer goes on."""
        whole = joint(self._free)
        return Score(
            whole.confidence,
            whole.outside,
            dict(self.fields),
            least=whole.least,
            tokens=whole.tokens,
        )
