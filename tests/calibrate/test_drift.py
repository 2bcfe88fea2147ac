"""The monitor of an error rate: its guarantee proved on small cases, and what it notices."""

import json
import math
from collections.abc import Callable
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetagent.calibrate.drift import FACTORS, DriftMonitor, Interval, unstaked
from hetagent.errors import CertificateError, InputError

VERDICTS = st.lists(st.sampled_from([True, True, True, False, None]), max_size=80)
RATES = st.sampled_from([0.01, 0.05, 0.1, 0.3, 0.7])


def fed(verdicts: list[bool | None], max_error: float = 0.1, **options: float) -> DriftMonitor:
    monitor = DriftMonitor(max_error, **options)
    for verdict in verdicts:
        monitor.update(verdict)
    return monitor


def stopped(monitor: DriftMonitor, rate: Callable[[DriftMonitor], float], audits: int):
    """Every way the next audits can go, each with its probability; a way ends with the alarm."""
    if audits == 0 or monitor.drift:
        yield 1.0, monitor
        return
    wrong = rate(monitor)
    for probability, correct in ((wrong, False), (1 - wrong, True)):
        following = monitor.copy()
        following.update(correct)
        for rest, end in stopped(following, rate, audits - 1):
            yield probability * rest, end


@pytest.mark.parametrize("max_error", [0.05, 0.3, 0.5])
def test_at_the_allowed_rate_the_expected_money_is_exactly_one(max_error: float):
    start = DriftMonitor(max_error, confidence=0.6)
    ends = list(stopped(start, lambda _: max_error, 12))
    assert math.fsum(p for p, _ in ends) == pytest.approx(1, abs=1e-12)
    assert math.fsum(p * end.wealth for p, end in ends) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    "rate",
    [
        lambda monitor: monitor.max_error,
        lambda monitor: monitor.max_error / 3,
        lambda monitor: monitor.max_error * (monitor.counts.audits % 2),
        # Whoever chooses the rate may know all that the monitor knows.
        lambda monitor: monitor.max_error * (monitor.wealth > 1 or monitor.counts.errors == 0),
    ],
    ids=["at the bound", "below it", "in turns", "adversarial"],
)
@pytest.mark.parametrize("max_error", [0.1, 0.3])
@pytest.mark.parametrize("confidence", [0.5, 0.8])
def test_a_false_alarm_is_no_more_likely_than_stated(
    rate: Callable[[DriftMonitor], float], max_error: float, confidence: float
):
    ends = list(stopped(DriftMonitor(max_error, confidence=confidence), rate, 11))
    assert any(end.drift for _, end in ends), "the case would prove nothing"
    assert math.fsum(p * end.wealth for p, end in ends) <= 1 + 1e-9
    assert math.fsum(p for p, end in ends if end.drift) <= 1 - confidence


@given(VERDICTS, RATES)
def test_the_money_is_that_of_every_stake_followed_by_itself(
    verdicts: list[bool | None], max_error: float
):
    monitor = fed(verdicts, max_error, confidence=1 - 1e-12)
    if monitor.drift:
        verdicts = verdicts[: monitor.drift_at]
    total = 1.0
    for start in range(len(verdicts)):
        stake = unstaked(start, max_error=max_error) - unstaked(start + 1, max_error=max_error)
        total -= stake
        for factor, share in FACTORS.items():
            likelier = max_error * factor / (1 - max_error + max_error * factor)
            gains = [
                likelier / max_error if verdict is False else (1 - likelier) / (1 - max_error)
                for verdict in verdicts[start:]
            ]
            total += stake * share * math.prod(gains)
    assert monitor.wealth == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize("max_error", [0.01, 0.1, 0.5])
def test_the_stakes_sum_to_one(max_error: float):
    left = [unstaked(audits, max_error=max_error) for audits in range(2000)]
    assert left[0] == 1
    assert all(later < earlier for earlier, later in pairwise(left))
    assert unstaked(10**12, max_error=max_error) < 0.001
    assert math.fsum(FACTORS.values()) == 1
    assert min(FACTORS) > 1


@given(VERDICTS, RATES, st.data())
def test_an_error_more_never_takes_from_the_wealth(
    verdicts: list[bool | None], max_error: float, data: st.DataObject
):
    worse = [bool(v is not False and data.draw(st.booleans())) for v in verdicts]
    changed = [False if wrong else v for wrong, v in zip(worse, verdicts, strict=True)]
    before, after = fed(verdicts, max_error), fed(changed, max_error)
    if before.drift_at is not None:
        assert after.drift_at is not None
        assert after.drift_at <= before.drift_at
    elif not after.drift:
        assert after.wealth >= before.wealth * (1 - 1e-12)


@given(VERDICTS, VERDICTS, RATES)
def test_a_monitor_read_back_from_json_goes_on_as_if_nothing_was(
    first: list[bool | None], then: list[bool | None], max_error: float
):
    monitor = fed(first, max_error, confidence=0.8)
    revived = DriftMonitor.from_dict(json.loads(json.dumps(monitor.to_dict())))
    for verdict in then:
        assert monitor.update(verdict) == revived.update(verdict)
    assert monitor.to_dict() == revived.to_dict()
    assert monitor.interval == revived.interval
    assert (monitor.onset, monitor.wealth) == (revived.onset, revived.wealth)


@given(VERDICTS)
def test_a_copy_is_another_monitor(verdicts: list[bool | None]):
    monitor = fed(verdicts)
    before = monitor.to_dict()
    monitor.copy().update(False)
    assert monitor.to_dict() == before


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.update(version=2),
        lambda data: data.pop("counts"),
        lambda data: data.update(bets=[]),
        lambda data: data.update(counts=None),
    ],
)
def test_a_state_that_cannot_be_read_is_refused(spoil: Callable[[dict], object]):
    data = fed([True, False]).to_dict()
    spoil(data)
    with pytest.raises(CertificateError, match="cannot be read") as caught:
        DriftMonitor.from_dict(data)
    assert caught.value.hint


