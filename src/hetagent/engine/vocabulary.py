"""What a local model's tokeniser must offer to be prompted and constrained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

__all__ = ["Vocabulary", "looks_special"]


class Vocabulary(Protocol):
    """A model's tokens, and the two ways to use them.

    Attributes:
        size: How many tokens there are.
        specials: Ids of the tokens that control a conversation, by their text.
        bos: Id of the token that must open every prompt, or ``None``.
        end: Id of the token that ends a text where the chat template names no other.
    """

    size: int
    specials: Mapping[str, int]
    bos: int | None
    end: int

    def encode(self, text: str) -> list[int]:
        """Tokenise plain text; nothing in it becomes a control token."""

    def piece(self, token: int) -> bytes:
        """The bytes a token stands for; empty for control tokens."""

    def matcher_tokenizer(self, end_tokens: Sequence[int]) -> Any:
        """An ``llguidance.LLTokenizer`` of these tokens, with these ending an answer."""


def looks_special(text: str) -> bool:
    """Whether a token that users or trainers added is written like a control token."""
    return len(text) > 2 and text[0] in "<[" and text[-1] in ">]"
