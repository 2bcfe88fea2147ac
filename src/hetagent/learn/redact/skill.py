"""A skill that finds what patterns miss: a small model copies what is private in a text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, Field

from hetagent.errors import HetagentError, InputTooLongError, NoAnswerError
from hetagent.learn.redact.found import Found
from hetagent.learn.redact.lexicon import NO_NAMES
from hetagent.models.base import Model
from hetagent.orchestrator import Orchestrator
from hetagent.policy import Threshold
from hetagent.skill import skill

__all__ = ["PrivateText", "SkillFinder", "private_texts"]


class PrivateText(BaseModel):
    """One private part of a text, copied from it."""

    kind: Literal["person", "address", "phone", "email", "national_id", "secret"]
    text: str = Field(max_length=120, description="copied exactly from the message")


class PrivateTexts(BaseModel):
    """All private parts of a text."""

    found: list[PrivateText] = Field(max_length=12)


_EXAMPLES: list[tuple[str, Any]] = [
    (
        "hey its lonnie, can u send the keys to 5 gravel pit rd? my cell 555 0199",
        {
            "found": [
                {"kind": "person", "text": "lonnie"},
                {"kind": "address", "text": "5 gravel pit rd"},
                {"kind": "phone", "text": "555 0199"},
            ]
        },
    ),
    ("Upgrade the server to version 4.2.1 before Monday.", {"found": []}),
    (
        "Invoice for Osric Trembley (osric@trembley.example), order 88231.",
        {
            "found": [
                {"kind": "person", "text": "Osric Trembley"},
                {"kind": "email", "text": "osric@trembley.example"},
            ]
        },
    ),
]


@skill(examples=_EXAMPLES, max_tokens=400)
def private_texts(text: str) -> PrivateTexts:
    """Copy what is private.

    That is names of people, street addresses, phone numbers, e-mail addresses, ids of people, and
    passwords or keys. Products, companies, towns, dates and order numbers are not private.
    """


class SkillFinder:
    """Runs `private_texts` on a model, as one more recogniser.

    Only what stands in the text word for word is used: what a model makes up is not found.
    Where the model has no answer, or the text is too long for it, the other recognisers are alone.

    Args:
        model: A local one; the texts it reads are not redacted yet.
    """

    def __init__(self, model: Model) -> None:
        self._agent = Orchestrator(slm=model, policy=Threshold(0.0))
        self.failures = 0

    def find(self, text: str) -> Iterator[Found]:
        """What the model copied from the text, wherever it occurs in it."""
        if not any(map(str.isalpha, text)):
            return
        try:
            outcome = self._agent.run(private_texts, text)
            if outcome.value is None:
                raise outcome.error or NoAnswerError("The model gave no answer.", outcome=outcome)
            answer = outcome.value
        except (InputTooLongError, HetagentError):
            self.failures += 1
            return
        for one in answer.found:
            value = one.text.strip()
            if len(value) < 3 or value.lower() in NO_NAMES:
                continue
            at = text.find(value)
            while at >= 0:
                yield Found(at, at + len(value), one.kind, by="skill", sure=False)
                at = text.find(value, at + len(value))
