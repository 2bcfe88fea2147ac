"""What the LLM is asked when the SLM was not sure enough of some fields."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from hetagent.models.base import Message, Request
from hetagent.prompt import describe_output
from hetagent.schema import OutputType, resolve

__all__ = ["FieldQuestion", "field_question"]

Keys = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FieldQuestion:
    """A request for some fields of a record.

    Attributes:
        request: What the LLM is asked.
        paths: Keys that lead to each field asked for.
    """

    request: Request
    paths: tuple[Keys, ...]

    def merge(self, draft: Any, answer: Any) -> Any:
        """The draft with the LLM's fields in place of its own; neither is changed."""
        merged = copy.deepcopy(draft)
        for keys in self.paths:
            source, target = answer, merged
            for key in keys[:-1]:
                source, target = source[key], target[key]
            target[keys[-1]] = source[keys[-1]]
        return merged

    def covers(self, path: str) -> bool:
        """Whether a field is among, or within, those asked for."""
        return any(_within(path, ".".join(keys)) for keys in self.paths)


def field_question(
    request: Request,
    *,
    instructions: str,
    draft: Any,
    weak: Iterable[str],
    others: Iterable[str] | None = None,
) -> FieldQuestion | None:
    """Ask for the weak fields alone, with the others given as known.

    A weak field inside a list or a union is asked for as that whole list or union.

    Args:
        request: The request the SLM was given.
        instructions: What the skill is to do.
        draft: The SLM's answer as JSON data, or what there is of it.
        weak: Paths of the weak fields.
        others: Where this is one question of several about an answer, the weak fields that the
            others ask for. They are not given as known, and there need not be anything known.

    Returns:
        The question, or ``None`` where nothing would be left as known: the LLM then answers whole.
    """
    schema = request.output.schema
    paths = _outermost({_selectable(schema, path) for path in weak})
    if not paths or () in paths:
        return None
    known = copy.deepcopy(draft)
    for keys in _outermost({*paths, *(_selectable(schema, path) for path in others or ())}):
        # An answer that is still being written need not have them as a whole.
        if others is None or _has(known, keys):
            _remove(known, keys)
    if not known and others is None:
        return None
    part: OutputType[Any] = OutputType(
        annotation=None,
        schema=_pruned(schema, paths),
        form="json",
        labels={},
        adapter=TypeAdapter(Any),
    )
    system = Message("system", f"{instructions}\n\n{describe_output(part)}")
    user = _ask(request.messages[-1].content, known, paths)
    turns = (system, *_example_turns(request, paths, known), user)
    return FieldQuestion(Request(turns, part, request.max_tokens), paths)


def _ask(text: str, known: Any, paths: tuple[Keys, ...]) -> Message:
    facts = json.dumps(known, ensure_ascii=False)
    given = f"Already known to be right: {facts}\n" if known else ""
    wanted = ", ".join(".".join(keys) for keys in paths)
    return Message("user", f"{text}\n\n{given}Give only: {wanted}.")


def _example_turns(
    request: Request, paths: tuple[Keys, ...], given: Mapping[str, Any]
) -> Iterator[Message]:
    """The skill's examples, put as the same question for the same fields."""
    turns = request.messages[1:-1]
    for question, answer in zip(turns[::2], turns[1::2], strict=True):
        known = json.loads(answer.content)
        wanted: dict[str, Any] = {}
        try:
            for keys in paths:
                _copy(known, wanted, keys)
            for keys in paths:
                _remove(known, keys)
        except (KeyError, TypeError):
            continue  # this example is of another option of a union
        # An answer that is still being written has only its first fields to give.
        shown = {key: value for key, value in known.items() if key in given}
        yield _ask(question.content, shown, paths)
        yield Message("assistant", json.dumps(wanted, ensure_ascii=False))


def _copy(source: Any, target: dict[str, Any], keys: Keys) -> None:
    for key in keys[:-1]:
        source, target = source[key], target.setdefault(key, {})
    target[keys[-1]] = source[keys[-1]]


def _selectable(root: dict[str, Any], path: str) -> Keys:
    """Keys from the root to a field, as far as they lead through plain records."""
    keys: list[str] = []
    schema = resolve(root, root)
    rest = path
    while rest and schema.get("type") == "object":
        # Longest first: a key may itself hold a dot.
        names = sorted(schema["properties"], key=len, reverse=True)
        name = next((n for n in names if _within(rest, n)), None)
        if name is None:
            break
        keys.append(name)
        rest = rest[len(name) :].removeprefix(".")
        schema = resolve(schema["properties"][name], root)
    return tuple(keys)


def _within(path: str, outer: str) -> bool:
    return path == outer or path.startswith((f"{outer}.", f"{outer}["))


def _outermost(paths: set[Keys]) -> tuple[Keys, ...]:
    """Without paths that lie within another one."""
    inner = {p for p in paths for other in paths if p != other and p[: len(other)] == other}
    return tuple(sorted(paths - inner))


def _has(data: Any, keys: Keys) -> bool:
    for key in keys:
        if key not in data:
            return False
        data = data[key]
    return True


def _remove(data: Any, keys: Keys) -> None:
    """Remove a field, and records that hold nothing then."""
    holders = [data]
    for key in keys[:-1]:
        holders.append(holders[-1][key])
    del holders[-1][keys[-1]]
    for holder, key in zip(reversed(holders[:-1]), reversed(keys[:-1]), strict=True):
        if not holder[key]:
            del holder[key]


def _pruned(root: dict[str, Any], paths: tuple[Keys, ...]) -> dict[str, Any]:
    """The schema of a record that has only some fields."""

    def cut(schema: dict[str, Any], wanted: tuple[Keys, ...]) -> dict[str, Any]:
        if () in wanted:
            return schema
        whole = resolve(schema, root)
        properties = {
            name: cut(part, tuple(keys[1:] for keys in wanted if keys[0] == name))
            for name, part in whole["properties"].items()
            if any(keys[0] == name for keys in wanted)
        }
        return {**whole, "properties": properties, "required": list(properties)}

    pruned = cut({key: value for key, value in root.items() if key != "$defs"}, paths)
    if "$defs" in root:
        pruned = {**pruned, "$defs": root["$defs"]}
    return pruned
