"""`hetagent.Recorder`: keeps the calls that a program makes, of LiteLLM's or of hetagent's.

LiteLLM calls only objects that are instances of its own ``CustomLogger``. It takes seconds to
import, and need not be installed for other uses; so nothing of it is imported here. A recorder
becomes such an instance when LiteLLM first looks at it, by which time LiteLLM is there.
"""

from __future__ import annotations

import itertools
import logging
import os
import sys
import threading
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from types import EllipsisType
from typing import Any, Self

from hetagent.errors import InputError
from hetagent.learn.litellm_calls import form_of, read_call
from hetagent.learn.marks import Marks, current_marks, marked
from hetagent.learn.pipeline import Kept, Made, Pipeline, RecordStore, Redacts
from hetagent.learn.provenance import Provenance
from hetagent.learn.record import CallRecord, Trainable
from hetagent.learn.skill_calls import read_outcome
from hetagent.models.base import Request
from hetagent.outcome import Outcome
from hetagent.raised import raised
from hetagent.sink import current_capture
from hetagent.skill import Skill

__all__ = ["Recorder"]

_log = logging.getLogger("hetagent")

_MOST_UNDER_WAY = 10_000
_numbers = itertools.count(1)


class Recorder:
    """Records the calls of a program: redacted, then written, by a thread of its own.

    It is one of LiteLLM's callbacks, and what ``Orchestrator(record=...)`` takes::

        litellm.callbacks = [hetagent.Recorder("calls.db")]
        agent = Orchestrator(slm, llm=llm, record=hetagent.Recorder("calls.db"))

    A call is never delayed or failed by it: what cannot be recorded is counted in ``kept``, and
    the first time told to the log. Keys and headers are never recorded.

    Args:
        store: Where records go: a store, or the path or address of one, which is then opened here
            and closed by `close`.
        redact: What takes out of a record what must not be written. By default it is
            `hetagent.learn.redact.Redactor` with the store's own key for surrogates; ``None``
            writes everything as it is, with a warning.
        trainable: Whether answers may train another model, by pattern of model names, such as
            ``{"openai/*": "no-train", "*llama*": "trainable"}``; the first that fits holds. By
            default it is as the licences in hetagent's catalogue of models say, else unknown.
        client: Whose calls these are, where a call does not say; records are erased by it.
        workload: The group that calls belong to, where a call does not say.
        interactive: Whether these are calls in which a person talks with the model, where a call
            does not say. They are left out of conversion.
        most_waiting: Records that may wait to be written; the next one is lost.

    Raises:
        InputError: ``store`` or ``trainable`` cannot be used.
        MissingExtraError: A package that the store or the redactor needs is not installed.
        StoreError: The store cannot be opened.
    """

    def __init__(
        self,
        store: RecordStore | str | os.PathLike[str],
        *,
        redact: Redacts | EllipsisType | None = ...,
        trainable: Mapping[str, Trainable] | None = None,
        client: str | None = None,
        workload: str | None = None,
        interactive: bool = False,
        most_waiting: int = 10_000,
    ) -> None:
        self._provenance = Provenance(trainable)
        self._marks = Marks(client=client, workload=workload, interactive=interactive or None)
        self._store, self._owned = _opened(store)
        try:
            redacts = _redactor(redact, self._store)
        except BaseException:
            if self._owned:
                self._store.close()  # type: ignore[attr-defined]
            raise
        self._pipeline = Pipeline(self._store, redact=redacts, most_waiting=most_waiting)
        self._under_way: OrderedDict[str, _Begun] = OrderedDict()
        self._lock = threading.Lock()
        self._last: Future[None] | None = None

    @property  # type: ignore[misc]
    def __class__(self) -> type[Any]:
        """Its class, made one of LiteLLM's callbacks where LiteLLM is there."""
        _join_litellm(self)
        return type(self)

    def __repr__(self) -> str:
        return f"Recorder({self._store!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def kept(self) -> Kept:
        """What became of the calls so far: how many are written, waiting, lost, and why."""
        return self._pipeline.kept

    def flush(self, *, timeout: float | None = None) -> Kept:
        """Wait until what was recorded so far is written, or ``timeout`` seconds are over.

        LiteLLM tells its callbacks of a call a moment after its answer; what was not told yet is
        not waited for.
        """
        if self._last is not None:
            wait([self._last], timeout)
        return self.kept

    def close(self, *, timeout: float | None = None) -> None:
        """Write what waits, for at most ``timeout`` seconds, and end; later calls are lost."""
        self._pipeline.close(timeout=timeout)
        if self._owned:
            self._store.close()  # type: ignore[attr-defined]

    def marked(
        self,
        *,
        workload: str | None = None,
        conversation: str | None = None,
        client: str | None = None,
        trace: str | None = None,
        interactive: bool | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> AbstractContextManager[None]:
        """Say something of all calls made inside of a ``with``.

        It holds in this thread or task and in tasks it starts; a new thread needs its own. What
        the metadata of a call says goes before it.

        Args:
            workload: The group that they belong to.
            conversation: An id that the calls of one conversation share.
            client: Whose they are.
            trace: An id that the calls of one run of the agent share; by default OpenTelemetry's.
            interactive: Whether a person talks with the model in them.
            tags: Anything else.
        """
        return marked(
            Marks(
                workload=workload,
                conversation=conversation,
                client=client,
                trace=trace,
                interactive=interactive,
                tags=dict(tags or {}),
            )
        )

    def submit(self, record: CallRecord) -> Future[None]:
        """Record a call that was captured in another way; see `Pipeline.submit`."""
        return self._hand_over(record)

    def capture(self, skill: Skill[Any, Any], request: Request, outcome: Outcome[Any]) -> None:
        """Record an outcome of hetagent's own; the orchestrator calls this."""
        if not outcome.calls:
            return  # no model was asked
        marks = current_marks.get().over(self._marks)

        def made() -> CallRecord:
            return read_outcome(skill, request, outcome, marks=marks, provenance=self._provenance)

        self._hand_over(made)

    def log_pre_api_call(self, model: Any, messages: Any, kwargs: Mapping[str, Any]) -> None:
        """LiteLLM is about to send a request; it says so in the caller's own context."""
        try:
            call = kwargs.get("litellm_call_id")
            if isinstance(call, str):
                self._begin(call)
        except Exception as error:
            _log.debug("The beginning of a call was not understood: %s.", raised(error))

    def log_success_event(
        self, kwargs: Mapping[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """LiteLLM has a whole answer."""
        self._ended(kwargs, response_obj, start_time, end_time, failed=False)

    def log_failure_event(
        self, kwargs: Mapping[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """LiteLLM has none."""
        self._ended(kwargs, response_obj, start_time, end_time, failed=True)

    async def async_log_success_event(
        self, kwargs: Mapping[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """LiteLLM has a whole answer for asynchronous code."""
        self._ended(kwargs, response_obj, start_time, end_time, failed=False)

    async def async_log_failure_event(
        self, kwargs: Mapping[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """LiteLLM has none for asynchronous code."""
        self._ended(kwargs, response_obj, start_time, end_time, failed=True)

    def _begin(self, call: str) -> None:
        with self._lock:
            begun = self._under_way.get(call)
            if begun is None:
                begun = self._under_way[call] = _Begun(
                    self._marks_now(), inner=current_capture.get() is self
                )
                if len(self._under_way) > _MOST_UNDER_WAY:
                    # Of a stream whose reader left, nothing more is ever heard.
                    self._under_way.popitem(last=False)
            begun.attempts += 1

    def _ended(
        self, kwargs: Mapping[str, Any], response: Any, start: Any, end: Any, *, failed: bool
    ) -> None:
        try:
            form = form_of(kwargs)
            if form is None:
                return
            begun = self._end(kwargs.get("litellm_call_id"))
            if begun.inner:
                return  # it is part of an outcome, which is recorded as a whole
            now = datetime.now()
            made = read_call(
                kwargs,
                response,
                start if isinstance(start, datetime) else now,
                end if isinstance(end, datetime) else now,
                form=form,
                marks=begun.marks.over(self._marks),
                attempts=max(begun.attempts, 1),
                failed=failed,
            )
            self._hand_over(lambda: self._with_provenance(made()))
        except Exception as error:
            self._hand_over(_raising(error))

    def _end(self, call: Any) -> _Begun:
        with self._lock:
            begun = self._under_way.pop(call, None) if isinstance(call, str) else None
        if begun is None:  # it failed before anything was sent, or came from LiteLLM's cache
            begun = _Begun(self._marks_now(), inner=current_capture.get() is self)
        return begun

    def _marks_now(self) -> Marks:
        marks = current_marks.get()
        return marks if marks.trace else replace(marks, trace=_open_telemetry_trace())

    def _with_provenance(self, record: CallRecord) -> CallRecord:
        known = self._provenance.of(record.model, record.served_model)
        return replace(record, trainable=known)

    def _hand_over(self, record: Made) -> Future[None]:
        self._last = done = self._pipeline.submit(record)
        return done


@dataclass(slots=True)
class _Begun:
    """What is known of a call while it is under way."""

    marks: Marks
    inner: bool
    attempts: int = 0


def _raising(error: Exception) -> Made:
    """A record that cannot be made, to be counted as lost like any other."""

    def made() -> CallRecord:
        raise error

    return made


def _redactor(redact: Redacts | EllipsisType | None, store: RecordStore) -> Redacts:
    if redact is None:
        warnings.warn(
            "Calls are recorded as they are, with all names, secrets and other personal data in "
            "them: redact is None. Leave it out to have them redacted.",
            stacklevel=3,
        )
        return _as_it_is
    if not isinstance(redact, EllipsisType):
        if not callable(redact):
            raise InputError(
                f"redact is {redact!r}.",
                hint="Give a function from a record to a record, such as a Redactor.",
            )
        return redact
    from hetagent.learn.redact import Redactor

    # A store of another kind may have no key; surrogates are then of this process alone.
    redactor: Redacts = Redactor(key=getattr(store, "surrogate_key", None))
    return redactor


def _as_it_is(record: CallRecord) -> CallRecord:
    return record


def _opened(store: RecordStore | str | os.PathLike[str]) -> tuple[RecordStore, bool]:
    """A store, and whether it is opened here."""
    if isinstance(store, str | os.PathLike):
        from hetagent.learn.store import Store

        opened: RecordStore = Store(os.fspath(store))
        return opened, True
    if not isinstance(store, RecordStore):
        raise InputError(
            f"The store is {store!r}.", hint="Give a path, an address, or a store with append()."
        )
    return store, False


def _open_telemetry_trace() -> str | None:
    # An application that traces has imported this already.
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None


def _join_litellm(recorder: Recorder) -> None:
    """Make it an instance of LiteLLM's class as well, where there is one."""
    module = sys.modules.get("litellm.integrations.custom_logger")
    base = getattr(module, "CustomLogger", None)
    if base is None or issubclass(type(recorder), base):
        return
    kind: Any = type(recorder)
    # Set past the property, which can only be read.
    object.__dict__["__class__"].__set__(recorder, _joined(kind, base))
    base.__init__(recorder)
    # LiteLLM takes two callbacks for the same whose public attributes are equal.
    recorder.number = next(_numbers)  # type: ignore[attr-defined]


@cache
def _joined(kind: Any, base: Any) -> type[Any]:
    return type(
        kind.__name__, (kind, base), {"__doc__": kind.__doc__, "__module__": kind.__module__}
    )
