"""How much of what is private is found, by whom, and how fast.

    python -m benchmarks.redaction --json redaction.json
    python -m benchmarks.redaction --model qwen2.5-coder-1.5b-instruct --sample 12

Recall: the share of labelled values of which every letter and digit is replaced, whatever kind they
were taken for. Precision: the share of replaced places that touch a labelled value. Both for each
kind, each part of the sentences and each way: our patterns, Presidio's without a model, both,
spaCy's names alone, Presidio with spaCy alone, all together, and on a sample the skill alone and
all with the skill. Targets are asked of the parts that were not looked at while the patterns were
first written; docs/redaction.md has what these parts showed before their misses were mended.
"""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from random import Random
from statistics import median
from typing import Any

from benchmarks.redaction_set import HALVES, Sentence, sentences
from benchmarks.report import CannotMeasureError, Report, arguments, data_folder, main
from hetagent.learn.record import CallRecord, new_id
from hetagent.learn.redact import Redactor
from hetagent.learn.redact.found import DEFAULT_KINDS, Found, settle
from hetagent.learn.redact.names import known_given
from hetagent.learn.redact.presidio import Presidio, spacy_model
from hetagent.learn.redact.skill import SkillFinder

KEY = b"a key for measuring"
KIND = {"id": "national_id", "postcode": "address"}
TARGETS = {
    "secret": 0.98, "card": 0.98, "iban": 0.98, "email": 0.98, "phone": 0.98, "id": 0.98,
    "person": 0.9, "address": 0.9,
}  # fmt: skip
SKILL_KINDS = ("person", "address", "phone", "email", "id", "secret")
TURNS = 12
GUESTS = 300
QUESTION = "What name is it under?"

Way = Callable[[str], Iterable[tuple[int, int, str]]]


def measure(report: Report, options: Any) -> None:
    if spacy_model() is None:
        raise CannotMeasureError("spaCy's English model is not installed (extra `redact`).")
    ways = all_ways()
    for half in HALVES:
        cases = sentences(half)
        for name, way in ways.items():
            quality(report, half=half, way=name, cases=cases, find=way)
    leaks(report)
    guests(report)
    if options.model:
        with_skill(report, options.model, options.sample)
    speed(report)
    judge(report)


def all_ways() -> dict[str, Way]:
    ours = Redactor(key=KEY, names=False, presidio=False)
    patterns = Redactor(key=KEY, names=False)
    together = Redactor(key=KEY, names=True)
    bare, presidio = Presidio(names=False), Presidio(names=True)
    return {
        "our patterns": redacting(ours),
        "Presidio's patterns": lambda text: finds(bare, text, only_names=False),
        "patterns": redacting(patterns),
        "spaCy": lambda text: finds(presidio, text, only_names=True),
        "Presidio with spaCy": lambda text: finds(presidio, text, only_names=False),
        "together": redacting(together),
    }


def redacting(redactor: Redactor) -> Way:
    return lambda text: [
        (edit.start, edit.end, edit.kind) for edit in redactor.find(text, scope=text)
    ]


def finds(presidio: Presidio, text: str, *, only_names: bool) -> list[tuple[int, int, str]]:
    found: Sequence[Found] = settle(presidio.find(text), text)
    return [(one.start, one.end, one.kind) for one in found if not only_names or one.by == "spacy"]


def quality(report: Report, *, half: str, way: str, cases: Sequence[Sentence], find: Way) -> None:
    labelled: Counter[str] = Counter()
    caught: Counter[str] = Counter()
    found: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for case in cases:
        spans = list(find(case.text))
        covered = {place for start, end, _ in spans for place in range(start, end)}
        for value in case.values:
            if value.kind == "any":
                continue
            places = [at for at in range(value.start, value.end) if case.text[at].isalnum()]
            for kind in kinds_of(value.kind, case.text[value.start : value.end]):
                labelled[kind] += 1
                caught[kind] += all(place in covered for place in places)
        for start, end, kind in spans:
            found[kind] += 1
            right[kind] += any(one.start < end and start < one.end for one in case.values)
    for kind in sorted(labelled):
        name = KIND.get(kind, kind)
        shown = found[name] if kind in ("id", *DEFAULT_KINDS) else 0
        report.row(
            part="quality",
            half=half,
            way=way,
            kind=kind,
            labelled=labelled[kind],
            recall=caught[kind] / labelled[kind],
            found=shown or None,
            precision=right[name] / shown if shown else None,
        )


