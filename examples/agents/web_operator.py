"""An operator of websites: it reads a command, walks through pages, and tells somebody the result.

    python web_operator.py --tasks 12

For each command an LLM says what is wanted and copies out the particulars, makes a plan, chooses
each step among tools, extracts facts from pages, judges whether the goal is reached, and writes the
message in the end. The websites are a few texts in this file.

It uses OpenAI's client and nothing else: OPENAI_BASE_URL says where the LLM is.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field
from typing import Any

from openai import OpenAI

INTENT = """You are the ear of a web operator. Read the user's command and decide what it wants:
buy (order or reserve a thing), compare (find the best of several), book (a table, seat or
appointment), lookup (a fact, a time, an address), or cancel. Answer with that one word alone."""

PARTICULARS = """You are the ear of a web operator. Copy the particulars out of the user's command:
what it is about, the place or person it names, the most it may cost, and who is to be told. Leave a
field empty where the command does not say. Answer as JSON."""

PLAN = """You are the planner of a web operator. Think about how a careful person would carry out
the command on the websites below, what could go wrong, and how to notice it. Write a short plan in
plain sentences. Websites:
- shop.example sells household goods
- ferry.example has timetables of boats
- town.example has opening hours and offices
- table.example takes reservations at restaurants"""

STEP = """You are the hand of a web operator. You see a page and the command. Take the one next step
that brings the command nearer to its goal, by calling a tool. Open a link only if the page lists
it. Read a fact from the page as soon as it is there. Finish when all facts are read."""

EXTRACT = """You are the eye of a web operator. Find on the page what is asked for. Give the value
as the page writes it, its price where it has one, and whether it was found at all. Answer as
JSON."""

DONE = """You are the judge of a web operator. Compare the command with the facts that were read so
far. Are they enough to answer the command? Answer with yes or no alone."""

MESSAGE = """You are the voice of a web operator. Write to the person who is to be told, in two to
four friendly sentences: what was asked, what was found, and what to do next. If nothing was found,
say so honestly and suggest another way."""


def tool(name: str, description: str, **fields: str) -> dict[str, Any]:
    """A tool of texts, in OpenAI's form."""
    properties = {
        key: {"type": "string", "description": said, "maxLength": 80}
        for key, said in fields.items()
    }
    parameters = {
        "type": "object",
        "properties": properties,
        "required": list(fields),
        "additionalProperties": False,
    }
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


TOOLS = [
    tool("open_link", "Open a page that this page lists.", link="the page, as it is listed"),
    tool("read_fact", "Read a fact from this page.", question="what is to be found"),
    tool("go_back", "Go back to the page before."),
    tool("finish", "Stop, because everything is read or cannot be found."),
]

FACT = {
    "type": "object",
    "properties": {
        "found": {"type": "boolean"},
        "value": {"type": "string", "maxLength": 80},
        "price": {"type": ["string", "null"], "maxLength": 12},
    },
    "required": ["found", "value", "price"],
    "additionalProperties": False,
}
ASKED = {
    "type": "object",
    "properties": {
        key: {"type": "string", "maxLength": 50} for key in ("topic", "place", "limit", "tell")
    },
    "required": ["topic", "place", "limit", "tell"],
    "additionalProperties": False,
}

