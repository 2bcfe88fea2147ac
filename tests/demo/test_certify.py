"""What `hetagent demo --certify` finds: a promise, a check of it, and a mix that breaks it."""

from __future__ import annotations

import random

import pytest

from hetagent import Answer, Certificate, Orchestrator, Scripted
from hetagent.demo import certify as demo
from hetagent.demo.certify import Checked, bundled_parts
from tests.support.tone import KNOWN, tone_model

PARTS = bundled_parts()


def asked(model: Scripted) -> list[str]:
    return [request.messages[-1].content for request in model.requests]


def texts(part: str) -> list[str]:
    return [message.text for message in PARTS[part]]


@pytest.fixture(scope="module")
def agent() -> Orchestrator:
    return Orchestrator(tone_model(), progress=False)


@pytest.fixture(scope="module")
def certificate(agent: Orchestrator) -> Certificate:
    return demo.certify(agent, PARTS["calibrate"])


@pytest.fixture(scope="module")
def apart(agent: Orchestrator, certificate: Certificate) -> Checked:
    return demo.check(agent, certificate, PARTS["apart"])


def test_the_promise_is_made_on_the_part_to_calibrate_on_alone():
    model = tone_model()
    found = demo.certify(Orchestrator(model, progress=False), PARTS["calibrate"])
    assert sorted(asked(model)) == sorted(texts("calibrate"))
    assert (found.max_error, found.confidence) == (demo.MAX_ERROR, demo.CONFIDENCE)
    assert (found.labels, found.fitted) == (400, 100)
    assert found.parts[""].upper_bound <= demo.MAX_ERROR


def test_the_check_counts_what_was_accepted_and_what_of_it_is_wrong(apart: Checked):
    values = [
        (one.served_by, one.value if one.served_by == "slm" else one.draft and one.draft.value)
        for one in apart.outcomes
    ]
    labels = [KNOWN[text][1] for text in texts("apart")]
    accepted = [value == label for (by, value), label in zip(values, labels, strict=True)
                if by == "slm"]  # fmt: skip
    assert 0 < len(accepted) < 128
    assert len(apart.accepted) == len(accepted)
    assert apart.errors == accepted.count(False)
    assert apart.coverage == len(accepted) / 128
    assert apart.error_rate == pytest.approx(accepted.count(False) / len(accepted))
    assert apart.error_rate_of_all == pytest.approx(
        sum(value != label for (_, value), label in zip(values, labels, strict=True)) / 128
    )
    low, high = apart.interval
    assert low < apart.error_rate < high
    assert high < apart.noticeable(demo.MAX_ERROR) * 2


def test_another_mix_raises_drift_and_the_small_model_is_asked_no_more(apart: Checked):
    model = tone_model()
    agent = Orchestrator(model, progress=False)
    certificate = demo.certify(agent, PARTS["calibrate"])
    before = len(model.requests)
    found = demo.watch(agent, certificate, PARTS["shifted"], apart=apart)
    assert found.status.state == "drift"
    assert found.drift_at == found.served
    assert 0 < found.served < len(found.checked.accepted)
    assert 0 < found.served_errors <= found.served
    assert found.checked.error_rate is not None
    assert found.checked.error_rate > 2 * demo.MAX_ERROR
    alarm = found.checked.accepted[found.served - 1]
    assert found.fallen_back == 144 - alarm
    assert found.accepted_after == 0
    assert len(model.requests) - before == 145, "after the alarm nothing goes to it"


def test_drift_is_raised_as_soon_as_the_monitor_alone_would_raise_it(
    agent: Orchestrator, certificate: Certificate, apart: Checked
):
    from hetagent.calibrate.drift import DriftMonitor

    found = demo.watch(agent, certificate, PARTS["shifted"], apart=apart)
    monitor = DriftMonitor(demo.MAX_ERROR, confidence=demo.CONFIDENCE)
    for index in found.checked.accepted:
        monitor.update(found.checked.right[index])
    assert monitor.drift_at == found.drift_at


def test_messages_that_the_promise_holds_for_raise_no_drift(
    certificate: Certificate, apart: Checked
):
    agent = Orchestrator(
        Scripted(lambda request: Answer(KNOWN[request.messages[-1].content][1]), name="wavering"),
        progress=False,
    )
    found = demo.watch(agent, certificate, PARTS["shifted"], apart=apart)
    assert (found.drift_at, found.fallen_back, found.status.state) == (None, 0, "holding")
    assert found.served == len(found.checked.accepted) == 145
    assert found.checked.errors == 0


def test_orders_that_raise_a_false_alarm_are_counted(
    agent: Orchestrator, certificate: Certificate, apart: Checked
):
    found = demo.watch(agent, certificate, PARTS["shifted"], apart=apart)
    assert found.false_alarms <= 0.1 * demo.ORDERS
    lost = demo.check(agent, certificate, PARTS["shifted"])
    found = demo.watch(agent, certificate, PARTS["shifted"], apart=lost)
    assert found.false_alarms == demo.ORDERS, "half of these are wrong, in whatever order"


def test_where_nothing_can_be_promised_nothing_is_accepted():
    def guess(request):
        drawn = random.Random(request.messages[-1].content)
        return Answer(drawn.choice(["negative", "positive"]), confidence=drawn.uniform(0.5, 1))

    agent = Orchestrator(Scripted(guess), progress=False)
    certificate = demo.certify(agent, PARTS["calibrate"])
    assert certificate.parts[""].threshold is None
    apart = demo.check(agent, certificate, PARTS["apart"])
    assert (apart.accepted, apart.errors, apart.error_rate) == ([], 0, None)
    assert apart.interval == (0.0, 1.0)
    found = demo.watch(agent, certificate, PARTS["shifted"], apart=apart)
    assert (found.drift_at, found.served, found.fallen_back) == (None, 0, 0)