@pytest.mark.parametrize("value", [0, 1, -0.1, 1.5, math.nan])
def test_numbers_out_of_range(value: float):
    with pytest.raises(InputError, match="max_error is") as caught:
        DriftMonitor(value)
    assert caught.value.hint
    with pytest.raises(InputError, match="confidence is"):
        DriftMonitor(0.1, confidence=value)


def test_a_verdict_of_numpy_is_a_verdict():
    assert fed([np.False_, np.True_]).counts == (2, 1, 0)
    assert fed([np.False_]).wealth == fed([False]).wealth > 1


def test_a_lost_verdict_is_taken_as_right_by_the_test_and_as_wrong_by_the_upper_bound():
    known, lost = fed([False] * 3 + [True] * 40), fed([False] * 3 + [None] * 40)
    assert lost.wealth == known.wealth
    assert lost.counts == (43, 3, 40)
    assert lost.interval.low == known.interval.low
    assert lost.interval.high == 1
    assert known.interval.high < 0.7


def test_the_alarm_stays_and_its_wealth_with_it():
    monitor = fed([False] * 12)
    assert monitor.drift
    wealth, at = monitor.wealth, monitor.drift_at
    assert wealth >= monitor.needed == pytest.approx(20)
    assert all(monitor.update(True) for _ in range(5000))
    assert all(monitor.update(False) for _ in range(5000)), "no capital overflows"
    assert (monitor.wealth, monitor.drift_at) == (wealth, at)
    assert monitor.counts == (10_000 + 12, 5000 + 12, 0)


@pytest.mark.parametrize("rate", [0.1, 0.5])
@pytest.mark.parametrize("spread", [0.0, 0.1], ids=["constant", "varying"])
def test_all_intervals_hold_together_as_likely_as_stated(rate: float, spread: float):
    """Every sequence of 12 verdicts; the mean rate so far must be in every interval on its way."""
    rates = [rate + spread * (-1) ** audit for audit in range(12)]
    means = [sum(rates[: n + 1]) / (n + 1) for n in range(12)]
    seen: dict[tuple[int, ...], Interval] = {}
    failed = []
    for verdicts in product([True, False], repeat=12):
        probability = math.prod(
            1 - p if correct else p for p, correct in zip(rates, verdicts, strict=True)
        )
        # A high allowed rate: while there is no drift the interval is of all audits.
        monitor = DriftMonitor(0.99, confidence=0.6)
        for correct, mean in zip(verdicts, means, strict=True):
            assert not monitor.update(correct)
            # Of all audits, it depends on nothing but their counts.
            if monitor.counts not in seen:
                seen[monitor.counts] = monitor.interval
            interval = seen[monitor.counts]
            if not interval.low <= mean <= interval.high:
                failed.append(probability)
                break
    assert failed, "the case would prove nothing"
    assert math.fsum(failed) <= 0.4


@given(VERDICTS, RATES)
def test_the_interval_holds_what_was_seen_and_narrows(
    verdicts: list[bool | None], max_error: float
):
    interval = fed(verdicts, max_error).interval
    assert 0 <= interval.low <= interval.high <= 1
    if not verdicts:
        assert (interval.low, interval.high, interval.since) == (0, 1, 1)
    elif interval.since == 1:
        wrong, lost = verdicts.count(False), verdicts.count(None)
        assert interval.low <= wrong / len(verdicts)
        assert interval.high >= (wrong + lost) / len(verdicts)
        tenfold = fed(verdicts * 10, max_error)
        if not tenfold.drift and not lost:
            assert tenfold.interval.high - tenfold.interval.low < interval.high - interval.low


def runs(rate: Callable[[int], float], *, audits: int, count: int, max_error: float = 0.1):
    for seed in range(count):
        generator = np.random.default_rng(seed)
        monitor = DriftMonitor(max_error)
        for audit in range(1, audits + 1):
            if monitor.update(bool(generator.random() >= rate(audit))):
                break
        yield monitor


def test_few_of_many_simulated_runs_raise_a_false_alarm():
    found = [monitor.drift for monitor in runs(lambda _: 0.1, audits=2000, count=200)]
    assert sum(found) <= 10


def test_a_doubled_rate_is_seen_within_300_audits():
    found = [monitor.drift_at for monitor in runs(lambda _: 0.2, audits=1000, count=200)]
    assert None not in found
    assert sum(at <= 300 for at in found) >= 190


def test_a_rise_after_a_long_good_time_is_seen_soon_and_its_onset_named():
    for monitor in runs(lambda n: 0.05 if n <= 5000 else 0.3, audits=5300, count=20):
        assert monitor.drift_at is not None
        assert 5000 < monitor.drift_at <= 5250
        assert monitor.onset == pytest.approx(5001, abs=100)
        assert monitor.interval.since == monitor.onset


def test_a_rise_of_little_is_seen_in_the_end():
    for monitor in runs(lambda _: 0.13, audits=20_000, count=3):
        assert monitor.drift


def test_after_the_alarm_the_interval_is_of_the_time_since_the_rise():
    generator = np.random.default_rng(0)
    monitor = fed([bool(x) for x in generator.random(5000) >= 0.02], 0.1)
    assert monitor.interval.since == 1
    assert monitor.interval.high < 0.04
    for right in generator.random(1500) >= 0.4:
        monitor.update(right)
    interval = monitor.interval
    assert interval.since == pytest.approx(5001, abs=40)
    assert 0.25 < interval.low < 0.4 < interval.high < 0.55
