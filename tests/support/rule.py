"""hetagent's rule of decoding, written again in plain Python, with nothing of `hetagent.engine`.

One text after the other, each evaluated whole.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

LOOKAHEAD = 16
SPACES = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


class Plain(Protocol):
    """A model without any cache, such as `tests.support.reference.Reference`."""

    def tokenize(self, text: str, *, special: bool = True) -> list[int]:
        """Tokens of a text, in which control tokens are parsed or not."""

    def piece(self, token: int) -> bytes:
        """The bytes a token stands for."""

    def matcher_tokenizer(self, end: int) -> Any:
        """An ``llguidance.LLTokenizer``, with this token ending an answer."""

    def logits(self, tokens: Sequence[int]) -> Any:
        """Logits after every token of a text."""


@dataclass(frozen=True)
class Decided:
    """A token of an answer; the fields as in `hetagent.models.base.Token`."""

    id: int
    text: bytes
    logprob: float
    outside: float
    free: int


def decode(
    model: Plain, prompt: str, schema: dict[str, Any], *, end: int, hint: Sequence[int] = ()
) -> list[Decided]:
    """A whole answer.

    Args:
        model: What evaluates.
        prompt: The rendered conversation.
        schema: The closed and bounded JSON Schema of a record or list.
        end: The token that ends an answer.
        hint: Tokens the answer may have; where it does, their logits come from one evaluation of
            all of them instead of one for each.
    """
    return _Rule(model, prompt, schema, end=end, hint=tuple(hint)).run()


class _Rule:
    def __init__(
        self, model: Plain, prompt: str, schema: dict[str, Any], *, end: int, hint: Any
    ) -> None:
        import llguidance

        grammar = llguidance.grammar_from(
            "json_schema", json.dumps({**schema, "x-guidance": SPACES})
        )
        self.matcher = llguidance.LLMatcher(model.matcher_tokenizer(end), grammar)
        self.model, self.schema, self.end = model, schema, end
        self.prompt = model.tokenize(prompt)
        self.path: list[int] = []
        self.decided: list[Decided] = []
        rows = model.logits([*self.prompt, *hint])
        self.known = {tuple(hint[:n]): rows[len(self.prompt) - 1 + n] for n in range(len(hint) + 1)}

    def run(self) -> list[Decided]:
        while not self.decided or self.decided[-1].id != self.end:
            forced = list(self.matcher.compute_ff_tokens())
            found = self.choice(forced)
            for token in forced if found is None else forced[: found[0]]:
                self.take(token, 0.0, 0.0, len(self.model.piece(token)))
            if found is not None:
                self.take_value(found[1], found[2])
            elif self.allowed() == [self.end]:
                self.decided.append(Decided(self.end, b"", 0.0, 0.0, 0))
            else:
                self.take_best()
        return self.decided

    def take(self, token: int, logprob: float, outside: float, free: int) -> None:
        assert self.matcher.consume_token(token)
        self.path.append(token)
        self.decided.append(Decided(token, self.model.piece(token), logprob, outside, free))

    def take_best(self) -> None:
        allowed = self.allowed()
        token, logprob, outside = self.best(self.path, allowed)
        if token == self.end:
            self.decided.append(Decided(token, b"", logprob, outside, 0))
            return
        forced = bytes(self.matcher.compute_ff_bytes())
        self.take(token, logprob, outside, shared([forced, self.model.piece(token)]))

    def take_value(self, paths: list[list[int]], texts: list[bytes]) -> None:
        """The best of several paths, by the product of the softmaxes over the children.

        The first token is always looked at, for the probability of all others.
        """
        totals = []
        for path in paths:
            total = 0.0
            for depth, token in enumerate(path):
                children = self.children(paths, path[:depth])
                if len(children) > 1:
                    total += self.logprob([*self.path, *path[:depth]], children, token)[0]
            totals.append(total)
        path = paths[int(np.argmax(totals))]
        begin, base = 0, list(self.path)
        for depth, token in enumerate(path):
            children = self.children(paths, path[:depth])
            piece = self.model.piece(token)
            if depth and len(children) == 1:
                self.take(token, 0.0, 0.0, len(piece))
            else:
                logprob, outside = self.logprob([*base, *path[:depth]], children, token)
                alike = [
                    text[begin:]
                    for text, other in zip(texts, paths, strict=True)
                    if other[:depth] == path[:depth]
                ]
                free = min(shared([*alike, piece]), len(piece) - 1)
                self.take(token, logprob, outside, free)
            begin += len(piece)

    def choice(self, forced: list[int]) -> tuple[int, list[list[int]], list[bytes]] | None:
        """A value to score: the forced tokens before it, its paths, and their texts."""
        written = b"".join(token.text for token in self.decided)
        coming = bytes(self.matcher.compute_ff_bytes())
        for start in range(len(coming) + 1):
            values = self.values((written + coming[:start]).decode(errors="ignore"))
            if len(values) > 1 and coming[start : start + 1] != b" ":
                break
        else:
            return None
        after = size = 0
        while after < len(forced) and size + len(self.model.piece(forced[after])) <= start:
            size += len(self.model.piece(forced[after]))
            after += 1
        before = self.matcher.deep_copy()
        assert before.try_consume_tokens(forced[:after]) == after
        lead = coming[size:start]
        # A list that may end here is no choice among values.
        if consumes(before, self.plain((lead + b"]").decode())):
            return None
        paths, texts = [], []
        for value in values:
            body = lead + value.encode()
            probe = before.deep_copy()
            if not consumes(probe, self.plain(body.decode())):
                return None
            probe.try_consume_tokens(self.plain(body.decode()))
            text = body + bytes(probe.compute_ff_bytes())[:LOOKAHEAD]
            if text == body:
                return None
            path: list[int] = []
            for token in self.plain(text.decode(errors="ignore")):
                if sum(len(self.model.piece(t)) for t in path) > len(body):
                    break
                path.append(token)
            if not consumes(before, path) or path in paths:
                return None
            paths.append(path)
            texts.append(text)
        return after, paths, texts

    def values(self, written: str) -> list[str]:
        """The JSON values that the schema allows next, if they are a fixed set."""
        keys = awaited(written)
        options = [] if keys is None else [self.schema]
        for key in keys or ():
            inner = []
            for option in self.spread(options):
                if isinstance(key, str):
                    inner += [option["properties"][key]] if key in option["properties"] else []
                elif "prefixItems" in option:
                    inner += option["prefixItems"][key : key + 1]
                else:
                    inner += [option["items"]]
            if len(inner) != 1:
                return []
            options = inner
        values: list[str] = []
        for option in self.spread(options):
            kind = option.get("type")
            if "const" in option or "enum" in option:
                found = [option["const"]] if "const" in option else option["enum"]
            elif kind in ("boolean", "null"):
                found = [True, False] if kind == "boolean" else [None]
            else:
                return []
            values += [json.dumps(value, ensure_ascii=False) for value in found]
        return list(dict.fromkeys(values))

    def spread(self, options: list[Any]) -> list[Any]:
        """The alternatives, references followed."""
        result = []
        for option in options:
            while "$ref" in option:
                option = self.schema["$defs"][option["$ref"].split("/")[-1]]  # noqa: PLW2901
            result += self.spread(option["anyOf"]) if "anyOf" in option else [option]
        return result

    def children(self, paths: list[list[int]], here: list[int]) -> list[int]:
        return sorted({p[len(here)] for p in paths if p[: len(here)] == here})

    def allowed(self) -> list[int]:
        mask = np.frombuffer(self.matcher.compute_bitmask(), dtype=np.uint8)
        return np.flatnonzero(np.unpackbits(mask, bitorder="little")).tolist()

    def best(self, path: list[int], allowed: list[int]) -> tuple[int, float, float]:
        row = self.logits(path)
        token = max(allowed, key=lambda one: row[one])
        return token, *self.logprob(path, allowed, token)

    def logprob(self, path: list[int], among: list[int], token: int) -> tuple[float, float]:
        """A token's logprob among some, and the probability of all others."""
        row = self.logits(path)
        total = np.logaddexp.reduce(row)
        kept = np.logaddexp.reduce(row[among])
        return float(row[token] - kept), float(1 - np.exp(kept - total))

    def logits(self, path: Sequence[int]) -> Any:
        if tuple(path) not in self.known:
            self.known[tuple(path)] = self.model.logits([*self.prompt, *path])[-1]
        return self.known[tuple(path)]

    def plain(self, text: str) -> list[int]:
        return self.model.tokenize(text, special=False)


