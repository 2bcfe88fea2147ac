"""typed-gguf 0.3.0: its confidence in a multiple-choice answer, on any GGUF model.

Its confidence in one of K labels is (p - 1/K) / (1 - 1/K), p being the greatest of the
probabilities of the labels' tokens, rescaled to sum to one. It has no rule for an accepted error:
below a threshold of 0.5 it escalates, unless the caller gives another.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks.escalation.peers.worker import VENVS, Peer

__all__ = ["Decision", "TypedGguf", "multiple_choice"]

LETTERS = "ABCD"
INSTRUCTIONS = "Which answer to the question is correct?"


@dataclass(frozen=True)
class Decision:
    """What typed-gguf answers to one question.

    Attributes:
        choice: The label.
        confidence: In [0, 1].
        probabilities: Of each label; they sum to one.
        coverage: How much of the model's whole distribution is on the labels.
    """

    choice: str
    confidence: float
    probabilities: dict[str, float]
    coverage: float


class TypedGguf:
    """typed-gguf itself, in its own environment, with the weights loaded once.

    Args:
        model: The GGUF file.
        threads: For llama.cpp.
        context: Tokens that fit; it makes a context for every decision.
        prompt: Options of its prompt (``cue``, ``chat_format``); its defaults where not given.
        venvs: Folder with the virtual environments.
    """

    name = "typed-gguf"

    def __init__(
        self,
        model: Path,
        *,
        threads: int = 2,
        context: int = 2048,
        prompt: dict[str, str] | None = None,
        venvs: Path = VENVS,
    ) -> None:
        options = {"model": str(model), "threads": threads, "context": context}
        self._peer = Peer(
            "typed-gguf",
            module="typed_gguf",
            options=options | {"prompt": prompt or {}},
            venvs=venvs,
        )
        self.facts = self._peer.facts

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._peer.close()

    def decide(self, questions: list[dict[str, Any]]) -> list[Decision]:
        """The decision for each question, as `multiple_choice` writes them."""
        reply = self._peer.ask("decide", questions=questions)
        return [Decision(**answer) for answer in reply["answers"]]


def multiple_choice(prompt: str) -> dict[str, Any]:
    """A prompt with options A. to D., one at the beginning of each line, as typed-gguf asks it.

    Raises:
        ValueError: The four options are not there in their order.
    """
    text = re.sub(r"\n?Answer:\s*\Z", "", prompt)
    found = re.search(
        r"\A(.*)^A\. (.*?)\nB\. (.*?)\nC\. (.*?)\nD\. (.*)\Z", text, re.DOTALL | re.MULTILINE
    )
    if found is None:
        raise ValueError(f"no options A to D in {prompt!r}")
    question, *options = found.groups()
    return {
        "state": question.strip(),
        "instructions": INSTRUCTIONS,
        "criteria": dict(zip(LETTERS, options, strict=True)),
    }
