"""Redaction: what is private in a call is replaced before anything of it is written.

    pipeline = Pipeline(store, redact=Redactor())

Everything that is found anywhere in a call is replaced everywhere in it, so that an answer which
copies a value from the prompt still does. The same value has the same surrogate in all calls of a
trace. See `docs/redaction.md` for what is found and how well.
"""

from __future__ import annotations

import os
import re
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from hetagent.errors import InputError
from hetagent.learn.record import CallRecord
from hetagent.learn.redact_blobs import find_blobs, tag
from hetagent.learn.redact_finder import Finder
from hetagent.learn.redact_found import DEFAULT_KINDS, KINDS, Found
from hetagent.learn.redact_json import Piece, looks_like_json, pieces
from hetagent.learn.redact_presidio import Presidio, spacy_model
from hetagent.learn.redact_surrogates import Surrogates, last_digits
from hetagent.learn.redact_targets import Edit, Target, targets_of
from hetagent.learn.redact_walk import Leaf, Path, leaves, placed, vocabulary
from hetagent.models.base import Model

__all__ = ["Redactor"]

_MOST_VALUES = 2_000
_WEAK = ("person", "address")
_MASK = "■"


@dataclass(eq=False)
class _Value:
    """A value of a trace: its forms and what stands in for it."""

    kind: str
    canonical: str
    surrogates: Surrogates
    targets: tuple[Target, ...]
    again: int = 0

    @cached_property
    def quick(self) -> frozenset[str]:
        """Of each text in which any form of it can occur, one of these is a part."""
        some = {target.quick for target in self.targets}
        return frozenset(
            one for one in some if not any(other in one for other in some if other != one)
        )


