"""What a tuned skill's prompt keeps of the instructions that an LLM was given."""

from __future__ import annotations

import pytest

from hetagent.learn.convert.steps import brief


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (
            "You sort mail for a shop. Answer with one label:\nrefund\nother",
            "You sort mail for a shop.",
        ),
        ("Which of these is it?\n- a\n- b", "Which of these is it?"),
        ("Version 2.5 of the sorter sorts. Then more.", "Version 2.5 of the sorter sorts."),
    ],
)
def test_the_first_sentence(given, kept):
    assert brief(given) == kept


@pytest.mark.parametrize("given", ["{message}", "x", "Reply to {message}. Now.", "no end of it"])
def test_what_has_no_sentence_stays_whole(given):
    assert brief(given) == given
