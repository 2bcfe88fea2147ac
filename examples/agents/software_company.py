"""A software company in which an LLM plays every role, and the roles hand their work on.

    python software_company.py --tasks 10

The front desk sorts what customers write; the product manager writes requirements as JSON; the
architect weighs approaches and lists files; the engineer writes each file's boilerplate; the
reviewer comments, somebody reads from the comment whether to merge; the tester writes a test; the
commit gets its message, and the customer a letter. All answers are streamed.

It uses OpenAI's client and nothing else: OPENAI_BASE_URL says where the LLM is.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass, field
from typing import Any

from openai import OpenAI

FRONT_DESK = """You are the front desk of a small software company. Customers write to you. Decide
what kind of message it is: requirement (they want something built), bug (something built does not
work), question (they ask how something works), or praise. Answer with that one word alone."""

PRODUCT_MANAGER = """You are the product manager. Turn a customer's request into requirements for a
first version: the product's name in one or two words, its goal in one sentence, two user stories,
and what the first version must not try to do. Answer as JSON."""

ARCHITECT_APPROACH = """You are the architect. Before anything is built, think aloud about how to
build it: which approach you would take, what speaks against it, and what could become a problem
later. Write for colleagues, in a few sentences of plain prose."""

ARCHITECT_FILES = """You are the architect. List the Python files of the first version, two of them,
for the requirements below. Answer with a JSON list alone, such as
[{"path": "menu.py", "purpose": "reads the menu from a file"}]. Paths are short and lower case."""

ENGINEER = """You are an engineer. Write the boilerplate of one Python file: the imports, one small
dataclass, and two function signatures with a one-line docstring and `...` as their body. No
explanation, no tests, at most fifteen lines of code."""

ENGINEER_AGAIN = """You are an engineer. A reviewer was not content with your file. Change what the
reviewer asks for and nothing else. Answer with the whole file, at most fifteen lines, and no
explanation."""

REVIEWER = """You review the code of colleagues. The file is a first draft in which bodies are still
missing, and that is fine. Say in one or two sentences whether names, docstrings and types are good,
and what should change before it is merged, if anything."""

GATE = """A reviewer has commented on a file. Decide from the comment what happens to it: merge (the
comment asks for no change), revise (it asks for a change), or discuss (it asks a question). Answer
with that one word alone."""

TESTER = """You are the tester. Write one pytest function for the first function in the file. It has
a name that says what is expected, at most six lines, and no comments. Answer with code alone."""

COMMITTER = """Write the commit message for a new file. One line of at most ten words, in the form
`type(scope): subject`, where type is feat, fix, test or docs. Answer with that line alone."""

LETTER = """You write to customers. Tell the customer in a friendly letter of three or four
sentences what the first version does, what it leaves out for now, and what you would like to hear
back."""

REQUIREMENTS = {
    "type": "object",
    "properties": {
        "product": {"type": "string", "maxLength": 30},
        "goal": {"type": "string", "maxLength": 90},
        "user_stories": {
            "type": "array",
            "items": {"type": "string", "maxLength": 70},
            "minItems": 2,
            "maxItems": 2,
        },
        "out_of_scope": {"type": "string", "maxLength": 60},
    },
    "required": ["product", "goal", "user_stories", "out_of_scope"],
    "additionalProperties": False,
}

# What each customer asks for, and what the customer writes back when it is delivered.
CUSTOMERS = [
    (
        "We run a climbing gym. Could you build a small program that counts who is inside, so that "
        "the desk can stop letting people in at 120?",
        "The counter goes below zero when somebody leaves twice.",
    ),
    (
        "My beekeeping club lends out honey extractors. I need a list of who has which one and "
        "since when, with a reminder after ten days.",
        "How do I add an extractor that we bought second hand?",
    ),
    (
        "Please make a tool that reads our ferry timetable and tells a passenger the next boat "
        "from a given pier.",
        "It tells me a boat at 25:10, which is no time of day.",
    ),
    (
        "I teach the cello. A program should keep what each pupil practised this week and print a "
        "page for the parents.",
        "The parents love the weekly page, thank you all very much!",
    ),
    (
        "Our bakery throws away too much bread. Build something that guesses tomorrow's loaves "
        "from the sales of the last four weeks.",
        "Now we would also like the guess for rolls and for cakes.",
    ),
    (
        "The village library wants to know which books were not borrowed for five years, from a "
        "spreadsheet that the old system exports.",
        "It stops with an error when a title has a semicolon in it.",
    ),
    (
        "I repair bicycles and need an estimate for each repair: parts, minutes, price, as a text "
        "message that I can send.",
        "Does the price in the message have the tax in it or not?",
    ),
    (
        "We need a quiz for new forklift drivers, twenty questions in random order, and a list of "
        "who has passed.",
        "Could the quiz also exist in Polish and in Turkish?",
    ),
    (
        "For our allotment garden: a rota of who waters which beds in summer, fair over the "
        "weeks, with swaps.",
        "Everybody waters happily now. Wonderful work.",
    ),
    (
        "A choir of sixty wants a page where singers say whether they come to rehearsal, and a "
        "count for each voice.",
        "Since Monday the altos are counted as basses.",
    ),
    (
        "Make me a checker for recipe files: every ingredient in the list is used in a step, and "
        "the other way round.",
        "What happens with ingredients such as salt, which are in every step?",
    ),
    (
        "The night bus company wants lost property in a list: what, which line, which seat, and "
        "a letter when it is found.",
        "Please add a photo to each thing that was found.",
    ),
]


@dataclass
class Company:
    """What the roles have in common: the LLM, and how many times it was asked.

    Attributes:
        client: OpenAI's client.
        model: Name of the LLM.
        calls: How many answers it has given.
    """

    client: OpenAI
    model: str
    calls: int = 0

    def ask(self, role: str, work: str, *, tokens: int, **options: Any) -> str:
        """The answer of a role to a piece of work, put together from its stream."""
        stream = self.client.chat.completions.create(
            model=self.model,
            messages=[{"role": "system", "content": role}, {"role": "user", "content": work}],
            max_tokens=tokens,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
            **options,
        )
        pieces = [one.delta.content or "" for chunk in stream for one in chunk.choices]
        self.calls += 1
        return "".join(pieces).strip()

    def choose(self, role: str, work: str, options: list[str]) -> str:
        """One of several words; the last of them where the answer is none."""
        answer = self.ask(role, work, tokens=6).lower()
        return next((one for one in options if one in answer), options[-1])


@dataclass
class Project:
    """What has been made for one customer.

    Attributes:
        request: What the customer wrote.
        requirements: The product manager's.
        files: Path and source of each file.
        log: Commit messages.
    """

    request: str
    requirements: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)


def build(company: Company, request: str) -> Project:
    """From a request to reviewed files and a letter."""
    project = Project(request, requirements(company, request))
    told = json.dumps(project.requirements)
    company.ask(ARCHITECT_APPROACH, f"Requirements:\n{told}", tokens=56)
    for path, purpose in files(company, told):
        project.files[path] = write(company, project, path, purpose)
        test = company.ask(TESTER, f"File {path}:\n{project.files[path]}", tokens=56)
        note = f"File: {path}\nPurpose: {purpose}\nHas a test: {'yes' if 'def ' in test else 'no'}"
        subject = company.ask(COMMITTER, note, tokens=24).partition("\n")[0]
        project.log.append(subject or f"feat: add {path}")
    made = "\n".join(project.log)
    company.ask(LETTER, f"Request:\n{request}\n\nCommits:\n{made}", tokens=64)
    return project


def requirements(company: Company, request: str) -> dict[str, Any]:
    """The requirements, with a second try where an answer was cut short."""
    schema = {"name": "requirements", "schema": REQUIREMENTS, "strict": True}
    form = {"type": "json_schema", "json_schema": schema}
    for tokens in (130, 180):
        answer = company.ask(
            PRODUCT_MANAGER, f"Request:\n{request}", tokens=tokens, response_format=form
        )
        found = as_json(answer)
        if isinstance(found, dict) and found.get("product"):
            return found
    return {"product": "Tool", "goal": request, "user_stories": [], "out_of_scope": ""}


def files(company: Company, told: str) -> list[tuple[str, str]]:
    """At most two files with their purposes; a plain one where the answer cannot be read."""
    found = as_json(company.ask(ARCHITECT_FILES, f"Requirements:\n{told}", tokens=90))
    good = [
        (one["path"], str(one.get("purpose", "")))
        for one in (found if isinstance(found, list) else [])
        if isinstance(one, dict) and isinstance(one.get("path"), str)
    ]
    return good[:2] or [("main.py", "starts the program")]


def write(company: Company, project: Project, path: str, purpose: str) -> str:
    """A file that the reviewer is content with, or its second draft."""
    task = f"Product: {project.requirements['product']}\nFile: {path}\nPurpose: {purpose}"
    source = company.ask(ENGINEER, task, tokens=90)
    comment = company.ask(REVIEWER, f"File {path}:\n{source}", tokens=40)
    if company.choose(GATE, f"Comment:\n{comment}", ["merge", "discuss", "revise"]) == "revise":
        draft = f"File {path}:\n{source}\n\nThe reviewer says:\n{comment}"
        source = company.ask(ENGINEER_AGAIN, draft, tokens=90)
    return source


def as_json(answer: str) -> Any:
    """The JSON in an answer, fenced or among words; ``None`` where there is none."""
    found = re.search(r"[\[{].*[\]}]", answer, re.DOTALL)
    try:
        return json.loads(found[0]) if found else None
    except ValueError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description="Build a few small programs for customers.")
    parser.add_argument("--tasks", type=int, default=10, help="how many customers are served")
    parser.add_argument("--model", default="gpt-4o-mini", help="the LLM's name")
    options = parser.parse_args()
    company = Company(OpenAI(), options.model)
    kinds = ["requirement", "bug", "question", "praise"]
    for request, feedback in CUSTOMERS[: options.tasks]:
        kind = company.choose(FRONT_DESK, f"Message:\n{request}", kinds)
        project = build(company, request)
        after = company.choose(FRONT_DESK, f"Message:\n{feedback}", kinds)
        product = project.requirements["product"]
        print(f"{product} ({kind}): {', '.join(project.files)}; then the customer has a {after}")
        for line in project.log:
            print(f"  {line}")
    print(f"{company.calls} calls of the LLM")


if __name__ == "__main__":
    main()
