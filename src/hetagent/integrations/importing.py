"""Records from other tools' logs: a table of formats, and which one a file has."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hetagent.errors import InputError
from hetagent.integrations.flywheel import is_flywheel, read_flywheel
from hetagent.integrations.imported import Defaults
from hetagent.integrations.json_values import At, Fault, open_text, read_values
from hetagent.integrations.langfuse import is_langfuse, read_csv_rows, read_langfuse
from hetagent.integrations.litellm_logs import is_litellm_log, read_litellm_log
from hetagent.integrations.openai_files import (
    BatchRequests,
    is_batch_output,
    is_finetuning,
    is_pair,
    read_batch_output,
    read_finetuning,
    read_pair,
)
from hetagent.integrations.otlp import is_spans, read_spans
from hetagent.learn.pipeline import RecordStore, Redacts
from hetagent.learn.record import CallRecord

__all__ = ["FORMATS", "ImportFormat", "Imported", "detect", "import_into", "read_records"]

_AT_ONCE = 500
_LOOKED_AT = 20

Read = Callable[[Mapping[str, Any], Defaults], Iterator[CallRecord]]


@dataclass(frozen=True, slots=True)
class ImportFormat:
    """A kind of log.

    Attributes:
        summary: What it is, in a few words.
        fits: Whether an entry is of it.
        read: The records of an entry.
    """

    summary: str
    fits: Callable[[Mapping[str, Any]], bool]
    read: Read


def _is_own(entry: Mapping[str, Any]) -> bool:
    return {"format", "form", "request", "source"} <= set(entry)


def _read_own(entry: Mapping[str, Any], defaults: Defaults) -> Iterator[CallRecord]:
    """A record of ours stays as it is."""
    yield CallRecord.from_dict(entry)


_BATCH = "openai-batch"

# In the order in which they are tried: the more particular ones first.
FORMATS: Mapping[str, ImportFormat] = {
    "hetagent": ImportFormat("hetagent's own records, one a line", _is_own, _read_own),
    "flywheel": ImportFormat("NVIDIA's data flywheel", is_flywheel, read_flywheel),
    "otlp": ImportFormat(
        "OpenTelemetry's spans: generative AI, OpenInference", is_spans, read_spans
    ),
    "litellm": ImportFormat("LiteLLM's standard_logging_object", is_litellm_log, read_litellm_log),
    _BATCH: ImportFormat(
        "what OpenAI's batch API gave; needs its requests",
        is_batch_output,
        lambda entry, defaults: read_batch_output(entry, defaults, None),
    ),
    "openai-pairs": ImportFormat("OpenAI's requests with their responses", is_pair, read_pair),
    "langfuse": ImportFormat(
        "Langfuse's traces or observations; CSV too", is_langfuse, read_langfuse
    ),
    "openai-finetuning": ImportFormat(
        "OpenAI's examples for fine-tuning", is_finetuning, read_finetuning
    ),
}
"""What can be imported, by name."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of some records.

    Attributes:
        records: How many there were; those that the store had already are among them.
        failed: How many of them are calls that failed.
    """

    records: int
    failed: int


def detect(path: Path | str) -> str:
    """The name of a file's format, by its first entries.

    Raises:
        InputError: It is of none, or empty.
    """
    path = Path(path)
    entries = _entries(path, fault=lambda error: None)
    with closing(entries):
        for at in itertools.islice(entries, _LOOKED_AT):
            for name, one in FORMATS.items():
                if isinstance(at.value, Mapping) and one.fits(at.value):
                    return name
    raise InputError(
        f"{path} is of no format that is known.",
        hint=f"Say which it is: one of {', '.join(FORMATS)}.",
    )


def read_records(
    path: Path | str,
    *,
    format: str | None = None,  # noqa: A002 - the word for it
    requests: Path | str | None = None,
    defaults: Defaults | None = None,
    fault: Fault | None = None,
) -> Iterator[CallRecord]:
    """Read the records of a log, one after the other, in bounded memory.

    A record's id is made of what the log has of the call, so that the same log can be imported
    again without having anything twice.

    Args:
        path: The file; gzip is undone.
        format: A name of `FORMATS`; by default `detect` finds it.
        requests: Of a batch of OpenAI's: the file it was made of.
        defaults: What holds where the log does not say.
        fault: Told of each entry that cannot be read, which is then skipped; by default the first
            one is raised.

    Raises:
        InputError: The file or an entry cannot be read; it names the line.
    """
    path = Path(path)
    name = detect(path) if format is None else format
    if name not in FORMATS:
        raise InputError(f"{name!r} is no format.", hint=f"Use one of {', '.join(FORMATS)}.")
    given = Defaults() if defaults is None else defaults
    report = _raise if fault is None else fault
    batch = BatchRequests(Path(requests)) if requests is not None else None
    with closing(batch) if batch is not None else nullcontext():
        read = FORMATS[name].read
        if name == _BATCH:
            read = lambda entry, known: read_batch_output(entry, known, batch)  # noqa: E731
        for at in _entries(path, fault=report):
            yield from _records(at, read, given, path, report)


def import_into(
    store: RecordStore,
    records: Iterable[CallRecord],
    *,
    redact: Redacts,
    tell: Callable[[int], None] | None = None,
) -> Imported:
    """Redact records and put them into a store, some hundred at a time.

    Args:
        store: Where they go; it leaves out what it has already.
        records: What to put there.
        redact: What takes out of each what must not be written.
        tell: Told how many are done.

    Raises:
        StoreError: They could not be kept; those before were.
    """
    done = failed = 0
    waiting = iter(records)
    while some := list(itertools.islice(waiting, _AT_ONCE)):
        store.append([redact(record) for record in some])
        done += len(some)
        failed += sum(record.error is not None for record in some)
        if tell is not None:
            tell(done)
    return Imported(done, failed)


def _records(
    at: At, read: Read, defaults: Defaults, path: Path, fault: Fault
) -> Iterator[CallRecord]:
    try:
        if not isinstance(at.value, Mapping):
            raise InputError("It is no object.", hint="Each entry is a JSON object.")
        yield from read(at.value, defaults)
    except InputError as error:
        fault(InputError(f"Line {at.line} of {path}: {error.message}", hint=error.hint))
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        # What it says may quote the entry; a KeyError's is the name of a field.
        field = f" {error.args[0]!r}" if isinstance(error, KeyError) and error.args else ""
        what = f"{type(error).__name__}{field}"
        fault(
            InputError(
                f"Line {at.line} of {path} is not as its format has it ({what}).",
                hint="Skip entries that cannot be read, or say another format.",
            )
        )


def _entries(path: Path, *, fault: Fault) -> Generator[At, None, None]:
    if _is_table(path):
        return read_csv_rows(path, fault=fault)
    return read_values(path, fault=fault)


def _is_table(path: Path) -> bool:
    """Whether its first line is the head of a table."""
    with open_text(path) as file:
        try:
            head = file.readline(1 << 16).lstrip()
        except (UnicodeDecodeError, OSError, EOFError):
            return False
    return bool(head) and head[0] not in "[{" and "," in head


def _raise(error: InputError) -> None:
    raise error
