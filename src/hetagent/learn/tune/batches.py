"""Texts to train on, and batches of them: of about the same length, in a seed's order."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hetagent.errors import InputError

__all__ = ["Batch", "Text", "batched", "collated"]

# Batches are cut of so many at a time, sorted by length within them.
_WINDOW = 16


@dataclass(frozen=True, slots=True)
class Text:
    """Tokens of one text to learn.

    Attributes:
        prompt: Up to where the answer begins.
        answer: What is to be learned, end of turn included.
        free: Of each of the answer's tokens, whether the model chooses it; only these are learned.
        weight: How much it weighs.
    """

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    free: tuple[bool, ...]
    weight: float = 1.0

    def __len__(self) -> int:
        """Tokens that have to be evaluated: up to where the last free one is predicted."""
        return len(self.prompt) + self.needed

    @property
    def needed(self) -> int:
        """How many of the answer's tokens come before the last free one."""
        return max((place for place, free in enumerate(self.free) if free), default=0)


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts that begin alike, as tensors.

    Attributes:
        fixed: Tokens that all begin with, ``(fixed)``.
        tokens: What follows in each up to where its last free token is predicted, padded at the
            end, ``(texts, length)``.
        places: Where in the flattened ``tokens`` the free tokens are predicted, ``(predictions)``.
        targets: The tokens predicted there, ``(predictions)``.
        weights: How much each prediction weighs, ``(predictions)``.
        texts: Which text each prediction is of, ``(predictions)``.
    """

    fixed: Tensor
    tokens: Tensor
    places: Tensor
    targets: Tensor
    weights: Tensor
    texts: Tensor


def batched(texts: Sequence[Text], *, size: int, tokens: int, seed: int) -> Iterator[list[Text]]:
    """Every text once, in random batches of about the same length.

    Args:
        texts: What is cut into batches.
        size: Most texts of a batch.
        tokens: Most tokens of a batch, padding included; a longer text is a batch of its own.
        seed: Of the order.
    """
    order = random.Random(seed)
    shuffled = order.sample(texts, len(texts))
    batches = []
    for start in range(0, len(shuffled), _WINDOW * size):
        near = sorted(shuffled[start : start + _WINDOW * size], key=len)
        batch: list[Text] = []
        for text in near:
            if batch and (len(batch) == size or (len(batch) + 1) * len(text) > tokens):
                batches.append(batch)
                batch = []
            batch.append(text)
        batches.append(batch)
    order.shuffle(batches)
    yield from batches


def collated(texts: Sequence[Text], *, fixed: int) -> Batch:
    """A batch of texts.

    Args:
        texts: At least one.
        fixed: How many tokens they all begin with.

    Raises:
        InputError: They do not.
    """
    start = texts[0].prompt[:fixed]
    if any(one.prompt[:fixed] != start or len(one.prompt) <= fixed for one in texts):
        raise InputError(
            "Texts of one batch begin differently.", hint="Give the length that they share."
        )
    rows = [[*one.prompt[fixed:], *one.answer[: one.needed]] for one in texts]
    length = max(map(len, rows))
    tokens = torch.zeros(len(rows), length, dtype=torch.long)
    places: list[int] = []
    targets: list[int] = []
    weights: list[float] = []
    numbers: list[int] = []
    for number, (one, row) in enumerate(zip(texts, rows, strict=True)):
        tokens[number, : len(row)] = torch.tensor(row)
        first = number * length + len(one.prompt) - fixed - 1
        chosen = [place for place, free in enumerate(one.free) if free]
        places += [first + place for place in chosen]
        targets += [one.answer[place] for place in chosen]
        weights += [one.weight] * len(chosen)
        numbers += [number] * len(chosen)
    return Batch(
        torch.tensor(start, dtype=torch.long),
        tokens,
        torch.tensor(places),
        torch.tensor(targets),
        torch.tensor(weights),
        torch.tensor(numbers),
    )
