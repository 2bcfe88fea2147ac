"""The messages bundled for certification: labels, parts, and that no two are nearly the same."""

from __future__ import annotations

import json
import re
from collections import Counter
from importlib import resources
from itertools import combinations
from typing import get_args

import pytest

from hetagent.demo import skills
from hetagent.demo.report import bundled

_NEAR = 0.5


def rows() -> list[dict[str, str]]:
    text = resources.files("hetagent.demo").joinpath("tone.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def trigrams(message: str) -> frozenset[str]:
    """Character trigrams of the words alone: case, punctuation and spacing do not count."""
    words = " ".join(["", *re.findall(r"[^\W_]+", message.casefold()), ""])
    return frozenset(words[i : i + 3] for i in range(len(words) - 2))


def likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """Share of trigrams in common, from 0 to 1 (Jaccard)."""
    return len(one & other) / len(one | other)


def examples() -> list[str]:
    """The messages that the skill's prompt shows."""
    return [turn.content for turn in skills.tone.messages if turn.role == "user"]


def test_every_row_is_a_message_with_a_label_of_the_skill_and_a_part() -> None:
    for row in rows():
        assert row.keys() == {"message", "label", "part"}, row
        assert row["label"] in get_args(skills.Tone), row
        assert row["part"] in {"calibrate", "apart", "shifted"}, row
        assert row["message"] == row["message"].strip() != "", row
        assert row["message"].isprintable(), row
        assert len(row["message"]) <= 300, row


def test_there_are_enough_messages_of_each_part_and_label() -> None:
    counts = Counter((row["part"], row["label"]) for row in rows())
    assert counts == {
        ("calibrate", "negative"): 189,
        ("calibrate", "positive"): 211,
        ("apart", "negative"): 61,
        ("apart", "positive"): 67,
        ("shifted", "negative"): 131,
        ("shifted", "positive"): 14,
    }


def test_no_two_messages_are_the_same_or_nearly_so() -> None:
    messages = [row["message"] for row in rows()]
    known = [(message, trigrams(message)) for message in messages]
    near = [
        (one, other)
        for (one, some), (other, others) in combinations(known, 2)
        if likeness(some, others) >= _NEAR
    ]
    assert near == []


def test_no_message_is_nearly_one_that_the_prompt_or_the_demonstration_shows() -> None:
    shown = [*examples(), *(message.text for message in bundled())]
    assert len(examples()) == 4
    near = [
        (row["message"], other)
        for row in rows()
        for other in shown
        if likeness(trigrams(row["message"]), trigrams(other)) >= _NEAR
    ]
    assert near == []


@pytest.mark.parametrize(
    "other",
    [
        "the Soup was COLD, and nobody said sorry!!",
        "The soup was cold and no one said sorry.",
        "The stew was cold and nobody said sorry.",
    ],
)
def test_a_message_with_a_word_exchanged_counts_as_nearly_the_same(other: str) -> None:
    message = "The soup was cold and nobody said sorry."
    assert likeness(trigrams(message), trigrams(other)) >= _NEAR


def test_messages_vary_in_length_and_in_how_they_begin() -> None:
    messages = [row["message"] for row in rows()]
    lengths = sorted(len(message.split()) for message in messages)
    assert lengths[0] <= 2
    assert lengths[-1] >= 25
    openings = Counter(tuple(message.casefold().split()[:2]) for message in messages)
    assert max(openings.values()) <= len(messages) * 0.03, openings.most_common(3)
