"""What a workflow would have done with every choice between the SLM's and the LLM's answers.

A workflow is a function that calls skills. Whether a step's answer is accepted depends on nothing
but its score and the skill's threshold, so that for one example all that can happen is a finite
set of replays: where both models answer alike they stay together, and where they differ the
function goes on with one answer or the other. Each replay is what happens for a box of thresholds:
above the scores of the steps that it escalates, not above those of the steps that it accepts. The
boxes of one example do not overlap and leave nothing out, so that any thresholds can be tried on
any number of examples without asking a model again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from hetagent.calibrate.calibrator import Calibrator
from hetagent.calibrate.evidence_table import EvidenceTable
from hetagent.calibrate.measures import Floats
from hetagent.calibrate.workflow_certificate import ACCEPT_ALL
from hetagent.evidence import Evidence

__all__ = ["Forest", "Replay", "Results", "Run", "ScoredForest", "Step", "sums"]

_NOTHING = Evidence(0.0)
_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a skill in a replay.

    Attributes:
        request: Number of what was asked, within the example: the same question is asked of the
            same skill only once.
        skill: Its name.
        evidence: Of the SLM's answer; ``None`` where it has no valid one, so that it escalates.
        agrees: Whether the SLM's answer is the LLM's, so that nothing hangs on who gives it.
        accepted: Whether this replay goes on with the SLM's answer; where both agree it stands for
            either.
    """

    request: int
    skill: str
    evidence: Evidence | None
    agrees: bool
    accepted: bool


@dataclass(frozen=True, slots=True)
class Replay:
    """One way that the function can go.

    Attributes:
        steps: What it asks, in order.
        right: Whether it ends in the right value. One that raises an error, or that was not
            replayed, counts as wrong.
    """

    steps: tuple[Step, ...]
    right: bool

    @property
    def accepted(self) -> frozenset[int]:
        """Requests whose answers are the SLM's where the LLM's would be another."""
        return frozenset(s.request for s in self.steps if s.accepted and not s.agrees)


Run: TypeAlias = tuple[Replay, ...]
"""All replays of one example; the first has the LLM's answers throughout."""


@dataclass(frozen=True, slots=True)
class Results:
    """What J vectors of thresholds would do on R examples.

    Attributes:
        accepted: Whether an answer of the SLM's is accepted at any step; booleans of shape (J, R).
        wrong: Whether one is, and the final value is wrong; likewise.
        escalated: Price of the steps that escalate, where each skill has its own; shape (J, R).
    """

    accepted: Any
    wrong: Any
    escalated: Floats


@dataclass(frozen=True, slots=True)
class Forest:
    """The replays of many examples, as arrays.

    Attributes:
        skills: Names, in the order of a threshold vector.
        right: Of each of L replays, those of one example together; of shape (L,).
        starts: First replay of each of R examples, and L; of shape (R + 1,).
        first_steps: First step of each replay, and S; of shape (L + 1,).
        skill: Number of the skill of each of S steps; of shape (S,).
        usable: Whether there is evidence; of shape (S,).
        decided: -1 where the step must escalate for its replay, 1 where it must be accepted,
            0 where either will do; of shape (S,).
        harmless: Of steps of each first replay: whether the final value is right where the SLM's
            answer is taken at this step alone; of shape (S,).
        agrees: Whether the SLM's answer is the LLM's; of shape (S,).
        on_trunk: Whether a step is of a first replay; of shape (S,).
        table: Evidence of each step.
    """

    skills: tuple[str, ...]
    right: Any
    starts: Any
    first_steps: Any
    skill: Any
    usable: Any
    decided: Any
    harmless: Any
    agrees: Any
    on_trunk: Any
    table: EvidenceTable

    @classmethod
    def of(cls, runs: Sequence[Run], *, skills: Sequence[str] | None = None) -> Forest:
        """Of the replays of each example.

        Args:
            runs: One for each example.
            skills: Names in order; by default all that occur, in the order in which they do.
        """
        replays = [replay for run in runs for replay in run]
        steps = [step for replay in replays for step in replay.steps]
        names = tuple(skills or dict.fromkeys(step.skill for step in steps))
        number = {name: index for index, name in enumerate(names)}
        harmless, trunk = [], []
        for run in runs:
            alone = {replay.accepted: replay.right for replay in run}
            for replay in run:
                for step in replay.steps:
                    only = frozenset() if step.agrees else frozenset({step.request})
                    harmless.append(alone.get(only, False))
                    trunk.append(replay is run[0])
        return cls(
            names,
            np.array([replay.right for replay in replays], dtype=bool),
            np.cumsum([0, *map(len, runs)]),
            np.cumsum([0, *(len(replay.steps) for replay in replays)]),
            np.array([number[step.skill] for step in steps], dtype=int),
            np.array([step.evidence is not None for step in steps], dtype=bool),
            np.array([_decided(step) for step in steps], dtype=int),
            np.array(harmless, dtype=bool),
            np.array([step.agrees for step in steps], dtype=bool),
            np.array(trunk, dtype=bool),
            EvidenceTable.of([step.evidence or _NOTHING for step in steps]),
        )

    def __len__(self) -> int:
        return len(self.starts) - 1

    def of_skill(self, number: int) -> Any:
        """Which steps of first replays are of a skill, with evidence; of shape (S,)."""
        return self.on_trunk & self.usable & (self.skill == number)

    def take(self, rows: Any) -> Forest:
        """Some examples, by their numbers; repeated where a number is."""
        rows = np.asarray(rows, dtype=int)
        replays, starts = _ranges(self.starts, rows)
        steps, first_steps = _ranges(self.first_steps, replays)
        return Forest(
            self.skills,
            self.right[replays],
            starts,
            first_steps,
            self.skill[steps],
            self.usable[steps],
            self.decided[steps],
            self.harmless[steps],
            self.agrees[steps],
            self.on_trunk[steps],
            self.table.take(steps),
        )

    def scored(self, calibrators: Mapping[str, Calibrator]) -> ScoredForest:
        """With the scores of calibrators; skills without one escalate."""
        scores = np.full(len(self.skill), -np.inf)
        for index, name in enumerate(self.skills):
            if name in calibrators:
                rows = np.nonzero((self.skill == index) & self.usable)[0]
                scores[rows] = self.table.take(rows).scores(calibrators[name])
        return ScoredForest.of(self, scores)


