"""Redaction: what is private in a call is replaced before anything of it is written.

    pipeline = Pipeline(store, redact=Redactor())

Everything that is found anywhere in a call is replaced everywhere in it, so that an answer which
copies a value from the prompt still does. The same value has the same surrogate in all calls of a
trace. See `docs/redaction.md` for what is found and how well.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from hetagent.errors import InputError
from hetagent.learn.loose import mapping
from hetagent.learn.record import CallRecord
from hetagent.learn.redact.blobs import find_blobs, tag
from hetagent.learn.redact.finder import Finder
from hetagent.learn.redact.found import DEFAULT_KINDS, KINDS, Found
from hetagent.learn.redact.in_json import Piece, looks_like_json, pieces
from hetagent.learn.redact.names import asks_name
from hetagent.learn.redact.presidio import Presidio, spacy_model
from hetagent.learn.redact.surrogates import Surrogates
from hetagent.learn.redact.targets import Edit
from hetagent.learn.redact.trace import Read, Traces
from hetagent.learn.redact.walk import Leaf, Path, leaves, placed, vocabulary
from hetagent.learn.snapshot import without_vectors
from hetagent.models.base import Model

__all__ = ["Redactor"]

_MASK = "■"
_NO_MODEL = ("secret", "email")
_ONE_WORD = re.compile(r"[\w.:-]{1,64}")  # what else an error's kind says is no kind


class Redactor:
    """Replaces what is private in call records; safe to call from several threads.

    Args:
        key: What surrogates are drawn with, at least 16 bytes. With the same key the same trace has
            the same ones in every process; without one they are of this process alone. Keep it
            secret: who has it can test guesses at a value.
        kinds: What is replaced; see `hetagent.learn.redact.found.KINDS`.
        names: Whether spaCy's English model looks for names of people; ``None``: where it is
            installed.
        presidio: Whether Presidio's recognisers are asked besides our own.
        patterns: Regular expressions of your own, by the name of their kind. Of one with groups the
            first is replaced.
        keep: Texts that are never replaced, whatever their case, such as your company's name.
        model: A local model that runs the skill `hetagent.learn.redact.skill.private_texts` on
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
            from hetagent.learn.redact.skill import SkillFinder

            more.append(SkillFinder(model).find)
        self._finder = Finder(
            _checked_kinds(kinds),
            more=more,
            patterns=_compiled(patterns or {}),
            keep=keep,
            most_cached=most_cached,
        )
        self._drop_blobs = blobs == "drop"
        self._traces = Traces(self._key, most=most_traces, drop_blobs=self._drop_blobs)
        self._shared = Surrogates(self._key, "")

    def __call__(self, record: CallRecord) -> CallRecord:
        """The record with surrogates for what is private; `redacted` counts them by kind."""
        parts = _parts(record)
        words = vocabulary(parts["request"])
        scope = record.trace_id or record.conversation_id or record.id
        changed: dict[Path, Any] = {}
        counts: Counter[str] = Counter()
        reads: list[Read] = []
        for name, part in parts.items():
            asking = _Asking()
            for leaf in leaves(part, (name,)):
                if leaf.place == "user":
                    changed[leaf.path] = self._shared.pseudonym(leaf.text, "user")
                    counts["user"] += 1
                elif leaf.place == "blob":
                    if self._drop_blobs:
                        changed[leaf.path] = self._without_blob(leaf.text)
                        counts["blob"] += 1
                else:
                    reads += self._read(leaf, asked=asking.before(leaf))
        edited, kinds = self._traces.of(scope).edits(reads, words)
        counts.update(kinds)
        for leaf, edits in edited:
            if leaf.place == "tokens":
                changed[leaf.path] = _masked(_at(parts, leaf.path), edits)
            elif edits:
                changed[leaf.path] = _typed(_applied(leaf.text, edits), _at(parts, leaf.path))
        made = {name: placed(part, changed, (name,)) for name, part in parts.items()}
        if record.form == "openai.embeddings" and made["request"] is not parts["request"]:
            made["response"] = without_vectors(mapping(made["response"]))
        kind = "" if record.error is None else self._kind(record.error.kind)
        return _put_back(record, made, self._ids(record), dict(counts), kind=kind)

    def find(self, text: str, *, scope: str = "", before: str = "") -> tuple[Edit, ...]:
        """What would be replaced in a text, and by what.

        Args:
            text: Any text.
            scope: Texts of one scope have the same surrogates.
            before: The message that it answers, where there was one.
        """
        reads = self._read(Leaf(("text",), text, "text"), asked=asks_name(before))
        edited, _ = self._traces.of(scope).edits(reads, frozenset())
        return tuple(edit for _, edits in edited for edit in edits)

    def redact(self, text: str, *, scope: str = "") -> str:
        """A text with surrogates in place of what is private; see `find`."""
        return _applied(text, self.find(text, scope=scope))

    def _read(self, leaf: Leaf, *, asked: bool = False) -> list[Read]:
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
                asked=asked,
            )
            reads.append(Read(leaf, piece, found))
        return reads

    def _without_blob(self, text: str) -> str:
        edits = sorted(find_blobs(text, self._key), key=lambda one: one.start)
        if edits:
            return _applied(text, edits)
        head, comma, _ = text.partition(",") if text.startswith("data:") else ("", "", "")
        return head + comma + tag(text, self._key)

    def _kind(self, kind: str) -> str:
        """The kind of an error, which servers name and stores keep plain."""
        fits = _ONE_WORD.fullmatch(kind) and not self._finder.find(kind, prose=False)
        return kind if fits else "Error"

    def _ids(self, record: CallRecord) -> dict[str, Any]:
        """Ids and names in which somebody put a value that must not be written."""
        changes = {}
        for name in ("model", "served_model"):
            value = getattr(record, name)
            # Names of models have numbers of accounts and versions, which tell of nobody.
            if value and any(
                one.kind in _NO_MODEL for one in self._finder.find(value, prose=False)
            ):
                changes[name] = self._shared.pseudonym(value, "model")
        for name in ("trace_id", "conversation_id", "workload"):
            value = getattr(record, name)
            if value and self._finder.find(value, prose=False):
                changes[name] = self._shared.pseudonym(value, name.partition("_")[0])
        return changes


class _Asking:
    """Whether a message answers the question for a name, by what the one before it says."""

    def __init__(self) -> None:
        self._path: Path = ()
        self._last = self._said = ""

    def before(self, leaf: Leaf) -> bool:
        """Whether the message of a text follows one that asks; texts come in order."""
        message = leaf.path[:3]
        if message != self._path:
            self._path, self._last, self._said = message, self._said, ""
        self._said += leaf.text
        return len(leaf.text) <= 80 and asks_name(self._last)


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
    record: CallRecord,
    made: Mapping[str, Any],
    ids: dict[str, Any],
    counts: dict[str, int],
    *,
    kind: str,
) -> CallRecord:
    error = record.error
    if error is not None:
        error = replace(error, kind=kind, message=made["error"])
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
        value = value.get(step) if isinstance(value, Mapping) else value[step]
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
