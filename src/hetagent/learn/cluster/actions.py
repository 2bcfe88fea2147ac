"""What calls of a group answer: a label, a tool's call, JSON of a form, or free text."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from hetagent.learn.cluster.read import Call

__all__ = [
    "Kind",
    "Output",
    "answered_alike",
    "label_of",
    "observe",
    "overlap",
    "schema_of",
    "undecorated",
]

Kind = Literal["labels", "tools", "json", "text"]

# A label is at most so long; longer answers are texts.
_CHARACTERS, _WORDS = 60, 6
_LABELS = 200
# Prompts that are searched for the labels they name.
_PROMPTS = 20
# Chance that the next answer is one that was never given, beyond which labels are no closed set.
# One stray answer is an error, however few there are.
_UNSEEN = 0.05
# Share of a group's answers below which an answer is an error rather than a label.
_RARE = 0.002
_ENUM = 12
# Share of some answers that must be such as others, for the others to be of the same task.
_ALIKE = 0.8

# Agents ask for JSON between marks of their own: [CONTENT]…[/CONTENT], <answer>…</answer>.
_MARKED = re.compile(
    r"\s*(?:\[(?P<tag>[A-Za-z]\w*)\]|<(?P<element>[A-Za-z]\w*)>)(?P<inside>.*)"
    r"(?:\[/(?P=tag)\]|</(?P=element)>)\s*",
    re.DOTALL,
)
_FENCED = re.compile(r"\s*```(?:json)?\s*(?P<inside>.*?)\s*```\s*", re.DOTALL)
_FENCE = re.compile(r"(?:[^\n`]*\n){0,3}\s*```(?!json|text|markdown|md\b)\w*[^\n]*\n")
_PROGRAM = re.compile(
    r"\s*(?:def |class |import |from \w[\w.]* import |@\w|#include|#!|function |const |let |"
    r"package |public |using |select [\w*]|<[!?a-z]\w*)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Output:
    """What a group of calls answers.

    Attributes:
        kind: Its form.
        labels: Of ``"labels"`` how often each was answered, and of ``"tools"`` each was called; the
            most common first.
        schema: Of ``"json"``: as it was asked for, or else as the answers are.
        asked: Whether the schema was asked for.
        tools: Of ``"tools"``: those offered in nearly all calls; empty where they vary.
        valid: Share of the answers that have this form.
        words: Median of an answer's words.
        most_words: What four in five answers have at most.
        code: Of ``"text"``: share of the answers that are programs.
        seen: Answers that were looked at.
    """

    kind: Kind
    labels: Mapping[str, int] = field(default_factory=dict)
    schema: Mapping[str, Any] = field(default_factory=dict)
    asked: bool = False
    tools: tuple[str, ...] = ()
    valid: float = 1.0
    words: float = 0.0
    most_words: float = 0.0
    code: float = 0.0
    seen: int = 0


def observe(calls: Sequence[Call]) -> Output:
    """Describe the answers of a group of calls."""
    answers = [call for call in calls if call.answer is not None]
    seen = len(answers)
    if not seen:
        return Output("text")
    called = Counter(call.called for call in answers if call.called)
    texts = [call.answer or "" for call in answers if not call.called]
    lengths = sorted(len(text.split()) for text in texts)
    middle = float(lengths[len(lengths) // 2]) if lengths else 0.0
    if called.total() >= 0.5 * seen:
        return Output("tools", dict(called.most_common()), tools=_offered(answers),
                      valid=called.total() / seen, words=middle, seen=seen)  # fmt: skip
    read = [value for text in texts if isinstance(value := _json(text), dict | list)]
    if len(read) >= 0.8 * len(texts):
        asked = _asked(answers)
        return Output("json", schema=asked or schema_of(read), asked=bool(asked),
                      valid=len(read) / seen, words=middle, seen=seen)  # fmt: skip
    labels = _closed(texts, [call.text for call in answers])
    if labels:
        valid = sum(labels.values()) / seen
        return Output("labels", labels, valid=valid, words=middle, seen=seen)
    code = sum(map(_is_code, texts)) / seen
    most = float(lengths[(4 * len(lengths)) // 5]) if lengths else 0.0
    return Output("text", words=middle, most_words=most, code=code, seen=seen)


def answered_alike(calls: Sequence[Call], others: Sequence[Call]) -> bool:
    """Whether the answers of some calls, which may be few, are such as others have."""
    known = observe(others)
    answers = [call for call in calls if call.answer is not None]
    texts = [call.answer or "" for call in answers if not call.called]
    match known.kind:
        case "labels":
            hits = sum(label_of(text) in known.labels for text in texts)
        case "tools":
            hits = sum(call.called in known.labels for call in answers)
        case "json":
            keys = set(_inner(known.schema).get("properties", {}))
            hits = sum(_has_keys(_json(text), keys) for text in texts)
        case "text":
            hits = sum(not isinstance(_json(text), dict | list) for text in texts)
    return hits >= _ALIKE * len(answers)


def _inner(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    found = schema.get("items", schema) if schema.get("type") == "array" else schema
    return found if isinstance(found, Mapping) else {}


def _has_keys(value: Any, keys: set[str]) -> bool:
    one = next(iter(value), None) if isinstance(value, list) else value
    return isinstance(one, dict) and len(set(one) & keys) >= 0.5 * len(set(one) | keys)


def label_of(answer: str) -> str:
    """An answer without quotes and a stop at its end."""
    return re.sub(r"^[\"'`*\s]+|[\"'`*.\s]+$", "", answer)


def overlap(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    """What two distributions share: 1 where they are the same, 0 where nothing is common."""
    first, second = max(1, sum(one.values())), max(1, sum(other.values()))
    return sum(min(one[key] / first, other[key] / second) for key in one.keys() & other.keys())


def schema_of(values: Iterable[Any]) -> dict[str, Any]:
    """A JSON Schema that all values are valid by; a string of few values becomes an enumeration."""
    some = list(values)
    kinds: dict[str, list[Any]] = {}
    for value in some:
        kinds.setdefault(_kind(value), []).append(value)
    if "integer" in kinds and "number" in kinds:
        kinds["number"] += kinds.pop("integer")
    options = [_schema_of_kind(kind, found) for kind, found in sorted(kinds.items())]
    if len(options) == 1:
        return options[0]
    return {"anyOf": options} if options else {"type": "string"}


def _schema_of_kind(kind: str, values: Sequence[Any]) -> dict[str, Any]:
    if kind == "object":
        names = dict.fromkeys(name for value in values for name in value)
        properties = {
            name: schema_of([value[name] for value in values if name in value]) for name in names
        }
        required = [name for name in names if all(name in value for value in values)]
        return {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }
    if kind == "array":
        return {"type": "array", "items": schema_of([one for value in values for one in value])}
    if kind == "string":
        counts = Counter(values)
        if len(values) >= 20 and len(counts) <= _ENUM and min(counts.values()) >= 3:
            return {"type": "string", "enum": sorted(counts)}
    return {"type": kind}


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return kinds.get(type(value), "object")


def _json(text: str) -> Any:
    """The JSON in an answer, also between marks or fenced; the text itself where there is none."""
    try:
        return json.loads(undecorated(text)[1])
    except (ValueError, RecursionError):
        return text


def undecorated(text: str) -> tuple[str, str, str]:
    """What stands around an answer, such as a fence or an agent's own marks.

    Returns:
        The text before it, the answer itself, and the text after it.
    """
    marked = _MARKED.fullmatch(text)
    start, end = marked.span("inside") if marked else (0, len(text))
    fenced = _FENCED.fullmatch(text, start, end)
    start, end = fenced.span("inside") if fenced else (start, end)
    return text[:start], text[start:end], text[end:]


def _asked(calls: Sequence[Call]) -> dict[str, Any]:
    """The schema that most calls asked for."""
    (schema, count), *_ = Counter(call.schema for call in calls).most_common(1)
    found = json.loads(schema) if count >= 0.5 * len(calls) and schema not in ("", "json") else {}
    return found if isinstance(found, dict) else {}


def _offered(calls: Sequence[Call]) -> tuple[str, ...]:
    counts = Counter(name for call in calls for name in call.tools)
    return tuple(sorted(name for name, count in counts.items() if count >= 0.9 * len(calls)))


def _closed(texts: Sequence[str], prompts: Sequence[str]) -> dict[str, int]:
    """The labels, where answers are ones; else nothing.

    Good's estimate (1953) of the chance that the next answer is a new one, the share of answers
    given once, says whether there are others. A label that the prompts name is none of these.
    """
    cleaned = [label_of(text) for text in texts]
    counts = Counter(one for one in cleaned if one and _short(one))
    named = _named([one for one, count in counts.items() if count == 1], prompts)
    once = sum(count == 1 and one not in named for one, count in counts.items())
    total = max(1, len(texts))
    if counts.total() < 0.9 * total or once > max(1.0, _UNSEEN * total):
        return {}
    least = max(2.0, _RARE * total)
    kept = {one: n for one, n in counts.most_common() if n >= least or one in named}
    return kept if 2 <= len(kept) <= _LABELS else {}


def _named(labels: Sequence[str], prompts: Sequence[str]) -> set[str]:
    """The labels that nearly all prompts have in them, as instructions that list them do."""
    some = prompts[:: max(1, len(prompts) // _PROMPTS)][:_PROMPTS]
    found = set()
    for label in labels[:_LABELS]:
        pattern = re.compile(rf"(?<!\w){re.escape(label)}(?!\w)", re.IGNORECASE)
        if sum(pattern.search(one) is not None for one in some) >= 0.9 * len(some):
            found.add(label)
    return found


def _is_code(text: str) -> bool:
    """Whether an answer is a program, perhaps in a fence, with a line or two before it."""
    return _FENCE.match(text) is not None or _PROGRAM.match(text) is not None


def _short(text: str) -> bool:
    return len(text) <= _CHARACTERS and len(text.split()) <= _WORDS and "\n" not in text