def consumes(matcher: Any, tokens: list[int]) -> bool:
    """Whether a matcher takes all of some tokens; it stays where it is."""
    return bool(matcher.deep_copy().try_consume_tokens(tokens) == len(tokens))


def shared(texts: Sequence[bytes]) -> int:
    """How many bytes all of some texts begin with alike."""
    shortest = min(map(len, texts))
    return next((n for n in range(shortest) if len({t[n] for t in texts}) > 1), shortest)


def awaited(text: str) -> list[str | int] | None:
    """The keys of the value that begins at the end of an unfinished JSON text, if one does."""
    levels: list[list[Any]] = []
    expected, at = "value", 0
    while at < len(text):
        char = text[at]
        if char == '"':
            begin = at
            at += 1
            while at < len(text) and text[at] != '"':
                at += 2 if text[at] == "\\" else 1
            if at >= len(text):
                return None
            if expected == "key":
                levels[-1][1] = json.loads(text[begin : at + 1])
            expected = "comma"
        elif char in "{[":
            levels.append([char, 0])
            expected = "key" if char == "{" else "value"
        elif char in "}]":
            levels.pop()
            expected = "comma"
        elif char == ":":
            expected = "value"
        elif char == ",":
            expected = "key" if levels[-1][0] == "{" else "value"
            levels[-1][1] = levels[-1][1] if expected == "key" else levels[-1][1] + 1
        elif char != " ":
            while at + 1 < len(text) and text[at + 1] not in ",]} ":
                at += 1
            expected = "scalar" if at + 1 == len(text) else "comma"
        at += 1
    return [key for _, key in levels] if expected == "value" else None