@dataclass
class _Trace:
    """What was found in a trace so far. In memory only, and bounded."""

    values: OrderedDict[tuple[str, str], _Value] = field(default_factory=OrderedDict)
    names: dict[str, str] = field(default_factory=dict)
    taken: dict[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Read:
    """A piece of a leaf, and what was found in it."""

    leaf: Leaf
    piece: Piece
    found: tuple[Found, ...]


class Redactor:
    """Replaces what is private in call records; safe to call from several threads.

    Args:
        key: What surrogates are drawn with, at least 16 bytes. With the same key the same trace has
            the same ones in every process; without one they are of this process alone. Keep it
            secret: who has it can test guesses at a value.
        kinds: What is replaced; see `hetagent.learn.redact_found.KINDS`.
        names: Whether spaCy's English model looks for names of people; ``None``: where it is
            installed.
        presidio: Whether Presidio's recognisers are asked besides our own.
        patterns: Regular expressions of your own, by the name of their kind. Of one with groups the
            first is replaced.
        keep: Texts that are never replaced, whatever their case, such as your company's name.
        model: A local model that runs the skill `hetagent.learn.redact_skill.private_texts` on
            every text. Slow: it is asked once for each new text.
        blobs: Whether images and other encoded bytes are dropped or kept as they are.
        most_cached: Texts whose finds are remembered.
        most_traces: Traces whose values are remembered.

    Raises:
        MissingExtraError: Presidio or the model of spaCy is asked for and not installed.
        InputError: The key is too short, a kind is not known or a pattern is not one.
    """

    def __init__(
        self,
        *,
        key: bytes | None = None,
        kinds: Iterable[str] = DEFAULT_KINDS,
        names: bool | None = None,
        presidio: bool = True,
        patterns: Mapping[str, str | re.Pattern[str]] | None = None,
        keep: Iterable[str] = (),
        model: Model | None = None,
        blobs: Literal["drop", "keep"] = "drop",
        most_cached: int = 20_000,
        most_traces: int = 500,
    ) -> None:
        self._key = _checked_key(key)
        more: list[Callable[[str], Iterable[Found]]] = []
        if presidio or names:
            with_names = names if names is not None else spacy_model() is not None
            more.append(Presidio(names=with_names).find)
        if model is not None:
            from hetagent.learn.redact_skill import SkillFinder

            more.append(SkillFinder(model).find)
        self._finder = Finder(
            _checked_kinds(kinds),
            more=more,
            patterns=_compiled(patterns or {}),
            keep=keep,
            most_cached=most_cached,
        )
        self._drop_blobs = blobs == "drop"
        self._most_traces = most_traces
        self._traces: OrderedDict[str, _Trace] = OrderedDict()
        self._lock = threading.Lock()
        self._shared = Surrogates(self._key, "")

    def __call__(self, record: CallRecord) -> CallRecord:
        """The record with surrogates for what is private; `redacted` counts them by kind."""
        parts = _parts(record)
        words = vocabulary(parts["request"])
        scope = record.trace_id or record.conversation_id or record.id
        changed: dict[Path, Any] = {}
        counts: Counter[str] = Counter()
        reads = []
        for name, part in parts.items():
            for leaf in leaves(part, (name,)):
                if leaf.place == "user":
                    changed[leaf.path] = self._shared.pseudonym(leaf.text, "user")
                    counts["user"] += 1
                elif leaf.place == "blob":
                    if self._drop_blobs:
                        changed[leaf.path] = self._without_blob(leaf.text)
                        counts["blob"] += 1
                else:
                    reads += self._read(leaf)
        edited = self._edited(reads, scope, words, counts)
        for leaf, edits in edited:
            if leaf.place == "tokens":
                tokens = _at(parts, leaf.path)
                changed[leaf.path] = _masked(tokens, edits)
            elif edits:
                changed[leaf.path] = _typed(_applied(leaf.text, edits), _at(parts, leaf.path))
        made = {name: placed(part, changed, (name,)) for name, part in parts.items()}
        if record.form == "openai.embeddings" and made["request"] is not parts["request"]:
            made["response"] = _without_vectors(made["response"])
        return _put_back(record, made, self._ids(record), dict(counts))

    def find(self, text: str, *, scope: str = "") -> tuple[Edit, ...]:
        """What would be replaced in a text, and by what.

        Args:
            text: Any text.
            scope: Texts of one scope have the same surrogates.
        """
        leaf = Leaf(("text",), text, "text")
        edited = self._edited(self._read(leaf), scope, frozenset(), Counter())
        return tuple(edit for _, edits in edited for edit in edits)

    def redact(self, text: str, *, scope: str = "") -> str:
        """A text with surrogates in place of what is private; see `find`."""
        return _applied(text, self.find(text, scope=scope))

    def _read(self, leaf: Leaf) -> list[_Read]:
        """The pieces of a text, and what the recognisers find in each."""
        prose = leaf.place in ("text", "tokens")
        if leaf.place == "text" and looks_like_json(leaf.text):
            some = list(pieces(leaf.text))
        else:
            some = [Piece(leaf.text, _same, leaf.key, leaf.siblings)]
        reads = []
        for piece in some:
            found = self._finder.find(
                piece.text,
                key=piece.key,
                siblings=piece.siblings,
                prose=prose and not piece.is_key,
            )
            reads.append(_Read(leaf, piece, found))
        return reads

    def _edited(
        self, reads: Sequence[_Read], scope: str, words: frozenset[str], counts: Counter[str]
    ) -> list[tuple[Leaf, list[Edit]]]:
        """What changes in each leaf: what was found in it, and what was found elsewhere."""
        with self._lock:
            trace = self._trace(scope)
            self._learn(trace, reads, scope, words)
            known = dict(trace.values)
        used: set[_Value] = set()
        by_leaf: dict[Path, tuple[Leaf, list[Edit]]] = {}
        for read in reads:
            _, edits = by_leaf.setdefault(read.leaf.path, (read.leaf, []))
            for edit in self._of_piece(read, known, words, used):
                start, end, text = read.piece.back(edit.start, edit.end, edit.text)
                edits.append(replace(edit, start=start, end=end, text=text))
        counts.update(_counted(used))
        return [
            (leaf, sorted(edits, key=lambda one: one.start)) for leaf, edits in by_leaf.values()
        ]

    def _of_piece(
        self,
        read: _Read,
        known: Mapping[tuple[str, str], _Value],
        words: frozenset[str],
        used: set[_Value],
    ) -> list[Edit]:
        text, place = read.piece.text, read.leaf.place
        lower = text.lower()
        some: list[tuple[Edit, _Value | None]] = []
        for one in read.found:
            found = text[one.start : one.end]
            value = known.get((one.kind, _canonical(one.kind, found)))
            if value is not None:  # a word of a schema otherwise
                some.append((Edit(one.start, one.end, _surrogate(value, found), one.kind), value))
        for value in known.values():
            if place == "words" and value.kind in _WEAK:
                continue
            if not any(quick in lower for quick in value.quick):
                continue
            for target in value.targets:
                if target.strong or place != "schema":
                    some += [(edit, value) for edit in target.edits(text, lower)]
        if self._drop_blobs:
            some += [(edit, None) for edit in find_blobs(text, self._key)]
        kept: list[Edit] = []
        for edit, value in sorted(some, key=lambda pair: pair[0].start - pair[0].end):
            if edit.kind in _WEAK and lower[edit.start : edit.end] in words:
                continue
            if all(edit.end <= other.start or other.end <= edit.start for other in kept):
                kept.append(edit)
                used.update([value] if value is not None else [])
        return kept

    def _trace(self, scope: str) -> _Trace:
        trace = self._traces.setdefault(scope, _Trace())
        self._traces.move_to_end(scope)
        while len(self._traces) > self._most_traces:
            self._traces.popitem(last=False)
        return trace

    def _learn(
        self, trace: _Trace, reads: Sequence[_Read], scope: str, words: frozenset[str]
    ) -> None:
        """Remember what was found, and choose what stands in for it.

        What stands in the instructions has the same surrogate in all traces: they are shared, and
        their fixed part must stay one text.
        """
        own = Surrogates(self._key, scope)
        new: dict[tuple[str, str], tuple[str, Surrogates]] = {}
        for read in reads:
            for one in read.found:
                value = read.piece.text[one.start : one.end]
                if one.kind in _WEAK and value.lower() in words:
                    continue
                known = (one.kind, _canonical(one.kind, value))
                if read.leaf.system or known not in new:
                    new[known] = (value, self._shared if read.leaf.system else own)
        # Whole names first: what a given name is known by then holds for it alone too.
        for known, (value, surrogates) in sorted(new.items(), key=lambda item: -len(item[0][1])):
            if known not in trace.values:
                trace.values[known] = self._chosen(trace, known, value, surrogates)
            trace.values.move_to_end(known)
        while len(trace.values) > _MOST_VALUES + len(new):
            trace.values.popitem(last=False)

    def _chosen(
        self, trace: _Trace, known: tuple[str, str], value: str, surrogates: Surrogates
    ) -> _Value:
        """A surrogate that stands in for nothing else in the trace."""
        for again in range(20):
            targets = targets_of(known[0], value, surrogates, names=trace.names, again=again)
            one = _Value(*known, surrogates, targets, again)
            new = _canonical(known[0], _surrogate(one, value))
            if trace.taken.get(new, known) == known and new != known[1]:
                break
        trace.taken[new] = known
        return one

    def _without_blob(self, text: str) -> str:
        edits = sorted(find_blobs(text, self._key), key=lambda one: one.start)
        if edits:
            return _applied(text, edits)
        head, comma, _ = text.partition(",") if text.startswith("data:") else ("", "", "")
        return head + comma + tag(text, self._key)

    def _ids(self, record: CallRecord) -> dict[str, Any]:
        """Ids in which somebody put a value that must not be written."""
        changes = {}
        for name in ("trace_id", "conversation_id", "workload"):
            value = getattr(record, name)
            if value and self._finder.find(value, prose=False):
                changes[name] = self._shared.pseudonym(value, name.partition("_")[0])
        return changes


def _surrogate(value: _Value, text: str) -> str:
    """What stands in for a value in the form it has in a text."""
    for target in value.targets:
        match = target.pattern.fullmatch(text)
        if match is not None:
            return target.replace(match)
    if value.kind == "person":
        return value.targets[0].replace(_whole(text))
    return value.surrogates.of(value.kind, text, again=value.again)


def _counted(used: Iterable[_Value]) -> Iterator[str]:
    """The kinds of values that were replaced; a part of a name that is there whole is none."""
    names = [value.canonical.split() for value in used if value.kind == "person"]
    for value in used:
        own = value.canonical.split()
        if value.kind != "person" or not any(set(own) < set(other) for other in names):
            yield value.kind


def _whole(text: str) -> re.Match[str]:
    match = re.fullmatch(r"[\s\S]*", text)
    assert match is not None
    return match


def _canonical(kind: str, text: str) -> str:
    """What all forms of a value have in common."""
    if kind == "phone":
        return last_digits(text)
    if kind == "email":
        return text.lower().replace("%40", "@")
    if kind in ("card", "iban", "national_id"):
        return re.sub(r"[^0-9a-z]", "", text.lower())
    if kind == "secret":
        return text
    return " ".join(text.lower().split())


def _same(start: int, end: int, text: str) -> tuple[int, int, str]:
    return start, end, text


def _parts(record: CallRecord) -> dict[str, Any]:
    error = record.error.message if record.error is not None else None
    return {
        "request": record.request,
        "response": record.response,
        "error": error,
        "tags": {"metadata": record.tags},
    }


def _put_back(
    record: CallRecord, made: Mapping[str, Any], ids: dict[str, Any], counts: dict[str, int]
) -> CallRecord:
    error = record.error
    if error is not None:
        error = replace(error, message=made["error"])
    return record.with_(
        request=made["request"],
        response=made["response"],
        error=error,
        tags=made["tags"]["metadata"],
        redacted=counts,
        **ids,
    )


def _applied(text: str, edits: Iterable[Edit]) -> str:
    out, at = [], 0
    for edit in edits:
        out += [text[at : edit.start], edit.text]
        at = edit.end
    return "".join([*out, text[at:]])


def _at(parts: Mapping[str, Any], path: Path) -> Any:
    value: Any = parts
    for step in path:
        value = value[step]
    return value


def _typed(text: str, before: Any) -> Any:
    """A number where one was."""
    return int(text) if isinstance(before, int) and re.fullmatch(r"-?\d+", text) else text


def _masked(tokens: Sequence[Mapping[str, Any]], edits: Sequence[Edit]) -> list[Any]:
    """Tokens without the text of those that were part of a value; their probabilities stay."""
    out, at = [], 0
    for one in tokens:
        token = one.get("token")
        end = at + (len(token) if isinstance(token, str) else 0)
        if any(edit.start < end and at < edit.end for edit in edits):
            one = {**one, "token": _MASK, "bytes": None, "top_logprobs": []}  # noqa: PLW2901
        out.append(one)
        at = end
    return out


def _without_vectors(response: Any) -> Any:
    """An embeddings response without its vectors: what a text was can be guessed from them."""
    if not isinstance(response, Mapping) or not isinstance(response.get("data"), list):
        return response
    data = [
        {**one, "embedding": []} if isinstance(one, Mapping) and "embedding" in one else one
        for one in response["data"]
    ]
    return {**response, "data": data}


def _checked_key(key: bytes | None) -> bytes:
    if key is None:
        return os.urandom(32)
    if len(key) < 16:
        raise InputError(
            f"The key has {len(key)} bytes.", hint="Give at least 16, such as os.urandom(32)."
        )
    return key


def _checked_kinds(kinds: Iterable[str]) -> frozenset[str]:
    wanted = frozenset(kinds)
    unknown = wanted - frozenset(KINDS)
    if unknown:
        raise InputError(
            f"There is no kind {', '.join(sorted(unknown))}.", hint=f"Kinds are {', '.join(KINDS)}."
        )
    return wanted


def _compiled(patterns: Mapping[str, str | re.Pattern[str]]) -> dict[str, re.Pattern[str]]:
    made = {}
    for name, pattern in patterns.items():
        try:
            made[name] = re.compile(pattern)
        except re.error as error:
            raise InputError(
                f"The pattern {name!r} is not a regular expression: {error}.",
                hint="See Python's re module for what it can have.",
            ) from error
    return made
