"""Runs the demonstration and sums it up: each model called once for each message and skill."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from hetagent.demo.skills import booking, intent, unhappy
from hetagent.errors import InputError
from hetagent.models.base import Model
from hetagent.orchestrator import Orchestrator
from hetagent.outcome import Outcome
from hetagent.policy import Policy, Threshold
from hetagent.skill import Skill

__all__ = ["SKILLS", "THRESHOLDS", "DemoRun", "Message", "Tally", "bundled", "read", "run"]

SKILLS: tuple[Skill[..., Any], ...] = (intent, booking, unhappy)
# Chosen by hand so that something is served by an untuned model; they promise nothing.
THRESHOLDS: Mapping[str, float] = {"intent": 0.7, "booking": 0.5, "unhappy": 0.7}

_UNKNOWN = object()  # no label; None is one
# Above any confidence, so that everything escalates and the SLM is not asked.
_ALWAYS = 2.0


@dataclass(frozen=True, slots=True)
class Message:
    """A message, with the answers it should get where they are known.

    Attributes:
        text: What was written.
        labels: JSON value by skill name; empty for the user's own messages.
    """

    text: str
    labels: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tally:
    """How one way of answering did, over all messages of one skill or of all.

    Attributes:
        answered: Answers given.
        agreement: Share of messages whose answer equals the label (letter case aside); ``None``
            without labels. A message without an answer disagrees.
        seconds: Time spent in model calls, in seconds.
        cost_usd: US dollars; ``None`` where a price is not known.
        llm_calls: Calls of the LLM.
    """

    answered: int
    agreement: float | None
    seconds: float
    cost_usd: float | None
    llm_calls: int


@dataclass(frozen=True, slots=True)
class DemoRun:
    """What the demonstration found.

    Attributes:
        messages: What was answered.
        outcomes: By skill, of the SLM with the LLM behind it.
        tallies: By skill (and ``"all"``) and way: ``"slm"``, ``"llm"``, ``"both"``.
        served_by_slm: Share of answers the SLM served.
        reasons: How often each reason led to escalation.
    """

    messages: Sequence[Message]
    outcomes: Mapping[str, Sequence[Outcome[Any]]]
    tallies: Mapping[str, Mapping[str, Tally]]
    served_by_slm: float
    reasons: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON data."""
        rows = [
            {
                "message": message.text,
                "labels": dict(message.labels),
                "outcomes": {name: self.outcomes[name][i].to_dict() for name in self.outcomes},
            }
            for i, message in enumerate(self.messages)
        ]
        return {
            "served_by_slm": self.served_by_slm,
            "reasons": dict(self.reasons),
            "tallies": {
                skill: {way: asdict(tally) for way, tally in ways.items()}
                for skill, ways in self.tallies.items()
            },
            "rows": rows,
        }


