"""What a conversion is compared with, on the same data: other models, and plain classifiers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from hetagent.learn.evaluate import AT_ONCE, outcomes_of
from hetagent.learn.select.classifier import Classifier
from hetagent.learn.select.retrieve import Retrieved, examples_of
from hetagent.models.base import Model
from hetagent.models.llamacpp import LlamaCpp
from hetagent.orchestrator import Orchestrator
from hetagent.skill import Skill

SMALL, LARGE = "smollm2-135m-instruct", "qwen2.5-coder-1.5b-instruct"
SHOWN = 5

Pairs = Sequence[tuple[Any, Any]]
Score = Callable[[Sequence[Any], Sequence[Any]], Mapping[str, float]]


@dataclass(frozen=True)
class Baseline:
    """How another way does.

    Attributes:
        model: Its name.
        n: Rows it was asked.
        scores: What came of it.
        calls_per_second: With many rows at once.
    """

    model: str
    n: int
    scores: Mapping[str, float]
    calls_per_second: float
    notes: Mapping[str, Any] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        facts = asdict(self)
        return {
            "model": facts["model"],
            "n": facts["n"],
            **facts["scores"],
            "calls_per_s": facts["calls_per_second"],
            **facts["notes"],
        }


def of_choices(
    skill: Skill[Any, Any], train: Pairs, rows: Pairs, *, count: int
) -> Iterator[Baseline]:
    """Of a choice: share right."""

    def share(values: Sequence[Any], labels: Sequence[Any]) -> dict[str, float]:
        return {"right": sum(map(_equal, values, labels)) / len(labels)}

    yield from _models(skill, train, rows[:count], score=share)
    yield _measured(skill, Classifier.fit(skill, train), rows, name="embeddings", score=share)
    yield _tfidf(train, rows)


def of_records(
    skill: Skill[Any, Any], train: Pairs, rows: Pairs, *, count: int, score: Score
) -> Iterator[Baseline]:
    """Of records of fields, scored by the data set's own measure."""

    def by_measure(values: Sequence[Any], labels: Sequence[Any]) -> Mapping[str, float]:
        return score([one if isinstance(one, Mapping) else {} for one in values], labels)

    yield from _models(skill, train, rows[:count], score=by_measure)


def _models(
    skill: Skill[Any, Any], train: Pairs, rows: Pairs, *, score: Score
) -> Iterator[Baseline]:
    """The small model and the large one, as they are and with retrieved examples.

    Their prompt says what answers look like, which the tuned one has learned.
    """
    told = described(skill)
    examples = examples_of(told, train)
    for name in (SMALL, LARGE):
        labels = len(skill.output.labels)
        with LlamaCpp(name, all_labels=not labels or labels <= 40) as model:
            yield _measured(told, model, rows, name=name, score=score)
            shown = Retrieved(model, examples, k=SHOWN)
            yield _measured(told, shown, rows, name=f"{name}, {SHOWN} retrieved", score=score)


def described(skill: Skill[Any, Any]) -> Skill[Any, Any]:
    """The same skill, its prompt saying what answers look like."""
    return Skill(
        skill.__wrapped__,  # type: ignore[attr-defined]
        output=skill.output,
        instructions=skill.instructions,
        max_tokens=skill.max_tokens,
    )


def _measured(
    skill: Skill[Any, Any], model: Model, rows: Pairs, *, name: str, score: Score
) -> Baseline:
    agent = Orchestrator(model, policy=0.0, progress=False, concurrency=AT_ONCE)
    outcomes_of(agent, skill, [rows[0][0]])
    began = time.perf_counter()
    outcomes = outcomes_of(agent, skill, [row for row, _ in rows])
    seconds = time.perf_counter() - began
    scores = score([one.value for one in outcomes], [label for _, label in rows])
    return Baseline(name, len(rows), scores, len(rows) / seconds)


def _tfidf(train: Pairs, rows: Pairs) -> Baseline:
    """Word and character n-grams, and logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union

    model = make_pipeline(
        make_union(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
            TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
        ),
        LogisticRegression(C=30, max_iter=300),
    )
    began = time.perf_counter()
    model.fit([_text(row) for row, _ in train], [label for _, label in train])
    minutes = (time.perf_counter() - began) / 60
    began = time.perf_counter()
    values = model.predict([_text(row) for row, _ in rows])
    seconds = time.perf_counter() - began
    right = sum(map(_equal, values, [label for _, label in rows])) / len(rows)
    notes = {"training_minutes": minutes}
    return Baseline("TF-IDF, logistic", len(rows), {"right": right}, len(rows) / seconds, notes)


def _text(row: Mapping[str, Any]) -> str:
    return " ".join(map(str, row.values()))


def _equal(value: Any, label: Any) -> bool:
    return bool(value == label)
