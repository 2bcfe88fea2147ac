"""What was found in the calls of one trace, and what changes in their texts because of it.

Kept in memory only, and bounded: it lets a value that one call shows to be private be replaced in
the next one too, and gives no two values the same surrogate.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from hetagent.learn.redact.blobs import find_blobs
from hetagent.learn.redact.found import Found
from hetagent.learn.redact.in_json import Piece
from hetagent.learn.redact.surrogates import Surrogates, last_digits
from hetagent.learn.redact.targets import Edit, Target, targets_of
from hetagent.learn.redact.walk import Leaf, Path

__all__ = ["Read", "Trace", "Traces"]

_MOST_VALUES = 2_000
_WEAK = ("person", "address")


@dataclass(frozen=True, slots=True)
class Read:
    """A piece of a text, and what the recognisers found in it.

    Attributes:
        leaf: The text.
        piece: The piece.
        found: Where, in the piece.
    """

    leaf: Leaf
    piece: Piece
    found: tuple[Found, ...]


@dataclass(eq=False)
class _Value:
    """A value of a trace: its forms and what stands in for it; numbered as they came."""

    kind: str
    canonical: str
    surrogates: Surrogates
    targets: tuple[Target, ...]
    again: int
    number: int = 0

    @cached_property
    def quick(self) -> frozenset[str]:
        """Of each text in which any form of it can occur, one of these is a part."""
        some = {target.quick for target in self.targets}
        return frozenset(
            one for one in some if not any(other in one for other in some if other != one)
        )

    def instead(self, text: str) -> str:
        """What stands in for it in the form it has in a text."""
        for target in self.targets:
            match = target.pattern.fullmatch(text)
            if match is not None:
                return target.replace(match)
        whole = re.fullmatch(r"[\s\S]*", text)
        if self.kind == "person" and whole is not None:
            return self.targets[0].replace(whole)
        return self.surrogates.of(self.kind, text, again=self.again)


_Some = list[tuple[Edit, "_Value | None"]]


class Trace:
    """One trace.

    Args:
        key: What surrogates are drawn with.
        scope: The trace's id.
        drop_blobs: Whether encoded bytes in texts are dropped.
    """

    def __init__(self, key: bytes, scope: str, *, drop_blobs: bool) -> None:
        self._key = key
        self._own = Surrogates(key, scope)
        self._shared = Surrogates(key, "")
        self._drop_blobs = drop_blobs
        self._values: OrderedDict[tuple[str, str], _Value] = OrderedDict()
        self._names: dict[str, str] = {}
        self._taken: dict[str, tuple[str, str]] = {}
        self._count = 0
        self._read: OrderedDict[bytes, tuple[int, _Some]] = OrderedDict()
        self._lock = threading.Lock()

    def edits(
        self, reads: Sequence[Read], words: frozenset[str]
    ) -> tuple[list[tuple[Leaf, list[Edit]]], list[str]]:
        """What changes in each text of a call: what was found in it, and what was elsewhere.

        Args:
            reads: All pieces of the call's texts.
            words: Fixed words of its schemas, which no name and no address is taken for.

        Returns:
            Each text with its edits in order, and the kind of each value that was replaced.
        """
        with self._lock:
            self._learn(reads, words)
            known, count = dict(self._values), self._count
        used: set[_Value] = set()
        by_leaf: dict[Path, tuple[Leaf, list[Edit]]] = {}
        for read in reads:
            _, edits = by_leaf.setdefault(read.leaf.path, (read.leaf, []))
            for edit in _chosen(self._candidates(read, known, count), read.piece.text, words, used):
                start, end, text = read.piece.back(edit.start, edit.end, edit.text)
                edits.append(replace(edit, start=start, end=end, text=text))
        in_order = [
            (leaf, sorted(edits, key=lambda one: one.start)) for leaf, edits in by_leaf.values()
        ]
        return in_order, list(_counted(used))

    def _learn(self, reads: Sequence[Read], words: frozenset[str]) -> None:
        """Remember what was found, and choose what stands in for it.

        What stands in the instructions has the same surrogate in all traces: they are shared, and
        their fixed part must stay one text.
        """
        new: dict[tuple[str, str], tuple[str, Surrogates]] = {}
        for read in reads:
            for one in read.found:
                value = read.piece.text[one.start : one.end]
                if one.kind in _WEAK and value.lower() in words:
                    continue
                known = (one.kind, _canonical(one.kind, value))
                if read.leaf.system or known not in new:
                    new[known] = (value, self._shared if read.leaf.system else self._own)
        # Whole names first: what a given name is known by then holds for it alone too.
        for known, (value, surrogates) in sorted(new.items(), key=lambda item: -len(item[0][1])):
            if known not in self._values:
                self._count += 1
                self._values[known] = self._value(known, value, surrogates)
                self._values[known].number = self._count
            self._values.move_to_end(known)
        while len(self._values) > _MOST_VALUES + len(new):
            self._values.popitem(last=False)

    def _value(self, known: tuple[str, str], value: str, surrogates: Surrogates) -> _Value:
        """A value with a surrogate that stands in for nothing else in the trace."""
        for again in range(20):
            targets = targets_of(known[0], value, surrogates, names=self._names, again=again)
            one = _Value(*known, surrogates, targets, again)
            new = _canonical(known[0], one.instead(value))
            if self._taken.get(new, known) == known and new != known[1]:
                break
        self._taken[new] = known
        return one

    def _candidates(self, read: Read, known: Mapping[tuple[str, str], _Value], count: int) -> _Some:
        """All that may change in a piece; an agent sends its history again and again.

        Values that were looked for in the same piece before are not looked for again.
        """
        text = read.piece.text
        place = "schema" if read.piece.is_key else read.leaf.place
        found = ",".join(f"{one.start}-{one.end}" for one in read.found)
        told = "\0".join((place, found, text)).encode(errors="surrogatepass")
        hashed = hashlib.blake2b(told, key=self._key[:64], digest_size=16).digest()
        with self._lock:
            upto, before = self._read.get(hashed, (0, None))
        some = list(before) if before is not None else self._own_edits(read, known)
        lower = text.lower()
        for value in known.values():
            if value.number <= upto or (place == "words" and value.kind in _WEAK):
                continue
            if any(quick in lower for quick in value.quick):
                for target in value.targets:
                    if target.strong or place != "schema":
                        some += [(edit, value) for edit in target.edits(text, lower)]
        with self._lock:
            self._read[hashed] = (count, some)
            while len(self._read) > _MOST_VALUES:
                self._read.popitem(last=False)
        return some

    def _own_edits(self, read: Read, known: Mapping[tuple[str, str], _Value]) -> _Some:
        """What changes in a piece by what the recognisers found in itself."""
        text = read.piece.text
        some: _Some = []
        for one in read.found:
            found = text[one.start : one.end]
            value = known.get((one.kind, _canonical(one.kind, found)))
            if value is not None:  # a word of a schema otherwise
                some.append((Edit(one.start, one.end, value.instead(found), one.kind), value))
        if self._drop_blobs:
            some += [(edit, None) for edit in find_blobs(text, self._key)]
        return some


class Traces:
    """The last traces.

    Args:
        key: What surrogates are drawn with.
        most: How many are remembered.
        drop_blobs: Whether encoded bytes in texts are dropped.
    """

    def __init__(self, key: bytes, *, most: int, drop_blobs: bool) -> None:
        self._key = key
        self._most = most
        self._drop_blobs = drop_blobs
        self._traces: OrderedDict[str, Trace] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, scope: str) -> Trace:
        """The trace of an id; a new one where it is not remembered."""
        with self._lock:
            if scope not in self._traces:
                self._traces[scope] = Trace(self._key, scope, drop_blobs=self._drop_blobs)
            self._traces.move_to_end(scope)
            while len(self._traces) > self._most:
                self._traces.popitem(last=False)
            return self._traces[scope]


def _chosen(some: _Some, text: str, words: frozenset[str], used: set[_Value]) -> list[Edit]:
    """Of edits that overlap, the longest; none of a schema's own words."""
    kept: list[Edit] = []
    for edit, value in sorted(some, key=lambda pair: pair[0].start - pair[0].end):
        if edit.kind in _WEAK and text[edit.start : edit.end].lower() in words:
            continue
        if all(edit.end <= other.start or other.end <= edit.start for other in kept):
            kept.append(edit)
            used.update([value] if value is not None else [])
    return kept


def _counted(used: Iterable[_Value]) -> Iterator[str]:
    """The kinds of values that were replaced; a part of a name that is there whole is none."""
    names = [value.canonical.split() for value in used if value.kind == "person"]
    for value in used:
        own = value.canonical.split()
        if value.kind != "person" or not any(set(own) < set(other) for other in names):
            yield value.kind


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
