"""Reserving and settling: no cap is overshot by more than the calls in flight."""

import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetagent.account import Account, Reservation, Shortage, Tally
from hetagent.budget import Budget, Window


def reserve(account, tallies, usd=1.0, *, llm=True, now=0.0, model="m", skill="s"):
    return account.reserve(tallies, usd, model=model, skill=skill, llm=llm, now=now)


def test_what_fits_is_reserved_and_settled():
    account, cap = Account(), Tally("scope", usd=3.0)
    first = reserve(account, [cap], 2.0)
    assert isinstance(first, Reservation)
    short = reserve(account, [cap], 1.5)
    assert isinstance(short, Shortage)
    assert (short.unit, short.spent, short.waits) == ("usd", 0.0, True)
    account.settle(first, 0.5, now=1.0)
    second = reserve(account, [cap], 2.5)
    assert isinstance(second, Reservation)
    account.settle(second, 2.5, now=1.0)
    assert cap.spent(1.0) == (3.0, 2)
    short = reserve(account, [cap], 0.01)
    assert isinstance(short, Shortage)
    assert not short.waits
    assert isinstance(reserve(account, [cap], 0.0), Reservation), "what is free always fits"


def test_all_caps_or_none():
    account, wide, narrow = Account(), Tally("scope", usd=10.0), Tally("call", usd=1.0)
    short = reserve(account, [wide, narrow], 2.0)
    assert isinstance(short, Shortage)
    assert short.tally is narrow
    assert isinstance(reserve(account, [wide], 10.0), Reservation), "nothing was left behind"


def test_a_cap_that_will_not_pass_is_told_before_one_that_may():
    account, busy, spent = Account(), Tally("scope", usd=1.0), Tally("call", usd=0.5)
    assert isinstance(reserve(account, [busy], 1.0), Reservation)
    short = reserve(account, [busy, spent], 0.9)
    assert isinstance(short, Shortage)
    assert (short.tally, short.waits) == (spent, False)


def test_what_is_not_known_counts_as_the_estimate_for_each_attempt():
    account, cap = Account(), Tally("scope", usd=10.0)
    held = reserve(account, [cap], 0.5)
    account.settle(held, None, now=0.0, attempts=3)
    assert cap.spent(0.0) == (1.5, 1)
    spent = account.spent(None, now=0.0)
    assert (spent.usd, spent.unknown, spent.in_flight, spent.reserved_usd) == (1.5, 1, 0, 0.0)


def test_what_was_reserved_can_be_given_back():
    account, cap = Account(), Tally("scope", usd=1.0, llm_calls=1)
    account.release(reserve(account, [cap], 1.0))
    assert cap.spent(0.0) == (0.0, 0)
    assert isinstance(reserve(account, [cap], 1.0), Reservation)


def test_calls_of_llms_are_counted_and_those_of_the_slm_are_not():
    account, cap = Account(), Tally("window", llm_calls=2, window=10.0)
    for _ in range(2):
        account.settle(reserve(account, [cap], 0.0), 0.0, now=1.0)
    short = reserve(account, [cap], 0.0, now=2.0)
    assert isinstance(short, Shortage)
    assert (short.unit, short.limit, short.spent) == ("llm_calls", 2, 2)
    assert isinstance(reserve(account, [cap], 0.0, llm=False, now=2.0), Reservation)
    assert isinstance(reserve(account, [cap], 0.0, now=11.1), Reservation)


def test_a_window_slides():
    account = Account()
    budget = Budget(windows=(Window(seconds=10.0, usd=3.0),))
    (cap,) = account.windows(budget)
    assert account.windows(budget) == (cap,), "it is one and the same"
    for at in (0.0, 4.0, 8.0):
        account.settle(reserve(account, [cap], 1.0, now=at), 1.0, now=at)
    assert isinstance(reserve(account, [cap], 1.0, now=9.9), Shortage)
    assert cap.spent(10.0) == (2.0, 2)
    assert isinstance(reserve(account, [cap], 1.0, now=10.0), Reservation)
    assert cap.spent(30.0) == (0.0, 1)
    assert account.spent(budget, now=30.0).usd == 3.0


