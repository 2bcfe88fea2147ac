"""The calls of an agent that does twelve things, and of people who chat with it besides.

Ten tasks choose an intent within one domain of CLINC150, each in two wordings, of which two tasks
share one; one extracts bookings from Restaurants-8k; one calls tools of BFCL. BFCL's
``simple_python`` and ``multiple`` are one task: in both the model is offered functions that it has
not seen before, one or up to four, and writes a call of the one that is asked for. A model that
does the second does the first.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.report import CannotMeasureError, data_folder
from benchmarks.skills import SLOTS, asked_for, labelled_slots
from benchmarks.workload_chat import chat_messages
from benchmarks.workload_words import EXTRACT, SHARED, SHARED_HIDDEN, WORDINGS, Wording
from hetagent.learn.record import CallRecord, Usage

CHAT = "chat"
# Shares of the calls; the domains have the rest, unevenly.
CHAT_SHARE, TOOLS_SHARE, EXTRACT_SHARE = 0.04, 0.06, 0.12
# An LLM is now and then wrong, or says more than it was asked to.
WRONG, WORDY = 0.03, 0.01
BEGAN = datetime(2026, 9, 7, tzinfo=UTC)
WEEKS = 6
BFCL_KINDS = ("simple_python", "multiple")
HELD_OUT = 0.15


@dataclass(frozen=True)
class Case:
    """A call, and the task that it is truly of."""

    record: CallRecord
    task: str


@dataclass(frozen=True)
class Mixture:
    """Calls to find workloads in, and others to assign to them, of texts not among the first."""

    first: list[Case]
    later: list[Case]


def mixture(seed: int, *, calls: int, later: int, bfcl: Path | None, hidden: bool) -> Mixture:
    """Mix calls of all tasks.

    Args:
        seed: Of all that is drawn.
        calls: How many to find workloads in.
        later: How many to assign.
        bfcl: BFCL's wheel; ``None`` fetches it.
        hidden: Whether the shared template does not say which labels there are.
    """
    generator = random.Random(seed)
    pools = {task: list(some) for task, some in _pools(generator, bfcl, hidden=hidden).items()}
    sizes = _sizes(generator, list(WORDINGS), calls)
    first: list[Case] = []
    second: list[Case] = []
    for task, size in sizes.items():
        pool = pools[task]
        generator.shuffle(pool)
        cut = int(HELD_OUT * len(pool))
        first += [_case(generator, task, one) for one in _drawn(generator, pool[cut:], size)]
        share = max(1, round(later * size / calls))
        second += [_case(generator, task, one) for one in _drawn(generator, pool[:cut], share)]
    generator.shuffle(first)
    generator.shuffle(second)
    return Mixture(first, second)


def _sizes(generator: random.Random, domains: Sequence[str], calls: int) -> dict[str, int]:
    sizes = {
        CHAT: round(CHAT_SHARE * calls),
        "tools": round(TOOLS_SHARE * calls),
        "extract": round(EXTRACT_SHARE * calls),
    }
    weights = [generator.uniform(0.6, 1.4) for _ in domains]
    rest = calls - sum(sizes.values())
    for domain, weight in zip(domains, weights, strict=True):
        sizes[domain] = round(rest * weight / sum(weights))
    return sizes


def _drawn(generator: random.Random, pool: Sequence[Any], count: int) -> list[Any]:
    """Each once where there are enough; some again where there are not."""
    found = list(pool[:count])
    return found + generator.choices(pool, k=count - len(found))


def _pools(
    generator: random.Random, bfcl: Path | None, *, hidden: bool
) -> dict[str, Iterator[tuple[dict[str, Any], dict[str, Any]]]]:
    """Request and response of every call that a task can have."""
    folder = data_folder("clinc150")
    full = json.loads((folder / "data_full.json").read_text(encoding="utf-8"))
    domains = json.loads((folder / "domains.json").read_text(encoding="utf-8"))
    said: dict[str, list[str]] = {}
    for split in ("train", "val", "test"):
        for text, label in full[split]:
            said.setdefault(label, []).append(text)
    sharing = generator.sample(sorted(domains), 2)
    shared = SHARED_HIDDEN if hidden else SHARED
    pools: dict[str, Any] = {}
    for domain, labels in domains.items():
        wordings = list(WORDINGS[domain])
        if domain in sharing:
            wordings[generator.randrange(2)] = shared
        cases = [(text, label) for label in labels for text in said[label]]
        pools[domain] = [_choice(generator, wordings, labels, *case) for case in cases]
    folder = data_folder("restaurants8k")
    turns = json.loads((folder / "train_0.json").read_text(encoding="utf-8"))
    pools["extract"] = [_extraction(turn) for turn in turns]
    pools["tools"] = [_tool_call(question, answer) for question, answer in bfcl_cases(bfcl)]
    pools[CHAT] = [_talk(generator) for _ in range(2000)]
    return pools


def _choice(
    generator: random.Random,
    wordings: Sequence[Wording],
    labels: Sequence[str],
    text: str,
    label: str,
) -> tuple[dict[str, Any], dict[str, Any]]:
    wording = generator.choice(wordings)
    listed = wording.listed.join(labels)
    system = wording.system.format(labels=listed, text=text)
    user = wording.user.format(labels=listed, text=text)
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": user})
    if generator.random() < WRONG:
        label = generator.choice(labels)
    if generator.random() < WORDY:
        label = f"The answer is {label}, because of: {text}"
    return {"messages": messages}, _said(label)


def _extraction(turn: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    schema = {
        "type": "object",
        "properties": {slot: {"type": ["string", "null"]} for slot in SLOTS},
        "required": list(SLOTS),
        "additionalProperties": False,
    }
    system, user = EXTRACT
    text = user.format(asked=asked_for(turn) or "nothing", text=turn["userInput"]["text"])
    request = {
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": text}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}},
    }
    return request, _said(json.dumps(labelled_slots(turn)))


def _tool_call(
    question: dict[str, Any], answer: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    tools = [{"type": "function", "function": _plain(one)} for one in question["function"]]
    ((name, arguments),) = answer["ground_truth"][0].items()
    given = {key: values[0] for key, values in arguments.items() if values and values[0] != ""}
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": name, "arguments": json.dumps(given)},
    }
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    response = {"choices": [{"finish_reason": "tool_calls", "message": message}]}
    return {"messages": question["question"][0], "tools": tools}, response


def _plain(schema: Any) -> Any:
    """BFCL's types as JSON Schema has them."""
    types = {"dict": "object", "float": "number", "tuple": "array", "any": "string"}
    if isinstance(schema, dict):
        return {
            key: types.get(value, value) if key == "type" and isinstance(value, str) else
            _plain(value)
            for key, value in schema.items()
        }  # fmt: skip
    return [_plain(one) for one in schema] if isinstance(schema, list) else schema


