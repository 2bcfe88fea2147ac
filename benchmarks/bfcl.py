"""The Berkeley Function Calling Leaderboard as one skill whose tools come with the call.

Its categories ``simple_python`` and ``multiple`` offer one to four functions for each question, and
ask for one call. They are read from the package ``bfcl-eval`` (Apache-2.0), which is
no dependency: give the path of its wheel or of the folder that it was unpacked to, or install it;
else the wheel is fetched by pip. Yan et al. 2024, "Berkeley Function Calling Leaderboard".

The rule of what is right is BFCL's own for Python: the function's name, no parameter that the
answer does not name, every one that is required, and of each one of the values that are possible.
Texts are compared without spaces and ``,./-_*^``, in lower case, with one kind of quotation mark;
whole numbers stand for floats; an empty text among the possible values means that the parameter may
be left out.
"""

from __future__ import annotations

import importlib.util
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import CannotMeasureError
from benchmarks.workload_mixture import BFCL_KINDS, bfcl_cases
from hetagent import Offered, ToolCall, skill
from hetagent.errors import InputError, OutputError
from hetagent.offered import call_of

__all__ = ["Case", "act", "answer_of", "cases", "expressible", "right", "split_by_function"]

_IGNORED = re.compile(r"[ ,./\-_*^]")
_PYTHON = {
    "any": str,
    "array": list,
    "boolean": bool,
    "dict": dict,
    "float": float,
    "integer": int,
    "string": str,
    "tuple": list,
}
_OPTIONAL = ""


@skill
def act(request: str, tools: Offered) -> ToolCall:
    """Call the one tool that does what the request asks for."""


@dataclass(frozen=True)
class Case:
    """A question with its functions.

    Attributes:
        id: BFCL's own.
        question: What the user says.
        functions: Definitions of what is offered.
        possible: By the one right function's name: the values that each parameter may have.
    """

    id: str
    question: str
    functions: tuple[Mapping[str, Any], ...]
    possible: Mapping[str, Mapping[str, Sequence[Any]]]

    @property
    def row(self) -> dict[str, Any]:
        """It as inputs of `act`."""
        return {"request": self.question, "tools": list(self.functions)}


def cases(path: Path | None = None) -> list[Case]:
    """All questions of both categories.

    Args:
        path: The wheel of bfcl-eval, or the folder it was unpacked to; by default the installed
            package, or else the wheel that pip fetches.

    Raises:
        CannotMeasureError: It is not to be had: ``pip download bfcl-eval --no-deps`` fetches it.
    """
    path = path or _installed()
    pairs = bfcl_cases(path) if path is None or path.is_file() else _unpacked(path)
    return [
        Case(
            question["id"],
            "\n".join(message["content"] for turn in question["question"] for message in turn),
            tuple(question["function"]),
            answer["ground_truth"][0],
        )
        for question, answer in pairs
    ]


def split_by_function(
    cases: Sequence[Case], *, share: float = 0.5, seed: int = 0
) -> tuple[list[Case], list[Case]]:
    """Two parts that have no function's name in common.

    Cases that share a name, be it over others, go together. These groups are put in the order of
    a seed, and go to the part that lacks most of its share.

    Args:
        cases: They keep their order.
        share: Of the cases, in the first part.
        seed: Of the order.
    """
    group: dict[str, str] = {}

    def root(name: str) -> str:
        while group.setdefault(name, name) != name:
            name = group[name]
        return name

    for case in cases:
        first, *others = (str(one["name"]) for one in case.functions)
        for other in others:
            group[root(other)] = root(first)
    together: dict[str, list[int]] = {}
    for place, case in enumerate(cases):
        together.setdefault(root(str(case.functions[0]["name"])), []).append(place)
    names = sorted(together)
    random.Random(seed).shuffle(names)
    # The largest first, so that the last ones even the parts out.
    names.sort(key=lambda name: -len(together[name]))
    room = [share * len(cases), (1 - share) * len(cases)]
    part_of: dict[int, int] = {}
    for name in names:
        part = 0 if room[0] >= room[1] else 1
        room[part] -= len(together[name])
        part_of |= dict.fromkeys(together[name], part)
    parts: tuple[list[Case], list[Case]] = ([], [])
    for place, case in enumerate(cases):
        parts[part_of[place]].append(case)
    return parts