def test_estimates():
    account = Account()
    cap = Tally("call", usd=0.004)
    of = {"model": "m", "skill": "s"}
    assert account.estimate(0.02, llm=True, first=0.01, **of) == 0.02
    assert account.estimate(None, llm=True, first=0.01, **of) == 0.01
    assert account.estimate(None, llm=True, first=0.01, tallies=[cap], **of) == 0.004
    assert account.estimate(None, llm=False, first=0.01, **of) == 0.0
    for cost in (0.002, 0.03, 0.001):
        account.settle(reserve(account, [], 0.01), cost, now=0.0)
    assert account.estimate(None, llm=True, first=0.01, tallies=[cap], **of) == 0.03
    assert account.estimate(None, llm=True, first=0.01, model="m", skill="other") == 0.01


def test_the_expected_time_is_the_median_of_the_last_minute():
    account = Account()
    assert account.expected_seconds("m", "s", now=0.0) == 0.0
    for began, took in ((0.0, 9.0), (40.0, 1.0), (41.0, 2.0), (42.0, 5.0)):
        account.note_time(reserve(account, [], 0.0, now=began), now=began + took)
    assert account.expected_seconds("m", "s", now=50.0) == 3.5
    assert account.expected_seconds("m", "s", now=70.0) == 2.0
    assert account.expected_seconds("m", "s", now=200.0) == 0.0
    assert account.expected_seconds("m", "other", now=50.0) == 0.0


def test_who_watches_a_cap_is_told_when_a_call_settles():
    account, cap, woken = Account(), Tally("scope", usd=1.0), []

    def wake() -> None:
        woken.append(True)

    held = reserve(account, [cap], 1.0)
    cap.watch(wake)
    account.settle(held, 0.1, now=0.0)
    assert woken == [True]
    cap.unwatch(wake)
    account.release(reserve(account, [cap], 0.1))
    assert woken == [True]


costs = st.floats(0.0, 1.0)


@given(
    st.lists(st.tuples(costs, costs, st.booleans(), st.floats(0.0, 3.0)), max_size=60),
    st.floats(0.1, 5.0),
)
def test_a_cap_is_overshot_only_by_what_calls_in_flight_cost_more(calls, limit):
    """Calls begin and end in any order; each may cost more than it was expected to."""
    account = Account()
    caps = [Tally("scope", usd=limit), Tally("window", usd=limit, window=2.0)]
    in_flight: list[tuple[Reservation, float]] = []
    overshot = now = 0.0
    for estimate, real, ends, passed in calls:
        now += passed
        found = reserve(account, caps, estimate, now=now)
        if isinstance(found, Reservation):
            in_flight.append((found, real))
        if ends and in_flight:
            held, cost = in_flight.pop(0)
            account.settle(held, cost, now=now)
            overshot += max(0.0, cost - held.usd)
        whole, window = (cap.spent(now)[0] for cap in caps)
        held_usd = account.spent(None, now=now).reserved_usd
        assert whole + held_usd <= limit + overshot + 1e-6
        assert window <= whole + 1e-6
    for held, cost in in_flight:
        account.settle(held, cost, now=now)
    assert account.spent(None, now=now).reserved_usd == 0.0
    assert account.spent(None, now=now).in_flight == 0
    assert caps[1].spent(now + 2.5)[0] == 0.0


def test_threads_share_a_cap():
    account, cap = Account(), Tally("scope", usd=50.0, llm_calls=1000)
    most, lock = [0.0], threading.Lock()

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(300):
            found = reserve(account, [cap], chance.choice([0.1, 0.5]))
            if isinstance(found, Reservation):
                with lock:
                    most[0] = max(most[0], account.spent(None, now=0.0).reserved_usd)
                account.settle(found, found.usd * chance.random(), now=0.0)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent = account.spent(None, now=0.0)
    assert spent.usd == pytest.approx(cap.spent(0.0)[0])
    assert 49.0 < spent.usd <= 50.0 or cap.spent(0.0)[1] == 1000
    assert (spent.in_flight, spent.reserved_usd) == (0, 0.0)
    assert 0 < most[0] <= 8 * 0.5
