"""Call records of an agent that repeats a few tasks, made up of parts."""

import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hetagent.learn.record import CallRecord, Usage, new_id

BEGAN = datetime(2026, 9, 7, 12, tzinfo=UTC)

PLACES = [
    "Lisbon",
    "Oslo",
    "Hanoi",
    "Quito",
    "Accra",
    "Perth",
    "Turin",
    "Cork",
    "Sapporo",
    "Lima",
    "Riga",
    "Cairo",
    "Bergen",
    "Porto",
]
GOODS = [
    "kettle",
    "lamp",
    "jacket",
    "printer",
    "bicycle",
    "phone",
    "tent",
    "mixer",
    "drill",
    "rug",
    "camera",
    "heater",
    "sofa",
]
WOES = ("arrived broken", "never came", "is the wrong colour", "makes a loud noise", "smells odd")
WISHES = (
    "I want my money back for the {}", "please refund the {}", "how do I return the {}",
    "where is my {} now", "has the {} been shipped yet", "track the parcel with the {}",
    "the {} {} and I am furious", "complaint: the {} {}",
)  # fmt: skip
INTENTS = ("refund", "refund", "refund", "delivery", "delivery", "delivery", "complaint",
           "complaint")  # fmt: skip
ROUTES = ("book_flight", "hotel", "visa")
TRIPS = (
    "fly me from {} to {} on Sunday", "two seats on the morning flight out of {} to {}",
    "a room in {} near the old harbour", "somewhere to sleep in {} for three nights",
    "do I need a visa for {}", "passport stamp rules when entering {}",
)  # fmt: skip


def record(
    messages: Sequence[dict[str, Any]],
    answer: str | None = None,
    *,
    day: float = 0.0,
    calls: Sequence[tuple[str, dict[str, Any]]] = (),
    tokens: int = 100,
    **more: Any,
) -> CallRecord:
    """A call in OpenAI's form; ``more`` are parts of the request and of the record."""
    own = {key: more.pop(key) for key in ("workload", "interactive", "error") if key in more}
    message: dict[str, Any] = {"role": "assistant", "content": answer}
    if calls:
        message["tool_calls"] = [
            {"id": "c", "function": {"name": name, "arguments": json.dumps(arguments)}}
            for name, arguments in calls
        ]
    answered = answer is not None or calls
    return CallRecord(
        id=new_id(),
        time=BEGAN + timedelta(days=day),
        form="openai.chat",
        source="import",
        model="m",
        request={"messages": list(messages), **more},
        response={"choices": [{"message": message}]} if answered else None,
        usage=Usage(tokens, 10),
        cost_usd=0.001,
        **own,
    )


def said(system: str, user: str) -> list[dict[str, str]]:
    start = [{"role": "system", "content": system}] if system else []
    return [*start, {"role": "user", "content": user}]


def wish(generator: random.Random) -> tuple[str, str]:
    """What a customer of a shop wants, and its label."""
    number = generator.randrange(len(WISHES))
    text = WISHES[number].format(generator.choice(GOODS), generator.choice(WOES))
    return f"{text}, order {generator.randrange(10**6)}", INTENTS[number]


def trip(generator: random.Random) -> tuple[str, str]:
    """What a traveller wants, and its label."""
    number = generator.randrange(len(TRIPS))
    text = TRIPS[number].format(generator.choice(PLACES), generator.choice(PLACES))
    return f"{text}, {generator.randrange(2, 30)} people", ROUTES[number // 2]


SHOP = (
    ("You sort mail for a shop that sells household goods. The possible intents are refund, "
     "delivery and complaint. Answer with one of them.", "Mail: {}"),
    ("", "Read what this customer of our shop says:\n{}\nWhat is it about? Choose among refund, "
     "delivery, complaint, and write down your choice only."),
)  # fmt: skip
ROUTER = "You route the requests of an app to handlers. The handlers there are: {}. Name one only."


def shop(count: int, *, wording: int = 0, seed: int = 0, **more: Any) -> list[CallRecord]:
    generator = random.Random(seed)
    system, user = SHOP[wording]
    found = []
    for _ in range(count):
        text, label = wish(generator)
        found.append(record(said(system, user.format(text)), label, **more))
    return found


def routed(count: int, kind: str, *, seed: int = 0) -> list[CallRecord]:
    """Two tasks under one template, which says the labels only."""
    generator = random.Random(seed)
    draw, labels = (trip, ROUTES) if kind == "trip" else (wish, tuple(dict.fromkeys(INTENTS)))
    names = ", ".join(f"{label} (for all that has to do with {label})" for label in labels)
    found = []
    for _ in range(count):
        text, label = draw(generator)
        found.append(record(said(ROUTER.format(names), f"Request: {text}"), label))
    return found


ORDER = {
    "type": "object",
    "properties": {
        "item": {"type": "string", "description": "what is ordered"},
        "count": {"type": "integer"},
        "urgent": {"type": "boolean"},
        "note": {"type": ["string", "null"]},
    },
    "required": ["item", "count", "urgent", "note"],
    "additionalProperties": False,
}


def orders(count: int, *, asked: bool = True, seed: int = 0) -> list[CallRecord]:
    generator = random.Random(seed)
    system = "Copy the order out of the message, as JSON with item, count, urgent and note."
    found = []
    for _ in range(count):
        item, number = generator.choice(GOODS), generator.randrange(1, 90)
        value = {"item": item, "count": number, "urgent": generator.random() < 0.5, "note": None}
        wanted = {"type": "json_schema", "json_schema": {"name": "order", "schema": ORDER}}
        more: dict[str, Any] = {"response_format": wanted} if asked else {}
        text = f"I'd take {number} of the {item} sort, customer {generator.randrange(10**5)}"
        found.append(record(said(system, f"Message: {text}"), json.dumps(value), **more))
    return found


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Look up the weather.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "days": {"type": "integer"},
                    "unit": {"type": "string", "enum": ["c", "f"]},
                },
                "required": ["city"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "find.train",
            "description": "Find a train.",
            "parameters": {
                "type": "object",
                "properties": {"from": {"type": "string"}, "to": {"type": "string"}},
                "required": ["from", "to"],
            },
        },
    },
]


