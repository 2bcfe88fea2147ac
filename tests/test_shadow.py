"""Shadow mode: comparisons are kept, and nothing of what is served depends on them."""

import errno
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetagent import Answer, Certified, LlamaCpp, Orchestrator, Outcome, Scripted, skill
from hetagent.bound import Bound, BoundSkills
from hetagent.errors import BudgetError, ModelError
from hetagent.models.base import Model
from hetagent.options import Options
from hetagent.policy import Threshold
from hetagent.registry import Registry
from hetagent.shadow import Comparison, Shadows, comparisons
from tests.support.bindings import added, binding
from tests.support.certificates import certificate
from tests.support.served import real_binding, sign_skill

SIGN = sign_skill()
OPTIONS = Options(Threshold(0.9), "whole", None, 1, progress=False)


@skill
def words(text: str) -> list[str] | None:
    """List the words."""


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


def bound(registry: Registry, model: Model, policy: Certified | None = None) -> Bound:
    return Bound(binding(registry, "sign"), model, policy)


def served(value: Any = "plus", by: Any = "llm", trace: str = "0" * 32) -> Outcome[Any]:
    return Outcome("sign", value, 0.9, by, trace, 0.1)


def compared(
    registry: Registry, one: Bound, outcome: Outcome[Any], using: Any = SIGN, **parts: Any
) -> list[Comparison]:
    shadows = Shadows(registry)
    shadows.compare(one, using, using.request("7"), served=outcome, options=OPTIONS, **parts)
    assert shadows.flush(10)
    return list(comparisons(registry, one.binding.id))


@pytest.mark.parametrize(
    ("answer", "accepted", "same"),
    [
        (Answer("plus", confidence=0.95), True, True),
        (Answer("minus", confidence=0.95), True, False),
        (Answer("plus", confidence=0.6), False, True),
        (Answer(raw="neither"), False, False),
        (Answer(error=ModelError("It is down.")), False, False),
    ],
)
@pytest.mark.parametrize("has_certificate", [True, False])
def test_each_answer_is_compared(registry, answer, accepted, same, has_certificate):
    model = Scripted(answer, name="shadow")
    policy = Certified(certificate(SIGN, model, least=0.8)) if has_certificate else None
    (found,) = compared(registry, bound(registry, model, policy), served())
    assert (found.accepted, found.same) == (accepted, same)
    assert (found.skill, found.served_by, found.trace_id) == ("sign", "llm", "0" * 32)
    assert len(model.requests) == 1


def test_what_would_not_be_asked_for_is_asked_all_the_same_and_not_accepted(registry):
    model = Scripted(Answer("plus", confidence=0.99))
    policy = Certified(certificate(SIGN, model), least_share=1.0)
    assert not policy.asks_slm("sign")
    (found,) = compared(registry, bound(registry, model, policy), served())
    assert (found.accepted, found.same) == (False, True)


def test_a_file_of_comparisons_says_nothing_of_what_was_asked_and_answered(registry):
    one = bound(registry, Scripted(Answer("minus")))
    compared(registry, one, served(), SIGN)
    text = (registry.folder / "shadows" / f"{one.binding.id}.jsonl").read_text()
    assert "plus" not in text
    assert "minus" not in text


def test_a_value_that_the_caller_changes_later_was_compared_as_it_was(registry):
    value = ["a"]
    one = bound(registry, Scripted(Answer(["a"], delay=0.05)))
    shadows = Shadows(registry)
    outcome = served(value)
    shadows.compare(one, words, words.request("a"), served=outcome, options=OPTIONS)
    value.append("b")
    assert shadows.flush(10)
    (found,) = comparisons(registry, one.binding.id)
    assert found.same


def test_nothing_is_a_value_too(registry):
    one = bound(registry, Scripted(Answer(None)))
    (found,) = compared(registry, one, served(None), words)
    assert found.same


