"""All recognisers over one text, once: what was found is remembered by the text's hash."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial

from hetagent.learn.redact.addresses import find_addresses
from hetagent.learn.redact.contacts import (
    find_cards,
    find_emails,
    find_ibans,
    find_ips,
    find_phones,
)
from hetagent.learn.redact.credentials import find_secrets, find_tokens
from hetagent.learn.redact.dates import find_dates
from hetagent.learn.redact.fields import field_find, find_by_fields, find_in_tables
from hetagent.learn.redact.found import Found, settle
from hetagent.learn.redact.ids import find_national_ids
from hetagent.learn.redact.names import answered_name, find_names
from hetagent.learn.redact.surnames import find_by_surname

__all__ = ["Finder", "chunks"]

CHUNK = 2_000
_LONG_LINE = 200
# After a word that is long enough to be no title or initial before a name.
_SENTENCE_END = re.compile(r"(?<=[a-z\d)]{4}[.!?])[ \t]+(?=\S)")
_FEW_DIGITS = re.compile(r"(?:\d\D{0,3}){6}")

Sees = Callable[[str], Iterable[Found]]


class Finder:
    """Finds what must not be written.

    Args:
        kinds: What is looked for.
        more: Further recognisers: Presidio, a skill. Each is given lines and sentences of a text.
        patterns: The user's own, by the name of their kind. Of a pattern with groups the first is
            what is found.
        keep: Texts that are never found, whatever their case.
        most_cached: Texts and sentences whose finds are remembered: offsets and kinds under a keyed
            hash of the text, never the text.
    """

    def __init__(
        self,
        kinds: Collection[str],
        *,
        more: Iterable[Sees] = (),
        patterns: Mapping[str, re.Pattern[str]] | None = None,
        keep: Iterable[str] = (),
        most_cached: int = 20_000,
    ) -> None:
        self.kinds = frozenset(kinds)
        self._more = tuple(more)
        self._patterns = dict(patterns or {})
        self._keep = frozenset(text.lower() for text in keep)
        self._salt = os.urandom(16)
        self._most = most_cached
        self._seen: OrderedDict[bytes, tuple[Found, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def find(
        self,
        text: str,
        *,
        key: str = "",
        siblings: Collection[str] = (),
        prose: bool = True,
        asked: bool = False,
    ) -> tuple[Found, ...]:
        """What is in a text, without overlaps, in order.

        Args:
            text: Of any length; a long one is read in chunks.
            key: The name of the field it is the value of.
            siblings: Names of the fields beside it.
            prose: Whether names and addresses are looked for. They are not in schemas, whose
                words are fixed.
            asked: Whether it answers the question for a name.
        """
        if len(text) < 2:
            return ()
        told = "\0".join([key, *sorted(siblings)]) if key else ""
        return self._remembered(
            f"{prose}\0{asked}\0{told}\0{text}",
            lambda: self._found(text, key, siblings, prose, asked),
        )

    def _found(
        self, text: str, key: str, siblings: Collection[str], prose: bool, asked: bool
    ) -> tuple[Found, ...]:
        found: list[Found] = []
        if key and (one := field_find(text, key=key, siblings=siblings)):
            found.append(one)
        if asked and (one := answered_name(text)):
            found.append(one)
        found.extend(find_tokens(text))
        if prose:
            found.extend(find_in_tables(text))
        for start, chunk in chunks(text):
            found.extend(one.moved(start) for one in self._in_chunk(chunk, key, prose))
        wanted = [one for one in found if one.kind in self.kinds or one.by == "custom"]
        return tuple(
            one
            for one in settle(wanted, text)
            if text[one.start : one.end].lower() not in self._keep
        )

    def _in_chunk(self, text: str, key: str, prose: bool) -> Iterator[Found]:
        for kind, pattern in self._patterns.items():
            for match in pattern.finditer(text):
                start, end = match.span(1 if pattern.groups else 0)
                if start < end:
                    yield Found(start, end, kind, by="custom")
        yield from find_secrets(text)
        yield from find_emails(text)
        if _FEW_DIGITS.search(text):
            yield from find_cards(text, hint=key)
            yield from find_ibans(text)
            yield from find_national_ids(text, hint=key)
            yield from find_phones(text, hint=key)
            yield from find_ips(text)
        if "date" in self.kinds:
            yield from find_dates(text)
        if prose:
            yield from find_by_fields(text)
            yield from find_addresses(text)
            yield from find_names(text)
            yield from find_by_surname(text)
            if self._more:
                yield from self._by_others(text)

    def _by_others(self, text: str) -> Iterator[Found]:
        """What slower recognisers find, block by block: most of an agent's prompt is the same."""
        for start, block in _blocks(text):
            found = self._remembered(f"block\0{block}", partial(_all, self._more, block))
            for one in found:
                yield one.moved(start)

    def _remembered(self, what: str, find: Callable[[], tuple[Found, ...]]) -> tuple[Found, ...]:
        hashed = hashlib.blake2b(what.encode(errors="surrogatepass"), key=self._salt).digest()
        with self._lock:
            known = self._seen.get(hashed)
            if known is not None:
                self._seen.move_to_end(hashed)
                return known
        found = find()
        with self._lock:
            self._seen[hashed] = found
            while len(self._seen) > self._most:
                self._seen.popitem(last=False)
        return found


def _all(sees: Iterable[Sees], text: str) -> tuple[Found, ...]:
    return tuple(found for one in sees for found in one(text))


def _blocks(text: str) -> Iterator[tuple[int, str]]:
    """Lines, and of long lines the sentences, with their offsets."""
    start = 0
    for line in text.splitlines(keepends=True):
        at = 0
        if len(line) > _LONG_LINE:
            for match in _SENTENCE_END.finditer(line):
                yield start + at, line[at : match.end()]
                at = match.end()
        yield start + at, line[at:]
        start += len(line)


def chunks(text: str, *, longest: int = CHUNK) -> Iterator[tuple[int, str]]:
    """A text in parts of at most about ``longest`` characters, with their offsets.

    They end where a paragraph, a line or a sentence does, so that no value is cut; a text without
    any of these is cut at a space, or where it must be, with 200 characters told twice.
    """
    start = 0
    while len(text) - start > longest:
        window = text[start : start + longest]
        ends = [window.rfind(mark, longest // 2) + len(mark) for mark in ("\n\n", "\n", ". ", " ")]
        end = next((end for end, mark in zip(ends, (2, 1, 2, 1), strict=True) if end > mark), 0)
        yield start, window[: end or longest]
        start += end or longest - 200
    yield start, text[start:]
