"""What a workload's calls tell of the task that they are: inputs, answers, and how long they are.

Where they leave open what only a person can say, the reason is raised.
"""

from __future__ import annotations

import inspect
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hetagent.errors import InputError, OutputError
from hetagent.json_shape import Sizes
from hetagent.learn.chat import Chat, Said, chat
from hetagent.learn.cluster.actions import undecorated
from hetagent.learn.cluster.export import instructions_of, skill_name
from hetagent.learn.cluster.forms import ANY
from hetagent.learn.cluster.patterns import Pattern
from hetagent.learn.cluster.read import read_call
from hetagent.learn.cluster.slot_types import unused
from hetagent.learn.cluster.workload import Workload
from hetagent.learn.cluster.workloads import Workloads
from hetagent.learn.curate.checks import answered
from hetagent.learn.curate.example import json_of
from hetagent.learn.curate.recipe import Recipe
from hetagent.learn.loose import items, mapping
from hetagent.learn.record import CallRecord
from hetagent.learn.task.answers import Answers, Style
from hetagent.learn.task.prompts import WHOLE, Prompts, Wording, definitions
from hetagent.skill import DEFAULT_MAX_TOKENS

__all__ = ["Found", "found_in"]

# Share of the answers that must have the form that a workload's have.
_VALID = 0.8
# Share of the calls whose prompts the template must show all of.
_SHOWN = 0.5
# Calls that tell how answers are written.
_LOOKED_AT = 2000
_LEAST_TOKENS, _BYTES_PER_TOKEN = 32, 2
_RECIPE = Recipe()


@dataclass(frozen=True, slots=True)
class Found:
    """What `hetagent.learn.task.Task.of` makes a task of; its attributes are the task's."""

    prompts: Prompts
    answers: Answers
    name: str
    instructions: str
    max_tokens: int


def found_in(
    workloads: Workloads, name: str, *, records: Iterable[CallRecord], whole: bool | None
) -> Found:
    """A workload as a task; see `hetagent.learn.task.Task.of`.

    Raises:
        InputError: There is no such workload, or it cannot be a task without a person's help.
        UnsupportedTypeError: What it answers cannot be constrained.
    """
    workload = workloads[name]
    patterns = workloads.wordings(name)
    _refuse(workload, [one for one, _ in patterns])
    own = [one for one in records if workloads.assign(one) == name]
    said = _said(own)
    schemas = _schemas(workload, [one for one, _ in patterns], own)
    answers = _answers(workload, schemas, [one for one, _ in said])
    values = _values(workload, answers, said)
    tools = workload.tools if workload.output.kind == "tools" else ()
    wordings = () if whole else _wordings(workload, patterns)
    inputs = _inputs(workload, wordings)
    offered = unused("tools", inputs) if answers.of_call else None
    prompts = Prompts(name, inputs, wordings, schemas, tools, offered)
    if whole is None and wordings and own and not _shows(prompts, own):
        prompts = replace(prompts, inputs=(WHOLE,), wordings=())
    return Found(
        prompts,
        answers,
        skill_name(workload),
        inspect.cleandoc(instructions_of(workload)),
        _max_tokens(answers, values),
    )


def _refuse(workload: Workload, patterns: Sequence[Pattern]) -> None:
    """Raise what only a person can settle."""
    output = workload.output
    if output.kind == "text":
        raise _refused(
            workload,
            "answers in free text, which only a function of your own can judge",
            "Export it with `hetagent workloads export`, and calibrate it with --correct.",
        )
    if output.kind != "tools" and patterns and patterns[0].form[0]:
        raise _refused(
            workload,
            "is offered tools, and mostly answers otherwise",
            "Leave tools out of calls that need none, or mark what calls tools as a workload.",
        )
    if output.kind != "tools" and output.valid < _VALID:
        raise _refused(
            workload,
            f"has mixed answers: {output.valid:.0%} of them are {output.kind}",
            "Mark its calls as workloads of their own, one for each form of answer.",
        )
    if patterns and patterns[0].form[1] == ANY:
        raise _refused(
            workload,
            "asks for schemas that vary with the call",
            "Ask for one schema, or give each one a workload of its own.",
        )


def _refused(workload: Workload, why: str, hint: str) -> InputError:
    return InputError(f"The workload {workload.name} {why}.", hint=hint)


