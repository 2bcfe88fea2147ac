"""The skills that are called: one of few labels, one of many, and eight of a voice assistant."""

from __future__ import annotations

import json
from typing import Any, Literal

from benchmarks.report import data_folder
from benchmarks.skills import domain, slots
from hetagent import skill

__all__ = ["EIGHT", "domain", "every_intent", "slots"]


def every_intent() -> Any:
    """A choice among all 150 intents of CLINC150, by domain."""
    text = (data_folder("clinc150") / "domains.json").read_text(encoding="utf-8")
    labels = tuple(name for names in json.loads(text).values() for name in names)

    @skill(output=Literal[labels])
    def intent(utterance: str):  # type: ignore[no-untyped-def]
        """Say what the user of a voice assistant wants."""

    return intent


@skill(
    examples=[
        ("put oat milk on my shopping list", "yes"),
        ("what does insidious mean", "no"),
        ("could you cancel my table at luigi's", "yes"),
    ]
)
def changes_something(utterance: str) -> Literal["yes", "no"]:
    """Say whether doing what the user asks for would change something.

    yes: money moves, an order or a booking is made or withdrawn, an entry of a list or a calendar
    is added or removed, a device or a setting of the assistant does something else than before, a
    message is sent or a call is placed.
    no: the user only wants to know something, to hear something, or to talk.
    A request that is put as a question ("could you …") counts by what it asks for.
    """


@skill(
    examples=[
        ("how much is left in my savings account", "yes"),
        ("how far is it from oslo to bergen", "no"),
        ("when am i next off work", "yes"),
    ]
)
def needs_account(utterance: str) -> Literal["yes", "no"]:
    """Say whether the answer depends on who is asking, so that the user must be signed in.

    yes: accounts, cards, bills, rewards, orders, the user's own lists, reminders and calendar,
    employment, pay, leave and insurance of the user, the user's own car or journeys.
    no: general knowledge, weather, sums, translations, recipes, directions between named places,
    small talk, and settings of the assistant itself.
    """


@skill(
    examples=[
        ("my card was stolen ten minutes ago", "now"),
        ("wake me at six", "today"),
        ("what would be a nice city for a week in spring", "later"),
    ]
)
def urgency(utterance: str) -> Literal["now", "today", "later"]:
    """Say how soon somebody has to act on what the user says.

    now: money, safety or a journey under way is at stake, or the user waits for the result.
    today: it has to be done before the day ends, but minutes do not matter.
    later: nothing is lost if it is done some other day, or never.
    Where the user names no time, judge by what usually happens to people who say this.
    """


@skill(
    examples=[
        ("thanks a lot, that was quick", "pleased"),
        ("what time is it in lima", "neutral"),
        ("that is the third time my card gets declined", "annoyed"),
    ]
)
def mood(utterance: str) -> Literal["pleased", "neutral", "annoyed", "worried"]:
    """Say in which mood the user is, from the words alone.

    pleased: thanks, praise, jokes, looking forward to something.
    neutral: plain questions and plain requests, also curt ones.
    annoyed: complaints, repeated attempts, something that should have worked and did not.
    worried: loss, theft, illness, debts, missed deadlines, something the user does not understand
    and fears to be expensive.
    """


@skill(
    examples=[
        ("how many calories are in an apple", "number"),
        ("when is my electricity bill due", "date"),
        ("what is on my to do list", "list"),
        ("remind me to call ann", "confirmation"),
    ]
)
def kind_of_answer(
    utterance: str,
) -> Literal["number", "date", "list", "text", "confirmation"]:
    """Say what kind of answer the user expects, so that the right view can be opened.

    number: an amount, a price, a rate, a distance, a temperature, a count.
    date: a day or a time of day, or how long something takes.
    list: several things of one kind, such as songs, meals, transactions or entries.
    text: an explanation, a name, a translation, a joke, a recipe, a way to get somewhere.
    confirmation: only that what was asked for has been done.
    """


@skill(
    examples=[
        ("is there a jam on the way to work", "maps"),
        ("move my dentist appointment to friday", "calendar"),
        ("turn it up a bit", "settings"),
        ("what is twelve percent of 80", "calculator"),
    ]
)
def tool(
    utterance: str,
) -> Literal["calculator", "calendar", "maps", "music", "payments", "phone", "search", "settings"]:
    """Say which tool of the assistant has to be called first.

    calculator: sums, percentages, conversion of units and of currencies, dice and coins.
    calendar: appointments, meetings, reminders, alarms, timers, holidays, leave.
    maps: traffic, directions, distances, places nearby, rides, where the user is.
    music: songs, artists, playlists, what is playing.
    payments: accounts, cards, bills, transfers, orders and what became of them.
    phone: calls, text messages, finding the phone, sharing where one is.
    search: everything else that is looked up.
    settings: the assistant's own name, voice, language, volume, speed and linked devices.
    """


@skill(
    examples=[
        ("freeze my savings account please", "freeze_account"),
        ("how much do i owe on my power bill", "bill_balance"),
        ("i see a payment here that was not me", "report_fraud"),
    ]
)
def banking(
    utterance: str,
) -> Literal[
    "freeze_account",
    "routing",
    "pin_change",
    "bill_due",
    "pay_bill",
    "account_blocked",
    "interest_rate",
    "min_payment",
    "bill_balance",
    "transfer",
    "order_checks",
    "balance",
    "spending_history",
    "transactions",
    "report_fraud",
]:
    """Say what a customer of a bank wants, so that the right form can be opened.

    Bills are other companies' bills that the customer pays from here; min_payment is the least
    that has to be paid on one. balance is what is in an account, transactions are single
    movements, spending_history is what was spent on something over a time. freeze_account is
    asked for by the customer, account_blocked is what has happened without being asked for.
    """


EIGHT = (
    changes_something,
    needs_account,
    urgency,
    mood,
    kind_of_answer,
    tool,
    domain,
    banking,
)
"""Eight narrow skills of one voice assistant, with 2 to 15 labels."""
