"""Fields of a record that take one of a fixed set of values: where they begin, and their tries."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hetagent.constraint import Matcher, parts
from hetagent.engine.chat import common_length
from hetagent.engine.tries import Trie
from hetagent.engine.vocabulary import Vocabulary
from hetagent.scanner import Scanner
from hetagent.schema import resolve

__all__ = ["FieldChoice", "FieldChoices"]

Keys = tuple[str | int, ...]
Schema = dict[str, Any]

# Bytes of what follows a value that its last token may reach into.
_LOOKAHEAD = 16
_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class FieldChoice:
    """A value that is to be scored instead of decoded.

    Attributes:
        after: How many of the forced tokens come before it.
        literals: Its values as JSON.
        trie: Their token paths, each up to the token that holds the first byte behind the value.
        free: For each path and token, the offset of its first byte that is not forced.
    """

    after: int
    literals: tuple[str, ...]
    trie: Trie
    free: tuple[tuple[int, ...], ...]


class FieldChoices:
    """Finds the values of one record type that can be scored.

    Args:
        schema: The type's closed JSON Schema.
        vocabulary: The model's tokens.
    """

    def __init__(self, schema: Schema, vocabulary: Vocabulary) -> None:
        self._schema = schema
        self._vocabulary = vocabulary
        self._known: OrderedDict[Any, FieldChoice | None] = OrderedDict()

    @classmethod
    def of(cls, schema: Schema, vocabulary: Vocabulary) -> FieldChoices | None:
        """The finder for a type, or ``None`` where nothing of it can be scored."""
        return cls(schema, vocabulary) if _has_choice(schema) else None

    def next(self, matcher: Matcher, scanner: Scanner, forced: Sequence[int]) -> FieldChoice | None:
        """The value to score that begins within, or right behind, the forced bytes.

        Args:
            matcher: At the end of the text; stays as it is.
            scanner: At the end of the text; stays as it is.
            forced: The forced tokens that come next.
        """
        upcoming = matcher.forced()
        found = self._value_start(scanner, upcoming)
        if found is None:
            return None
        start, keys = found
        after, skipped = self._tokens_before(forced, start)
        key = (keys, upcoming[skipped:], after)
        if key not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.popitem(last=False)
            literals = finite_literals(self._schema, keys) or ()
            lead = upcoming[skipped:start]
            probe = matcher.copy()
            taken = probe.consume(forced[:after])
            self._known[key] = self._compile(probe, literals, lead, after) if taken else None
        return self._known[key]

    def _value_start(self, scanner: Scanner, upcoming: bytes) -> tuple[int, Keys] | None:
        """Where, in the bytes to come, a value with a fixed set of values begins."""
        probe = scanner.copy()
        for offset in range(len(upcoming) + 1):
            keys = probe.awaiting
            behind_space = offset == len(upcoming) or upcoming[offset] != ord(" ")
            if keys is not None and behind_space:
                literals = finite_literals(self._schema, keys)
                if literals is not None and len(literals) > 1:
                    return offset, keys
            if offset < len(upcoming):
                probe.feed(upcoming[offset : offset + 1])
        return None

    def _tokens_before(self, forced: Sequence[int], start: int) -> tuple[int, int]:
        """How many of the forced tokens end before the value begins, and their bytes' number."""
        count = length = 0
        for token in forced:
            size = len(self._vocabulary.piece(token))
            if length + size > start:
                break
            count, length = count + 1, length + size
        return count, length

    def _compile(
        self, matcher: Matcher, literals: Sequence[str], lead: bytes, after: int
    ) -> FieldChoice | None:
        if not lead.isascii():
            return None  # a token that ends within a character
        if matcher.copy().consume(self._vocabulary.encode(lead.decode() + "]")):
            return None  # a list that may end here instead is another decision
        paths: list[tuple[int, ...]] = []
        texts: list[bytes] = []
        for literal in literals:
            body = lead + literal.encode()
            probe = matcher.copy()
            if not probe.consume(self._vocabulary.encode(body.decode())):
                return None  # written otherwise in this grammar
            follow = probe.forced()
            if not follow:
                return None  # what comes next is another decision, which may merge with this one
            text = body + follow[:_LOOKAHEAD]
            path = self._covering(text.decode(errors="ignore"), len(body) + 1)
            probe = matcher.copy()
            if not probe.consume(path):
                return None
            paths.append(path)
            texts.append(text)
        if len(set(paths)) < len(paths):
            return None  # the vocabulary cannot tell them apart
        trie = Trie(paths)
        free = tuple(self._free_offsets(trie, index, texts) for index in range(len(paths)))
        return FieldChoice(after, tuple(literals), trie, free)

    def _covering(self, text: str, length: int) -> tuple[int, ...]:
        """The canonical tokens of a text, as far as they hold its first bytes."""
        path: list[int] = []
        size = 0
        for token in self._vocabulary.encode(text):
            if size >= length:
                break
            path.append(token)
            size += len(self._vocabulary.piece(token))
        return tuple(path)

    def _free_offsets(self, trie: Trie, index: int, texts: Sequence[bytes]) -> tuple[int, ...]:
        path = trie.paths[index]
        decided = {depth for depth, _ in trie.branching_steps(index)}
        offsets = []
        begin = 0
        for depth, token in enumerate(path):
            alike = [
                texts[other][begin:]
                for other, theirs in enumerate(trie.paths)
                if theirs[:depth] == path[:depth]
            ]
            low = min(alike)
            forced = low[: common_length(low, max(alike))]
            piece = self._vocabulary.piece(token)
            free = common_length(forced, piece)
            # What was chosen among several counts, also where its bytes begin all of them.
            offsets.append(min(free, len(piece) - 1) if depth in decided else len(piece))
            begin += len(piece)
        return tuple(offsets)


