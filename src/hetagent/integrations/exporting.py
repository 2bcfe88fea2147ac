"""Records for other tools: one JSON object a line."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from hetagent.errors import InputError
from hetagent.integrations.flywheel import flywheel_line
from hetagent.integrations.openai_files import finetuning_line
from hetagent.learn.record import CallRecord

__all__ = ["EXPORTS", "ExportFormat", "Exported", "export_records"]

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """A form that records are written in.

    Attributes:
        summary: What it is, in a few words.
        line: A record in it, or why the record has no place in it.
        trains: Whether it is for training, so that calls whose answers may not train a model, and
            those in which a person talks with the model, are left out unless they are asked for.
    """

    summary: str
    line: Callable[[CallRecord], Line | str]
    trains: bool


EXPORTS: Mapping[str, ExportFormat] = {
    "hetagent": ExportFormat("hetagent's own records, whole", CallRecord.to_dict, trains=False),
    "flywheel": ExportFormat("NVIDIA's data flywheel", flywheel_line, trains=True),
    "openai-finetuning": ExportFormat(
        "OpenAI's examples for fine-tuning", finetuning_line, trains=True
    ),
}
"""What can be exported, by name."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What became of the records.

    Attributes:
        written: Lines written.
        left_out: How many were left out, by why.
    """

    written: int
    left_out: Mapping[str, int]


def export_records(
    records: Iterable[CallRecord],
    path: Path | str,
    *,
    format: str,  # noqa: A002 - the word for it
    interactive: bool = False,
    no_train: bool = False,
    tell: Callable[[int], None] | None = None,
) -> Exported:
    """Write records to a file, which is there only once it is whole.

    Args:
        records: What to write, redacted as it came out of a store.
        path: The file, which only its owner may read; ``-`` is standard output.
        format: A name of `EXPORTS`.
        interactive: Whether calls in which a person talks with the model are written for training.
        no_train: Whether calls are written for training whose answers may not be used for it.
        tell: Told how many records were looked at.

    Raises:
        InputError: There is no such format, or the file cannot be written.
    """
    if format not in EXPORTS:
        raise InputError(f"{format!r} is no format.", hint=f"Use one of {', '.join(EXPORTS)}.")
    form = EXPORTS[format]
    left_out: Counter[str] = Counter()
    written = 0
    with _written(path) as file:
        for number, record in enumerate(records, 1):
            line = _refusal(record, form, interactive=interactive, no_train=no_train) or form.line(
                record
            )
            if isinstance(line, str):
                left_out[line] += 1
            else:
                file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
                written += 1
            if tell is not None:
                tell(number)
    return Exported(written, dict(left_out))


def _refusal(
    record: CallRecord, form: ExportFormat, *, interactive: bool, no_train: bool
) -> str | None:
    if not form.trains:
        return None
    if record.interactive and not interactive:
        return "interactive"
    return "no-train" if record.trainable == "no-train" and not no_train else None


@contextlib.contextmanager
def _written(path: Path | str) -> Iterator[IO[str]]:
    if str(path) == "-":
        yield sys.stdout
        return
    target = Path(path)
    try:
        with _replacing(target) as file:
            yield file
    except OSError as error:
        raise InputError(
            f"{target} cannot be written: {error.strerror or error}.", hint="Give another path."
        ) from error


@contextlib.contextmanager
def _replacing(target: Path) -> Iterator[IO[str]]:
    """A new file, which takes the target's place at the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with open(number, "w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(number)
        os.replace(name, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