@settings(max_examples=20)
@given(torn=st.binary(max_size=60).filter(lambda data: b"{" not in data))
def test_lines_that_are_torn_are_skipped(tmp_path_factory, torn):
    registry = Registry(tmp_path_factory.mktemp("torn"))
    one = bound(registry, Scripted(Answer("plus")))
    path = registry.folder / "shadows" / f"{one.binding.id}.jsonl"
    path.parent.mkdir()
    (first,) = compared(registry, one, served())
    line = path.read_bytes()
    path.write_bytes(torn + b"\n" + line + line[: len(line) // 2])
    # What was left of a line is ended first.
    assert len(compared(registry, one, served())) == 2
    assert next(comparisons(registry, one.binding.id)) == first


def test_of_a_binding_that_was_never_compared_there_is_nothing(registry):
    assert list(comparisons(registry, "0" * 16)) == []


def test_what_cannot_be_kept_is_counted_and_told_once(registry, monkeypatch, caplog):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("hetagent.shadow.append_line", full)
    shadows = Shadows(registry)
    one = bound(registry, Scripted(Answer("plus")))
    for _ in range(3):
        shadows.compare(one, SIGN, SIGN.request("7"), served=served(), options=OPTIONS)
    shadows.compare(one, words, words.request("7"), served=served(object()), options=OPTIONS)
    assert shadows.flush(10)
    assert shadows.left_out == 4
    assert caplog.text.count("was not compared") == 1


def test_more_than_can_wait_is_left_out_and_the_caller_never_waits(registry, monkeypatch):
    monkeypatch.setattr("hetagent.audit_queue._WAITING", 5)
    shadows = Shadows(registry, at_once=1)
    one = bound(registry, Scripted(Answer("plus", delay=0.02)))
    began = time.monotonic()
    for _ in range(20):
        shadows.compare(one, SIGN, SIGN.request("7"), served=served(), options=OPTIONS)
    assert time.monotonic() - began < 0.2
    assert shadows.flush(10)
    assert shadows.left_out == 14
    assert len(list(comparisons(registry, one.binding.id))) == 6


def shadowed(registry: Registry, model: Model, **options: Any) -> Orchestrator:
    """An agent whose skill is served by the LLM, with a model in its shadow."""
    agent = Orchestrator(
        llm=Scripted(Answer("plus"), name="llm"), registry=registry, progress=False, **options
    )
    registry.switch("sign", binding=added(registry, "sign"), mode="shadow")
    assert agent._switched is not None
    agent._switched.bound = BoundSkills(registry, open_with=lambda one, *_: Bound(one, model, None))
    return agent


def flushed(agent: Orchestrator, registry: Registry) -> list[Comparison]:
    assert agent._switched is not None
    assert agent._switched.shadows.flush(10)
    (id_,) = [one.id for one in registry.bindings("sign")]
    return list(comparisons(registry, id_))


@pytest.mark.parametrize(
    "answer", [Answer("minus", delay=0.2), Answer(error=ModelError("It is down."), delay=0.2)]
)
def test_a_shadow_changes_and_delays_nothing_that_is_served(registry, answer):
    agent = shadowed(registry, Scripted(answer, name="shadow"))
    agent.run(SIGN, "0")  # the first call waits for what is loaded
    began = time.monotonic()
    outcomes = agent.map(SIGN, [str(number) for number in range(8)])
    assert time.monotonic() - began < 0.2
    assert [(one.value, one.served_by, one.binding) for one in outcomes] == [
        ("plus", "llm", None)
    ] * 8
    assert all(call.model == "llm" for one in outcomes for call in one.calls)
    found = flushed(agent, registry)
    assert {one.trace_id for one in outcomes} < {one.trace_id for one in found}
    assert len(found) == 9
    assert not any(one.same for one in found)


def test_a_caller_s_budget_does_not_end_a_shadow(registry):
    agent = shadowed(registry, Scripted(Answer("plus", delay=0.4), name="shadow"))
    with agent.spending(llm_calls=2, at_cap="raise"):
        agent.run(SIGN, "0")
    with agent.spending(seconds=0.3, at_cap="raise"):
        agent.run(SIGN, "1")
        time.sleep(0.3)
        with pytest.raises(BudgetError):
            agent.run(SIGN, "2")
    assert [one.same for one in flushed(agent, registry)] == [True, True]


def test_what_nobody_answered_is_not_compared(registry):
    agent = shadowed(registry, Scripted(Answer("plus")))
    agent.llms = (Scripted(Answer(error=ModelError("It is down."))),)
    assert agent.run(SIGN, "0").served_by == "none"
    assert flushed(agent, registry) == []


def test_the_real_model_in_shadow(registry: Registry, smol: LlamaCpp, tmp_path: Path):
    one = real_binding(registry, smol, tmp_path)
    registry.switch("sign", binding=one.id, mode="shadow")
    agent = Orchestrator(llm=Scripted(Answer("plus"), name="llm"), registry=registry)
    outcome = agent.run(SIGN, "number 7")
    assert (outcome.value, outcome.binding) == ("plus", None)
    (found,) = flushed(agent, registry)
    assert found.accepted
    assert found.seconds > 0
