"""What a model call must pass before it begins: the deadline, the budget, the model's breaker."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field

from hetagent.account import Account, Reservation, Shortage, Tally
from hetagent.attempt import Attempt
from hetagent.breaker import Breaker, Circuit, says_down
from hetagent.budget import AtCap, Budget, Spent
from hetagent.errors import BudgetError, ModelDownError
from hetagent.models.base import Model, Request
from hetagent.models.tries import Tries
from hetagent.options import Options
from hetagent.outcome import Usage

__all__ = ["Admission", "Allowance", "Permit", "Scope", "scope"]

_log = logging.getLogger("hetagent")
_ANSWERED = (None, "invalid_output", "truncated", "low_confidence")


class Scope:
    """What is spent inside of a ``with agent.spending(...)``; made by it."""

    def __init__(self, tally: Tally, clock: Callable[[], float]) -> None:
        self._tally = tally
        self._clock = clock

    @property
    def usd(self) -> float:
        """US dollars spent so far; calls of unknown cost count with their estimate."""
        return self._tally.spent(self._clock())[0]

    @property
    def llm_calls(self) -> int:
        """Calls of LLMs so far, those in flight included."""
        return self._tally.spent(self._clock())[1]


# Every ``with agent.spending(...)`` that is open; a thread and a task each have their own.
_scopes: ContextVar[tuple[Tally, ...]] = ContextVar("hetagent_scopes", default=())


@contextlib.contextmanager
def scope(
    *,
    usd: float | None,
    seconds: float | None,
    llm_calls: int | None,
    at_cap: AtCap | None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Scope]:
    """Caps on all model calls inside, of any orchestrator."""
    deadline = None if seconds is None else clock() + seconds
    tally = Tally(
        "scope", usd=usd, llm_calls=llm_calls, deadline=deadline, seconds=seconds, at_cap=at_cap
    )
    token = _scopes.set((*_scopes.get(), tally))
    try:
        yield Scope(tally, clock)
    finally:
        _scopes.reset(token)


class Admission:
    """What an orchestrator and those made of it by `with_options` share.

    Args:
        clock: Monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.account = Account()
        self._circuits: dict[int, Circuit] = {}

    def allowance(self, options: Options, skill: str) -> Allowance:
        """What one call of a skill may spend, from now on."""
        budget = options.budget
        tallies = [*_scopes.get(), *self.account.windows(budget)]
        if budget is not None and (budget.usd_per_call, budget.seconds_per_call) != (None, None):
            seconds = budget.seconds_per_call
            deadline = None if seconds is None else self.clock() + seconds
            own = Tally("call", usd=budget.usd_per_call, deadline=deadline, seconds=seconds)
            tallies.insert(0, own)
        return Allowance(self, options, skill, tuple(tallies))

    def circuit(self, rung: int) -> Circuit:
        """The breaker of the LLM of a rung."""
        return self._circuits.setdefault(rung, Circuit())

    def spent(self, budget: Budget | None) -> Spent:
        """What was spent; see `hetagent.budget.Spent`."""
        return self.account.spent(budget, now=self.clock())


class Allowance:
    """What one call of a skill may spend.

    Args:
        admission: What its orchestrator shares.
        options: Those of the orchestrator.
        skill: The skill's name.
        tallies: The caps that hold for it.
    """

    def __init__(
        self, admission: Admission, options: Options, skill: str, tallies: tuple[Tally, ...]
    ) -> None:
        self._admission = admission
        self._account = admission.account
        self._clock = admission.clock
        self._options = options
        self._skill = skill
        self._tallies = tallies
        self._at_cap: AtCap = options.budget.at_cap if options.budget else "abstain"

    @property
    def may_degrade(self) -> bool:
        """Whether the SLM's draft may be served at a cap, and so is to be written to its end."""
        return any((one.at_cap or self._at_cap) == "degrade" for one in self._tallies)

    async def admit(self, model: Model, request: Request, *, rung: int | None) -> Permit:
        """Wait for a call to fit the budget, and let it begin.

        Args:
            model: Who is to be called.
            request: With what.
            rung: Index of the LLM; ``None`` for the SLM.

        Returns:
            The permit; `Permit.settle` must be called once the call has ended.

        Raises:
            BudgetError: It does not fit, and will not.
            ModelDownError: The model is left alone.
        """
        llm = rung is not None
        breaker = self._options.breaker if llm else None
        circuit = self._admission.circuit(rung) if rung is not None else None
        try:
            self._check_time(model, llm=llm)
            if breaker is not None and circuit is not None:
                self._check_breaker(model, circuit)
            price = await _price(model, request)
            held = await self._reserve(model, price, llm=llm)
        except BudgetError:
            self._account.refuse()
            raise
        if breaker is not None and circuit is not None and not circuit.enter(self._clock()):
            self._account.release(held)
            raise _down(model, circuit.seconds_left(self._clock()))
        return self._permit(model, held, rung, circuit if breaker else None, free=price == 0.0)

    def _permit(
        self,
        model: Model,
        held: Reservation,
        rung: int | None,
        circuit: Circuit | None,
        *,
        free: bool,
    ) -> Permit:
        timeout, late = self._options.timeout, None
        end = self._first_deadline()
        if end is not None and end.deadline is not None:
            left = max(0.0, end.deadline - self._clock())
            if timeout is None or left < timeout:
                seconds = end.seconds or 0.0
                short = Shortage(end, "seconds", seconds, seconds, waits=False)
                timeout, late = left, short.error(model.name, self._at_cap)
        return Permit(
            account=self._account,
            clock=self._clock,
            held=held,
            rung=rung,
            timeout=timeout,
            late=late,
            free=free,
            circuit=circuit,
            breaker=self._options.breaker,
        )

    def _first_deadline(self) -> Tally | None:
        timed = [one for one in self._tallies if one.deadline is not None]
        return min(timed, key=lambda one: one.deadline or 0.0) if timed else None

    def _check_time(self, model: Model, *, llm: bool) -> None:
        end = self._first_deadline()
        if end is None or end.deadline is None:
            return
        now = self._clock()
        left = end.deadline - now
        account = self._account
        expected = account.expected_seconds(model.name, self._skill, now=now) if llm else 0.0
        if left <= 0 or expected > left:
            seconds = end.seconds or 0.0
            short = Shortage(end, "seconds", seconds, seconds - left, waits=False, needed=expected)
            raise short.error(model.name, self._at_cap)

    def _check_breaker(self, model: Model, circuit: Circuit) -> None:
        left = circuit.seconds_left(self._clock())
        if left > 0:
            raise _down(model, left)

    async def _reserve(self, model: Model, price: float | None, *, llm: bool) -> Reservation:
        """Reserve, once the calls in flight leave room for it."""
        found = self._try_to_reserve(model, price, llm=llm)
        if isinstance(found, Shortage) and found.waits:
            with _woken_by(self._tallies) as woken:
                while True:
                    woken.clear()
                    found = self._try_to_reserve(model, price, llm=llm)
                    if isinstance(found, Reservation) or not found.waits:
                        break
                    await self._sleep(woken)
                    self._check_time(model, llm=llm)
        if isinstance(found, Shortage):
            raise found.error(model.name, self._at_cap)
        return found

    def _try_to_reserve(
        self, model: Model, price: float | None, *, llm: bool
    ) -> Reservation | Shortage:
        budget = self._options.budget or Budget()
        usd = self._account.estimate(
            price,
            model=model.name,
            skill=self._skill,
            llm=llm,
            tallies=self._tallies,
            first=budget.first_reserve,
        )
        return self._account.reserve(
            self._tallies, usd, model=model.name, skill=self._skill, llm=llm, now=self._clock()
        )

    async def _sleep(self, woken: asyncio.Event) -> None:
        end = self._first_deadline()
        left = None if end is None or end.deadline is None else end.deadline - self._clock()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left):
                await woken.wait()


