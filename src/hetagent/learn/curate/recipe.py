"""What curation is to do, as data: a recipe that is written beside the dataset it made."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Self, get_args, get_origin, get_type_hints

from hetagent.errors import InputError
from hetagent.learn.record import Trainable

__all__ = ["ABSTENTIONS", "Balance", "Near", "Recipe", "Split"]

ABSTENTIONS = (
    "abstain", "cannot tell", "i do not know", "i don't know", "n/a", "no answer", "none",
    "not applicable", "not stated", "oos", "out of scope", "unknown",
)  # fmt: skip
"""Answers that say that there is no answer, in lower case."""

_CANNOT = r"(can't|cannot|can not|won't|am unable to|'m unable to|am not able to|'m not able to)"
_REFUSALS = (
    r"^\W*(i'm |i am |we're |we are )?(very |so |truly )?(sorry|afraid)\b.{0,40}"
    rf"{_CANNOT} .{{0,20}}\b(help|assist|comply|fulfil+|provide|do that|do this)\b",
    rf"^\W*(i|we) ?{_CANNOT} .{{0,10}}\b(help|assist|comply)\b.{{0,20}}\b(that|this|request)\b",
)


def _must(holds: bool, what: str) -> None:
    if not holds:
        raise InputError(f"This recipe cannot be: {what}.", hint="Change that value.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """When two prompts are near-duplicates.

    A prompt is the set of its runs of ``shingle`` words, without those that many prompts share:
    they are the template, and say nothing of how alike two prompts are.

    Attributes:
        threshold: Jaccard similarity from which two sets are near-duplicates, above 0 to 1.
        shingle: Words in a run.
        permutations: Length of a MinHash signature. The estimate's standard error is at most
            ``0.5 / sqrt(permutations)`` (Broder 1997).
        seed: Of the hash functions.
        template_least: A run in at most this many different prompts is never template.
        template_share: A run in more than this share of the prompts is, within the other two.
        template_most: A run in more than this many prompts always is.
    """

    threshold: float = 0.8
    shingle: int = 3
    permutations: int = 128
    seed: int = 1
    template_least: int = 5
    template_share: float = 0.02
    template_most: int = 50

    def __post_init__(self) -> None:
        _must(0 < self.threshold <= 1, "near.threshold is a similarity, above 0 to 1")
        _must(1 <= self.shingle <= 50, "near.shingle is 1 to 50 words")
        _must(8 <= self.permutations <= 1024, "near.permutations is 8 to 1024")
        _must(0 <= self.template_share <= 1, "near.template_share is a share, 0 to 1")
        _must(
            1 <= self.template_least <= self.template_most <= 200,
            "near.template_least and near.template_most are 1 to 200, in this order",
        )

    def template_from(self, prompts: int) -> int:
        """In more than how many of so many different prompts a run of words is template."""
        wanted = int(self.template_share * prompts)
        return min(self.template_most, max(self.template_least, wanted))


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """How examples are parted. Conversations, traces and near-duplicates stay together.

    Attributes:
        by: ``"time"``: the latest become the test set, those before them the validation set.
            ``"conversation"``: by a hash of the conversation, whatever its time.
        validation: Share of the examples, 0 to below 1.
        test: Share of the examples, 0 to below 1.
        across: What becomes of near-duplicates that would be in two splits: all of them go to the
            ``"earlier"`` split, with their conversations, or those in the later one are removed
            (``"drop"``).
        seed: Of the hash.
    """

    by: Literal["time", "conversation"] = "time"
    validation: float = 0.1
    test: float = 0.1
    across: Literal["earlier", "drop"] = "earlier"
    seed: int = 1

    def __post_init__(self) -> None:
        _must(
            0 <= self.validation < 1 and 0 <= self.test < 1 and self.validation + self.test < 1,
            "split.validation and split.test are shares that leave some to train on",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What is done about answers that are much more common than others, in the training split.

    Validation and test keep the shares that calls have.

    Attributes:
        how: ``"none"``; ``"weight"``: each class of answers weighs ``count ** -power``, scaled to a
            mean of 1 over examples; ``"cap"``: at most ``cap`` examples of a class are kept.
        power: 0 leaves weights alone, 1 lets each class weigh the same.
        most: Of a weight, before scaling, as a multiple of the most common class's.
        cap: Examples of a class.
        rare: Classes of fewer examples count as one.
        field: Dotted path in a JSON answer that holds the class, such as ``"intent"``; ``None``
            takes the class from the answer as a whole.
        seed: Of the choice under a cap.
    """

    how: Literal["none", "weight", "cap"] = "weight"
    power: float = 0.5
    most: float = 10.0
    cap: int | None = None
    rare: int = 5
    field: str | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        _must(0 <= self.power <= 1, "balance.power is 0 to 1")
        _must(self.most >= 1, "balance.most is at least 1")
        _must((self.how == "cap") == (self.cap is not None), "balance.cap goes with how='cap'")
        _must(self.cap is None or self.cap >= 1, "balance.cap is at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that decides what becomes of records; the same records give the same dataset.

    Attributes:
        trainable: What a record's provenance may say.
        interactive: Whether calls that a person talks in are taken.
        unredacted: Whether records that were never redacted are taken.
        served_by: Who may have answered; ``"slm"`` would have a model learn from itself.
        workload: Only records of this one; ``None`` for all.
        refusals: Regular expressions, whatever the case; an answer in free text that one is found
            in is a refusal. What the API itself calls one always is.
        abstentions: Answers that say that there is none, in lower case.
        keep: Classes of answers of which no near-duplicate and none over a cap is removed.
        against: Files of evaluations, whose texts no example may repeat.
        overlap: Share of an evaluation text's runs of words that is too much, above 0 to 1.
        near: Near-duplicates; ``None`` leaves them in, and apart only where texts are the same.
        split: How examples are parted.
        balance: What is done about common answers.
    """

    trainable: tuple[Trainable, ...] = ("trainable",)
    interactive: bool = False
    unredacted: bool = False
    served_by: tuple[str, ...] = ("llm",)
    workload: str | None = None
    refusals: tuple[str, ...] = _REFUSALS
    abstentions: tuple[str, ...] = ABSTENTIONS
    keep: tuple[str, ...] = ("abstain", "no_tool")
    against: tuple[str, ...] = ()
    overlap: float = 0.8
    near: Near | None = Near()
    split: Split = Split()
    balance: Balance = Balance()

    def __post_init__(self) -> None:
        _must(0 < self.overlap <= 1, "overlap is a share, above 0 to 1")
        for pattern in self.refusals:
            try:
                re.compile(pattern)
            except re.error as error:
                _must(False, f"{pattern!r} in refusals is no regular expression, {error}")

    def to_dict(self) -> dict[str, Any]:
        """As JSON data; `from_dict` reads it."""
        return dict(json.loads(json.dumps(asdict(self))))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The recipe that `to_dict` wrote; what is left out is as by default.

        Raises:
            InputError: It names what is not known, or a value that cannot be.
        """
        found: Self = _read(cls, data, "recipe")
        return found

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a recipe from a JSON file, a dataset's folder or its ``dataset.json``.

        Raises:
            InputError: It cannot be read.
        """
        file = Path(path) / "dataset.json" if Path(path).is_dir() else Path(path)
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(
                f"{file} cannot be read: {error}.", hint="Name a recipe or a dataset's folder."
            ) from error
        if isinstance(data, dict) and isinstance(data.get("recipe"), dict):
            data = data["recipe"]
        return cls.from_dict(data)


def _read(kind: Any, data: Any, where: str) -> Any:
    """A dataclass of JSON data, each value of the type that it declares."""
    if not isinstance(data, Mapping):
        raise InputError(f"{where} is {data!r}.", hint="It is an object of named values.")
    types = get_type_hints(kind)
    known = {one.name for one in fields(kind)}
    if strange := sorted(set(data) - known):
        raise InputError(
            f"{where} has no {', '.join(strange)}.", hint=f"It knows {', '.join(sorted(known))}."
        )
    return kind(
        **{name: _value(types[name], value, f"{where}.{name}") for name, value in data.items()}
    )


def _value(kind: Any, value: Any, where: str) -> Any:
    if isinstance(kind, UnionType):
        if value is None:
            return None
        kind = next(one for one in get_args(kind) if one is not type(None))
    if is_dataclass(kind):
        return _read(kind, value, where)
    if get_origin(kind) is tuple and isinstance(value, list | tuple):
        return tuple(_value(get_args(kind)[0], one, where) for one in value)
    if get_origin(kind) is Literal and value in get_args(kind):
        return value
    number = kind is float and isinstance(value, int) and not isinstance(value, bool)
    if isinstance(kind, type) and (type(value) is kind or number):
        return float(value) if number else value
    raise InputError(f"{where} cannot be {value!r}.", hint="See the documentation of recipes.")