PAGES = {
    "shop.example": "Household goods. Departments: /kettles /lamps /tents. Delivery in two days.",
    "shop.example/kettles": "Kettles. Copper 1.5 l, 49 euros. Blue enamel 2 l, 28 euros. Travel "
    "kettle 0.5 l, 19 euros, sold out until May. Back: /",
    "shop.example/lamps": "Lamps. Desk lamp Ida, 35 euros, black or white. Floor lamp Nils, 89 "
    "euros. Bicycle lamp Flick, 14 euros, with battery. Back: /",
    "shop.example/tents": "Tents. Ridge for two, 1.9 kg, 179 euros. Dune for four, 4.2 kg, 240 "
    "euros. Returns within 30 days. Back: /",
    "ferry.example": "Boats from the old harbour. Islands: /north /south. No boats in a storm.",
    "ferry.example/north": "North island. Boats at 7:40, 11:15 and 17:05. Crossing 35 minutes. "
    "Adults 9 euros, bicycles 4 euros. Back: /",
    "ferry.example/south": "South island. Boats at 9:20 and 18:50, on Sundays only 10:30. Crossing "
    "70 minutes. Adults 14 euros. Dogs travel free. Back: /",
    "town.example": "The town's offices. Pages: /library /passports /pool",
    "town.example/library": "Library, Mill Lane 4. Tuesday to Friday 10 to 18, Saturday 10 to 13. "
    "A card costs 12 euros a year. Back: /",
    "town.example/passports": "Passport office, Castle Square 1, by appointment only. A passport "
    "costs 70 euros and takes three weeks. Bring two photos. Back: /",
    "town.example/pool": "Indoor pool. Every day 8 to 21, families only on Sunday mornings. Adults "
    "6 euros, ten visits 50 euros. Back: /",
    "table.example": "Reservations. Restaurants: /olive /lantern /harbour",
    "table.example/olive": "The Olive. Greek. Free tonight: 18:00 for two, 20:30 for four. Set "
    "menu 24 euros. Back: /",
    "table.example/lantern": "The Lantern. Noodles. Free tonight: 19:00 for six. No reservations "
    "on the terrace. Back: /",
    "table.example/harbour": "Harbour Kitchen. Fish. Nothing free tonight; tomorrow 19:30 for two. "
    "Set menu 38 euros. Back: /",
}  # fmt: skip

# A command, and the site that its user has open.
COMMANDS = [
    ("Get me the cheapest kettle that can be delivered this week and tell Mira.", "shop.example"),
    ("When is the last boat back from the north island? Let Jonas know.", "ferry.example"),
    ("Find out what a passport costs and how long it takes.", "town.example"),
    ("Book a table for two tonight, Greek if possible, and text Ana the time.", "table.example"),
    ("Which tent is lighter, and does it cost less than 200 euros?", "shop.example"),
    ("I want to take my dog to the south island on Sunday. Which boat?", "ferry.example"),
    ("Is the library open on Saturday afternoon? Write to the reading club.", "town.example"),
    ("Six of us want noodles this evening. Reserve, please.", "table.example"),
    ("Order a white desk lamp, not more than 40 euros.", "shop.example"),
    ("Compare the boats to both islands for two adults with bicycles.", "ferry.example"),
    ("Cancel my ten visits at the pool and tell me what I get back.", "town.example"),
    ("Is there a fish restaurant with a table tomorrow? Tell Pavel.", "table.example"),
    ("How many watts has the bicycle lamp, and is a battery included?", "shop.example"),
    ("Reserve the boat at 11:15 to the north island for Lena and me.", "ferry.example"),
    ("What do ten swims cost, and when is the pool quiet on Sundays?", "town.example"),
    ("Find the cheapest set menu in town and invite Carla.", "table.example"),
]
MOST_STEPS = 5


@dataclass
class Operator:
    """The LLM, and what it has read for one command.

    Attributes:
        client: OpenAI's client.
        model: Name of the LLM.
        calls: How many answers it has given.
    """

    client: OpenAI
    model: str
    calls: int = 0

    def ask(self, role: str, content: str, *, tokens: int, **options: Any) -> Any:
        """The message that the LLM answers with."""
        answer = self.client.chat.completions.create(
            model=self.model,
            messages=[{"role": "system", "content": role}, {"role": "user", "content": content}],
            max_tokens=tokens,
            temperature=0,
            **options,
        )
        self.calls += 1
        return answer.choices[0].message

    def record(self, role: str, content: str, schema: dict[str, Any]) -> dict[str, Any]:
        """An answer under a schema; empty where it was cut short."""
        form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
        answer = self.ask(role, content, tokens=80, response_format=form)
        try:
            found = json.loads(answer.content or "")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


