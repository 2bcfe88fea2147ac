"""Whether a certified error rate still holds: a test that may be looked at after every audit.

A certificate says that of the answers accepted without the LLM at most ``max_error`` are wrong. The
monitor is told, one audited answer at a time, whether it was right, and bets against this. While it
is true, no way of betting gains in the long run; so a large gain is evidence that it is not.

The null hypothesis: given all that came before, the next audited answer is wrong with probability
at most ``max_error``. The rate may vary below that, and audits need not be independent.

One bet. For a factor f > 1, multiply a capital by f / (1 - a + a f) when the answer was wrong and
by 1 / (1 - a + a f) when it was right, with a = ``max_error``. This is the likelihood ratio of "the
odds of an error are f times those allowed" to "they are those allowed" (Wald 1945). Under the null
the capital shrinks or stays on average: it is a nonnegative supermartingale, and by Ville's
inequality (1939) the chance that it ever reaches 1/d times its start is at most d, over however
many audits. An alarm at 1/d, with d = 1 - ``confidence``, is thus false with probability at most d
for all time together, and not per audit.

Which factor, and since when? The error rate to come is not known, nor when it will rise; a
capital that lost for 10,000 good answers is slow to recover. So one unit of money is divided
beforehand, over seven factors and over every audit at which a rise may begin: most of it is staked
at the first audit, and the reserve bit by bit at later ones, in stakes that sum to one over
infinite time. A sum of supermartingales is one, and money not yet staked stays as it is, so the
bound above holds as it stands. (This is what sets it apart from CUSUM, Shiryaev-Roberts and the
e-detectors of Shin, Ramdas and Rinaldo 2023, which put up a new unit at every audit. They bound
how often false alarms come; one comes in the end.) All capitals with one factor are multiplied
alike, so one number holds their sum, and an update costs the same after a million audits.

What it costs. With share w on the right factor at the right audit, the alarm comes when the
likelihood ratio reaches 1/(d w) instead of 1/d. For a rate that was too high from the first audit,
1/w is about four at a doubling. For a rise after n good audits log(1/w) grows as (4/3) log n. That
log n no test can avoid for every n whose false alarms are bounded over all time, for it must share
d among the audits at which the rise could have begun.

Bounds on the error rate come from the same bets. For any b, the capital that f gains on k errors
in n audits against an allowed rate b, f^k / (1 - b + b f)^n, is at most what it gains against the
true rates of those audits when b is their mean, as log(1 - b + b f) is concave in b; and the latter
is a martingale. Those b at which a mixture of capitals has reached 2/(d w), for the share w staked
at the first of the audits that are meant, are ruled out (a confidence sequence by betting:
Waudby-Smith and Ramdas 2024), whether or not the rate was constant.

References:
    J. Ville. Étude critique de la notion de collectif. Gauthier-Villars, 1939.
    A. Wald. Sequential tests of statistical hypotheses. Ann. Math. Stat. 16, 1945.
    H. Robbins. Statistical methods related to the law of the iterated logarithm. Ann. Math. Stat.
    41, 1970 (mixtures).
    I. Waudby-Smith, A. Ramdas. Estimating means of bounded random variables by betting. J. R. Stat.
    Soc. B 86, 2024.
    J. Shin, A. Ramdas, A. Rinaldo. E-detectors: a nonparametric framework for sequential change
    detection. New England J. Stat. Data Sci., 2023.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hetagent.errors import CertificateError, InputError

__all__ = ["FACTORS", "Counts", "DriftMonitor", "Interval", "unstaked"]

FACTORS: Mapping[float, float] = {
    2.0**4: 2 / 16,
    2.0**2: 2 / 16,
    2.0**1: 6 / 16,
    2.0 ** (1 / 2): 2 / 16,
    2.0 ** (1 / 4): 2 / 16,
    2.0 ** (1 / 8): 1 / 16,
    2.0 ** (1 / 16): 1 / 16,
}
"""What the odds of an error may have been multiplied by, and the share of each stake on it."""

_RESERVE = 1 / 4
"""Share of the money kept for rises that begin after the first audit."""

_SCALE = 20.0  # allowed errors during which about a fifth of the reserve is staked
_DECAY = 1 / 3  # the reserve falls as the number of audits to the power of minus this
_VERSION = 1


def unstaked(audits: int, *, max_error: float) -> float:
    """Share of the money that is not staked yet once ``audits`` audits have begun.

    It falls to zero as audits go to infinity, so the stakes sum to one. Time is counted in errors
    that are allowed, since it takes some number of errors to notice a rise.
    """
    if audits == 0:
        return 1.0
    return _RESERVE * math.pow(1 + max_error * (audits - 1) / _SCALE, -_DECAY)


class Counts(NamedTuple):
    """What was found in a run of audits.

    Attributes:
        audits: How many there were.
        errors: Those found wrong.
        lost: Those whose verdict never came.
    """

    audits: int = 0
    errors: int = 0
    lost: int = 0

    def since(self, before: Counts) -> Counts:
        """What was found after ``before``."""
        return Counts(*(now - then for now, then in zip(self, before, strict=True)))


@dataclass(frozen=True, slots=True)
class Interval:
    """Bounds on the mean error rate of audited answers.

    Attributes:
        low: Lower bound, in [0, 1].
        high: Upper bound, in [0, 1].
        since: The first audit that is meant, counted from 1.
    """

    low: float
    high: float
    since: int


@dataclass(slots=True)
class _Bet:
    """All the money on one factor.

    Attributes:
        share: Its share of every stake.
        if_wrong: What an error multiplies its capital by.
        if_right: What a right answer multiplies it by.
        capital: What all its stakes have become by now.
        best: What the best of its stakes has become.
        before: What had been found when that stake was made.
    """

    share: float
    if_wrong: float
    if_right: float
    capital: float = 0.0
    best: float = 0.0
    before: Counts = field(default_factory=Counts)

    def play(self, wrong: bool, *, stake: float, before: Counts) -> None:
        stake *= self.share
        if stake >= self.best:
            self.best, self.before = stake, before
        outcome = self.if_wrong if wrong else self.if_right
        self.capital = (self.capital + stake) * outcome
        self.best *= outcome


class DriftMonitor:
    """Tests, after every audited answer, whether the error rate is still within its bound.

    While each audited answer is wrong with probability at most ``max_error`` given those before it,
    the chance that the alarm is ever raised is at most 1 - ``confidence``, over any number of
    audits. If the rate rises above the bound and stays there, at whatever time, the alarm comes.
    The module's documentation has the theory.

    Feed it nothing but audits: answers drawn at random among those accepted, in the order in which
    they were drawn. `hetagent.calibrate.audits.Audits` sees to both. It takes the same time for
    each update and holds a fixed few numbers. It is not thread-safe.

    Args:
        max_error: The error rate allowed among accepted answers, in (0, 1).
        confidence: One minus the chance of a false alarm, in (0, 1).

    Raises:
        InputError: A number is out of range.
    """

    def __init__(self, max_error: float, *, confidence: float = 0.95) -> None:
        for name, value in (("max_error", max_error), ("confidence", confidence)):
            if not 0 < value < 1:
                raise InputError(
                    f"{name} is {value}.",
                    hint="Give a number between 0 and 1, such as 0.05 for 5% of errors allowed "
                    "and 0.95 for a confidence of 95%.",
                )
        self.max_error = max_error
        self.confidence = confidence
        self.counts = Counts()
        self._drift: tuple[int, Counts] | None = None
        self._bets = []
        for factor, share in FACTORS.items():
            fair = 1 - max_error + max_error * factor
            self._bets.append(_Bet(share, factor / fair, 1 / fair))

    def update(self, correct: bool | None) -> bool:
        """Take the verdict on one audited answer.

        Args:
            correct: Whether it was right; ``None`` where this will never be known. The test and
                the lower bound then take it as right and the upper bound as wrong, so whatever
                the reason for which verdicts are lost, no false alarm comes of it and both bounds
                hold. Where many are lost the test is blind and the bounds far apart.

        Returns:
            Whether the alarm is raised, by this answer or by an earlier one.
        """
        before, wrong = self.counts, correct is not None and not correct
        self.counts = Counts(
            before.audits + 1, before.errors + wrong, before.lost + (correct is None)
        )
        if self._drift is None:
            stake = self._stake(self.counts.audits)
            for bet in self._bets:
                bet.play(wrong, stake=stake, before=before)
            if self.wealth >= self.needed:
                # Later bets would prove nothing more, and capitals would overflow.
                richest = max(self._bets, key=lambda bet: bet.capital)
                self._drift = (self.counts.audits, richest.before)
        return self.drift

    @property
    def drift(self) -> bool:
        """Whether the alarm was raised; it stays raised."""
        return self._drift is not None

    @property
    def drift_at(self) -> int | None:
        """The audit that raised the alarm, counted from 1."""
        return None if self._drift is None else self._drift[0]

    @property
    def onset(self) -> int | None:
        """Once the alarm is raised: the audit with which the rise most likely began, from 1."""
        return None if self._drift is None else self._drift[1].audits + 1

    @property
    def wealth(self) -> float:
        """Money held for each unit put in at the start, up to the alarm."""
        reserve = unstaked(
            self.counts.audits if self._drift is None else self._drift[0], max_error=self.max_error
        )
        return sum(bet.capital for bet in self._bets) + reserve

    @property
    def needed(self) -> float:
        """The wealth at which the alarm is raised."""
        return 1 / (1 - self.confidence)

    @property
    def interval(self) -> Interval:
        """Bounds on the mean error rate: of all audits, or of those since the onset of a drift.

        With probability at least ``confidence``, all intervals that are ever shown hold. That
        counts the choice of the onset too, for each has its stake of the doubt. Having two sides,
        they are somewhat wider than the test needs: when the alarm is raised the lower bound may
        still be just below ``max_error``.
        """
        before = Counts() if self._drift is None else self._drift[1]
        found = self.counts.since(before)
        doubt = (1 - self.confidence) / 2 * self._stake(before.audits + 1)
        return Interval(
            _lower_bound(found.errors, found.audits, doubt=doubt),
            1 - _lower_bound(found.audits - found.errors - found.lost, found.audits, doubt=doubt),
            before.audits + 1,
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything it knows, as JSON data."""
        return {
            "version": _VERSION,
            "max_error": self.max_error,
            "confidence": self.confidence,
            "counts": list(self.counts),
            "drift": None if self._drift is None else [self._drift[0], list(self._drift[1])],
            "bets": [[bet.capital, bet.best, list(bet.before)] for bet in self._bets],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DriftMonitor:
        """The monitor of which `to_dict` gave this.

        Raises:
            CertificateError: It is not what `to_dict` of this version gives.
        """
        try:
            if data["version"] != _VERSION:
                raise ValueError(f"version {data['version']}")
            monitor = cls(data["max_error"], confidence=data["confidence"])
            monitor.counts = Counts(*data["counts"])
            if data["drift"] is not None:
                monitor._drift = (data["drift"][0], Counts(*data["drift"][1]))
            for bet, (capital, best, before) in zip(monitor._bets, data["bets"], strict=True):
                bet.capital, bet.best, bet.before = capital, best, Counts(*before)
        except (KeyError, TypeError, ValueError) as error:
            raise CertificateError(
                f"The state of a drift monitor cannot be read: {error!r}.",
                hint="Begin a new monitor; it was saved by another version or was damaged.",
            ) from error
        return monitor

    def copy(self) -> DriftMonitor:
        """Another that knows the same."""
        return self.from_dict(self.to_dict())

    def _stake(self, audit: int) -> float:
        """Share of the money that is staked at one audit, counted from 1."""
        earlier = unstaked(audit - 1, max_error=self.max_error)
        return earlier - unstaked(audit, max_error=self.max_error)


def _lower_bound(events: int, trials: int, *, doubt: float) -> float:
    """The least mean rate of events that bets against it do not rule out.

    Args:
        events: How many happened.
        trials: In how many they could.
        doubt: Chance that the bound ever fails.

    Returns:
        A rate in [0, 1].
    """
    limit = -math.log(doubt)

    def ruled_out(rate: float) -> bool:
        gains = [
            math.log(share) + events * math.log(factor) - trials * math.log1p(rate * (factor - 1))
            for factor, share in FACTORS.items()
        ]
        most = max(gains)
        return most + math.log(sum(math.exp(gain - most) for gain in gains)) >= limit

    low, high = 0.0, 1.0
    if not ruled_out(low):
        return low
    for _ in range(50):  # the gain falls with the rate; halved down to 1e-15
        middle = (low + high) / 2
        low, high = (middle, high) if ruled_out(middle) else (low, middle)
    return low
