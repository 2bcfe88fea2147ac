"""Which accepted answers are audited, and what their verdicts say of each certificate. No I/O.

Of the answers that were accepted, a random fraction is drawn, whatever they are and however sure
the model was: so the wrong are among the drawn as often as among the accepted. Somebody (an LLM, a
person) then says of each drawn answer whether it was right. What users volunteer about other
answers is counted and never tested, since those who complain are not a random sample.

Verdicts may come days later, in any order, and some never, and which do may well depend on what
they say: the wrong answer is reported first, the right one is never looked at. No assumption is
made about it. Answers are tested in the order in which they were *drawn*, with those whose verdict
is not known taken as right until it comes. Take any first n of the drawn answers: the wealth of the
bets is then at most what it would be with all verdicts known, since an error only adds to it. So
the chance of a false alarm is no more than if all were known; and as verdicts come in, the wealth
after these n never falls. The alarm is raised when for some n it is enough, so that answers lately
drawn, which still wait, do not hide those before them.

An audit that still waits when ``capacity`` later answers have been drawn is given up for lost,
which bounds the memory. It stays in the test as right; bounds on the error rate count it as right
for the lower and as wrong for the upper, so both hold whatever it was. The number lost is shown:
where it is large, "holding" means little, and the bounds, far apart, say so.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal

from hetagent.calibrate.drift import DriftMonitor, Interval
from hetagent.errors import CertificateError, InputError

__all__ = ["AuditStatus", "Audits", "Joined"]

Joined = Literal["joined", "repeated", "closed", "volunteered", "partial"]
"""What became of a verdict: it was ``"joined"`` to an open audit; ``"repeated"`` one that had come;
came for an audit that is ``"closed"``, settled or lost; was ``"volunteered"`` on an answer that was
not drawn by chance; or was ``"partial"``, so that nothing followed for what is tested. Only the
first kind is tested."""

_VERSION = 1


@dataclass(frozen=True, slots=True)
class AuditStatus:
    """How a certificate stands.

    Attributes:
        certificate: Its name.
        state: ``"drift"`` once its error rate was found to be above the bound; it stays so.
        max_error: The error rate it allows.
        confidence: One minus the chance that ``"drift"`` is ever a false alarm.
        drawn: Answers drawn for audit.
        answered: Those with a verdict.
        errors: Those found wrong.
        open: Those that wait for one.
        lost: Those given up.
        wealth: Money held by the bets against it, for each unit put in.
        needed: The wealth at which drift is raised.
        interval: Bounds on the error rate of the drawn answers: of all up to the last one with a
            verdict; once there is drift, of those since its onset.
        onset: The drawn answer with which the drift most likely began, counted from 1.
    """

    certificate: str
    state: Literal["holding", "drift"]
    max_error: float
    confidence: float
    drawn: int
    answered: int
    errors: int
    open: int
    lost: int
    wealth: float
    needed: float
    interval: Interval
    onset: int | None


class Audits:
    """Draws accepted answers for audit and tests every certificate on the verdicts. Thread-safe.

    An answer is drawn or not by a hash of its trace id, so the choice is reproducible and all
    fields of an answer share it. It is no secret: whoever chooses trace ids can choose what is
    audited.

    Args:
        share: Fraction of the accepted answers that is audited, in [0, 1]. May be set anew at any
            time, for all answers alike.
        seed: Another seed draws other answers.
        capacity: Drawn answers kept for each certificate while one before them waits.

    Raises:
        InputError: A number is out of range.
    """

    def __init__(self, share: float = 0.05, *, seed: int = 0, capacity: int = 1000) -> None:
        if capacity < 1:
            raise InputError(
                f"The capacity of the audits is {capacity}.", hint="Give a whole number above 0."
            )
        self.share = share
        self.seed = seed
        self.capacity = capacity
        self._lock = Lock()
        self._trials: dict[str, _Trial] = {}
        self._unjoined: dict[Joined, int] = dict.fromkeys(
            ("repeated", "closed", "volunteered", "partial"), 0
        )

    @property
    def share(self) -> float:
        """Fraction of the accepted answers that is audited."""
        return self._share

    @share.setter
    def share(self, value: float) -> None:
        if not 0 <= value <= 1:
            raise InputError(
                f"The share of answers to audit is {value}.", hint="Give a number from 0 to 1."
            )
        self._share = value

    @property
    def unjoined(self) -> Mapping[Joined, int]:
        """How many verdicts were not tested, by why."""
        with self._lock:
            return dict(self._unjoined)

    @property
    def certificates(self) -> tuple[str, ...]:
        """Names of the certificates that are watched."""
        with self._lock:
            return tuple(self._trials)

    def watch(self, certificate: str, *, max_error: float, confidence: float = 0.95) -> None:
        """Begin to test a certificate; one watched already, with the same numbers, goes on.

        Args:
            certificate: A name of its own: another certificate of the same skill needs another.
            max_error: The error rate it allows among accepted answers.
            confidence: One minus the chance of ever raising a false alarm about it.

        Raises:
            InputError: A number is out of range, or the name is watched with other numbers.
        """
        monitor = DriftMonitor(max_error, confidence=confidence)
        with self._lock:
            known = self._trials.get(certificate)
            if known is None:
                self._trials[certificate] = _Trial(monitor)
            elif not known.is_of(monitor):
                raise InputError(
                    f"The certificate {certificate!r} is watched with other numbers.",
                    hint="Call forget() first, or name the new certificate differently.",
                )

    def forget(self, certificate: str) -> None:
        """Stop testing a certificate, and drop all that is known of it."""
        with self._lock:
            self._trials.pop(certificate, None)

    def draw(self, trace_id: str, certificates: Iterable[str]) -> tuple[str, ...]:
        """Decide whether an accepted answer is audited.

        Call it once for each accepted answer, and for no others. Where answers of one trace
        fall under the same certificate, the first is audited, and no other while it is kept.

        Args:
            trace_id: Of the answer.
            certificates: Those under which it, or a field of it, was accepted.

        Returns:
            Those for which a verdict is now awaited; empty where it is not audited.

        Raises:
            InputError: A certificate is not watched.
        """
        with self._lock:
            trials = {name: self._trial(name) for name in certificates}
            if not self._is_drawn(trace_id):
                return ()
            return tuple(
                name for name, trial in trials.items() if trial.draw(trace_id, self.capacity)
            )

    def verdict(self, trace_id: str, correct: bool | Mapping[str, bool]) -> Joined:
        """Take a verdict, of an auditor or of a user, on any answer.

        The first verdict on a drawn answer counts, whoever gives it: it is chance that chose the
        answer.

        Args:
            trace_id: Of the answer.
            correct: Whether it was right; by certificate where the answer was drawn under several.
                ``True`` stands for all of them. Those left out keep waiting.

        Returns:
            What became of it; of several, ``"joined"`` where any was.

        Raises:
            InputError: ``False`` for an answer under several certificates does not say which.
        """
        with self._lock:
            under = [name for name, trial in self._trials.items() if trace_id in trial.window]
            if isinstance(correct, Mapping):
                verdicts = {name: correct[name] for name in under if name in correct}
            elif correct or len(under) <= 1:
                verdicts = dict.fromkeys(under, correct)
            else:
                raise InputError(
                    f"It is not said what is wrong in the answer {trace_id}.",
                    hint=f"Give a verdict on each of {', '.join(under)}, as a mapping.",
                )
            joined = [self._trials[name].join(trace_id, said) for name, said in verdicts.items()]
            if any(joined):
                return "joined"
            kind: Joined = "volunteered"
            if verdicts:
                kind = "repeated"
            elif self._is_drawn(trace_id):
                kind = "closed"
            self._unjoined[kind] += 1
            return kind

    def waiting(self, trace_id: str) -> tuple[str, ...]:
        """The certificates under which an answer was drawn and is not settled yet."""
        with self._lock:
            return tuple(name for name, trial in self._trials.items() if trace_id in trial.window)

    def note(self, kind: Joined) -> Joined:
        """Count a verdict that cannot be tested; it is given back."""
        with self._lock:
            self._unjoined[kind] += 1
            return kind

    def drift(self, certificate: str) -> bool:
        """Whether the error rate of a certificate was found to be above its bound.

        Raises:
            InputError: It is not watched.
        """
        with self._lock:
            return self._trial(certificate).drift

    def status(self, certificate: str) -> AuditStatus:
        """All that is known of a certificate.

        Raises:
            InputError: It is not watched.
        """
        with self._lock:
            return self._trial(certificate).status(certificate)

    def to_dict(self) -> dict[str, Any]:
        """Everything it knows, as JSON data."""
        with self._lock:
            return {
                "version": _VERSION,
                "share": self.share,
                "seed": self.seed,
                "capacity": self.capacity,
                "unjoined": dict(self._unjoined),
                "trials": {name: trial.to_dict() for name, trial in self._trials.items()},
            }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Audits:
        """The audits of which `to_dict` gave this.

        Raises:
            CertificateError: It is not what `to_dict` of this version gives.
        """
        try:
            if data["version"] != _VERSION:
                raise ValueError(f"version {data['version']}")
            audits = cls(data["share"], seed=data["seed"], capacity=data["capacity"])
            audits._unjoined.update(data["unjoined"])
            for name, trial in data["trials"].items():
                audits._trials[name] = _Trial.from_dict(trial)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CertificateError(
                f"The state of the audits cannot be read: {error!r}.",
                hint="Begin new audits; it was saved by another version or was damaged.",
            ) from error
        return audits

    def _is_drawn(self, trace_id: str) -> bool:
        digest = hashlib.blake2b(f"{self.seed}:{trace_id}".encode(), digest_size=8).digest()
        return int.from_bytes(digest) < self._share * 2**64

    def _trial(self, certificate: str) -> _Trial:
        try:
            return self._trials[certificate]
        except KeyError:
            raise InputError(
                f"The certificate {certificate!r} is not watched.", hint="Call watch() first."
            ) from None


class _Trial:
    """The drawn answers of one certificate, in the order in which they were drawn.

    The monitor has been told of all answers before the earliest that waits; that one and those
    after it are in the window, each with its verdict or ``None``.
    """

    def __init__(self, monitor: DriftMonitor) -> None:
        self.monitor = monitor
        self.window: OrderedDict[str, bool | None] = OrderedDict()
        self.drift = monitor.drift

    def is_of(self, monitor: DriftMonitor) -> bool:
        mine = self.monitor
        return (mine.max_error, mine.confidence) == (monitor.max_error, monitor.confidence)

    def draw(self, trace_id: str, capacity: int) -> bool:
        if trace_id in self.window:
            return False
        self.window[trace_id] = None
        if len(self.window) > capacity:
            self.monitor.update(self.window.popitem(last=False)[1])
            self._settle()
        return True

    def join(self, trace_id: str, correct: bool) -> bool:
        if self.window[trace_id] is not None:
            return False
        self.window[trace_id] = bool(correct)
        if not correct and not self.drift:  # a right answer was taken as right all the while
            self.drift = self._now().drift
        self._settle()
        return True

    def status(self, certificate: str) -> AuditStatus:
        now = self._now()
        verdicts = self.window.values()
        waiting = sum(verdict is None for verdict in verdicts)
        settled = self.monitor.counts
        drawn = settled.audits + len(self.window)
        return AuditStatus(
            certificate=certificate,
            state="drift" if self.drift else "holding",
            max_error=now.max_error,
            confidence=now.confidence,
            drawn=drawn,
            answered=drawn - waiting - settled.lost,
            errors=settled.errors + sum(verdict is False for verdict in verdicts),
            open=waiting,
            lost=settled.lost,
            wealth=now.wealth,
            needed=now.needed,
            interval=now.interval,
            onset=now.onset,
        )

    def to_dict(self) -> dict[str, Any]:
        return {"monitor": self.monitor.to_dict(), "window": list(self.window.items())}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> _Trial:
        trial = cls(DriftMonitor.from_dict(data["monitor"]))
        trial.window.update((trace_id, verdict) for trace_id, verdict in data["window"])
        trial.drift = trial._now().drift
        return trial

    def _settle(self) -> None:
        """Tell the monitor of the first answers up to the first that waits."""
        while self.window and next(iter(self.window.values())) is not None:
            self.monitor.update(self.window.popitem(last=False)[1])

    def _now(self) -> DriftMonitor:
        """The monitor if what waits were lost, as of the last answer with a verdict.

        Those after it could only take from the wealth. Once it raises the alarm it always will: a
        later verdict changes "taken as right" to right or wrong, and the wealth does not fall.
        """
        monitor = self.monitor.copy()
        waiting = 0
        for verdict in self.window.values():
            if verdict is None:
                waiting += 1
                continue
            for _ in range(waiting):
                monitor.update(None)
            waiting = 0
            monitor.update(verdict)
        return monitor
