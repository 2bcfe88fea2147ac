"""What watching a skill found: figures, and sentences for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Literal

from hetagent.registry.log import Mode

__all__ = ["Cluster", "Day", "Learnable", "Moves", "Reading", "Share", "Verdicts", "Watched"]


@dataclass(frozen=True, slots=True)
class Day:
    """The calls of a day, in UTC.

    Attributes:
        day: Which.
        calls: That the skill was asked.
        served: Those that it answered; the others went on to the LLM.
        low: Lower end of the 95% interval of the share served (Clopper and Pearson 1934).
        high: Upper end.
    """

    day: date
    calls: int
    served: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Share:
    """How many calls the skill serves, beside how many it did when it was made.

    Attributes:
        days: By day.
        expected: The share that it served of the calls it was decided on; ``None`` where its
            binding does not say.
        fallen: Whether it serves fewer, by a test that may be looked at after every call.
        since: Call with which that most likely began, its time.
    """

    days: tuple[Day, ...]
    expected: float | None
    fallen: bool
    since: datetime | None

    @property
    def calls(self) -> int:
        """Calls of all days."""
        return sum(one.calls for one in self.days)

    @property
    def served(self) -> int:
        """Those that it answered."""
        return sum(one.served for one in self.days)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What is known of the errors among accepted answers.

    Attributes:
        source: ``"audits"`` or ``"shadow"``.
        answers: Accepted answers that somebody or the LLM judged.
        errors: Those found wrong.
        max_error: The error rate allowed among them.
        low: Lower bound of the error rate; the bounds hold at all times together.
        high: Upper bound.
        exceeded: Whether it is above what is allowed, by a test that may be looked at at any time.
    """

    source: Literal["audits", "shadow"]
    answers: int
    errors: int
    max_error: float
    low: float
    high: float
    exceeded: bool


@dataclass(frozen=True, slots=True)
class Moves:
    """How recent inputs compare with those that the skill was made with.

    Attributes:
        inputs: Recent ones that were looked at.
        distance: Squared maximum mean discrepancy.
        p_value: Chance of as much where nothing moved.
        far: Share of the recent ones that are far from all inputs of the skill.
        far_before: Share of the skill's own that are as far from the others.
        moved: Whether chance does not explain it.
        examples: Recent inputs of the kind that there is more of now.
    """

    inputs: int
    distance: float
    p_value: float
    far: float
    far_before: float
    moved: bool
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """How many of the workload's calls the skill can be asked.

    Attributes:
        calls: Of the workload.
        unread: How many it cannot, by why.
        before: Share that it could not be asked when it was made; ``None`` where that is unknown.
        changed: Whether there are more of them, by a test that may be looked at at any time.
        elsewhere: Calls of no known workload that are answered as those of this one.
        moved: Whether there are more of those.
    """

    calls: int
    unread: Mapping[str, int]
    before: float | None
    changed: bool
    elsewhere: int
    moved: bool


@dataclass(frozen=True, slots=True)
class Cluster:
    """Escalated calls that are alike, and of a kind that was rare when the skill was made.

    Attributes:
        size: Escalated calls in it, of those that were looked at.
        share: Of the recent calls.
        before: Of the calls that the skill was made with.
        p_value: Chance of so many more, times the number of groups looked at.
        terms: Words that set its inputs apart.
        answers: What the LLM answered most often, and how often.
        example: The input in its middle.
    """

    size: int
    share: float
    before: float
    p_value: float
    terms: tuple[str, ...]
    answers: Mapping[str, int]
    example: str


