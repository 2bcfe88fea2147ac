"""A scripted model for the bundled messages to certify on: good on two parts, lost on the third."""

from __future__ import annotations

import random

from hetagent import Answer, Request, Scripted
from hetagent.demo.certify import bundled_parts

__all__ = ["KNOWN", "tone_model"]

KNOWN = {
    message.text: (part, message.labels["tone"])
    for part, messages in bundled_parts().items()
    for message in messages
}
"""Part and label of each bundled message."""

_OTHER = {"negative": "positive", "positive": "negative"}


def tone_model() -> Scripted:
    """It is right as often as its confidence says, but for the shifted part: there by chance."""
    return Scripted(_answer, name="wavering")


def _answer(request: Request) -> Answer:
    text = request.messages[-1].content
    part, label = KNOWN[text]
    drawn = random.Random(text)
    sure = 1 - 0.5 * drawn.random() ** 2
    wrong = drawn.random() > (0.5 if part == "shifted" else sure)
    return Answer(_OTHER[label] if wrong else label, confidence=sure)
