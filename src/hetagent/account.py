"""What model calls have cost and taken, and whether another one fits the caps. Sans-IO.

A call reserves its estimated cost under every cap that holds for it, all or none, before it begins;
when it has ended it settles with its real cost. So what is spent goes beyond a cap by no more than
the calls in flight cost more than their estimates, and how many can be in flight is bounded by the
cap divided by the estimate. A call that would fit, were it not for the reserves of others, may wait
for one of these to settle.

Reserving and settling take one lock for the whole process, since a scope may hold for several
orchestrators. Nothing waits while it holds it.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal, TypeAlias

from hetagent.budget import AtCap, Budget, Spent, Window, WindowSpent
from hetagent.errors import BudgetError

__all__ = ["Account", "Reservation", "Shortage", "Tally"]

Kind: TypeAlias = Literal["call", "scope", "window"]
_KEPT_TIMES = 15
_SECONDS_TIMES_COUNT = 60.0
"""A model that was slow may be fast again: what it took longer ago is not held against it."""
_ROUNDING = 1e-9
"""US dollars by which a sum of floats may miss a cap that it meets."""
_WORDS = {
    "call": ("of this call", "Budget(usd_per_call=..., seconds_per_call=...)"),
    "scope": ("of this scope", "agent.spending(...)"),
    "window": ("of this window", "Budget(windows=...)"),
}


class _Guard:
    """The lock; a forked child has one of its own, for its parent's may be held for ever."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self.lock = threading.Lock()


_guard = _Guard()