def _said(records: Sequence[CallRecord]) -> list[tuple[Said, Chat]]:
    """Whole answers of an LLM, each with its call."""
    found = []
    for record in records:
        one = chat(record)
        if one.answer is None or record.served_by != "llm":
            continue
        if answered(record, one, _RECIPE) is None:
            found.append((one.answer, one))
    return found


def _schemas(
    workload: Workload, patterns: Sequence[Pattern], records: Sequence[CallRecord]
) -> tuple[str, ...]:
    """Schemas that calls may ask for: the workload's, none, or JSON of any form."""
    output = workload.output
    if output.kind == "json" and output.asked:
        own = [json.dumps(output.schema, ensure_ascii=False)]
    else:
        counts = Counter(read_call(one).schema for one in records[:_LOOKED_AT])
        common = [one for one, _ in counts.most_common(1)]
        own = [*(one.form[1] for one in patterns if one.form[1] != ANY), *common]
    return tuple(dict.fromkeys([*own, "", "json"]))


def _answers(workload: Workload, schemas: Sequence[str], said: Sequence[Said]) -> Answers:
    output = workload.output
    some = said[:_LOOKED_AT]
    if output.kind == "labels":
        labels = _labels(workload, schemas)
        return Answers("labels", labels, style=Style.of_labels((one.text for one in some), labels))
    if output.kind == "json":
        texts = [one.text for one in said if not one.calls]
        return Answers(
            "json",
            schema=output.schema,
            style=Style.of_json(texts[:_LOOKED_AT]),
            sizes=Sizes.of(json_of(undecorated(one)[1]) for one in texts),
        )
    written = [call.arguments for one in said for call in one.calls]
    return Answers(
        "tools",
        tools=workload.tools,
        style=Style.of_json(written[:_LOOKED_AT]),
        sizes=Sizes.of(json_of(one) for one in written),
    )


def _labels(workload: Workload, schemas: Sequence[str]) -> tuple[str, ...]:
    """The labels that were answered; or all that a schema names, where one was asked for."""
    known = tuple(workload.output.labels)
    for one in schemas:
        asked = mapping(json_of(one, {}))
        listed = tuple(items(asked.get("enum")))
        if all(isinstance(label, str) for label in listed) and set(known) <= set(listed):
            return listed
    return known


def _values(workload: Workload, answers: Answers, said: Sequence[tuple[Said, Chat]]) -> list[str]:
    """The recorded answers as the skill writes them.

    Raises:
        InputError: Most answers are none of the type.
        UnsupportedTypeError: The type cannot be constrained.
    """
    found = []
    for one, call in said:
        tools = definitions(call)
        try:
            found.append(answers.output_for(tools).text_of_json(answers.read(one, tools)))
        except OutputError:
            continue
    if len(found) < _VALID * len(said):
        raise _refused(
            workload,
            f"has answers that are mostly not valid: {len(found):,} of {len(said):,} fit what they "
            "are to be",
            "Look at them with `hetagent workloads show`; mend the schema or the prompt.",
        )
    return found


def _wordings(workload: Workload, patterns: Sequence[tuple[Pattern, bool]]) -> tuple[Wording, ...]:
    """The templates whose slots are those of the main one; none where that has no slots."""
    if not patterns or not patterns[0][0].slots or patterns[0][0].slots != workload.inputs:
        return ()
    main = {one.name for one in workload.inputs}
    tools = patterns[0][0].form[0]
    return tuple(
        Wording(one.template.pieces, tuple(slot.name for slot in one.slots), alone)
        for one, alone in patterns
        if one.form[0] == tools and {slot.name for slot in one.slots} == main
    )


def _inputs(workload: Workload, wordings: Sequence[Wording]) -> tuple[str, ...]:
    return tuple(one.name for one in workload.inputs) if wordings else (WHOLE,)


def _shows(prompts: Prompts, records: Sequence[CallRecord]) -> bool:
    """Whether the template shows all of most prompts."""
    some = records[:: max(1, len(records) // _LOOKED_AT)]
    shown = sum(isinstance(prompts.read(one, prompts.workload), dict) for one in some)
    return shown >= _SHOWN * len(some)


def _max_tokens(answers: Answers, values: Sequence[Any]) -> int:
    """Twice the longest answer, at two bytes a token, which is a short token."""
    texts = answers.labels if answers.kind == "labels" else values
    if not texts:
        return DEFAULT_MAX_TOKENS
    longest = max(len(text.encode("utf-8", "replace")) for text in texts)
    return max(_LEAST_TOKENS, 2 * -(-longest // _BYTES_PER_TOKEN))
