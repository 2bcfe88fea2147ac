"""The demonstration's skills, declared as an application would."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from hetagent.skill import skill

__all__ = ["Booking", "booking", "intent", "tone", "unhappy"]

Intent = Literal["book", "change", "cancel", "question", "complaint", "other"]
Tone = Literal["negative", "positive"]


class Booking(BaseModel):
    """What a message says of a booking."""

    date: str | None = Field(description="the day, in the guest's words; null if not said")
    time: str | None = Field(description="the time, in the guest's words; null if not said")
    people: int | None = Field(ge=1, le=40, description="how many guests; null if not said")
    name: str | None = Field(description="the name given; null if none")


@skill(
    examples=[
        ("Can you seat seven of us on Wednesday?", "book"),
        ("There will be one more of us than we booked for.", "change"),
        ("We have to call off our dinner.", "cancel"),
        ("Do you serve breakfast?", "question"),
        ("The bill was wrong and the manager shrugged.", "complaint"),
        ("Here is our price list for table linen.", "other"),
    ]
)
def intent(message: str) -> Intent:
    """Sort a message that a restaurant received by what its writer wants.

    book: a new reservation.
    change: another day, time or number of guests for a reservation that exists.
    cancel: to give up a reservation.
    question: information about opening hours, food, prices or the place.
    complaint: to say that something went wrong.
    other: anything else, such as thanks, advertising, job applications or lost things.
    """


@skill(
    examples=[
        (
            "Table for seven on Wednesday at 6pm, it's for Mr Abara.",
            Booking(date="Wednesday", time="6pm", people=7, name="Mr Abara"),
        ),
        ("Do you serve breakfast?", Booking(date=None, time=None, people=None, name=None)),
        (
            "Can we come at 20:15 instead?",
            Booking(date=None, time="20:15", people=None, name=None),
        ),
        (
            "The pasta was overcooked and the bill was wrong.",
            Booking(date=None, time=None, people=None, name=None),
        ),
        (
            "Please call off dinner on May 9 for Ines Roy.",
            Booking(date="May 9", time=None, people=None, name="Ines Roy"),
        ),
    ]
)
def booking(message: str) -> Booking:
    """Copy out the booking details that a message to a restaurant states."""


@skill(
    examples=[
        ("The bill was wrong and the manager shrugged.", True),
        ("Table for seven on Wednesday at 6pm, it's for Mr Abara.", False),
        ("Do you serve breakfast?", False),
        ("What a pity that you were closed when we got there, as your site says open.", True),
        ("Please call off dinner on May 9 for Ines Roy.", False),
        ("Thank you, it was great.", False),
        ("The pasta was overcooked and the waiter laughed.", True),
    ]
)
def unhappy(message: str) -> bool:
    """Say whether the writer of a message to a restaurant complains about it."""


# The wording, and which four examples in which order, were tried out on 80 messages that are in no
# bundled file, so that those in tone.jsonl are new to the skill.
@skill(
    examples=[
        ("The bill was wrong and the manager shrugged.", "negative"),
        ("Thank you, it was great.", "positive"),
        ("The pasta was overcooked and the waiter laughed.", "negative"),
        ("Please tell the cook that the pie was a joy.", "positive"),
    ]
)
def tone(message: str) -> Tone:
    """Is this message to a restaurant positive or negative?"""
