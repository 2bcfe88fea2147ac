"""Groups of calls: by form and template first, by meaning where there is no template."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from hetagent.learn.cluster.actions import Output, answered_alike, observe
from hetagent.learn.cluster.embed import Embed, Vectors, cohesion, mean_direction, unit
from hetagent.learn.cluster.forms import ANY, Form, Forms
from hetagent.learn.cluster.read import Call, Hashes
from hetagent.learn.cluster.slots import Template
from hetagent.learn.cluster.templates import Rows, mine

__all__ = ["LEAST", "By", "Group", "Grouping", "Mean", "fewest_of"]

By = Literal["template", "form", "meaning"]

LEAST = 20
"""Calls that make a workload, of many; and always where meaning alone tells them."""
# Of few calls this share, but so many at least; and of very many this share.
_FEWEST, _SHARE, _MANY_SHARE = 5, 0.04, 0.002
# Calls of a group that are looked at closely.
_SAMPLE = 400
# Dimensions that are left for the density to be measured in.
_DIMENSIONS = 20
_MOST_BY_MEANING = 20_000
# Cohesion that free text needs, of what is asked and of what is answered, where no template of this
# many words says what is to be done; and share of calls that go on with a conversation.
_COHESIVE = 0.5
_FEW_WORDS = 12
_TALKS = 0.3
# Cosine between the mean meanings of free answers that are given to one task.
_SAID_ALIKE = 0.6
# Share of a group's members that lie within its radius.
_WITHIN = 95
_NO_RUNS = np.empty(0, np.uint64)


@dataclass(frozen=True, slots=True)
class Mean:
    """Mean direction of some texts' embeddings.

    Attributes:
        vector: Mean of the unit vectors, shape ``(dimensions,)``.
        count: Of how many.
    """

    vector: Vectors
    count: int

    def near(self, other: Mean) -> float:
        """Cosine to another, corrected for what both lose by being means of few texts.

        The squared length of a mean of n unit vectors exceeds that of its expectation by
        (1 - R²) / n.
        """
        lengths = [one.squared() for one in (self, other)]
        if min(lengths) <= 0:
            return 0.0
        cosine = float(self.vector @ other.vector) / float(np.sqrt(lengths[0] * lengths[1]))
        return min(1.0, cosine)

    def squared(self) -> float:
        """Squared length of the expectation, without the excess of few texts; may be negative."""
        found = float(self.vector @ self.vector)
        return found - (1 - found) / max(1, self.count)


@dataclass(slots=True)
class Group:
    """Calls that look alike.

    Attributes:
        rows: Which calls.
        form: Tools and schema.
        by: What holds it together.
        fixed: Hashes of the template's runs; empty where there is none.
        template: Fixed text and slots.
        output: What the calls answer.
        asked: Mean of what is in the slots.
        answered: Mean of the answers.
        worded: Embedding of the fixed text.
        asked_cohesion: How alike what is in the slots is.
        answered_cohesion: How alike the answers are.
        talks: Share of the calls that go on with a conversation.
        centre: Of a group by meaning: the unit vector in its middle.
        radius: Cosine to it that its members have.
        given: The workload that its calls were said to be of.
    """

    rows: Rows
    form: Form
    by: By
    fixed: Hashes
    template: Template
    output: Output
    asked: Mean
    answered: Mean
    worded: Vectors
    asked_cohesion: float = 0.0
    answered_cohesion: float = 0.0
    talks: float = 0.0
    centre: Vectors = field(default_factory=lambda: np.empty(0, np.float32))
    radius: float = 1.0
    given: str | None = None

    @property
    def is_told(self) -> bool:
        """Whether its instructions, or the form of its answers, say what its calls do."""
        instructed = self.template.anchored and self.template.words >= _FEW_WORDS
        return instructed or self.output.kind != "text"

    @property
    def is_task(self) -> bool:
        """Whether its calls do one thing, rather than anything that somebody may ask for."""
        if self.given is not None or self.is_told:
            return True
        if self.talks >= _TALKS:
            return False
        return min(self.asked_cohesion, self.answered_cohesion) >= _COHESIVE


@dataclass(frozen=True, slots=True)
class Grouping:
    """Groups calls.

    Attributes:
        calls: All calls.
        prompts: Hashes of the runs of each one's words, in order.
        heads: How many of each one's first words are instructions.
        forms: The forms that recur.
        embed: Texts to vectors.
        least: Calls that make a group.
        least_alike: Calls that make a group where meaning alone holds it together.
    """

    calls: Sequence[Call]
    prompts: Sequence[Hashes]
    heads: Sequence[int]
    forms: Forms
    embed: Embed
    least: int
    least_alike: int

    def groups(self, rows: Rows, *, given: str | None = None) -> Iterator[Group]:
        """Group some of the calls.

        Args:
            rows: Which.
            given: The workload that they were said to be of.
        """
        by_form: dict[Form, list[int]] = {}
        for row in rows:
            by_form.setdefault(self.forms.of_call(self.calls[row]), []).append(int(row))
        for form, members in by_form.items():
            if len(members) >= self.least:
                for group in self._of_form(np.array(members), form):
                    group.given = given
                    if group.is_task:
                        yield group

    def _of_form(self, rows: Rows, form: Form) -> Iterator[Group]:
        rest: list[int] = []

        def one_task(some: Rows, others: Rows) -> bool:
            return self._one_task(self._some(rows[some]), self._some(rows[others]))

        prompts, heads = [self.prompts[row] for row in rows], [self.heads[row] for row in rows]
        for leaf in mine(prompts, least=self.least, heads=heads, one_task=one_task):
            inside = rows[leaf.rows]
            if len(leaf.fixed) and len(inside) >= self.least:
                found = self._group(inside, form, "template", leaf.fixed)
                # Likeness of a few is chance.
                if found.is_told or (found.is_task and len(inside) >= self.least_alike):
                    yield found
                    continue
            rest += inside.tolist()
        if len(rest) >= self.least:
            yield from self._without_template(np.array(rest), form)

    def _some(self, rows: Rows) -> list[Call]:
        return [self.calls[row] for row in rows[:: max(1, len(rows) // _SAMPLE)][:_SAMPLE]]

    def _one_task(self, some: Sequence[Call], others: Sequence[Call]) -> bool:
        """Whether calls are told apart only by what is in their slots, and are answered alike."""
        texts = [call.text for call in [*some[:: max(1, len(some) // 8)][:8], *others]]
        if not Template.of(texts).labelled or not answered_alike(some, others):
            return False
        answers = [[call.answer for call in group if call.answer] for group in (some, others)]
        known = observe(others)
        # A word or two is what the input makes it; of longer answers the meaning says more.
        if known.kind != "text" or known.words <= _FEW_WORDS or not all(answers):
            return True
        first, second = (Mean(mean_direction(self.embed(one)), len(one)) for one in answers)
        return first.near(second) >= _SAID_ALIKE

    def _without_template(self, rows: Rows, form: Form) -> Iterator[Group]:
        """Groups of the calls of one form that share no text."""
        if form[0] or form[1] not in ("", "json", ANY):
            # What is asked for already says what is done: a tool is called, a record is filled.
            found = self._group(rows, form, "form", _NO_RUNS)
            if found.output.kind != "text":
                yield found
            return
        if len(rows) < self.least_alike:
            return
        for members, centre, radius in _dense(self.calls, rows, self.embed, self.least_alike):
            found = self._group(members, form, "meaning", _NO_RUNS)
            found.centre, found.radius = centre, radius
            yield found

    def _typical(self, rows: Rows, fixed: Hashes) -> str:
        """A prompt that has as many of the fixed runs as any of the first few."""
        some: list[int] = rows[:10].tolist()
        best = max(some, key=lambda row: int(np.isin(fixed, self.prompts[row]).sum()))
        return self.calls[best].text

    def _group(self, rows: Rows, form: Form, by: By, fixed: Hashes) -> Group:
        some = self._some(rows)
        template = Template(("", ""))
        asked = [call.said for call in some]
        if len(fixed):
            template = Template.of([self._typical(rows, fixed), *[call.text for call in some]])
            found = [template.values(call.text) for call in some]
            asked = [" ".join(one) for one in found if one is not None] or asked
        answers = [one.answer for one in some if one.answer] or [
            f"{one.called} {one.arguments}" for one in some if one.called
        ]
        first, second = self.embed(asked), self.embed(answers or [""])
        return Group(
            rows,
            form,
            by,
            fixed,
            template,
            observe([self.calls[row] for row in rows]),
            Mean(mean_direction(first), len(asked)),
            Mean(mean_direction(second), len(answers)),
            unit(self.embed([template.text or "-"]))[0],
            cohesion(first),
            cohesion(second),
            sum(call.turns > 0 for call in some) / len(some),
        )


def fewest_of(calls: int) -> int:
    """Calls that make a workload, of so many that are searched."""
    few = max(_FEWEST, math.ceil(_SHARE * calls))
    return max(min(LEAST, few), round(_MANY_SHARE * calls))


def _dense(
    calls: Sequence[Call], rows: Rows, embed: Embed, least: int
) -> Iterator[tuple[Rows, Vectors, float]]:
    """Where calls lie densely in meaning: the calls, their middle, and how far they reach."""
    from sklearn.cluster import HDBSCAN
    from sklearn.decomposition import PCA

    rows = rows[:: max(1, -(-len(rows) // _MOST_BY_MEANING))]
    vectors = unit(embed([calls[row].said for row in rows]))
    size = min(_DIMENSIONS, *vectors.shape)
    flat = PCA(size, random_state=0).fit_transform(vectors)
    # A single group may be all there is: it is judged by its cohesion afterwards.
    labels = HDBSCAN(
        min_cluster_size=least,
        min_samples=min(10, least),
        allow_single_cluster=len(rows) < 2 * least,
        copy=True,
    ).fit_predict(flat)
    for label in range(int(labels.max()) + 1):
        inside = labels == label
        yield rows[inside], *_middle(vectors[inside])


def _middle(vectors: Vectors) -> tuple[Vectors, float]:
    centre = unit(mean_direction(vectors))
    return centre, float(np.percentile(vectors @ centre, 100 - _WITHIN))