def tooled(count: int, *, seed: int = 0) -> list[CallRecord]:
    """Calls of the same two tools."""
    generator = random.Random(seed)
    system = "You help travellers. Use one of the tools to find out what they ask for, always."
    found = []
    for _ in range(count):
        first, second = generator.sample(PLACES, 2)
        if generator.random() < 0.5:
            text, call = f"rain in {first} tomorrow?", ("get_weather", {"city": first})
        else:
            text = f"a train from {first} to {second}, {generator.randrange(1, 24)} o'clock"
            call = ("find.train", {"from": first, "to": second})
        found.append(record(said(system, text), calls=[call], tools=TOOLS))
    return found


def strange_tools(count: int, *, seed: int = 0) -> list[CallRecord]:
    """Calls of tools that are offered once only."""
    generator = random.Random(seed)
    found = []
    for number in range(count):
        item = generator.choice(GOODS)
        function = {"name": f"{item}_{number}", "parameters": {"type": "object", "properties": {}}}
        tools = [{"type": "function", "function": function}]
        text = f"do the {item} thing of {generator.choice(PLACES)}"
        found.append(record(said("", text), calls=[(f"{item}_{number}", {})], tools=tools))
    return found


def talk(count: int, *, seed: int = 0) -> list[CallRecord]:
    """People who chat about anything."""
    generator = random.Random(seed)
    starts = ("what about", "tell me of", "I dreamt of", "ever been to", "explain", "who likes")
    ends = ("?", " please", " as a poem", ", and why", " for my aunt", "!", " in two lines")
    answers = ("Well,", "That is a long story:", "Some say", "I could not say.", "Once,", "Hm.")
    found = []
    for _ in range(count):
        place, item = generator.choice(PLACES), generator.choice(GOODS)
        first = generator.choice((place, f"a {item}", f"the {item} of {place}"))
        text = f"{generator.choice(starts)} {first}{generator.choice(ends)}"
        answer = f"{generator.choice(answers)} {generator.choice(PLACES)} {generator.choice(GOODS)}"
        system = generator.choice(("", "You are a helpful assistant."))
        found.append(record(said(system, text), f"{answer} {generator.randrange(10**9)}"))
    return found


PAGES = (
    "Harbour. Boats leave at 7:15, 11:40 and 18:05; a crossing costs nine euros, dogs go free.",
    "Library, Mill Lane. Open from Tuesday to Saturday, ten to six. Cards are twelve euros a year.",
    "Kettles of copper or enamel, two litres, delivered within the week. Sold out until spring!",
    "Nothing was found. Try fewer words, look at the map, or write to the office in the old town.",
)


def quoted(
    count: int, *, answers: Sequence[str], seed: int = 0, pages: int = 4
) -> list[CallRecord]:
    """One task whose prompts quote one of a few pages, which have much to do with the answer."""
    generator = random.Random(seed)
    system = "Look at the page and at the question, and answer with one of the allowed words alone."
    found = []
    for _ in range(count):
        number = generator.randrange(len(PAGES))
        answer = answers[number % len(answers)]
        if generator.random() < 0.2:
            answer = generator.choice(answers)
        asked = f"what about the {generator.choice(GOODS)} of {generator.choice(PLACES)}"
        text = f"Question: {asked}\n\nPage:\n{PAGES[number]}\n\nAllowed: {', '.join(answers)}"
        found.append(record(said(system, text), answer))
    return found


HANDED_ON = (
    "You read pages for a traveller. Write down what could become a problem, in two sentences.",
    "You are the traveller's friend. Say in plain words what you would do with this page, and why.",
    "You keep the diary of the journey. Write an entry about what this page has taught you today.",
)


def handed_on(count: int, *, seed: int = 0) -> list[CallRecord]:
    """Three tasks in words, by turns, on the same page: most prompts quote the first page."""
    generator = random.Random(seed)
    found = []
    for _ in range(count):
        page = PAGES[max(0, generator.randrange(8) - 4)]
        for place, system in enumerate(HANDED_ON):
            thing, other = generator.sample(GOODS, 2)
            answer = f"{('Beware,', 'I would say:', 'Dear diary,')[place]} the {thing} and the " * 4
            text = f"Traveller: {generator.choice(PLACES)}\nWeather: {other}\n\nPage:\n{page}"
            found.append(record(said(system, text), f"{answer} {generator.choice(PLACES)}."))
    return found