@dataclass(frozen=True, slots=True)
class Learnable:
    """What there is to learn from since the skill was made.

    Attributes:
        calls: Later calls that an LLM answered and that may be learned from.
        unusable: Others that it answered, by why they may not.
        needed: How many are needed to learn from some and certify and decide on the others.
        earlier: Earlier calls with an LLM's answer that the records still have.
        recommended: Whether to convert anew now.
        why: In sentences.
    """

    calls: int
    unusable: Mapping[str, int]
    needed: int
    earlier: int
    recommended: bool
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Watched:
    """A binding of a skill, and how it fares.

    Attributes:
        skill: Name of the skill.
        workload: Its workload.
        binding: Id of the binding.
        mode: What it does.
        since: From when on calls were looked at.
        share: How many it serves.
        verdicts: What is known of its errors.
        moves: How inputs moved; ``None`` where there are too few, or its binding keeps none.
        reading: How many calls it can be asked.
        clusters: New kinds of calls among the escalated, the largest first.
        new_answers: What the LLM answers now that the skill has no value for, and how often.
        learnable: Whether to convert anew.
    """

    skill: str
    workload: str
    binding: str
    mode: Mode
    since: datetime
    share: Share
    verdicts: tuple[Verdicts, ...]
    moves: Moves | None
    reading: Reading
    clusters: tuple[Cluster, ...]
    new_answers: Mapping[str, int]
    learnable: Learnable

    @property
    def exceeded(self) -> bool:
        """Whether more of its accepted answers are wrong than is allowed."""
        return any(one.exceeded for one in self.verdicts)

    @property
    def attention(self) -> tuple[str, ...]:
        """What is not as it was, in sentences; nothing where all is well."""
        return tuple(self._attention())

    def explain(self) -> str:
        """All of it in plain words."""
        lines = [*self.attention] or ["Nothing has changed that chance would not explain."]
        if not self.verdicts and self.mode != "shadow":
            lines.append(
                "Nobody audits what it serves: Orchestrator(audit=...) does, and --audits reads it."
            )
        return "\n".join([*lines, *self.learnable.why])

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        data = asdict(self)
        data["since"] = self.since.isoformat()
        share = data["share"]
        share["since"] = None if self.share.since is None else self.share.since.isoformat()
        for day in share["days"]:
            day["day"] = day["day"].isoformat()
        return {
            **data,
            "share": {**share, "calls": self.share.calls, "served": self.share.served},
            "attention": list(self.attention),
        }

    def _attention(self) -> Iterator[str]:
        for one in self.verdicts:
            if one.exceeded:
                yield (
                    f"Of {one.answers:,} accepted answers that were judged ({one.source}) "
                    f"{one.errors:,} were wrong, more than the {one.max_error:.1%} that is "
                    "allowed: it should not go on serving."
                )
        if self.share.fallen and self.share.expected is not None:
            since = f" since {self.share.since:%Y-%m-%d %H:%M} UTC" if self.share.since else ""
            yield (
                f"It serves {self.share.served / self.share.calls:.1%} of its calls, and served "
                f"{self.share.expected:.1%} of those it was decided on: escalation rose{since}."
            )
        yield from self._of_reading()
        if self.moves is not None and self.moves.moved:
            yield (
                f"Inputs have moved: {self.moves.far:.1%} of the recent ones are far from all that "
                f"it was made with, and {self.moves.far_before:.1%} were (p = "
                f"{self.moves.p_value:.3g}). There is more now such as: "
                + "; ".join(f'"{one}"' for one in self.moves.examples)
                + "."
            )
        for group in self.clusters:
            answers = ", ".join(f"{name} ({n:,})" for name, n in group.answers.items())
            yield (
                f"A new kind of call among those it escalates, {group.share:.1%} of the recent "
                f"calls and {group.before:.1%} of those before: {', '.join(group.terms)}; "
                f'answered {answers}; such as "{group.example}".'
            )
        if self.new_answers:
            found = ", ".join(f"{name} ({n:,})" for name, n in self.new_answers.items())
            yield f"The LLM gives answers that it does not have: {found}."

    def _of_reading(self) -> Iterator[str]:
        reading = self.reading
        if reading.changed:
            why = ", ".join(f"{why}: {n:,}" for why, n in reading.unread.items())
            share = sum(reading.unread.values()) / reading.calls
            yield f"It cannot be asked {share:.1%} of its workload's calls ({why})."
        if reading.moved:
            yield (
                f"{reading.elsewhere:,} calls of no known workload were answered as its own are: "
                "the prompt may have been rewritten."
            )
