"""From a call to an example: what it says, which others say the same, and what class it is of."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from hetagent.learn.chat import Chat, Said
from hetagent.learn.curate.recipe import Recipe
from hetagent.learn.curate.words import hash64, words_of
from hetagent.learn.record import CallRecord

__all__ = ["FACTS", "Candidate", "answer_class", "candidate", "canonical", "json_of", "text_of"]

FACTS = (
    "task", "answer", "prompt", "words", "class_", "conversation", "trace", "own", "last", "first",
)  # fmt: skip
"""What is known of each example in 64 bits each; 0 where there is nothing to know."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LABEL_CHARACTERS, _LABEL_WORDS = 40, 4
_DEEP = 20
_OFFERS_NOTHING = ("none", {"type": "none"})


@dataclass(frozen=True, slots=True)
class Candidate:
    """A call that may become an example.

    Attributes:
        key: 16 bytes; the same for calls that say the same.
        time: Microseconds since 1970, in UTC.
        record: Id of the record.
        words: Of all that the prompt says, for likeness.
        facts: As `FACTS` names them.
        body: The example as JSON data, but for what only the whole dataset tells.
    """

    key: bytes
    time: int
    record: str
    words: list[str]
    facts: tuple[int, ...]
    body: dict[str, Any]


def candidate(record: CallRecord, chat: Chat, recipe: Recipe) -> Candidate:
    """What a valid call says. It has an answer."""
    assert chat.answer is not None  # the checks saw to it
    names = _Names()
    messages = [_message(one, names) for one in chat.messages]
    answer = _message(chat.answer, names)
    offered = record.request.get("tool_choice") not in _OFFERS_NOTHING
    tools = [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
            },
        }
        for tool in (chat.tools if offered else ())
    ]
    schema = dict(chat.schema) if chat.schema else None
    class_ = answer_class(record, chat, recipe)
    system = [one.text for one in chat.messages if one.role == "system"]
    asked = canonical([messages, tools, schema])
    said = _said(answer)
    words = words_of(text_of({"messages": messages}))
    known = {
        "task": hash64(canonical([[re.sub(r"\d+", "0", one) for one in system], tools, schema])),
        "answer": hash64(said),
        "prompt": hash64(asked),
        "words": hash64(" ".join(words)) if words else 0,
        "class_": hash64(class_),
        "conversation": _named("conversation", record.conversation_id),
        "trace": _named("trace", record.trace_id),
        **_thread(messages, answer),
    }
    return Candidate(
        key=sha256(f"{asked}\n{said}".encode()).digest()[:16],
        time=_microseconds(record.time),
        record=record.id,
        words=words,
        facts=tuple(known[name] for name in FACTS),
        body={
            "messages": messages,
            "tools": tools,
            "answer": answer,
            "schema": schema,
            "class": class_,
            "model": record.served_model or record.model,
            "source": record.source,
            "trainable": record.trainable,
            "workload": record.workload,
        },
    )


def answer_class(record: CallRecord, chat: Chat, recipe: Recipe) -> str:
    """The class of an answer, by which classes are balanced.

    Returns:
        ``"tool:NAME"`` (several names sorted, with ``+`` between), ``"abstain"``, ``"no_tool"``
        where tools were offered and none was called, ``"label:…"`` for one of few values,
        ``"json"``, ``"number"`` or ``"text"``.
    """
    answer = chat.answer or Said("assistant", "")
    if answer.calls:
        return "tool:" + "+".join(sorted({call.name for call in answer.calls}))
    is_json = chat.json or chat.schema is not None or record.form == "hetagent.skill"
    value = json_of(answer.text, answer.text) if is_json else answer.text
    if str(record.tags.get("abstain", "")).lower() in ("1", "true", "yes") or _abstains(
        value, recipe
    ):
        return "abstain"
    if chat.tools and record.request.get("tool_choice") not in _OFFERS_NOTHING:
        return "no_tool"
    if recipe.balance.field is not None and isinstance(value, Mapping):
        value = _at(value, recipe.balance.field)
    elif isinstance(value, Mapping) and len(value) == 1:
        value = next(iter(value.values()))
    return _label(value)


