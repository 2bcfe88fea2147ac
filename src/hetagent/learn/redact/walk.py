"""The texts of a call record: where they are, what they are, and the record with others in place.

What an API needs to understand a call is never touched: roles, ids, names of models and tools, the
keys, types and patterns of schemas. In the fixed words of a schema only what is private by its form
is replaced, and in answers alike, so that they stay valid.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hetagent.learn.redact.letters import words

__all__ = ["Leaf", "Path", "leaves", "placed", "vocabulary"]

Path = tuple[str | int, ...]

Place = Literal["text", "words", "schema", "blob", "user", "tokens"]
"""What a text is: free text; fixed words, such as an enum's; a description in a schema; encoded
bytes; the id of a user; a list of tokens with their probabilities."""

_STRUCTURE = frozenset(
    words(
        """
    role type id object model finish_reason stop_reason stop_sequence tool_call_id
    tool_use_id call_id system_fingerprint service_tier media_type mime_type detail format
    encoding_format status reasoning_effort verbosity truncation modality voice
    cache_control ttl annotations_type native_finish_reason
    """
    )
)
_SCHEMAS = frozenset(
    words(
        """
    tools functions response_format schema input_schema output_config output_format
    parameters text_format tool_choice function_call
    """
    )
)
_DATA = frozenset(["input", "inputs", "value", "metadata", "arguments"])
_USER = frozenset(("user", "user_id", "safety_identifier", "end_user", "end_user_id"))
_BLOB_KEYS = frozenset(
    [
        "signature",
        "encrypted_content",
        "thought_signature",
        "file_data",
        "b64_json",
        "encrypted_reasoning",
    ]
)
_SYSTEM = frozenset(("system", "instructions"))
_DATA_URL = re.compile(r"data:[\w.+/-]*(?:;[\w=.+-]+)*;base64,", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{1024,}={0,2}")
_FIXED = frozenset(("enum", "const", "default", "examples", "name", "title"))
_DEEPEST = 60
_KEY = "\0key "  # before a field's name, in the path of that name itself


@dataclass(frozen=True, slots=True)
class Leaf:
    """One text of a record.

    Attributes:
        path: Where it is, from the record's own parts on.
        text: The text; a number's digits; of tokens, all of them joined.
        place: What it is.
        key: The field it is the value of, within data.
        siblings: The fields beside it.
        system: Whether it is a part of the instructions, which all traces share.
    """

    path: Path
    text: str
    place: Place
    key: str = ""
    siblings: tuple[str, ...] = ()
    system: bool = False


def leaves(value: Any, path: Path) -> Iterator[Leaf]:
    """All texts in one part of a record, such as its request, but those that are structure."""
    yield from _api(value, path, system=False)


def vocabulary(value: Any) -> frozenset[str]:
    """The fixed words of schemas and tools in a request, in lower case."""
    return frozenset(word.lower() for word in _fixed(value, in_schema=False, depth=0))


def placed(value: Any, changed: Mapping[Path, Any], path: Path) -> Any:
    """The same data with other texts at some paths; what has none is shared, not copied."""
    if path in changed:
        return changed[path]
    if isinstance(value, Mapping):
        some = [placed(one, changed, (*path, key)) for key, one in value.items()]
        names = [changed.get((*path, f"{_KEY}{key}"), key) for key in value]
        same = all(new is old for new, old in zip(some, value.values(), strict=True))
        return value if same and names == list(value) else dict(zip(names, some, strict=True))
    if isinstance(value, list | tuple):
        some = [placed(one, changed, (*path, at)) for at, one in enumerate(value)]
        same = all(new is old for new, old in zip(some, value, strict=True))
        return value if same else some
    return value


def _api(value: Any, path: Path, *, system: bool) -> Iterator[Leaf]:
    """The API's own part: messages, parameters, choices."""
    if len(path) > _DEEPEST:
        raise ValueError("the record is nested too deeply to be redacted")
    if isinstance(value, str):
        yield _text(value, path, system=system)
    elif isinstance(value, Mapping):
        system = system or value.get("role") in ("system", "developer")
        for key, one in value.items():
            yield from _member(value, str(key), one, (*path, key), system=system)
    elif isinstance(value, list | tuple):
        if _is_tokens(value):
            yield Leaf(path, "".join(_token(one) for one in value), "tokens")
            return
        for at, one in enumerate(value):
            yield from _api(one, (*path, at), system=system)