@dataclass(frozen=True, slots=True)
class ScoredForest:
    """A forest of which each step has a score.

    Attributes:
        forest: The replays.
        scores: Of each step; minus infinity where it always escalates; of shape (S,).
        above: A replay is what happens for thresholds above these, of shape (L, k),
        upto: and not above these; of shape (L, k).
    """

    forest: Forest
    scores: Floats
    above: Floats
    upto: Floats

    @classmethod
    def of(cls, forest: Forest, scores: Floats) -> ScoredForest:
        """Of the score of each step."""
        shape = (len(forest.right), len(forest.skills))
        above, upto = np.full(shape, -np.inf), np.full(shape, np.inf)
        replay = np.repeat(np.arange(shape[0]), np.diff(forest.first_steps))
        down, up = forest.decided < 0, forest.decided > 0
        np.maximum.at(above, (replay[down], forest.skill[down]), scores[down])
        np.minimum.at(upto, (replay[up], forest.skill[up]), scores[up])
        return cls(forest, scores, above, upto)

    def results(self, thresholds: Any, *, prices: Any = None) -> Results:
        """What thresholds would do.

        Args:
            thresholds: Infinite where nothing of a skill is accepted, minus infinity where all
                is that has evidence; of shape (J, k).
            prices: Of one escalated step of each skill, of shape (k,); 1 by default.
        """
        # Minus infinity is not above that of a replay without conditions.
        vectors = np.maximum(np.asarray(thresholds, dtype=float), ACCEPT_ALL)
        price = np.ones(len(self.forest.skills)) if prices is None else np.asarray(prices, float)
        chunk = max(1, _AT_ONCE // max(1, len(self.scores)))
        parts = [self._chunk(vectors[k : k + chunk], price) for k in range(0, len(vectors), chunk)]
        return Results(
            np.concatenate([one.accepted for one in parts]),
            np.concatenate([one.wrong for one in parts]),
            np.concatenate([one.escalated for one in parts]),
        )

    def _chunk(self, vectors: Floats, prices: Floats) -> Results:
        forest = self.forest
        happens = np.ones((len(vectors), len(forest.right)), dtype=bool)
        for skill in range(len(forest.skills)):
            level = vectors[:, skill, None]
            happens &= (level > self.above[:, skill]) & (level <= self.upto[:, skill])
        passed = self.scores >= vectors[:, forest.skill]
        some = happens & (sums(passed, forest.first_steps) > 0)
        spent = happens * sums(~passed * prices[forest.skill], forest.first_steps)
        return Results(
            sums(some, forest.starts) > 0,
            sums(some & ~forest.right, forest.starts) > 0,
            sums(spent, forest.starts),
        )


def _decided(step: Step) -> int:
    if step.agrees or step.evidence is None:
        return 0
    return 1 if step.accepted else -1


def sums(values: Any, starts: Any) -> Floats:
    """Sums of each row over consecutive groups, of which some may be empty."""
    totals = np.zeros((len(values), values.shape[1] + 1))
    np.cumsum(values, axis=1, out=totals[:, 1:])
    sums: Floats = totals[:, starts[1:]] - totals[:, starts[:-1]]
    return sums


def _ranges(starts: Any, rows: Any) -> tuple[Any, Any]:
    """All members of the groups in ``rows``, and where each group starts among them."""
    lengths = np.diff(starts)[rows]
    ends = np.concatenate([[0], np.cumsum(lengths)])
    offsets = np.repeat(starts[:-1][rows] - ends[:-1], lengths)
    return np.arange(ends[-1]) + offsets, ends