def kinds_of(kind: str, text: str) -> list[str]:
    """A name also counts among those whose words are in none of our lists, if it is one of them."""
    if kind == "person" and not any(known_given(word) for word in text.split()):
        return [kind, "person not listed"]
    return [kind]


def leaks(report: Report) -> None:
    """Labelled values in the bytes of redacted records."""
    redactor = Redactor(key=KEY, names=True)
    for half in HALVES:
        leaked, values = 0, 0
        for case in sentences(half, draws=1):
            raw = redactor(record([case.text, "Noted."])).to_json().lower()
            for value in case.values:
                if value.kind != "any":
                    values += 1
                    leaked += json.dumps(case.text[value.start : value.end])[1:-1].lower() in raw
        report.row(part="leaks", half=half, values=values, leaked=leaked)


def guests(report: Report) -> None:
    """Names in what guests of a restaurant wrote: text and labels that are not ours.

    A turn that answers a question for the name is read after such a question, which is ours: the
    data only say that it was asked. As many turns without a name are read, for precision. The
    patterns were written with turns of the training half at hand; these are of the test half.
    """
    turns = json.loads((data_folder("restaurants8k") / "test.json").read_text(encoding="utf-8"))
    named = [turn for turn in turns if _names(turn)]
    others = [turn for turn in turns if not _names(turn)]
    random = Random(0)
    some = random.sample(named, GUESTS) + random.sample(others, GUESTS)
    patterns, together = (Redactor(key=KEY, names=names) for names in (False, True))
    presidio = Presidio(names=True)
    ways: dict[str, Callable[[str, str], list[tuple[int, int, str]]]] = {
        "patterns": lambda text, before: _spans(patterns, text, before),
        "spaCy": lambda text, _: finds(presidio, text, only_names=True),
        "together": lambda text, before: _spans(together, text, before),
    }
    for name, way in ways.items():
        labelled: Counter[str] = Counter()
        caught: Counter[str] = Counter()
        found = right = 0
        for turn in some:
            asked = any(
                "name" in slot for slot in turn.get("context", {}).get("requestedSlots", ())
            )
            spans = [
                span
                for span in way(turn["userInput"]["text"], QUESTION if asked else "")
                if span[2] == "person"
            ]
            names = _names(turn)
            for start, end in names:
                labelled["asked" if asked else "told"] += 1
                hit = any(s <= start and end <= e for s, e, _ in spans)
                caught["asked" if asked else "told"] += hit
            found += len(spans)
            right += sum(any(s < end and start < e for start, end in names) for s, e, _ in spans)
        report.row(
            part="names of restaurants8k, test half",
            way=name,
            turns=len(some),
            labelled=labelled.total(),
            recall=caught.total() / labelled.total(),
            recall_unasked=caught["told"] / labelled["told"],
            found=found,
            precision=right / found if found else None,
        )
    report.target(
        "recall on names of restaurants8k",
        value=report.rows[-1]["recall"],
        target=">= 0.9",
        holds=report.rows[-1]["recall"] >= 0.9,
    )


def _spans(redactor: Redactor, text: str, before: str) -> list[tuple[int, int, str]]:
    edits = redactor.find(text, scope=text, before=before)
    return [(edit.start, edit.end, edit.kind) for edit in edits]


def _names(turn: Mapping[str, Any]) -> list[tuple[int, int]]:
    spans = [
        label["valueSpan"]
        for label in turn.get("labels", [])
        if label["slot"] in ("first_name", "last_name")
    ]
    return [(span.get("startIndex", 0), span["endIndex"]) for span in spans]