def _member(
    parent: Mapping[str, Any], key: str, value: Any, path: Path, *, system: bool
) -> Iterator[Leaf]:
    if key in _STRUCTURE and isinstance(value, str):
        return
    if key in _USER and isinstance(value, str):
        yield Leaf(path, value, "user")
    elif key in _BLOB_KEYS and isinstance(value, str):
        yield Leaf(path, value, "blob")
    elif key == "name" and isinstance(value, str):
        if parent.get("role") in ("user", "assistant"):
            yield Leaf(path, value, "text", key="username", system=system)
    elif key == "function_call" and isinstance(value, Mapping) and "arguments" in value:
        yield from _data(value["arguments"], (*path, "arguments"), "", ())
    elif key in _SCHEMAS and not isinstance(value, str):
        yield from _schema(value, path, key)
    elif key == "data" and isinstance(value, str) and len(value) > 64:
        yield Leaf(path, value, "blob")
    elif key in _DATA:
        yield from _data(value, path, "", ())
    else:
        yield from _api(value, path, system=system or key in _SYSTEM)


def _data(value: Any, path: Path, key: str, siblings: tuple[str, ...]) -> Iterator[Leaf]:
    """Data of the user's own, whose keys mean what they say."""
    if len(path) > _DEEPEST:
        raise ValueError("the record is nested too deeply to be redacted")
    if isinstance(value, str):
        if key in _USER:
            yield Leaf(path, value, "user")
        else:
            yield _text(value, path, key=key, siblings=siblings)
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 1_000_000:
        yield Leaf(path, str(value), "text", key, siblings)
    elif isinstance(value, Mapping):
        names = tuple(str(name) for name in value)
        for name, one in value.items():
            if isinstance(name, str) and not name.isidentifier():
                yield Leaf((*path, f"{_KEY}{name}"), name, "schema")
            yield from _data(one, (*path, name), str(name), names)
    elif isinstance(value, list | tuple):
        for at, one in enumerate(value):
            yield from _data(one, (*path, at), key, siblings)


def _schema(value: Any, path: Path, key: str) -> Iterator[Leaf]:
    """Schemas and declarations of tools: descriptions and fixed words, no keys."""
    if len(path) > _DEEPEST:
        raise ValueError("the record is nested too deeply to be redacted")
    if isinstance(value, str):
        if key in ("description", "$comment"):
            yield Leaf(path, value, "schema", system=True)
        elif key in _FIXED or path[-1:] != (key,):
            yield Leaf(path, value, "words", system=True)
    elif isinstance(value, Mapping):
        for name, one in value.items():
            yield from _schema(one, (*path, name), str(name))
    elif isinstance(value, list | tuple) and key not in ("required", "type"):
        for at, one in enumerate(value):
            yield from _schema(one, (*path, at), key)


def _text(
    value: str, path: Path, *, key: str = "", siblings: Sequence[str] = (), system: bool = False
) -> Leaf:
    blob = _DATA_URL.match(value) or (len(value) >= 1024 and _BASE64.fullmatch(value))
    return Leaf(path, value, "blob" if blob else "text", key, tuple(siblings), system)


def _is_tokens(value: Sequence[Any]) -> bool:
    return bool(value) and all(
        isinstance(one, Mapping) and "token" in one and "logprob" in one for one in value
    )


def _token(one: Mapping[str, Any]) -> str:
    token = one.get("token")
    return token if isinstance(token, str) else ""


def _fixed(value: Any, *, in_schema: bool, depth: int) -> Iterator[str]:
    """Names of tools and properties, and values of enums."""
    if depth > _DEEPEST:
        return
    if isinstance(value, Mapping):
        for key, one in value.items():
            schema = in_schema or key in _SCHEMAS
            if schema and key == "properties" and isinstance(one, Mapping):
                yield from map(str, one)
            if schema and key in ("enum", "const", "name", "required"):
                some = one if isinstance(one, list | tuple) else [one]
                yield from (word for word in some if isinstance(word, str))
            yield from _fixed(one, in_schema=schema, depth=depth + 1)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _fixed(one, in_schema=in_schema, depth=depth + 1)