def canonical(value: Any) -> str:
    """The one way to write JSON data, as ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def text_of(body: Mapping[str, Any]) -> str:
    """All that an example's prompt says, for likeness; what was offered is not in it."""
    parts = []
    for one in body["messages"]:
        called = [call["function"] for call in one.get("tool_calls", ())]
        parts += [one["content"], *(f"{call['name']} {call['arguments']}" for call in called)]
    return "\n".join(parts)


def json_of(text: str, default: Any = None) -> Any:
    """What JSON says, or the default where it is none (or more than can be read)."""
    try:
        return json.loads(text, parse_constant=_no_json)
    except (ValueError, RecursionError):
        return default


def _no_json(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


class _Names:
    """Ids of tool calls by their order: servers draw them at random, and they say nothing."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        return self._known.setdefault(name, f"call_{len(self._known) + 1}")


def _message(said: Said, names: _Names) -> dict[str, Any]:
    message: dict[str, Any] = {"role": said.role, "content": said.text}
    if said.calls:
        message["tool_calls"] = [
            {
                "id": names[call.id],
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in said.calls
        ]
    if said.role == "tool" or said.answers:
        message["tool_call_id"] = names[said.answers]
    return message


def _said(answer: Mapping[str, Any]) -> str:
    """An answer, however its JSON is spaced and ordered."""
    calls = [one["function"] for one in answer.get("tool_calls", ())]
    return canonical(
        [_plain(answer["content"]), [[one["name"], _plain(one["arguments"])] for one in calls]]
    )


def _plain(text: str) -> str:
    try:
        return canonical(json_of(text, text))
    except RecursionError:  # nested as deep as can just be read
        return text


def _thread(messages: Sequence[Mapping[str, Any]], answer: Mapping[str, Any]) -> dict[str, int]:
    """What a conversation's calls share even where nobody gave it an id.

    The next call of a conversation repeats this one's messages and its answer: ``own`` of this one
    is then ``last`` of that one, and ``first`` of all that follow where this one was the first.
    """
    said = [one for one in messages if one["role"] != "system"]
    answers = [at for at, one in enumerate(said) if one["role"] == "assistant"]

    def upto(parts: Sequence[Mapping[str, Any]]) -> int:
        return hash64("thread" + canonical([[one["role"], _said(one)] for one in parts]))

    return {
        "own": upto([*said, answer]),
        "last": upto(said[: answers[-1] + 1]) if answers else 0,
        "first": upto(said[: answers[0] + 1]) if answers else 0,
    }


def _named(kind: str, name: str | None) -> int:
    return hash64(f"{kind} {name}") if name else 0


def _microseconds(time: datetime) -> int:
    # A time that names no zone is UTC, so that the machine's own zone changes nothing.
    aware = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


def _abstains(value: Any, recipe: Recipe, *, depth: int = 0) -> bool:
    if isinstance(value, Mapping):
        parts = value.values()
        return depth < _DEEP and all(_abstains(one, recipe, depth=depth + 1) for one in parts)
    if isinstance(value, list):
        return not value
    if isinstance(value, str):
        plain = unicodedata.normalize("NFKC", value).replace("\u2019", "'").strip().casefold()
        return plain.strip(" .!\"'") in recipe.abstentions
    return value is None


def _at(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _label(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return f"label:{json.dumps(value)}"
    if isinstance(value, int | float):
        return "number"
    if not isinstance(value, str):
        return "json"
    short = len(value) <= _LABEL_CHARACTERS and len(value.split()) <= _LABEL_WORDS
    return f"label:{value.strip().casefold()}" if short and "\n" not in value.strip() else "text"
