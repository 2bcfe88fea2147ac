"""The populations that calibrators are compared on: kept answers, with their evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.escalation.dumps import PAIRS, load
from benchmarks.escalation.quality import served
from benchmarks.report import CannotMeasureError
from hetagent.calibrate.evidence_table import EvidenceTable
from hetagent.evidence import Evidence

__all__ = ["FIELDS", "Pool", "evidence_of", "pools"]

FIELDS = ("date", "time", "people", "first_name", "last_name")


@dataclass(frozen=True)
class Pool:
    """All answers of one model to one data set, or one field of them; taken as the truth.

    Attributes:
        data: The data set and the model, such as ``"clinc150-smollm2-tuned"``.
        part: The field; ``""`` for the whole value.
        table: Evidence of the answers.
        correct: Whether each is right.
        fields: Of a whole record: the pools of its fields, answer by answer.
        served: Which answers cascadeflow would serve, which takes neither labels nor α; ``None``
            where it is not known.
    """

    data: str
    part: str
    table: EvidenceTable
    correct: NDArray[np.bool_]
    fields: tuple[Pool, ...] = ()
    served: NDArray[np.bool_] | None = None

    @property
    def name(self) -> str:
        return f"{self.data} {self.part}".strip()

    @property
    def scores(self) -> NDArray[np.float64]:
        """Raw confidences."""
        return np.exp(self.table.column("right"))


def evidence_of(line: Any) -> Evidence:
    """Evidence as a dump keeps it."""
    names = ("raw", "outside", "margin", "entropy", "least", "tokens", "digits")
    known = {name: line[name] for name in names}
    return Evidence(**{**known, "outside": known["outside"] or 0.0}, answer=str(line["answer"]))


def pools(names: Sequence[str]) -> Iterator[Pool]:
    """The pools of some dumps: the whole value, then each field of a record."""
    for name in names:
        if not (PAIRS / f"{name}.jsonl.gz").is_file():
            raise CannotMeasureError(
                f"{PAIRS.name}/{name}.jsonl.gz is not there; benchmarks.escalation.dumps makes it."
            )
        lines = load(name)
        names = FIELDS if "fields" in lines[0] else ()
        fields = tuple(_pool(name, one, [line["fields"][one] for line in lines]) for one in names)
        yield replace(_pool(name, "", lines), fields=fields, served=served(name, lines))
        yield from fields


def _pool(data: str, part: str, lines: Sequence[Any]) -> Pool:
    table = EvidenceTable.of([evidence_of(line) for line in lines])
    return Pool(data, part, table, np.array([bool(line["correct"]) for line in lines]))
