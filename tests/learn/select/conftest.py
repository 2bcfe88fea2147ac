"""Short messages of three intents, and a skill for them."""

from typing import Literal

import pytest

from hetagent import skill

MESSAGES = {
    "book": """
        A table for two tonight, please
        Can we come at eight with four people?
        I would like to reserve a table for Friday
        Do you have room for six on Saturday evening?
        Please book us in for lunch tomorrow
        We are five and want to eat at seven
        Reserve the corner table for my birthday
        Could you hold a table for three at noon?
        I need a reservation for ten people
        Put me down for two at half past six
        Is there a free table next to the window tomorrow?
        My wife and I would like to dine with you on Sunday
        Save us four seats on the terrace
        We want to reserve the back room for a party
        A booking for Meyer, three people, at nine
        Have you got a table for one this evening?
    """,
    "cancel": """
        We cannot make it tonight after all
        Please cancel our table for Friday
        I have to call off the reservation for six
        Drop my booking, something came up
        We will not be coming tomorrow, sorry
        Cancel everything under the name Meyer
        I want to withdraw our reservation
        Please remove us from the list for Sunday
        Our plans changed, we do not need the table any more
        Call off the party on Saturday
        My wife is ill and we must cancel
        Undo the booking I made this morning
        Forget about the table, we are staying at home
        We have to cancel lunch tomorrow
        Please delete the reservation for ten people
        Sorry, the four of us cannot come
    """,
    "hours": """
        When do you open on Sundays?
        Are you open on Christmas day?
        Until when is the kitchen open?
        What are your opening hours?
        How late do you serve food?
        Do you close in the afternoon?
        At what time does the bar close?
        Is the restaurant open on Mondays?
        What time do you open in the morning?
        Are you closed in August?
        Do you still serve at eleven at night?
        When does lunch service end?
        Which days of the week are you closed?
        How early can one have breakfast with you?
        Is your kitchen open all day?
        When do you shut on weekdays?
    """,
}


@skill
def intent(message: str) -> Literal["book", "cancel", "hours"]:
    """Decide what the guest wants."""


def _split():
    learn, judged = [], []
    for label, text in MESSAGES.items():
        lines = [line.strip() for line in text.strip().splitlines()]
        learn += [(line, label) for line in lines[:12]]
        judged += [(line, label) for line in lines[12:]]
    return learn, judged


@pytest.fixture(scope="session")
def guests():
    """The skill."""
    return intent


@pytest.fixture(scope="session")
def train():
    """36 labelled messages."""
    return _split()[0]


@pytest.fixture(scope="session")
def judged():
    """Twelve others."""
    return _split()[1]
