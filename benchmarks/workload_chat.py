"""Free chat: what people ask a general assistant, put together at random from many parts."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

TOPICS = re.findall(
    r"[^|]+",
    "sourdough bread|old tape recorders|my cousin's wedding|the French Revolution|growing tomatoes"
    "|black holes|learning the cello|a rescue greyhound|string theory|moving to Lisbon|chess "
    "endgames|watercolours|the offside rule|my landlord|knitting socks|Roman concrete|sleep"
    "|a leaking roof|stoicism|vegan cheese|the stock market|beekeeping|jazz harmony|night "
    "photography|teenagers|running a marathon|Icelandic sagas|haiku|tax on side jobs|an awkward "
    "apology|fermented chillies|mid-century chairs|the trolley problem|marine biology|bike gears"
    "|insomnia|writing a eulogy|prime numbers|a startup pitch|homesickness|Kafka|model trains"
    "|pottery glaze|bird migration|cold showers|a broken heart|volcanoes|screenplays|board games "
    "for two|deserts|a stubborn cat|Esperanto|lighthouses|public speaking|quantum computers|Gothic "
    "cathedrals|compost|an old Volvo|dragons|grief|the Silk Road|podcasting|mushrooms|tattoos"
    "|rowing",
)

PEOPLE = re.findall(
    r"[^|]+",
    "my sister|a friend of mine|my boss|our neighbour|my dad|a colleague|somebody online|my "
    "partner|the kids|a stranger on the train|my old teacher|grandma",
)

FEELINGS = re.findall(
    r"[^|]+",
    "curious|a bit lost|excited|bored|stuck|sceptical|nervous|amused|tired|jealous|overwhelmed",
)

PARTS: tuple[Callable[[random.Random], str], ...] = (
    lambda r: f"what do you make of {_t(r)}?",
    lambda r: f"Explain {_t(r)} as if I were five, then as if I were an expert.",
    lambda r: f"I've been {_f(r)} about {_t(r)} since {_p(r)} brought it up. Thoughts?",
    lambda r: f"write a short poem in which {_t(r)} meets {_t(r)}",
    lambda r: f"{_p(r).capitalize()} says {_t(r)} is overrated. How would you argue against that?",
    lambda r: f"is there any link between {_t(r)} and {_t(r)}",
    lambda r: f"Give me {r.randint(2, 12)} odd facts on {_t(r)}",
    lambda r: f"How did you first... well, how would anyone first get into {_t(r)}?",
    lambda r: f"need help. {_p(r)} wants to talk about {_t(r)} and I feel {_f(r)}",
    lambda r: f"Compare {_t(r)} with {_t(r)}, maybe in a table, whatever works",
    lambda r: f"tell me a story: {_p(r)}, {_t(r)}, and a twist at the end",
    lambda r: f"Suppose {_t(r)} vanished overnight. Who would notice first?",
    lambda r: (
        f"Could you proofread this? 'Dear {_p(r)}, concerning {_t(r)} I must say I am {_f(r)}.'"
    ),
    lambda r: f"why does {_t(r)} make people so {_f(r)}",
    lambda r: f"draft an email to {_p(r)} that politely declines anything to do with {_t(r)}",
    lambda r: f"My week was all {_t(r)}, then {_t(r)}. I'm {_f(r)}, just venting really.",
    lambda r: f"can you plan {r.randint(2, 9)} days around {_t(r)} on a small budget",
    lambda r: f"Not sure where to begin with {_t(r)}... any book, film, or first step?",
    lambda r: f"debate me: {_t(r)} matters more than {_t(r)}",
    lambda r: (
        f"what would a historian {r.choice(('in 2300', 'from Mars', 'of today'))} say on {_t(r)}"
    ),
    lambda r: f"Translate the mood of {_t(r)} into a recipe",
    lambda r: f"gift for {_p(r)} who loves {_t(r)}, under {r.randint(10, 200)} euros?",
    lambda r: f"I read that {_t(r)} was once banned somewhere, true?",
    lambda r: f"ok different subject. {_t(r)}. go.",
    lambda r: f"Please settle a bet with {_p(r)}: which is older, {_t(r)} or {_t(r)}?",
    lambda r: f"Rate my idea: an app about {_t(r)} for people who are {_f(r)}",
    lambda r: f"how long until one gets any good at {_t(r)}, honestly",
    lambda r: f"Pretend you are {_p(r)} and complain about {_t(r)}",
    lambda r: f"Who invented {_t(r)} anyway, and was {r.choice(('he', 'she', 'it'))} paid for it?",
    lambda r: f"summarise everything that went wrong with {_t(r)} last century",
)

OPENERS = (
    "", "", "", "hey, ", "So ", "Hi! ", "quick one: ", "ok ", "Good evening. ", "um ",
    "Back again. ", "Random question, ", "Honestly ", "lol ",
)  # fmt: skip
ENDINGS = (
    "", "", "", " Keep it short.", " thanks!", " No rush.", " Be honest.", " (asking for a friend)",
    " Any sources?", " In a funny tone.", " ...", " You know what I mean.",
)  # fmt: skip

SAYINGS = (
    "That depends on how much time you have.", "Many people see it that way at first.",
    "A good start is to look at what interests you most.", "There is more than one answer here.",
    "Historically the picture is less clear.", "I would begin small and see how it feels.",
    "On the other hand, there is a case for patience.", "Experts disagree about the details.",
    "Here is a thought that may help.", "It is fine to feel that way.", "Let me give an example.",
    "What matters most to you in this?", "It began as something quite different.",
    "You could ask somebody who has done it.", "None of this is settled.", "Try it for a week.",
)  # fmt: skip

SYSTEMS = (
    "", "", "", "You are a helpful assistant.", "You are a helpful assistant.",
    "Be kind and honest.", "You are a friendly chatbot called Juno.",
)  # fmt: skip


def chat_messages(generator: random.Random) -> tuple[list[dict[str, str]], str]:
    """A conversation of one to four turns, and what the assistant says to its last."""
    system = generator.choice(SYSTEMS)
    messages = [{"role": "system", "content": system}] if system else []
    for turn in range(generator.choice((1, 1, 1, 2, 2, 3, 4))):
        if turn:
            messages.append({"role": "assistant", "content": said(generator)})
        messages.append({"role": "user", "content": asked(generator)})
    return messages, said(generator)


def asked(generator: random.Random) -> str:
    some = [generator.choice(PARTS)(generator) for _ in range(generator.choice((1, 1, 1, 2)))]
    return generator.choice(OPENERS) + " ".join(some) + generator.choice(ENDINGS)


def said(generator: random.Random) -> str:
    some = generator.sample(SAYINGS, generator.randint(1, 6))
    place = generator.randrange(len(some) + 1)
    some.insert(
        place, f"Take {_t(generator)}: with {_p(generator)} it can be like {_t(generator)}."
    )
    return " ".join(some)


def _t(generator: random.Random) -> str:
    return generator.choice(TOPICS)


def _p(generator: random.Random) -> str:
    return generator.choice(PEOPLE)


def _f(generator: random.Random) -> str:
    return generator.choice(FEELINGS)