def finite_literals(root: Schema, keys: Keys) -> tuple[str, ...] | None:
    """The values, as JSON, of a field that has a fixed set of them; ``None`` for others."""
    schema: Schema | None = resolve(root, root)
    for key in keys:
        schema = _step(schema, key, root) if schema is not None else None
    return _literals(schema, root) if schema is not None else None


def _step(schema: Schema, key: str | int, root: Schema) -> Schema | None:
    """The schema one level down, where there is only one that it can be."""
    options = [resolve(option, root) for option in schema.get("anyOf", (schema,))]
    inner = [found for option in options if (found := _member(option, key)) is not None]
    return resolve(inner[0], root) if len(inner) == 1 else None


def _member(schema: Schema, key: str | int) -> Schema | None:
    if isinstance(key, str):
        found = schema.get("properties", {}).get(key)
    elif "prefixItems" in schema:
        items = schema["prefixItems"]
        found = items[key] if key < len(items) else None
    else:
        found = schema.get("items")
    return found if isinstance(found, dict) else None


def _literals(schema: Schema, root: Schema) -> tuple[str, ...] | None:
    schema = resolve(schema, root)
    if "anyOf" in schema:
        parts = [_literals(option, root) for option in schema["anyOf"]]
        if any(part is None for part in parts):
            return None
        return tuple(dict.fromkeys(value for part in parts for value in part or ()))
    if "const" in schema:
        return (json.dumps(schema["const"], ensure_ascii=False),)
    if "enum" in schema:
        return tuple(json.dumps(value, ensure_ascii=False) for value in schema["enum"])
    if schema.get("type") == "boolean":
        return ("true", "false")
    return ("null",) if schema.get("type") == "null" else None


def _has_choice(root: Schema) -> bool:
    """Whether any part of a type has a fixed set of several values."""
    return any(
        literals is not None and len(literals) > 1
        for literals in (_literals(part, root) for part in parts(root) if "$ref" not in part)
    )