def bundled() -> list[Message]:
    """The messages that come with hetagent, with their labels."""
    text = resources.files("hetagent.demo").joinpath("messages.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    return [Message(row.pop("message"), row) for row in rows]


def read(path: Path) -> list[Message]:
    """The user's own messages: one a line, as text or as JSON (a string, or ``{"message": …}``).

    Raises:
        InputError: The file cannot be read or holds no message.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise InputError(f"{path} cannot be read: {error}.", hint="Check the path.") from error
    messages = [_message(line) for line in lines if line.strip()]
    if not messages:
        raise InputError(f"{path} holds no message.", hint="Write one message a line.")
    return messages


def run(
    messages: Sequence[Message],
    *,
    slm: Model,
    llm: Model | None,
    policy: Policy | None = None,
    escalate: Literal["whole", "fields"] = "whole",
) -> DemoRun:
    """Answer all messages with all skills: by the SLM alone, the LLM alone, and both together.

    Calls are made one after another, so that their times are those of the models.
    """
    policy = policy or Threshold(skills=THRESHOLDS)
    agent = Orchestrator(slm, llm=llm, policy=policy, escalate=escalate, concurrency=1)
    texts = [message.text for message in messages]
    outcomes: dict[str, Sequence[Outcome[Any]]] = {}
    tallies: dict[str, dict[str, Tally]] = {}
    for skill in SKILLS:
        both = outcomes[skill.name] = _finished(agent.map(skill, texts))
        labels = [message.labels.get(skill.name, _UNKNOWN) for message in messages]
        ways = {"slm": _tally(skill, labels, [_as_slm(one) for one in both])}
        if llm is not None:
            alone = _llm_alone(agent, skill, texts, both)
            ways["llm"] = _tally(skill, labels, [_as_llm(one) for one in alone])
            ways["both"] = _tally(skill, labels, [_as_served(one) for one in both])
        tallies[skill.name] = ways
    tallies["all"] = _sum(list(tallies.values()))
    every = [one for several in outcomes.values() for one in several]
    reasons = Counter(str(one.reason) for one in every if one.reason is not None)
    share = sum(one.served_by == "slm" for one in every) / len(every)
    return DemoRun(messages, outcomes, tallies, share, dict(reasons.most_common()))


def _finished(outcomes: list[Outcome[Any]]) -> list[Outcome[Any]]:
    """All outcomes; after Ctrl-C there is nothing to sum up."""
    if any(one.reason == "cancelled" for one in outcomes):
        raise KeyboardInterrupt
    return outcomes


@dataclass(frozen=True, slots=True)
class _Given:
    """One answer, and what it took."""

    value: Any
    seconds: float
    cost_usd: float | None
    llm_calls: int


def _llm_alone(
    agent: Orchestrator, skill: Skill[..., Any], texts: Sequence[str], both: Sequence[Outcome[Any]]
) -> list[Outcome[Any]]:
    """What the LLM says to every message; where it was asked the same already, that answer."""
    missing = [i for i, one in enumerate(both) if one.served_by != "llm"]
    asked = _finished(agent.with_options(policy=_ALWAYS).map(skill, [texts[i] for i in missing]))
    alone = list(both)
    for index, outcome in zip(missing, asked, strict=True):
        alone[index] = outcome
    return alone


def _as_slm(outcome: Outcome[Any]) -> _Given:
    draft = outcome.draft.value if outcome.draft is not None else None
    value = outcome.value if outcome.served_by == "slm" else draft
    return _spent(outcome, value, ("slm",))


def _as_llm(outcome: Outcome[Any]) -> _Given:
    return _spent(outcome, outcome.value, ("llm",))


def _as_served(outcome: Outcome[Any]) -> _Given:
    return _spent(outcome, outcome.value, ("slm", "llm"))


def _spent(outcome: Outcome[Any], value: Any, roles: tuple[str, ...]) -> _Given:
    calls = [call for call in outcome.calls if call.role in roles]
    # Loading the weights, at the first call, says nothing of a model's speed.
    seconds = sum(call.seconds["total"] - call.seconds.get("load", 0.0) for call in calls)
    prices = [call.usage.cost_usd for call in calls]
    cost = None if None in prices else sum(price or 0.0 for price in prices)
    return _Given(value, seconds, cost, sum(call.role == "llm" for call in calls))


def _tally(skill: Skill[..., Any], labels: Sequence[Any], given: Sequence[_Given]) -> Tally:
    labelled = [
        one.value is not None and _same(skill.output.to_json(one.value), label)
        for one, label in zip(given, labels, strict=True)
        if label is not _UNKNOWN
    ]
    prices = [one.cost_usd for one in given]
    return Tally(
        answered=sum(one.value is not None for one in given),
        agreement=sum(labelled) / len(labelled) if labelled else None,
        seconds=sum(one.seconds for one in given),
        cost_usd=None if None in prices else sum(price or 0.0 for price in prices),
        llm_calls=sum(one.llm_calls for one in given),
    )


def _sum(tallies: Iterable[Mapping[str, Tally]]) -> dict[str, Tally]:
    ways: dict[str, list[Tally]] = {}
    for by_way in tallies:
        for way, tally in by_way.items():
            ways.setdefault(way, []).append(tally)
    total = {}
    for way, parts in ways.items():
        shares = [part.agreement for part in parts]
        prices = [part.cost_usd for part in parts]
        known = [share for share in shares if share is not None]
        total[way] = Tally(
            answered=sum(part.answered for part in parts),
            agreement=sum(known) / len(shares) if len(known) == len(shares) else None,
            seconds=sum(part.seconds for part in parts),
            cost_usd=None if None in prices else sum(price or 0.0 for price in prices),
            llm_calls=sum(part.llm_calls for part in parts),
        )
    return total


def _same(value: Any, label: Any) -> bool:
    return bool(_folded(value) == _folded(label))


def _folded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _folded(part) for key, part in value.items()}
    return value.strip().casefold() if isinstance(value, str) else value


def _message(line: str) -> Message:
    try:
        row = json.loads(line)
    except ValueError:
        return Message(line, {})
    if isinstance(row, dict) and isinstance(row.get("message"), str):
        return Message(row["message"], {key: row[key] for key in row if key != "message"})
    return Message(row if isinstance(row, str) else line, {})