def _talk(generator: random.Random) -> tuple[dict[str, Any], dict[str, Any]]:
    messages, answer = chat_messages(generator)
    return {"messages": messages}, _said(answer)


def _said(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {"choices": [{"finish_reason": "stop", "message": message}]}


def _case(generator: random.Random, task: str, call: tuple[dict[str, Any], dict[str, Any]]) -> Case:
    """A record that says nothing of its task."""
    request, response = call
    prompt, answer = len(json.dumps(request)) // 4, len(json.dumps(response)) // 4
    record = CallRecord(
        id=f"{generator.getrandbits(128):032x}",
        time=BEGAN + timedelta(seconds=generator.uniform(0, WEEKS * 7 * 86400)),
        form="openai.chat",
        source="import",
        model="an-llm",
        request={"model": "an-llm", **request},
        response=response,
        usage=Usage(prompt, answer),
        cost_usd=1e-6 * prompt + 4e-6 * answer,
    )
    return Case(record, task)


@cache
def bfcl_cases(wheel: Path | None) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Questions and answers of BFCL, read from its wheel.

    Raises:
        CannotMeasureError: There is no wheel, and it cannot be fetched.
    """
    path = wheel or _fetched()
    cases = []
    try:
        with zipfile.ZipFile(path) as archive:
            for kind in BFCL_KINDS:
                name = f"BFCL_v4_{kind}.json"
                questions = _lines(archive, f"bfcl_eval/data/{name}")
                answers = _lines(archive, f"bfcl_eval/data/possible_answer/{name}")
                by_id = {one["id"]: one for one in answers}
                cases += [(one, by_id[one["id"]]) for one in questions]
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise CannotMeasureError(f"{path} is not the wheel of bfcl-eval: {error}") from error
    return cases


def _lines(archive: zipfile.ZipFile, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in archive.read(name).decode().splitlines() if line.strip()]


def _fetched() -> Path:
    """The wheel, from pip's index; kept in the cache."""
    from hetagent.paths import cache_dir

    folder = cache_dir() / "bfcl"
    found = sorted(folder.glob("bfcl_eval-*.whl"))
    if not found:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder)]
        done = subprocess.run([*command, "bfcl-eval"], capture_output=True, text=True, check=False)
        found = sorted(folder.glob("bfcl_eval-*.whl"))
        if not found:
            raise CannotMeasureError(f"bfcl-eval cannot be fetched: {done.stderr.strip()[-300:]}")
    return found[-1]
