"""A plain classifier on embeddings: logistic regression, where an answer is a choice.

It is the honest baseline of every choice skill: it answers in well under a millisecond, and where
it is as good as a language model there is no reason to run one.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hetagent.errors import InputError, MissingExtraError, ModelError, ModelFileError
from hetagent.files import write_whole_bytes
from hetagent.learn.cluster.embed import Embed, table_bytes, unit, wordllama
from hetagent.learn.select.retrieve import examples_of
from hetagent.learn.select.vectors import embedding_name
from hetagent.models.base import Completion, Request
from hetagent.skill import Skill

__all__ = ["Classifier"]

Array = NDArray[np.float64]

_STRENGTHS = (1.0, 10.0, 100.0)
"""Inverse strengths of regularisation that are tried, scikit-learn's ``C``."""

_FOLDS, _MOST_FOLDED = 3, 2000
_LEAST_PROBABILITY = 1e-6
_STEPS = 2000


class Classifier:
    """Logistic regression on the embedding of the user's turn, as a model.

    It answers requests whose output is a choice of the labels it was trained on, with the
    probability of each. Make one with `fit` or `load`.

    Args:
        weights: Shape ``[labels, dimensions]``.
        bias: Shape ``[labels]``.
        labels: They, in that order.
        embed: What it was trained with.
        name: A short name for tables, traces and messages.
    """

    def __init__(
        self,
        weights: Array,
        bias: Array,
        labels: Sequence[str],
        *,
        embed: Embed = wordllama,
        name: str = "classifier",
    ) -> None:
        self._weights = np.asarray(weights, np.float64)
        self._bias = np.asarray(bias, np.float64)
        self.labels = tuple(labels)
        self._embed = embed
        self._name = name

    @classmethod
    def fit(
        cls,
        skill: Skill[Any, Any],
        examples: Iterable[tuple[Any, Any]],
        *,
        embed: Embed = wordllama,
        seed: int = 0,
        name: str = "classifier",
    ) -> Self:
        """Train one on labelled examples; the strength of its regularisation is cross-validated.

        Args:
            skill: Its output must be a choice. Labels without an example get probability 0.
            examples: Pairs of an input and the right answer as JSON data.
            embed: Texts to vectors.
            seed: Of the folds.
            name: A short name for tables, traces and messages.

        Raises:
            InputError: The output is no choice, or the examples have fewer than two labels.
            MissingExtraError: scikit-learn or WordLlama is not installed.
        """
        if skill.output.form != "choice":
            raise InputError(
                f"{skill.name} does not answer with a choice, so that no classifier can serve it.",
                hint="Classifiers are for Literal, Enum and bool.",
            )
        texts = examples_of(skill, examples)
        labels = tuple(skill.output.labels)
        places = np.array([labels.index(text.answer) for text in texts], int)
        if len(set(places.tolist())) < 2:
            raise InputError(
                f"The {len(texts)} examples of {skill.name} have fewer than two labels.",
                hint="Give examples of each.",
            )
        vectors = unit(embed([text.question for text in texts])).astype(np.float64)
        strength = _best_strength(vectors, places, len(labels), seed=seed)
        weights, bias = _fitted(vectors, places, len(labels), strength)
        return cls(weights, bias, labels, embed=embed, name=name)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, embed: Embed = wordllama) -> Self:
        """Read what `save` wrote.

        Raises:
            ModelFileError: It is missing, corrupt, or was trained with another embedding.
        """
        file = Path(path)
        try:
            content = io.BytesIO(file.read_bytes())
            with np.load(content, allow_pickle=False) as found:
                weights, bias = found["weights"], found["bias"]
                facts = json.loads(found["facts"].tobytes())
            labels, trained = facts["labels"], facts["embedding"]
            if weights.shape[:1] != bias.shape or len(bias) != len(labels):
                raise ValueError("its parts do not fit together")
        except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
            raise ModelFileError(
                f"{file} is no classifier that can be read: {error}.",
                hint="Write it again: hetagent select.",
            ) from error
        if trained != embedding_name(embed):
            raise ModelFileError(
                f"{file} was trained on vectors of {trained}, not of {embedding_name(embed)}.",
                hint="Install that version, or train it again: hetagent select.",
            )
        return cls(weights, bias, labels, embed=embed, name=file.stem)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it to an ``.npz`` file, which is there whole or not at all.

        Raises:
            ModelFileError: It could not be written.
        """
        facts = {"labels": self.labels, "embedding": embedding_name(self._embed)}
        buffer = io.BytesIO()
        np.savez(
            buffer,
            weights=self._weights,
            bias=self._bias,
            facts=np.frombuffer(json.dumps(facts).encode(), np.uint8),
        )
        try:
            return write_whole_bytes(path, buffer.getvalue())
        except OSError as error:
            raise ModelFileError(
                f"{path} cannot be written: {error.strerror or error}.",
                hint="Name another folder, or make room.",
            ) from error

    @property
    def name(self) -> str:
        """A short name for tables, traces and messages."""
        return self._name

    def __repr__(self) -> str:
        return f"Classifier({self._name!r}, {len(self.labels)} labels)"

    @property
    def memory_bytes(self) -> int:
        """Size of its tables, with those of the built-in embedding."""
        embedding = table_bytes() if self._embed is wordllama else 0
        return self._weights.nbytes + self._bias.nbytes + embedding

    def probabilities(self, texts: Sequence[str]) -> Array:
        """The probability of each label for each text, shape ``[texts, labels]``."""
        return _softmax(unit(self._embed(texts)) @ self._weights.T + self._bias)

    async def complete(self, request: Request) -> Completion:
        """Answer a request; see `hetagent.models.base.Model.complete`.

        Raises:
            ModelError: The output is no choice, or one of other labels.
        """
        if set(request.output.labels) != set(self.labels):
            asked = "a choice of other labels" if request.output.labels else "no choice"
            raise ModelError(
                f"{self._name} was trained to choose one of {len(self.labels)} labels, and what "
                f"it is asked for is {asked}.",
                hint="Train it for this skill: hetagent select.",
            )
        began = time.perf_counter()
        (found,) = self.probabilities([request.messages[-1].content])
        best = int(found.argmax())
        return Completion(
            text=self.labels[best],
            model=self._name,
            choices=dict(zip(self.labels, found.tolist(), strict=True)),
            outside=0.0,
            seconds={"decode": time.perf_counter() - began},
        )

    async def price(self, request: Request) -> float | None:
        """Nothing; see `hetagent.models.base.PricedModel`."""
        return 0.0

    def identity(self) -> Mapping[str, str]:
        """What its answers depend on: weights, labels and the embedding."""
        content = hashlib.sha256(json.dumps(self.labels).encode())
        for part in (self._weights, self._bias):
            content.update(np.ascontiguousarray(part).tobytes())
        return {"model": content.hexdigest(), "embedding": embedding_name(self._embed)}


def _best_strength(vectors: Array, places: NDArray[Any], labels: int, *, seed: int) -> float:
    """The inverse strength with the least log loss on folds that were left out."""
    order = np.random.default_rng(seed).permutation(len(places))[:_MOST_FOLDED]
    folds = np.arange(len(order)) % _FOLDS
    losses = dict.fromkeys(_STRENGTHS, 0.0)
    for fold in range(_FOLDS):
        learned, held = order[folds != fold], order[folds == fold]
        if not len(held) or len(set(places[learned].tolist())) < 2:
            continue
        for strength in _STRENGTHS:
            weights, bias = _fitted(vectors[learned], places[learned], labels, strength)
            given = _softmax(vectors[held] @ weights.T + bias)[np.arange(len(held)), places[held]]
            losses[strength] -= float(np.log(np.maximum(given, _LEAST_PROBABILITY)).sum())
    return min(_STRENGTHS, key=lambda one: losses[one])


def _fitted(
    vectors: Array, places: NDArray[Any], labels: int, strength: float
) -> tuple[Array, Array]:
    """Weights and bias of all labels; those without an example are never chosen."""
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise MissingExtraError("scikit-learn", extra="learn") from error
    model = LogisticRegression(C=strength, max_iter=_STEPS).fit(vectors, places)
    weights, bias = np.zeros((labels, vectors.shape[1])), np.full(labels, -np.inf)
    if len(model.classes_) == 2:
        # Of two labels scikit-learn keeps the second one's odds against the first.
        weights[model.classes_[1]] = model.coef_[0]
        bias[model.classes_] = [0.0, model.intercept_[0]]
    else:
        weights[model.classes_], bias[model.classes_] = model.coef_, model.intercept_
    return weights, bias


def _softmax(scores: Array) -> Array:
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))
