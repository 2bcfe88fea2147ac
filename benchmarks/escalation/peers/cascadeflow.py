"""cascadeflow 1.2.0: a confidence from the words of query and answer, and fixed thresholds.

Its confidence, where token log probabilities are known, is
0.5 L + 0.2 S + 0.2 A + 0.1 (1 - D), with L a mix of their geometric, harmonic and least
probabilities, S from hedging words, sentence lengths and digits in the answer, A from words that
query and answer share, D from words in the query; without them 0.4 S + 0.4 A + 0.2 (1 - D), times
1.12 where S and A are high enough. It is cut to at most 0.4 where A < 0.25.
Its quality score is the sum of the weights of seven checks (confidence 0.30, alignment 0.15,
length 0.13, content 0.12, hedging 0.12, specificity 0.10, no patterns of hallucination 0.08), so it
has few values. It accepts where all checks pass, with the thresholds in its source. It takes no
labels, no alpha and no delta, so there is nothing to calibrate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self

from benchmarks.escalation.peers.worker import VENVS, Peer

__all__ = ["Cascadeflow", "Draft", "Judged"]

AT_ONCE = 200


@dataclass(frozen=True)
class Draft:
    """An answer to be judged.

    Attributes:
        query: What was asked, in words.
        answer: What was answered, in words.
        logprobs: Natural logarithms of the answer's tokens' probabilities, where known.
        confidence: Takes the place of cascadeflow's own, where given.
    """

    query: str
    answer: str
    logprobs: tuple[float, ...] | None = None
    confidence: float | None = None


@dataclass(frozen=True)
class Judged:
    """What cascadeflow makes of a draft.

    Attributes:
        confidence: In [0, 1]; what its cascade compares with a threshold.
        quality: In [0, 1]; the weights of the checks passed.
        accepted: Whether its cascade serves the draft.
        complexity: What it takes the query for: trivial, simple, moderate, hard or expert.
    """

    confidence: float
    quality: float
    accepted: bool
    complexity: str


class Cascadeflow:
    """Its own estimator and the acceptance of its cascade, in its own environment.

    Args:
        provider: Whose calibration constants are used; "vllm" has the multiplier 1 and takes log
            probabilities, as any server of local models with an OpenAI-compatible endpoint.
        venvs: Folder with the virtual environments.
    """

    name = "cascadeflow"

    def __init__(self, *, provider: str = "vllm", venvs: Path = VENVS) -> None:
        self._peer = Peer(
            "cascadeflow", module="cascadeflow", options={"provider": provider}, venvs=venvs
        )
        self.facts = self._peer.facts

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._peer.close()

    def judge(self, drafts: Iterable[Draft]) -> Iterator[Judged]:
        """Each draft judged on its own, in order."""
        rest = iter(drafts)
        while some := list(islice(rest, AT_ONCE)):
            reply = self._peer.ask("score", answers=[command(draft) for draft in some])
            yield from (Judged(**found) for found in reply["scores"])


def command(draft: Draft) -> dict[str, Any]:
    return {
        "query": draft.query,
        "answer": draft.answer,
        "confidence": draft.confidence,
        "logprobs": None if draft.logprobs is None else list(draft.logprobs),
    }