class Tally:
    """What is spent and reserved under one cap.

    Args:
        kind: What the cap is of.
        usd: US dollars, or ``None``.
        llm_calls: Calls of LLMs, or ``None``.
        window: Seconds after which spending does not count any more; ``None`` for never.
        deadline: On the account's clock, or ``None``.
        seconds: How long it was until the deadline at the beginning.
        at_cap: What is done at the cap; ``None`` for what the orchestrator does.
    """

    def __init__(
        self,
        kind: Kind,
        *,
        usd: float | None = None,
        llm_calls: int | None = None,
        window: float | None = None,
        deadline: float | None = None,
        seconds: float | None = None,
        at_cap: AtCap | None = None,
    ) -> None:
        self.kind = kind
        self.usd_cap = usd
        self.llm_cap = llm_calls
        self.deadline = deadline
        self.seconds = seconds
        self.at_cap = at_cap
        self._watchers: set[Callable[[], None]] = set()
        self._window = window
        self._settled: deque[tuple[float, float, int]] = deque()
        self._usd = 0.0
        self._llm_calls = 0
        self._reserved = 0.0
        self._in_flight = 0
        self._llm_in_flight = 0

    def spent(self, now: float) -> tuple[float, int]:
        """US dollars spent, and calls of LLMs ended or in flight."""
        with _guard.lock:
            self._forget(now)
            return self._usd, self._llm_calls + self._llm_in_flight

    def watch(self, wake: Callable[[], None]) -> None:
        """Have it called, from any thread, whenever a call has settled."""
        with _guard.lock:
            self._watchers.add(wake)

    def unwatch(self, wake: Callable[[], None]) -> None:
        """Have it called no more."""
        with _guard.lock:
            self._watchers.discard(wake)

    def _shortage(self, usd: float, *, llm: bool, now: float) -> Shortage | None:
        self._forget(now)
        llm_calls = self._llm_calls + self._llm_in_flight
        if llm and self.llm_cap is not None and llm_calls >= self.llm_cap:
            return Shortage(self, "llm_calls", self.llm_cap, llm_calls, waits=False)
        cap = None if self.usd_cap is None else self.usd_cap + _ROUNDING
        # What costs nothing is let through even where a cap was overshot.
        if cap is None or usd == 0 or self._usd + self._reserved + usd <= cap:
            return None
        waits = self._in_flight > 0 and self._usd + usd <= cap
        return Shortage(self, "usd", self.usd_cap or 0.0, self._usd, waits=waits, needed=usd)

    def _hold(self, usd: float, llm: bool) -> None:
        self._reserved += usd
        self._in_flight += 1
        self._llm_in_flight += llm

    def _settle(self, held: float, cost: float, llm: bool, now: float) -> None:
        self._in_flight -= 1
        self._llm_in_flight -= llm
        # Sums of floats come back to where they began only nearly.
        self._reserved = self._reserved - held if self._in_flight else 0.0
        self._forget(now)
        self._usd += cost
        self._llm_calls += llm
        if self._window is not None and (cost or llm):
            self._settled.append((now, cost, int(llm)))

    def _release(self, held: float, llm: bool) -> None:
        self._in_flight -= 1
        self._llm_in_flight -= llm
        self._reserved = self._reserved - held if self._in_flight else 0.0

    def _forget(self, now: float) -> None:
        if self._window is None or not self._settled:
            return
        while self._settled and self._settled[0][0] <= now - self._window:
            _, usd, llm = self._settled.popleft()
            self._usd -= usd
            self._llm_calls -= llm
        if not self._settled:
            self._usd = 0.0


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why a call does not fit.

    Attributes:
        tally: The cap that it does not fit.
        unit: Of what there is too little.
        limit: The cap.
        spent: What of it is spent.
        waits: Whether it may fit once calls in flight have settled.
        needed: What the call needs.
    """

    tally: Tally
    unit: Literal["usd", "seconds", "llm_calls"]
    limit: float
    spent: float
    waits: bool
    needed: float = 0.0

    def error(self, model: str, at_cap: AtCap) -> BudgetError:
        """It as an error.

        Args:
            model: Who was to be called.
            at_cap: What is done where the cap does not say so itself.
        """
        place, where = _WORDS[self.tally.kind]
        if self.unit == "llm_calls":
            said = f"{self.spent:.0f} of {self.limit:.0f} calls of LLMs are made."
        elif self.unit == "usd":
            said = (
                f"${self.spent:.6g} of ${self.limit:.6g} is spent, and a call of {model} may cost "
                f"${self.needed:.6g}."
            )
        else:
            said = f"{self.spent:.3g} of {self.limit:.3g} s are over"
            said += f", and {model} takes about {self.needed:.3g} s." if self.needed else "."
        return BudgetError(
            f"The budget {place} is used up: {said}",
            cap=self.tally.kind,
            limit=self.limit,
            spent=self.spent,
            at_cap=self.tally.at_cap or at_cap,
            hint=f"Raise {where}, or lower the skill's max_tokens.",
        )


@dataclass(frozen=True, slots=True)
class Reservation:
    """A model call that may begin.

    Attributes:
        tallies: The caps that hold for it.
        usd: What is set aside for it, in US dollars.
        model: Its model's name.
        skill: Its skill's name.
        llm: Whether the model is called as an LLM.
        began: When, on the account's clock.
    """

    tallies: tuple[Tally, ...]
    usd: float
    model: str
    skill: str
    llm: bool
    began: float


class Account:
    """What an orchestrator has spent; safe to use from several threads.

    Every time given to it is of one monotonic clock, in seconds.
    """

    def __init__(self) -> None:
        self._windows: dict[Window, Tally] = {}
        self._dearest: dict[tuple[str, str], float] = {}
        self._times: dict[tuple[str, str], deque[tuple[float, float]]] = {}
        self._all = Tally("scope")
        self._unknown = 0
        self._refused = 0

    def windows(self, budget: Budget | None) -> tuple[Tally, ...]:
        """The tally of each window of a budget; each begins with its first use."""
        with _guard.lock:
            return tuple(self._tally(one) for one in (budget.windows if budget else ()))

    def estimate(
        self,
        price: float | None,
        *,
        model: str,
        skill: str,
        llm: bool,
        tallies: Iterable[Tally] = (),
        first: float = 0.0,
    ) -> float:
        """What a call is expected to cost, in US dollars.

        Its price where the model tells it; else the largest cost seen of the model and skill; and
        of an LLM that never answered, ``first``, or the smallest of the caps if that is less. A
        cap of nothing is no estimate: what is not known to be free does not fit it.
        """
        if price is not None:
            return price
        with _guard.lock:
            seen = self._dearest.get((model, skill))
        if seen is not None or not llm:
            return seen or 0.0
        return min([first, *(one.usd_cap for one in tallies if one.usd_cap)])

    def reserve(
        self, tallies: Sequence[Tally], usd: float, *, model: str, skill: str, llm: bool, now: float
    ) -> Reservation | Shortage:
        """Set aside what a call is expected to cost, or say under which cap it does not fit."""
        with _guard.lock:
            short = [s for t in tallies if (s := t._shortage(usd, llm=llm, now=now)) is not None]
            if short:
                # One that will not pass decides.
                return min(short, key=lambda one: one.waits)
            for tally in (*tallies, self._all):
                tally._hold(usd, llm)
            return Reservation(tuple(tallies), usd, model, skill, llm, now)

    def settle(
        self,
        held: Reservation,
        usd: float | None,
        *,
        now: float,
        attempts: int = 1,
        answered: bool = True,
    ) -> None:
        """Count what a call did cost.

        Args:
            held: What was set aside for it.
            usd: Its cost in US dollars; where it is not known, what was set aside counts for each
                attempt.
            now: When it ended.
            attempts: How many tries it took.
            answered: Whether it was answered. That a failure cost nothing does not tell what an
                answer costs.
        """
        key = (held.model, held.skill)
        with _guard.lock:
            if usd is None:
                cost = held.usd * max(1, attempts)
                self._unknown += 1
            else:
                cost = usd
                if answered or usd > 0:
                    self._dearest[key] = max(usd, self._dearest.get(key, 0.0))
            for tally in (*held.tallies, self._all):
                tally._settle(held.usd, cost, held.llm, now)
        _wake(held.tallies)

    def release(self, held: Reservation) -> None:
        """Give back what was set aside for a call that did not begin after all."""
        with _guard.lock:
            for tally in (*held.tallies, self._all):
                tally._release(held.usd, held.llm)
        _wake(held.tallies)

    def note_time(self, held: Reservation, *, now: float) -> None:
        """Count how long a call took that was answered, or not in time."""
        with _guard.lock:
            times = self._times.setdefault((held.model, held.skill), deque(maxlen=_KEPT_TIMES))
            times.append((now, now - held.began))

    def expected_seconds(self, model: str, skill: str, *, now: float) -> float:
        """The median time of the model's latest calls for a skill; 0 where there is none.

        Only calls that ended within the last minute count, and of these the last fifteen.
        """
        with _guard.lock:
            times = self._times.get((model, skill), ())
            late = [seconds for when, seconds in times if when > now - _SECONDS_TIMES_COUNT]
        return median(late) if late else 0.0

    def refuse(self) -> None:
        """Count a call that did not fit."""
        with _guard.lock:
            self._refused += 1

    def spent(self, budget: Budget | None, *, now: float) -> Spent:
        """All that was spent, and what was within the windows of a budget."""
        with _guard.lock:
            whole = self._all
            windows = []
            for window in budget.windows if budget else ():
                tally = self._tally(window)
                tally._forget(now)
                calls = tally._llm_calls + tally._llm_in_flight
                windows.append(WindowSpent(window, tally._usd, calls))
            return Spent(
                usd=whole._usd,
                unknown=self._unknown,
                in_flight=whole._in_flight,
                reserved_usd=whole._reserved,
                refused=self._refused,
                windows=tuple(windows),
            )

    def _tally(self, window: Window) -> Tally:
        if window not in self._windows:
            self._windows[window] = Tally(
                "window", usd=window.usd, llm_calls=window.llm_calls, window=window.seconds
            )
        return self._windows[window]


def _wake(tallies: Iterable[Tally]) -> None:
    with _guard.lock:
        watchers = {wake for tally in tallies for wake in tally._watchers}
    for wake in watchers:
        wake()
