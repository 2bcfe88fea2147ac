"""Answers to the agents in `examples/agents`, as a model might give them, wrong ones among them."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable

from hetagent.models.base import Request
from hetagent.models.scripted import Answer

__all__ = ["answers"]

_NOUNS = tuple(
    re.findall(
        r"\w+", "counter list timetable rota quiz estimate letter page shelf boat kettle bill"
    )
)
_VERBS = tuple(re.findall(r"\w+", "keeps counts prints sorts reads sends shows checks plans saves"))
_LINKS = re.compile(r"(/\w+)")
_ELEMENTS = re.compile(r"\[([\w. ]+)\]")


def answers(seed: int = 0) -> Callable[[Request], Answer]:
    """A script for `Scripted` that knows each agent's prompts; the same for the same seed."""
    chance = random.Random(seed)

    def answer(request: Request) -> Answer:
        labels = request.output.labels
        system = next((one.content for one in request.messages if one.role == "system"), "")
        said = request.messages[-1].content
        if labels:
            wanted = [one for one in _tools(said) if one in labels]
            return Answer(chance.choice(wanted or list(labels)))
        if request.output.form == "json":
            return Answer(raw=json.dumps(_record(request.output.schema, chance, said)))
        return Answer(raw=_words(system, said, chance))

    return answer


def _tools(said: str) -> list[str]:
    if "Back: /" not in said:
        return ["open_link", "open_link", "open_link", "finish"]
    return ["read_fact", "read_fact", "read_fact", "go_back"]


def _record(schema: dict, chance: random.Random, said: str) -> dict:
    found = {}
    for name, part in schema.get("properties", {}).items():
        options = part.get("anyOf", [part])
        kind = chance.choice(options).get("type", "string")
        values = {
            "boolean": lambda: chance.random() < 0.7,
            "null": lambda: None,
            "array": lambda: [_clause(chance), _clause(chance)],
            "string": lambda: _clause(chance)[:12],
        }
        found[name] = values[kind]()
    if "link" in found:
        found["link"] = chance.choice(_LINKS.findall(said) or ["/nowhere"])
    return found


def _words(system: str, said: str, chance: random.Random) -> str:
    ends = {
        "You are the front desk": lambda: _one("requirement bug question praise", chance),
        "A reviewer has commented": lambda: _one("merge revise discuss", chance),
        "You are the ear of": lambda: _one("buy compare book lookup cancel", chance),
        "You are the judge of": lambda: _one("yes no", chance),
        "You are the judgement of": lambda: _one("success failure unclear", chance),
        "You are the hand of a program": lambda: _action(said, chance),
        "Write the commit message": lambda: f"feat(core): {_clause(chance)}",
        "You are the architect. List": lambda: _files(chance),
        "You are an engineer": lambda: _code(chance),
        "You are the tester": lambda: f"def test_{_one(_NOUNS, chance)}():\n    assert make() == 3",
    }
    for begins, made in ends.items():
        if system.startswith(begins):
            return made()
    return " ".join(_clause(chance).capitalize() + "." for _ in range(chance.randint(3, 6)))


def _one(words: str | tuple[str, ...], chance: random.Random) -> str:
    return chance.choice(words.split() if isinstance(words, str) else words)


def _clause(chance: random.Random) -> str:
    first, second = chance.sample(_NOUNS, 2)
    return f"the {first} {chance.choice(_VERBS)} a {second} {chance.randint(2, 90)} times"


def _files(chance: random.Random) -> str:
    if chance.random() < 0.2:
        return "I would write two files."
    files = [{"path": f"{one}.py", "purpose": _clause(chance)} for one in chance.sample(_NOUNS, 2)]
    return f"```json\n{json.dumps(files)}\n```"


def _code(chance: random.Random) -> str:
    name = chance.choice(_NOUNS)
    return (
        f"from dataclasses import dataclass\n\n\n@dataclass\nclass {name.title()}:\n"
        f"    size: int\n\n\ndef make(size: int) -> {name.title()}:\n"
        f'    """{_clause(chance)}."""\n    ...\n'
    )


def _action(said: str, chance: random.Random) -> str:
    if chance.random() < 0.1:
        return "I would look at the screen again."
    element = chance.choice(_ELEMENTS.findall(said) or ["Close"])
    if chance.random() < 0.15:
        return 'type_text(Text, "oat milk")'
    return f"click([{element}])"