@dataclass(slots=True)
class Permit:
    """One model call that may begin.

    Attributes:
        rung: Index of the LLM; ``None`` for the SLM.
        timeout: Seconds it may take; ``None`` for no limit.
        late: The error where the budget's time runs out within it; ``None`` where it is not the
            budget that limits it.
        free: Whether the model is known to cost nothing.
        tries: Counted by the model while the call goes on.
    """

    account: Account
    clock: Callable[[], float]
    held: Reservation
    rung: int | None
    timeout: float | None
    late: BudgetError | None
    free: bool
    circuit: Circuit | None
    breaker: Breaker | None
    tries: Tries = field(default_factory=Tries)

    @property
    def attempts(self) -> int:
        """How many tries it took so far."""
        return max(1, self.tries.begun)

    def lost(self, tokens: int) -> Usage:
        """The usage of a call that was given up after so many tokens: it may be billed."""
        return Usage(completion_tokens=tokens, cost_usd=0.0 if self.free else None)

    def settle(self, attempt: Attempt | None) -> None:
        """Count what the call did cost and take; ``None`` where it was given up."""
        now = self.clock()
        call = attempt.call if attempt is not None else None
        cost, attempts = (
            (None, self.attempts) if call is None else (call.usage.cost_usd, call.attempts)
        )
        if self.free:
            cost = cost or 0.0
        if not _is_amount(cost):
            cost = None
        reason = attempt.reason if attempt is not None else "cancelled"
        answered = reason in _ANSWERED
        self.account.settle(self.held, cost, now=now, attempts=attempts, answered=answered)
        if answered or reason in ("timeout", "budget"):
            self.account.note_time(self.held, now=now)
        if self.circuit is None or self.breaker is None:
            return
        if answered:
            self.circuit.succeeded()
        elif attempt is not None and says_down(attempt.error):
            self.circuit.failed(now, self.breaker)
        else:
            self.circuit.left()


async def _price(model: Model, request: Request) -> float | None:
    ask = getattr(model, "price", None)  # isinstance with a protocol takes as long as a call
    if ask is None:
        return None
    try:
        price: float | None = await ask(request)
    except Exception:  # a model may be anybody's code, and its price is only asked ahead of time
        _log.exception("%s could not tell its price", model.name)
        return None
    if price is not None and not _is_amount(price):
        _log.error("%s could not tell its price: %r is no amount of dollars", model.name, price)
        return None
    return price


def _is_amount(usd: object) -> bool:
    """Whether it is US dollars: one NaN would be the sum of all from then on."""
    return isinstance(usd, int | float) and not isinstance(usd, bool) and 0 <= usd < math.inf


def _down(model: Model, seconds: float) -> ModelDownError:
    when = f"in {seconds:.1f} s" if seconds > 0 else "now"
    return ModelDownError(
        f"{model.name} failed several times in a row, and is left alone.",
        seconds=seconds,
        hint=f"It is tried again {when}; Orchestrator(breaker=...) says after how many failures.",
    )


@contextlib.contextmanager
def _woken_by(tallies: Sequence[Tally]) -> Iterator[asyncio.Event]:
    """An event that is set whenever a call settles that one of the caps held for."""
    loop, event = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(event.set)

    for tally in tallies:
        tally.watch(wake)
    try:
        yield event
    finally:
        for tally in tallies:
            tally.unwatch(wake)
