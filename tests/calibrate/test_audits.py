"""Audits: which answers are drawn, and what late, lost and volunteered verdicts do to the test."""

import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetagent.calibrate.audits import Audits
from hetagent.calibrate.drift import DriftMonitor
from hetagent.errors import CertificateError, InputError

TRUTHS = st.lists(st.sampled_from([True, True, False]), min_size=1, max_size=60)


def watching(
    *certificates: str, share: float = 1.0, capacity: int = 1000, max_error: float = 0.1
) -> Audits:
    audits = Audits(share, capacity=capacity)
    for certificate in certificates or ("s",):
        audits.watch(certificate, max_error=max_error)
    return audits


def drawn(audits: Audits, count: int, *, start: int = 0) -> list[str]:
    traces = [str(number) for number in range(start, start + count)]
    for trace_id in traces:
        audits.draw(trace_id, ["s"])
    return traces


@pytest.fixture
def often_switched() -> Iterator[None]:
    """Threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_a_share_of_the_answers_is_drawn_and_always_the_same():
    audits, again, other = watching(share=0.1), watching(share=0.1), Audits(0.1, seed=1)
    other.watch("s", max_error=0.1)
    traces = [f"{number:032x}" for number in range(20_000)]
    chosen = [trace_id for trace_id in traces if audits.draw(trace_id, ["s"])]
    assert 1800 < len(chosen) < 2200
    assert chosen == [trace_id for trace_id in traces if again.draw(trace_id, ["s"])]
    assert chosen != [trace_id for trace_id in traces if other.draw(trace_id, ["s"])]


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (1.0, 500)])
def test_none_or_all_can_be_drawn(share: float, count: int):
    audits = watching(share=share)
    drawn(audits, 500)
    assert audits.status("s").drawn == count


def test_the_share_may_change_and_those_drawn_stay_drawn():
    audits = watching(share=1.0)
    drawn(audits, 10)
    audits.share = 0.0
    drawn(audits, 10, start=10)
    assert audits.verdict("3", True) == "joined"
    assert audits.verdict("13", True) == "volunteered"
    assert audits.status("s").drawn == 10
    with pytest.raises(InputError, match="share"):
        audits.share = 1.5


def test_what_was_not_drawn_is_counted_and_never_tested():
    audits = watching(share=0.0)
    for trace_id in drawn(audits, 200):
        assert audits.verdict(trace_id, False) == "volunteered"
    status = audits.status("s")
    assert (status.state, status.drawn, status.errors, status.wealth) == ("holding", 0, 0, 1)
    assert {kind: n for kind, n in audits.unjoined.items() if n} == {"volunteered": 200}


def test_a_verdict_counts_once():
    audits = watching()
    drawn(audits, 3)
    assert audits.verdict("1", True) == "joined"
    assert audits.verdict("1", False) == "repeated"
    assert audits.verdict("0", True) == "joined"
    assert audits.verdict("0", False) == "closed", "all before it were settled"
    assert audits.status("s").errors == 0
    assert audits.status("s").answered == 2
    assert audits.unjoined == {"repeated": 1, "closed": 1, "volunteered": 0, "partial": 0}


def test_a_trace_is_drawn_once_while_it_is_kept():
    audits = watching()
    assert audits.draw("a", ["s"]) == ("s",)
    assert audits.draw("a", ["s"]) == ()
    assert audits.status("s").drawn == 1


@given(TRUTHS, st.randoms(use_true_random=False))
def test_the_order_of_verdicts_does_not_matter(truths: list[bool], random):
    audits, monitor = watching(), DriftMonitor(0.1)
    order = list(enumerate(truths))
    drawn(audits, len(truths))
    random.shuffle(order)
    for number, correct in order:
        audits.verdict(str(number), correct)
    for correct in truths:
        monitor.update(correct)
    status = audits.status("s")
    assert audits.drift("s") == monitor.drift
    assert (status.drawn, status.errors, status.lost) == monitor.counts
    assert (status.wealth, status.interval) == (monitor.wealth, monitor.interval)
    assert status.onset == monitor.onset


@given(
    st.lists(st.tuples(st.sampled_from([True, False]), st.integers(0, 60)), max_size=60),
    st.integers(1, 20),
)
def test_no_delay_and_no_loss_raises_an_alarm_that_full_knowledge_would_not(
    answers: list[tuple[bool, int]], capacity: int
):
    """Each answer with its delay in answers drawn; those past the end never get a verdict."""
    audits, truth = watching(capacity=capacity, max_error=0.3), DriftMonitor(0.3)
    due: dict[int, list[int]] = {}
    was = False
    for number, (correct, delay) in enumerate(answers):
        truth.update(correct)
        drawn(audits, 1, start=number)
        due.setdefault(number + delay, []).append(number)
        for answered in due.pop(number, []):
            audits.verdict(str(answered), answers[answered][0])
        assert truth.drift or not audits.drift("s")
        assert audits.drift("s") or not was, "an alarm stays"
        was = audits.drift("s")
        status = audits.status("s")
        assert (status.state == "drift") == was == (status.onset is not None)
        assert status.drawn == number + 1 == status.answered + status.open + status.lost


def test_answers_that_wait_do_not_hide_an_alarm_before_them():
    audits = watching()
    drawn(audits, 300)
    for number in range(1, 12):  # the first of all stays open
        audits.verdict(str(number), False)
    assert audits.drift("s")
    status = audits.status("s")
    assert (status.open, status.errors, status.answered) == (289, 11, 11)
    assert Audits.from_dict(audits.to_dict()).drift("s")


def test_when_errors_are_reported_first_there_is_no_false_alarm():
    """In order of arrival the first twenty verdicts would all be errors."""
    generator = np.random.default_rng(3)
    right = generator.random(400) >= 0.08
    audits, arrival = watching(), DriftMonitor(0.1)
    drawn(audits, 400)
    for number in np.flatnonzero(~right):
        audits.verdict(str(number), False)
        arrival.update(False)
    assert arrival.drift
    assert not audits.drift("s")


def test_audits_that_wait_too_long_are_lost_and_counted():
    audits = watching(capacity=10)
    drawn(audits, 5)
    for trace_id in ("1", "2", "4"):
        audits.verdict(trace_id, True)
    drawn(audits, 6, start=5)  # one more than there is room for
    status = audits.status("s")
    assert (status.drawn, status.lost, status.open, status.answered) == (11, 1, 7, 3)
    assert audits.verdict("0", False) == "closed"
    assert audits.verdict("1", True) == "closed", "what waited for the lost one is settled"
    assert audits.verdict("3", False) == "joined"
    assert audits.status("s").errors == 1


def test_memory_is_bounded_by_the_capacity():
    audits = watching(capacity=50)
    drawn(audits, 5000)
    status = audits.status("s")
    assert (status.lost, status.open) == (4950, 50)
    assert len(json.dumps(audits.to_dict())) < 5000
    assert status.state == "holding"
    assert (status.interval.low, status.interval.high) == (0, 1), "and nothing is claimed"


def test_lost_audits_leave_the_bounds_far_apart():
    full, half = watching(capacity=5), watching(capacity=5)
    for number in range(1000):
        drawn(full, 1, start=number)
        drawn(half, 1, start=number)
        full.verdict(str(number), True)
        if number % 2:
            half.verdict(str(number), True)
    assert full.status("s").interval.high < 0.02
    assert half.status("s").interval.high > 0.5
    assert half.status("s").interval.low == 0


def test_each_certificate_has_a_test_of_its_own():
    audits = watching("date", "time")
    for number in range(100):
        names = audits.draw(str(number), ["date", "time"] if number % 2 else ["date"])
        assert names == (("date", "time") if number % 2 else ("date",))
        audits.verdict(str(number), {"date": True, "time": False, "other": False})
    assert not audits.drift("date")
    assert audits.drift("time")
    assert (audits.status("date").drawn, audits.status("time").drawn) == (100, 50)
    audits.forget("time")
    assert audits.certificates == ("date",)


def test_a_mapping_may_leave_some_open():
    audits = watching("date", "time")
    audits.draw("a", ["date", "time"])
    assert audits.verdict("a", {"date": True}) == "joined"
    assert audits.status("time").open == 1
    assert audits.verdict("a", {"time": False}) == "joined"
    assert audits.status("time").errors == 1


def test_right_stands_for_all_and_wrong_must_say_which():
    audits = watching("date", "time")
    audits.draw("a", ["date", "time"])
    audits.draw("b", ["date", "time"])
    with pytest.raises(InputError, match="not said") as caught:
        audits.verdict("b", False)
    assert "date, time" in caught.value.hint
    assert audits.verdict("a", True) == "joined"
    assert audits.status("date").answered == audits.status("time").answered == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda audits: audits.draw("a", ["x"]),
        lambda audits: audits.drift("x"),
        lambda audits: audits.status("x"),
    ],
)
def test_a_certificate_must_be_watched(call: Callable[[Audits], object]):
    with pytest.raises(InputError, match="not watched") as caught:
        call(watching())
    assert caught.value.hint


def test_watching_again_goes_on_and_other_numbers_are_refused():
    audits = watching()
    audits.verdict(drawn(audits, 1)[0], False)
    audits.watch("s", max_error=0.1)
    assert audits.status("s").errors == 1
    with pytest.raises(InputError, match="other numbers"):
        audits.watch("s", max_error=0.2)
    audits.forget("s")
    audits.watch("s", max_error=0.2)
    assert audits.status("s").drawn == 0


@pytest.mark.parametrize(
    "make", [lambda: Audits(-0.1), lambda: Audits(2), lambda: Audits(capacity=0)]
)
def test_numbers_out_of_range(make: Callable[[], Audits]):
    with pytest.raises(InputError) as caught:
        make()
    assert caught.value.hint


@given(TRUTHS, TRUTHS, st.integers(1, 70), st.sets(st.integers(0, 59)))
def test_audits_read_back_from_json_go_on_as_if_nothing_was(
    first: list[bool], then: list[bool], capacity: int, silent: set[int]
):
    audits = watching(capacity=capacity)
    drawn(audits, len(first))
    for number, correct in enumerate(first):
        if number not in silent:
            audits.verdict(str(number), correct)
    revived = Audits.from_dict(json.loads(json.dumps(audits.to_dict())))
    for both in (audits, revived):
        traces = drawn(both, len(then), start=1000)
        for trace_id, correct in zip(traces, then, strict=True):
            both.verdict(trace_id, correct)
        for number in sorted(silent):
            both.verdict(str(number), False)
    assert audits.to_dict() == revived.to_dict()
    assert audits.status("s") == revived.status("s")
    assert audits.drift("s") == revived.drift("s")
    assert audits.unjoined == revived.unjoined


@pytest.mark.parametrize(
    "data", [{}, {"version": 1}, {"version": 0}, {"version": 1, "share": None}]
)
def test_a_state_that_cannot_be_read_is_refused(data: dict):
    with pytest.raises(CertificateError, match="cannot be read") as caught:
        Audits.from_dict(data)
    assert caught.value.hint


def test_threads_lose_no_answer_and_no_verdict(often_switched: None):
    audits = watching(capacity=100_000)

    def work(worker: int) -> None:
        for number in range(150):
            trace_id = f"{worker}-{number}"
            assert audits.draw(trace_id, ["s"])
            assert audits.verdict(trace_id, number % 50 != 0) == "joined"
            audits.verdict(trace_id, False)
            audits.status("s")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    status = audits.status("s")
    assert (status.drawn, status.answered, status.errors) == (1200, 1200, 24)
    assert (status.open, status.lost) == (0, 0)
    unjoined = audits.unjoined
    assert unjoined["closed"] + unjoined["repeated"] == 1200
