"""Datasets: folders of examples in three splits, with what they were made of and by which recipe.

train.jsonl validation.jsonl test.jsonl     an example a line
dataset.json                                content hash, recipe, sources, counts, report
card.md                                     the same for people
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Literal, Self

from hetagent.errors import InputError
from hetagent.learn.curate.recipe import Recipe
from hetagent.learn.curate.report import CurationReport

__all__ = ["Dataset", "DatasetWriter", "Example", "SplitName"]

SplitName = Literal["train", "validation", "test"]

FORMAT = 1
_SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
# What a model is trained or tested on. The rest says where it came from.
_CONTENT = ("id", "messages", "tools", "answer", "schema", "class", "weight", "split")
_AGAIN = "Make it again with `hetagent curate`."


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One thing to learn, or to be tested on.

    Attributes:
        id: By what it says: equal for equal prompts and answers; 32 hexadecimal digits.
        messages: The prompt, as OpenAI's API has messages; ids of tool calls are by their order.
        tools: What was offered, as OpenAI's API has tools.
        answer: The message to learn; arguments of tool calls are the string that the model wrote.
        schema: JSON Schema that the answer keeps, where there is one.
        class_: The class of the answer, such as ``"tool:search"``, ``"no_tool"``, ``"abstain"``,
            ``"label:yes"``, ``"json"``, ``"number"`` or ``"text"``.
        weight: How much it weighs in training.
        split: Where it is.
        record: Id of the call record that it is of.
        copies: Records that said the same, that one included.
        unit: Id of the first example of its unit: what must never be parted.
        group: Id of the first of its near-duplicates, which is its own where it has none.
    """

    id: str
    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]]
    answer: Mapping[str, Any]
    schema: Mapping[str, Any] | None
    class_: str
    weight: float
    split: SplitName
    record: str
    copies: int
    unit: str
    group: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON data; `from_dict` reads it."""
        return {one.name.rstrip("_"): getattr(self, one.name) for one in fields(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The example that `to_dict` wrote.

        Raises:
            InputError: It is none.
        """
        try:
            return cls(**{{"class": "class_"}.get(name, name): data[name] for name in data})
        except TypeError as error:
            raise InputError(f"This is no example: {error}.", hint=_AGAIN) from error


class DatasetWriter:
    """Writes a dataset into a new folder; examples come in their order within each split.

    Args:
        folder: Where; it is made.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._files: dict[str, IO[bytes]] = {
            name: (folder / f"{name}.jsonl").open("wb") for name in _SPLITS
        }
        self._written = {name: sha256() for name in _SPLITS}
        self._content = {name: sha256() for name in _SPLITS}
        self._counts: dict[str, int] = dict.fromkeys(_SPLITS, 0)

    @property
    def counts(self) -> dict[str, int]:
        """Examples of each split so far."""
        return dict(self._counts)

    def add(self, example: Example) -> None:
        """Write an example."""
        data = example.to_dict()
        line = _line(data)
        self._files[example.split].write(line)
        self._written[example.split].update(line)
        self._content[example.split].update(_content(data))
        self._counts[example.split] += 1

    def finish(
        self, recipe: Recipe, report: CurationReport, sources: Sequence[Mapping[str, Any]]
    ) -> None:
        """Write the rest: ``dataset.json`` and the card."""
        from hetagent import __version__
        from hetagent.learn.curate.card import card

        self.close()
        data = {
            "format": FORMAT,
            "hash": _whole({name: one.hexdigest() for name, one in self._content.items()}),
            "version": __version__,
            "counts": self._counts,
            "recipe": recipe.to_dict(),
            "sources": [dict(one) for one in sources],
            "files": {f"{name}.jsonl": one.hexdigest() for name, one in self._written.items()},
            "report": report.to_dict(),
        }
        text = json.dumps(data, indent=1) + "\n"
        (self._folder / "dataset.json").write_text(text, encoding="utf-8")
        (self._folder / "card.md").write_bytes(card(data, report).encode(errors="backslashreplace"))

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset on disk; examples are read as they are asked for.

    Attributes:
        folder: Where it is.
        hash: SHA-256 of what a model is trained and tested on, without where it came from.
        counts: Examples of each split.
        recipe: What made it.
        sources: What it was made of.
        report: What each step of curation did.
        version: Of hetagent, when it was made.
    """

    folder: Path
    hash: str
    counts: Mapping[str, int]
    recipe: Recipe
    sources: Sequence[Mapping[str, Any]]
    report: CurationReport
    version: str

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Open a dataset.

        Raises:
            InputError: There is none, or one of a later version's format.
        """
        path = Path(folder)
        try:
            data = json.loads((path / "dataset.json").read_text(encoding="utf-8"))
            if data["format"] != FORMAT:
                raise InputError(
                    f"{path} is a dataset of format {data['format']!r}, not {FORMAT}.",
                    hint="A newer dataset needs a newer hetagent.",
                )
            return cls(
                path,
                data["hash"],
                data["counts"],
                Recipe.from_dict(data["recipe"]),
                tuple(data["sources"]),
                CurationReport.from_dict(data["report"]),
                data["version"],
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is no dataset: {error!r}.", hint=_AGAIN) from error

    def __len__(self) -> int:
        return sum(self.counts.values())

    def examples(self, split: SplitName | None = None) -> Iterator[Example]:
        """The examples of a split, or all: those for training first, each split by time.

        Raises:
            InputError: A line is no example.
        """
        for name in _SPLITS if split is None else (split,):
            for data in self._lines(name):
                yield Example.from_dict(data)

    def verify(self) -> None:
        """See whether the examples are those that it was made with.

        Raises:
            InputError: They are not.
        """
        found = {name: sha256() for name in _SPLITS}
        counts = dict.fromkeys(_SPLITS, 0)
        for name in _SPLITS:
            for data in self._lines(name):
                found[name].update(_content(data))
                counts[name] += 1
        whole = _whole({name: one.hexdigest() for name, one in found.items()})
        if whole != self.hash or counts != dict(self.counts):
            raise InputError(
                f"{self.folder} was changed since it was made: its content hash is {whole}, not "
                f"{self.hash}.",
                hint=_AGAIN,
            )

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        path = self.folder / f"{name}.jsonl"
        try:
            with path.open("rb") as file:
                for line in file:
                    data = json.loads(line)
                    if not isinstance(data, dict):
                        raise ValueError("a line is no object")
                    yield data
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read: {error}.", hint=_AGAIN) from error


def _line(data: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        return f"{text}\n".encode()
    except UnicodeEncodeError:  # half a surrogate pair, which only an escape can write
        return (json.dumps(data, separators=(",", ":")) + "\n").encode()


def _content(data: Mapping[str, Any]) -> bytes:
    kept = {name: data.get(name) for name in _CONTENT}
    return (json.dumps(kept, sort_keys=True, separators=(",", ":")) + "\n").encode()


def _whole(parts: Mapping[str, str]) -> str:
    text = "".join(f"{name} {parts[name]}\n" for name in _SPLITS)
    return sha256(f"hetagent dataset {FORMAT}\n{text}".encode()).hexdigest()
