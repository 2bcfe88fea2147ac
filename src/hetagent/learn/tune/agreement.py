"""Whether llama.cpp computes with an adapter what PyTorch trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hetagent.engine.raw import raw_logits
from hetagent.engine.speed import usable_cpus
from hetagent.learn.tune.batches import Text, collated
from hetagent.learn.tune.llama import LlamaNetwork

__all__ = ["Agreement", "agreement"]

# Of the error without an adapter: a wrong row order or scale makes it ten times as large.
_TOLERATED = 2.0

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far llama.cpp's logits are from PyTorch's on the same prompts.

    Differences are root mean squares over prompts and vocabulary, of logits less their mean, as a
    share of the logits' own root mean square.

    Attributes:
        prompts: How many were compared.
        base: Difference without the adapter: that of quantisation and arithmetic alone.
        adapted: Difference with it.
        same: Share of prompts with the same most probable token, with the adapter.
        probability: Largest difference of any token's probability, with the adapter.
    """

    prompts: int
    base: float
    adapted: float
    same: float
    probability: float

    @property
    def holds(self) -> bool:
        """Whether the adapter adds no error of its own."""
        return self.adapted <= max(_TOLERATED * self.base, 0.02)

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return {**asdict(self), "holds": self.holds}


def agreement(
    network: LlamaNetwork,
    texts: Sequence[Text],
    *,
    model: Path,
    adapter: Path,
    fixed: int,
    threads: int | None = None,
) -> Agreement:
    """Compare a network with low-rank terms with their file in llama.cpp.

    Args:
        network: As it was trained.
        texts: Whose prompts are looked at; nothing was trained on them.
        model: The file that answers.
        adapter: The file of the low-rank terms.
        fixed: Tokens that all prompts begin with.
        threads: llama.cpp's; all by default.
    """
    prompts = [list(one.prompt) for one in texts]
    cores = threads or usable_cpus()
    bare = _difference(
        raw_logits(model, prompts, threads=cores), _logits(network, texts, fixed, bare=True)
    )
    theirs = raw_logits(model, prompts, adapter=adapter, threads=cores)
    ours = _logits(network, texts, fixed)
    return Agreement(
        prompts=len(texts),
        base=bare,
        adapted=_difference(theirs, ours),
        same=float(np.mean([a.argmax() == b.argmax() for a, b in zip(theirs, ours, strict=True)])),
        probability=max(
            float(np.abs(_softmax(a) - _softmax(b)).max())
            for a, b in zip(theirs, ours, strict=True)
        ),
    )


def _logits(
    network: LlamaNetwork, texts: Sequence[Text], fixed: int, *, bare: bool = False
) -> list[Array]:
    """PyTorch's logits after each prompt."""
    first = [Text(one.prompt, one.answer[:1], (True,)) for one in texts]
    with torch.no_grad(), network.without_factors(bare):
        found = [network.predictions(collated([one], fixed=fixed))[0] for one in first]
    return [one.float().cpu().numpy() for one in found]


def _difference(theirs: Sequence[Array], ours: Sequence[Array]) -> float:
    left, right = (
        np.stack([one.astype(np.float64) - one.mean() for one in some]) for some in (theirs, ours)
    )
    return float(np.sqrt(np.mean((left - right) ** 2) / np.mean(left**2)))


def _softmax(logits: Array) -> Array:
    weights = np.exp(logits - logits.max())
    found: Array = weights / weights.sum()
    return found