@dataclass
class Visit:
    """A walk through the pages of a site.

    Attributes:
        path: The pages that are open, the one that is seen last.
        facts: What was read.
        asked: What was looked for, with the page that it was looked for on.
        steps: What was done.
    """

    path: list[str]
    facts: list[str] = field(default_factory=list)
    asked: set[tuple[str, str]] = field(default_factory=set)
    steps: list[str] = field(default_factory=list)

    def seen(self) -> str:
        """The page and what happened, as the LLM is told."""
        done = "; ".join(self.steps[-3:]) or "nothing yet"
        return f"Page {self.path[-1]}:\n{PAGES[self.path[-1]]}\n\nDone so far: {done}"

    def open(self, link: str) -> None:
        """Go to a page, if there is such a page."""
        site = self.path[-1].split("/")[0]
        name = link.strip().removeprefix("https://").removeprefix(site).strip("/")
        page = f"{site}/{name}" if name else site
        if page in PAGES:
            self.path.append(page)
            self.steps.append(f"opened {page}")
        else:
            self.steps.append(f"there is no page {link[:40]}")


def carry_out(operator: Operator, command: str, site: str) -> Visit:
    """Walk through a site until the command's facts are read, or too many steps are taken."""
    visit = Visit([site])
    for _ in range(MOST_STEPS):
        name, given = next_step(operator, command, visit)
        if name == "open_link":
            visit.open(str(given.get("link", "")))
        elif name == "read_fact":
            question = str(given.get("question") or command)
            if (visit.path[-1], question) in visit.asked:
                break  # it goes round in circles
            read(operator, visit, question)
            if enough(operator, command, visit):
                break
        elif name == "go_back":
            visit.path = visit.path[:-1] or [site]
            visit.steps.append("went back")
        else:
            break
    return visit


def next_step(operator: Operator, command: str, visit: Visit) -> tuple[str, dict[str, Any]]:
    """The tool that the LLM calls, with its arguments; to finish where it calls none."""
    content = f"Command: {command}\n\n{visit.seen()}"
    answer = operator.ask(STEP, content, tokens=50, tools=TOOLS, tool_choice="required")
    if not answer.tool_calls:
        return "finish", {}
    function = answer.tool_calls[0].function
    try:
        given = json.loads(function.arguments)
    except ValueError:
        given = {}
    return function.name, given if isinstance(given, dict) else {}


def read(operator: Operator, visit: Visit, question: str) -> None:
    content = f"Question: {question}\n\nPage:\n{PAGES[visit.path[-1]]}"
    fact = operator.record(EXTRACT, content, FACT)
    visit.asked.add((visit.path[-1], question))
    if fact.get("found"):
        price = f" ({fact['price']})" if fact.get("price") else ""
        visit.facts.append(f"{question}: {fact.get('value')}{price}")
        visit.steps.append(f"read {question[:60]!r}")
    else:
        visit.steps.append(f"{question[:60]!r} is not on this page")


def enough(operator: Operator, command: str, visit: Visit) -> bool:
    facts = "\n".join(visit.facts) or "none"
    answer = operator.ask(DONE, f"Command: {command}\n\nFacts:\n{facts}", tokens=4)
    return (answer.content or "").strip().lower().startswith("yes")


def main() -> None:
    parser = argparse.ArgumentParser(description="Carry out some commands on websites.")
    parser.add_argument("--tasks", type=int, default=len(COMMANDS), help="how many commands")
    parser.add_argument("--model", default="gpt-4o-mini", help="the LLM's name")
    options = parser.parse_args()
    operator = Operator(OpenAI(), options.model)
    for command, site in COMMANDS[: options.tasks]:
        intent = operator.ask(INTENT, f"Command: {command}", tokens=4).content or ""
        asked = operator.record(PARTICULARS, f"Command: {command}", ASKED)
        operator.ask(PLAN, f"Command: {command}", tokens=48)
        visit = carry_out(operator, command, site)
        person = asked.get("tell") or "the user"
        facts = "\n".join(visit.facts) or "nothing was found"
        message = operator.ask(
            MESSAGE, f"Person: {person}\nCommand: {command}\n\nFacts:\n{facts}", tokens=56
        )
        print(f"{command}\n  {intent.strip()}; {len(visit.steps)} steps; to {person}:")
        print(f"  {' '.join((message.content or '').split())}")
    print(f"{operator.calls} calls of the LLM")


if __name__ == "__main__":
    main()