def with_skill(report: Report, name: str, sample: int) -> None:
    """Some sentences of the later parts: all without the skill, the skill alone, both."""
    from hetagent import LlamaCpp

    cases = [
        case
        for half in ("heldout", "fresh")
        for case in sentences(half, draws=1)
        if any(value.kind in SKILL_KINDS for value in case.values)
    ]
    cases = Random(0).sample(cases, min(sample, len(cases)))
    together = redacting(Redactor(key=KEY, names=True))
    sample_of = "heldout and fresh"
    quality(report, half=sample_of, way="together, sample", cases=cases, find=together)
    with LlamaCpp(name).load() as model:
        finder = SkillFinder(model)
        began = time.perf_counter()
        quality(
            report,
            half=sample_of,
            way="skill alone, sample",
            cases=cases,
            find=lambda text: [(one.start, one.end, one.kind) for one in finder.find(text)],
        )
        seconds = time.perf_counter() - began
        both = redacting(Redactor(key=KEY, names=True, model=model))
        quality(report, half=sample_of, way="with skill, sample", cases=cases, find=both)
    report.row(
        part="skill",
        model=name,
        texts=len(cases),
        seconds_per_text=seconds / len(cases),
        failures=finder.failures,
    )


def speed(report: Report) -> None:
    """Texts seen for the first time, and an agent's records, which repeat their history."""
    texts = [case.text for case in sentences("dev")]
    for name, options in {
        "our patterns": {"names": False, "presidio": False},
        "patterns": {"names": False},
        "with spaCy": {"names": True},
    }.items():
        redactor = Redactor(key=KEY, **options)  # type: ignore[arg-type]
        redactor.find(texts[0])
        seconds, busy_seconds = [], []
        for text in texts:
            began, busy = time.perf_counter(), time.process_time()
            redactor.find(text, scope=text)
            seconds.append(time.perf_counter() - began)
            busy_seconds.append(time.process_time() - busy)
        redactor = Redactor(key=KEY, **options)  # type: ignore[arg-type]
        redactor.find(texts[0])
        calls = agent_records(texts)
        began, busy = time.perf_counter(), time.process_time()
        for one in calls:
            redactor(one)
        took, busy = time.perf_counter() - began, time.process_time() - busy
        report.row(
            part="speed",
            way=name,
            ms_per_text=median(seconds) * 1e3,
            cpu_ms_per_text=median(busy_seconds) * 1e3,
            records=len(calls),
            records_per_second=len(calls) / took,
            cpu_ms_per_record=busy / len(calls) * 1e3,
        )


def agent_records(texts: Sequence[str]) -> list[CallRecord]:
    """Runs of an agent: each call sends all that was said before."""
    made = []
    for start in range(0, len(texts) - TURNS, TURNS):
        trace = new_id()
        made += [record(texts[start : start + turn], trace) for turn in range(1, TURNS + 1)]
    return made


def record(texts: Sequence[str], trace: str | None = None) -> CallRecord:
    return CallRecord(
        id=new_id(),
        time=datetime.now(UTC),
        form="openai.chat",
        source="import",
        model="m",
        trace_id=trace,
        request={"messages": [{"role": "user", "content": text} for text in texts]},
        response={"choices": [{"message": {"role": "assistant", "content": texts[-1][:200]}}]},
    )


def judge(report: Report) -> None:
    for half, (kind, least) in itertools.product(("heldout", "fresh"), TARGETS.items()):
        (value,) = [
            row["recall"]
            for row in report.rows
            if (row.get("half"), row.get("way"), row.get("kind")) == (half, "together", kind)
        ]
        report.target(
            f"recall on {kind}, {half}", value=value, target=f">= {least}", holds=value >= least
        )


if __name__ == "__main__":
    parser = arguments("How much of what is private is found.")
    parser.add_argument("--model", help="a local model that runs the skill, on a sample")
    parser.add_argument("--sample", type=int, default=12, help="texts for the skill")
    main(measure, parser)
