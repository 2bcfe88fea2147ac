"""Audits in a running agent: draw, ask, take feedback, test, and react to a broken promise."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Mapping
from dataclasses import replace
from types import EllipsisType
from typing import Any

from hetagent.admission import Admission
from hetagent.audit import Audit, AuditSummary, in_words
from hetagent.audit_queue import AuditQueue
from hetagent.audit_state import AuditState, loaded
from hetagent.calibrate.audits import Audits, Joined
from hetagent.calibrate.correctness import label_of
from hetagent.errors import HetagentError, InputError, SkillError
from hetagent.evidence import top_field
from hetagent.examiner import Examiner
from hetagent.models.base import Model, Request
from hetagent.options import Options
from hetagent.outcome import Basis, Outcome
from hetagent.policy import Decision, Policy, Scored, as_certifying_policy
from hetagent.recall import Answer, Recall
from hetagent.skill import Skill
from hetagent.verdicts import check_fields, on_promises, relied_on

__all__ = ["Auditing"]

_log = logging.getLogger("hetagent")
_MOST = 0.999
"""Error rate that is tested at most, however often the auditor errs."""


class Auditing:
    """The audits of an orchestrator and those made of it by `with_options`; thread-safe.

    It is at ``agent.audits``.
    """

    def __init__(self, audit: Audit, *, llms: tuple[Model, ...], admission: Admission) -> None:
        if audit.by == "llm" and not llms:
            raise SkillError(
                "There is no LLM to audit answers.",
                hint="Give the orchestrator llm=, or Audit(by=None) and call agent.feedback(...).",
            )
        self.audit = audit
        self._examiner = Examiner(audit, llms=llms, admission=admission)
        self._audits = loaded(audit.state, Audits(audit.share, seed=audit.seed))
        self._queue = AuditQueue(audit.limit)
        self._state = AuditState(audit.state, self._audits) if audit.state is not None else None
        if self._state is not None:
            # Both when this is dropped and when the process ends.
            weakref.finalize(self, self._state.save)
        self._lock = threading.Lock()
        self._recall = Recall(audit.recent)
        self._watched: dict[str, str] = {}  # by name, the skill
        self._ids: dict[str, tuple[object, str]] = {}
        self._unanswered = 0
        self._error: Exception | None = None
        # Paths that are broken, by certificate; replaced and never changed, to be read unlocked.
        self._broken: Mapping[str, frozenset[str]] = {}
        for name in self._audits.certificates:
            if self._audits.drift(name):
                self._break(name)
                _log.warning("%s This was found earlier.", self._told(name))

    # --- what serving asks

    def refusal(self, policy: Policy, skill: str) -> Decision | None:
        """What is decided before the SLM is asked; ``None`` where its answer may be accepted."""
        if not self._broken or self.audit.on_drift == "warn":
            return None
        certifying = as_certifying_policy(policy)
        promise = certifying.certificate(skill) if certifying is not None else None
        found = self._id(skill, promise) if promise is not None else None
        if found is None or "" not in self._broken.get(found, ()):
            return None
        allowed = getattr(promise, "max_error", 0.0)
        return Decision("escalate", "drift", basis=Basis(found, allowed, {}, {}))

    def revised(self, decision: Decision, scored: Scored) -> Decision:
        """A decision without the promises that were found broken."""
        basis = decision.basis
        if not self._broken or basis is None or self.audit.on_drift == "warn":
            return decision
        broken = self._broken.get(basis.certificate, frozenset())
        lost = broken.intersection(basis.promised)
        if not lost:
            return decision
        weak = {path for path in scored.fields if top_field(path) in lost} | set(decision.fields)
        return replace(
            decision,
            action="escalate" if decision.action == "accept" else decision.action,
            reason="drift" if decision.action == "accept" else decision.reason,
            fields=() if "" in lost else tuple(path for path in scored.fields if path in weak),
            basis=replace(basis, promised=tuple(p for p in basis.promised if p not in lost)),
        )

    def observe(
        self, outcome: Outcome[Any], skill: Skill[Any, Any], request: Request, options: Options
    ) -> None:
        """Take note of an outcome; it is drawn or not, and an audit begins in the background."""
        try:
            self._observe(outcome, skill, request, options)
        except Exception:  # the caller has an answer, whatever becomes of its audit
            _log.exception("An answer of %s could not be noted for audits", skill.name)

    def _observe(
        self, outcome: Outcome[Any], skill: Skill[Any, Any], request: Request, options: Options
    ) -> None:
        drawn: dict[str, str] = {}
        key = self._recall.key(outcome.trace_id, skill.name)
        paths = relied_on(outcome)
        if paths and outcome.basis is not None:
            names = {self._watch(skill.name, outcome.basis, path): path for path in paths}
            found = self._audits.draw(key, names)
            drawn = {names[name]: name for name in found}
        json = None if outcome.served_by == "none" else skill.output.to_json(outcome.value)
        answer = Answer(skill, json, outcome.trace_id, key, drawn)
        self._recall.keep(answer)
        if not drawn:
            return
        self._changed()
        if self.audit.by is not None:

            async def job() -> None:
                await self._job(outcome, answer, request, options)

            if not self._queue.put(job):
                self._fail(None)

    # --- what users ask

    def feedback(
        self,
        trace_id: str,
        *,
        correct: bool | None = None,
        value: Any | EllipsisType = ...,
        fields: Mapping[str, bool] | None = None,
        skill: str | None = None,
    ) -> Joined:
        """See `hetagent.Orchestrator.feedback`."""
        given = [correct is not None, value is not ..., fields is not None]
        if sum(given) != 1 or not isinstance(correct, bool | None):
            raise InputError(
                f"The feedback on {trace_id} is not one thing.",
                hint="Give one of correct=True, correct=False, value=... and fields={...: bool}.",
            )
        said: bool | Mapping[str, bool]
        answer = self._recall.find(trace_id, skill)
        if answer is None:
            if value is not ...:
                raise InputError(
                    f"The answer of {trace_id} is not remembered.",
                    hint="Give correct= or fields=, or remember more with Audit(recent=...).",
                )
            said = bool(correct) if fields is None else fields
            return self._join_unseen(trace_id, said, skill)
        output = answer.skill.output
        if value is not ...:
            said = self._examiner.compare(answer, label_of(output, value))
        elif fields is not None:
            check_fields(fields, output)
            said = fields
        else:
            said = bool(correct)
        if not answer.drawn:
            return self._audits.note("volunteered")
        if not self._recall.is_alone(answer):
            return self._audits.note("partial")  # it may be meant for another of them
        found = on_promises(said, answer.drawn, output=output)
        return self._join(answer.key, found, answer.drawn)

    def status(self) -> AuditSummary:
        """How all certificates stand that answers were accepted under."""
        audits = self._audits
        return AuditSummary(
            {name: audits.status(name) for name in audits.certificates},
            self._queue.count,
            self._unanswered,
            self._error,
            audits.unjoined,
        )

    def flush(self, timeout: float | None = None) -> bool:
        """Wait for the audits that are under way, and write the state to its file.

        Args:
            timeout: Seconds to wait; ``None`` for as long as it takes.

        Returns:
            Whether none is left.

        Raises:
            SkillError: Called from within an audit.
        """
        done = self._queue.flush(timeout)
        self._save()
        return done

    async def aflush(self, timeout: float | None = None) -> bool:
        """Wait for the audits that are under way, from asynchronous code; see `flush`."""
        done = await self._queue.aflush(timeout)
        self._save()
        return done

    def cancel(self) -> None:
        """Give up the audits that are under way; their verdicts stay open, for feedback."""
        self._queue.cancel()

    # --- one audit

    async def _job(
        self, outcome: Outcome[Any], answer: Answer, request: Request, options: Options
    ) -> None:
        try:
            said = await self._examiner.verdict(outcome, answer, request, options)
            found = None if said is None else on_promises(
                said, answer.drawn, output=answer.skill.output
            )  # fmt: skip
        except Exception as error:  # of anybody's model or function; nobody waits for this
            self._fail(error)
            return
        if found:
            self._join(answer.key, found, answer.drawn)
        else:
            self._fail(None)

    def _fail(self, error: Exception | None) -> None:
        with self._lock:
            self._unanswered += 1
            first = error is not None and self._error is None
            self._error = error or self._error
        if first:
            expected = isinstance(error, HetagentError)
            _log.warning(
                "An audit ended without a verdict: %s Further ones are only counted.",
                error,
                exc_info=None if expected else error,
            )

    # --- verdicts and drift

    def _join(self, key: str, found: Mapping[str, bool], drawn: Mapping[str, str]) -> Joined:
        if not found:
            return self._audits.note("partial")
        verdicts = {drawn[path]: right for path, right in found.items()}
        joined = self._audits.verdict(key, verdicts)
        if joined == "joined":
            self._changed()
            for name in verdicts:
                self._react(name)
        return joined

    def _join_unseen(
        self, trace_id: str, said: bool | Mapping[str, bool], skill: str | None
    ) -> Joined:
        """Of an answer that is not remembered, but may still wait for a verdict."""
        names = {
            name: name.partition(":")[2]
            for name in self._audits.waiting(trace_id)
            if skill is None or self._watched.get(name, skill) == skill
        }
        if not names:
            return self._audits.verdict(trace_id, {})
        found = on_promises(said, names.values(), output=None)
        drawn = {path: name for name, path in names.items()}
        return self._join(trace_id, found, drawn)

    def _react(self, name: str) -> None:
        if not self._audits.drift(name) or not self._break(name):
            return
        self._save()
        _log.warning(self._told(name))
        if self.audit.notify is not None:
            try:
                self.audit.notify(self._audits.status(name))
            except Exception:
                _log.exception("Audit(notify=...) failed")

    def _break(self, name: str) -> bool:
        """Note that a promise is broken; whether that is new."""
        certificate, _, path = name.partition(":")
        with self._lock:
            known = self._broken.get(certificate, frozenset())
            if path in known:
                return False
            self._broken = {**self._broken, certificate: known | {path}}
            return True

    def _told(self, name: str) -> str:
        then = (
            "Answers that rely on it escalate until there is another certificate; make one with "
            "agent.calibrate(...) on recent examples."
            if self.audit.on_drift == "escalate"
            else "Answers that rely on it are accepted all the same."
        )
        return f"Certificate {in_words(self._audits.status(name))} {then}"

    def _watch(self, skill: str, basis: Basis, path: str) -> str:
        """The name of a promise, which is tested from now on."""
        name = f"{basis.certificate}:{path}" if path else basis.certificate
        if name not in self._watched:
            allowed = min(basis.max_error + self.audit.auditor_error, _MOST)
            try:
                self._audits.watch(name, max_error=allowed, confidence=self.audit.confidence)
            except InputError:
                _log.warning(
                    "Audits of %s were kept with other options, and begin anew with these.", name
                )
                self._audits.forget(name)
                self._audits.watch(name, max_error=allowed, confidence=self.audit.confidence)
            self._watched[name] = skill
        return name

    def _id(self, skill: str, promise: object) -> str | None:
        """A certificate's id, which takes long to work out."""
        known = self._ids.get(skill)
        if known is None or known[0] is not promise:
            known = (promise, getattr(promise, "id", ""))
            self._ids[skill] = known
        return known[1] or None

    def _changed(self) -> None:
        if self._state is not None:
            self._state.changed()

    def _save(self) -> None:
        if self._state is not None:
            self._state.save()