def right(call: ToolCall[Any] | None, case: Case) -> bool:
    """Whether a call is one of the possible answers, by BFCL's rule."""
    if call is None or call.name not in case.possible:
        return False
    possible = case.possible[call.name]
    (function,) = (one for one in case.functions if one["name"] == call.name)
    parameters = function["parameters"]
    if any(name not in call.arguments for name in parameters.get("required", ())):
        return False
    left_out = [name for name in possible if name not in call.arguments]
    return all(_OPTIONAL in possible[name] for name in left_out) and all(
        name in possible and _fits(value, possible[name], parameters["properties"][name])
        for name, value in call.arguments.items()
    )


def answer_of(case: Case) -> dict[str, Any]:
    """The first possible answer, as JSON data of the skill: what may be left out is.

    Some answers call a parameter optional that the definition requires, and BFCL asks for that.
    """
    ((name, possible),) = case.possible.items()
    (function,) = (one for one in case.functions if one["name"] == name)
    return {
        "tool": name,
        "arguments": _first(possible, function["parameters"].get("required", ())),
    }


def expressible(case: Case) -> bool:
    """Whether that answer can be written under the case's constraint, and read back is right."""
    try:
        output = call_of(act.output, case.functions)
        call = output.parse(output.text_of_json(answer_of(case)))
    except (InputError, OutputError):
        return False
    return right(call, case)


def _first(possible: Mapping[str, Sequence[Any]], required: Sequence[str] = ()) -> dict[str, Any]:
    return {
        name: _value(next((one for one in allowed if one != _OPTIONAL), _OPTIONAL))
        for name, allowed in possible.items()
        if _OPTIONAL not in allowed or name in required
    }


def _value(one: Any) -> Any:
    """A value, of which records have possible values within."""
    if isinstance(one, Mapping):
        return _first(one)
    if isinstance(one, list):
        return [_value(part) if isinstance(part, Mapping) else part for part in one]
    return one


def _fits(value: Any, allowed: Sequence[Any], parameter: Mapping[str, Any]) -> bool:
    """Whether a parameter's value is a possible one, and of the type that one has."""
    wanted = _PYTHON[parameter["type"]]
    if wanted is float and type(value) is int:
        value = float(value)
    kinds = {type(one) for one in allowed if one != _OPTIONAL}
    if type(value) is not wanted and type(value) not in kinds:
        return False
    if isinstance(value, dict):
        return any(isinstance(one, dict) and _same_record(value, one) for one in allowed)
    if isinstance(value, list):
        inner = _PYTHON[parameter["items"]["type"]]
        lists = [one for one in allowed if isinstance(one, list)]
        return any(_same_list(value, one) for one in lists if _of_types(value, inner, one))
    return any(_same(value, one) for one in allowed)


def _of_types(value: Sequence[Any], inner: type, wanted: Sequence[Any]) -> bool:
    """Whether a list's items are of its declared type, or of the possible value's."""
    first = {type(one) for one in list(wanted)[:1]}
    return all(type(one) is inner or type(one) in first for one in value)


def _same_list(value: Sequence[Any], wanted: Sequence[Any]) -> bool:
    return len(value) == len(wanted) and all(
        _same_record(one, other) if isinstance(other, dict) else _same(one, other)
        for one, other in zip(value, wanted, strict=True)
    )


def _same_record(value: Any, wanted: Mapping[str, Sequence[Any]]) -> bool:
    if not isinstance(value, dict):
        return False
    return all(
        key in wanted and any(_same(one, other) for other in wanted[key])
        for key, one in value.items()
    ) and all(key in value or _OPTIONAL in allowed for key, allowed in wanted.items())


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(value, str) and isinstance(wanted, str):
        return _standard(value) == _standard(wanted)
    return bool(value == wanted)


def _standard(text: str) -> str:
    return _IGNORED.sub("", text).lower().replace("'", '"')


def _installed() -> Path | None:
    found = importlib.util.find_spec("bfcl_eval")
    places = list(found.submodule_search_locations or ()) if found is not None else []
    return Path(places[0]) if places else None


def _unpacked(folder: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    data = folder / "data" if (folder / "data").is_dir() else folder / "bfcl_eval" / "data"
    try:
        for kind in BFCL_KINDS:
            name = f"BFCL_v4_{kind}.json"
            answers = {one["id"]: one for one in _lines(data / "possible_answer" / name)}
            for question in _lines(data / name):
                yield question, answers[question["id"]]
    except (OSError, KeyError, ValueError) as error:
        raise CannotMeasureError(
            f"{folder} does not hold bfcl-eval: {error}. Unpack what `pip download bfcl-eval "
            "--no-deps` fetches, and name that folder or the wheel itself."
        ) from error


def _lines(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines() if line.strip()]
