"""Asking a remote model for an answer of an output type, and reading what it wrote.

Providers differ in what they take: a JSON Schema they decode under (``schema``), JSON without a
promise about its shape (``json``), or only words (``prompt``). All of them are asked for one JSON
object, because ``response_format`` allows no other root: any other type travels as the one key
``"answer"`` of an object and is unwrapped again. What comes back is validated in full, whatever
the provider promised.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, NoReturn

from hetagent.errors import OutputError
from hetagent.models.base import Message
from hetagent.schema import OutputType

__all__ = [
    "ANSWER",
    "Form",
    "chat",
    "is_object",
    "object_span",
    "read",
    "repair",
    "response_format",
    "root_schema",
]

Schema = dict[str, Any]
Chat = list[dict[str, str]]

Form = Literal["schema", "json", "prompt"]
"""How a provider is asked for structured output, the strongest form first."""

ANSWER = "answer"
"""The key under which a value travels that is not an object itself."""

_LONGEST_PROBLEM = 300
_LONGEST_SHOWN = 20_000
_THOUGHTS = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)


def is_object(output: OutputType[Any]) -> bool:
    """Whether an answer is a JSON object itself, and travels as it is."""
    return output.schema.get("type") == "object"


def root_schema(output: OutputType[Any]) -> Schema:
    """The schema of the object a provider is asked for."""
    body = {key: part for key, part in output.schema.items() if key not in ("$schema", "$defs")}
    if not is_object(output):
        body = {
            "type": "object",
            "properties": {ANSWER: body},
            "required": [ANSWER],
            "additionalProperties": False,
        }
    return {**body, "$defs": output.schema["$defs"]} if "$defs" in output.schema else body


def response_format(form: Form, output: OutputType[Any], *, own_server: bool) -> Schema | None:
    """The ``response_format`` of a request, or ``None`` where the prompt says it all.

    Args:
        form: How to ask.
        output: The type of the answer.
        own_server: Whether the server is one of the open ones. They decode under a schema given
            with ``json_object`` as well, and take bounds on strings; OpenAI refuses both.
    """
    if form == "prompt":
        return None
    schema = root_schema(output)
    if form == "json":
        return {"type": "json_object", **({"schema": schema} if own_server else {})}
    unwanted = frozenset() if own_server else frozenset({"minLength", "maxLength"})
    strict = {"name": "answer", "schema": _strict(schema, unwanted), "strict": True}
    return {"type": "json_schema", "json_schema": strict}


def chat(messages: Sequence[Message], output: OutputType[Any], form: Form) -> Chat:
    """The messages to send; unless the provider takes the schema, they end up stating it."""
    turns = [{"role": message.role, "content": _sent(message, output)} for message in messages]
    if form == "schema":
        return turns
    schema = json.dumps(root_schema(output), ensure_ascii=False, separators=(",", ":"))
    order = (
        "Answer with one JSON object and nothing else: no explanation, no code fence. "
        f"It must be valid under this JSON Schema: {schema}"
    )
    if turns and turns[0]["role"] == "system":
        turns[0]["content"] += f"\n\n{order}"
        return turns
    return [{"role": "system", "content": order}, *turns]


def _sent(message: Message, output: OutputType[Any]) -> str:
    """What is sent of a message: of an example's answer, the form in which answers are to come."""
    if message.role != "assistant" or is_object(output):
        return message.content
    try:
        output.parse(message.content)
    except OutputError:
        return message.content  # an answer of another type, shown for another reason
    return json.dumps({ANSWER: output.json_of_text(message.content)}, ensure_ascii=False)


def repair(text: str, error: OutputError) -> Chat:
    """The two turns that show a model its answer and what is wrong with it."""
    shown = text[:_LONGEST_SHOWN].encode(errors="replace").decode()
    return [
        {"role": "assistant", "content": shown or "(nothing)"},
        {
            "role": "user",
            "content": f"That answer cannot be used. {error.message} "
            "Answer again, with only the corrected JSON object.",
        },
    ]


def read(output: OutputType[Any], text: str) -> str:
    """The text of a valid answer, in the output type's own form, from what a model wrote.

    Thoughts, code fences and prose around the JSON are passed over; the JSON itself is not
    mended.

    Raises:
        OutputError: There is no JSON, or it is not a valid value.
    """
    text = _THOUGHTS.sub("", text)
    try:
        value = _value(output, text)
        _check(output, value, text)
        answer = output.text_of_json(value)
        answer.encode()  # half a surrogate pair is no text
    except RecursionError:
        raise OutputError("The answer is nested too deeply.", text=text) from None
    except UnicodeEncodeError:
        raise OutputError("The answer holds half a surrogate pair.", text=text) from None
    output.parse(answer)
    return answer


def object_span(text: str) -> tuple[int, int] | None:
    """Where the JSON object stands that `read` takes: offsets of characters, or ``None``."""
    thoughts = _THOUGHTS.match(text)
    found = _first_object(text, thoughts.end() if thoughts else 0)
    return None if found is None else found[1:]


def _value(output: OutputType[Any], text: str) -> Any:
    """The JSON value in a text, unwrapped."""
    stripped = text.strip()
    if stripped in output.labels:
        return output.labels[stripped]
    if not stripped:
        raise OutputError("The answer is empty.", text=text)
    first = _first_object(stripped, 0)
    if first is None:
        raise OutputError("The answer holds no complete JSON object.", text=text)
    found = first[0]
    if is_object(output):
        return found
    if ANSWER not in found:
        raise OutputError(f"The JSON object has no key {ANSWER!r}.", text=text)
    return found[ANSWER]


def _first_object(text: str, start: int) -> tuple[dict[str, Any], int, int] | None:
    """The first JSON object from an offset on, where it begins, and where it ends."""
    decoder = json.JSONDecoder(parse_constant=_refuse_constant)
    start = text.find("{", start)
    while start >= 0:
        try:
            found, end = decoder.raw_decode(text, start)
        except ValueError:
            start = text.find("{", start + 1)
        else:
            return dict(found), start, end
    return None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _check(output: OutputType[Any], value: Any, text: str) -> None:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match
    from jsonschema.validators import extend

    # Patterns are left to pydantic: its dialect is the one they are written in, and it matches
    # in linear time.
    validator: Any = extend(Draft202012Validator, {"pattern": lambda *_: None})  # type: ignore[no-untyped-call]
    problem = best_match(validator(output.schema).iter_errors(value))
    if problem is not None:
        what = f"{problem.json_path}: {problem.message}"
        if len(what) > _LONGEST_PROBLEM:
            what = f"{what[:_LONGEST_PROBLEM]}…"
        raise OutputError(f"The answer is not valid: {what}.", text=text)


def _strict(schema: Schema, unwanted: frozenset[str]) -> Schema:
    """The schema as OpenAI's strict mode takes it: nothing beside a ``$ref``, no such keywords."""
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}

    def each(part: Any) -> Any:
        return _strict(part, unwanted) if isinstance(part, dict) else part

    inside: dict[str, Callable[[Any], Any]] = {
        "properties": lambda parts: {name: each(part) for name, part in parts.items()},
        "anyOf": lambda parts: [each(part) for part in parts],
        "prefixItems": lambda parts: [each(part) for part in parts],
        "items": each,
    }
    inside["$defs"] = inside["properties"]
    return {
        key: inside[key](part) if key in inside else part
        for key, part in schema.items()
        if key not in unwanted
    }
