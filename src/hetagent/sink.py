"""Where outcomes are recorded: a protocol, and JSON lines in a file.

A line tells how an answer came about and never what was asked or answered: no input, no value, no
label, no text of an error. Skill names, field paths and model names are in it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from hetagent.errors import SkillError
from hetagent.explain import changes
from hetagent.files import append_line
from hetagent.outcome import Call, Outcome
from hetagent.raised import raised

if TYPE_CHECKING:
    from hetagent.models.base import Request
    from hetagent.skill import Skill

__all__ = ["Captures", "JsonLines", "OutcomeLog", "Sink", "capturing", "current_capture", "entry"]

FORMAT = 1

_log = logging.getLogger("hetagent")


@runtime_checkable
class Sink(Protocol):
    """Takes outcomes. It is called by several threads, and for each outcome once."""

    def record(self, outcome: Outcome[Any]) -> None:
        """Keep what is wanted of an outcome.

        It is called where answers are waited for, so it should take no longer than writing a
        line. Whatever it raises is counted, and the call it was about goes on.
        """


@runtime_checkable
class Captures(Protocol):
    """Takes what a skill was asked together with its outcome, as `hetagent.Recorder` does."""

    def capture(self, skill: Skill[Any, Any], request: Request, outcome: Outcome[Any]) -> None:
        """Keep what is wanted of it; returns at once, and raises nothing."""


current_capture: ContextVar[Captures | None] = ContextVar("hetagent_capture", default=None)
"""What captures the outcome in the making; it need not capture the model calls made for it."""


@contextlib.contextmanager
def capturing(captures: Captures | None) -> Iterator[None]:
    """Model calls made inside belong to an outcome that is captured as a whole."""
    token = current_capture.set(captures)
    try:
        yield
    finally:
        current_capture.reset(token)


class JsonLines:
    """Appends one line of JSON for each outcome to a file.

    Several threads and processes may append to one file. Each line is one write to the end of it,
    and the file is opened anew for each, so that it can be moved away at any time. What was left
    of a line by a full disk or a power cut is ended first, and skipped by readers.

    Args:
        path: The file; it is made, with its folder, where there is none.
        values: Whether to write answers too: the value, the SLM's draft, and of evidence which
            answer it was. Inputs are never written, but answers may repeat them.
    """

    def __init__(self, path: str | os.PathLike[str], *, values: bool = False) -> None:
        self.path = Path(path)
        self.values = values

    def __repr__(self) -> str:
        return f"JsonLines({str(self.path)!r}, values={self.values})"

    def record(self, outcome: Outcome[Any]) -> None:
        """Append a line.

        Raises:
            OSError: It could not be written, or not wholly.
        """
        append_line(self.path, json.dumps(entry(outcome, values=self.values), ensure_ascii=True))


class OutcomeLog:
    """Writes outcomes to a sink, and loses no call where that fails.

    Args:
        sink: Where to; a path stands for ``JsonLines(path)``.

    Raises:
        SkillError: It is neither.
    """

    def __init__(self, sink: Sink | str | os.PathLike[str]) -> None:
        if isinstance(sink, str | os.PathLike):
            sink = JsonLines(sink)
        if not isinstance(sink, Sink):
            raise SkillError(
                f"log is {sink!r}.", hint="Give a file's path, or a sink with record(outcome)."
            )
        self._sink = sink
        self._lost = 0
        self._lock = threading.Lock()

    @property
    def lost(self) -> int:
        """Outcomes that could not be recorded."""
        return self._lost

    def record(self, outcome: Outcome[Any]) -> None:
        """Record an outcome, or count it as lost; of the first, the log tells."""
        try:
            self._sink.record(outcome)
        except Exception as error:
            with self._lock:
                self._lost += 1
                first = self._lost == 1
            if first:
                _log.warning(
                    "An outcome was not recorded in %r: %s. Calls go on; what else is not "
                    "recorded is counted in unrecorded.",
                    self._sink,
                    f"OSError: {error}" if isinstance(error, OSError) else raised(error),
                )


def entry(outcome: Outcome[Any], *, values: bool = False) -> dict[str, Any]:
    """What a line says of an outcome, as JSON data.

    Args:
        outcome: The outcome, which ends now.
        values: As for `JsonLines`.
    """
    basis = outcome.basis
    changed = changes(outcome)
    evidence = {path: asdict(one) for path, one in outcome.evidence.items()}
    known = {
        "format": FORMAT,
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "skill": outcome.skill,
        "trace_id": outcome.trace_id,
        "served_by": outcome.served_by,
        "binding": outcome.binding,
        "rung": outcome.rung,
        "reason": outcome.reason,
        "confidence": outcome.confidence,
        "weak": list(outcome.weak),
        "least": dict(outcome.least),
        "changed": None if changed is None else list(changed),
        "basis": None if basis is None else asdict(basis),
        "evidence": evidence,
        "error": None if outcome.error is None else type(outcome.error).__name__,
        "cost_usd": outcome.cost_usd,
        "seconds": outcome.seconds,
        "calls": [_call(call) for call in outcome.calls],
    }
    if values:
        whole = outcome.to_dict()
        return known | {"value": whole["value"], "draft": whole["draft"]}
    for one in evidence.values():
        del one["answer"]  # a label
    return known


def _call(call: Call) -> dict[str, Any]:
    return {
        "role": call.role,
        "rung": call.rung,
        "model": call.model,
        "seconds": call.seconds.get("total"),
        "attempts": call.attempts,
        "error": None if call.error is None else type(call.error).__name__,
        **asdict(call.usage),
    }
