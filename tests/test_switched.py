"""An orchestrator that follows a registry, in all the ways in which skills are run."""

import asyncio
import gc
import itertools
import threading
import time
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hetagent import Answer, Audit, Certified, LlamaCpp, Orchestrator, Outcome, Scripted
from hetagent.bound import Bound, BoundSkills
from hetagent.errors import BudgetError, SkillError
from hetagent.models.base import Model
from hetagent.registry import Binding, Registry
from tests.support.bindings import added
from tests.support.certificates import certificate
from tests.support.served import real_binding, sign_skill

SIGN = sign_skill()


class Models:
    """Bindings' models, which answer ``plus`` for adapters of even number, else ``minus``."""

    def __init__(self, *, certified: bool = True) -> None:
        self.kept: dict[str, weakref.ref[Model]] = {}
        self.values: dict[str, str] = {}
        self.certified = certified

    def __call__(self, one: Binding, registry: Registry, *_: Any) -> Bound:
        assert one.model.artifact is not None
        name = registry.path(one.model.artifact).read_text().removeprefix("adapter ")
        value = "plus" if int(name) % 2 == 0 else "minus"
        model = Scripted(lambda request: Answer(value, confidence=0.95), name=name)
        self.kept[one.id] = weakref.ref(model)
        self.values[one.id] = value
        policy = Certified(certificate(SIGN, model)) if self.certified else None
        return Bound(one, model, policy)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


def following(
    registry: Registry, models: Any = None, slm: Any = None, **options: Any
) -> tuple[Orchestrator, Any]:
    options = {"llm": Scripted(Answer("plus"), name="llm"), "progress": False, **options}
    agent = Orchestrator(slm, registry=registry, **options)
    opening = models or Models()
    assert agent._switched is not None
    agent._switched.bound = BoundSkills(registry, open_with=opening)
    return agent, opening


def live(registry: Registry, number: int, **parts: Any) -> str:
    id_ = added(registry, "sign", name=str(number))
    registry.switch("sign", binding=id_, **parts)
    return id_


def test_a_skill_that_the_registry_does_not_know_runs_as_without(registry):
    agent, _ = following(registry, slm=Scripted(Answer("minus", confidence=0.99)))
    outcome = agent.run(SIGN, "7")
    assert (outcome.value, outcome.served_by, outcome.binding) == ("minus", "slm", None)
    alone = Orchestrator(registry=registry, progress=False)
    with pytest.raises(SkillError, match="no model"):
        alone.run(SIGN, "7")
    with pytest.raises(SkillError, match="not a skill"):
        alone.run(lambda: None)  # type: ignore[arg-type]
    with pytest.raises(SkillError, match="no model"):
        alone.map(SIGN, ["7"])


def test_what_is_given_as_registry_is_one():
    with pytest.raises(SkillError, match="registry is 7"):
        Orchestrator(registry=7)  # type: ignore[arg-type]


def test_a_binding_serves_instead_of_the_agents_own_model_and_policy(registry):
    own = Scripted(Answer("plus"), name="own")
    agent, models = following(registry, slm=own, policy=2.0)
    id_ = live(registry, 1)
    outcome = agent.run(SIGN, "7")
    assert (outcome.value, outcome.served_by, outcome.binding) == ("minus", "slm", id_)
    assert outcome.basis is not None
    assert own.requests == []
    assert outcome.to_dict()["binding"] == id_
    bound = agent.run(SIGN.using(own), "7")
    assert bound.binding == id_
    assert models.values[id_] == "minus"


def test_off_leaves_the_llm_alone(registry):
    own = Scripted(Answer("minus"), name="own")
    agent, _ = following(registry, slm=own)
    live(registry, 1)
    assert agent.run(SIGN, "7").value == "minus"
    registry.switch("sign", mode="off")
    outcome = agent.run(SIGN, "7")
    assert (outcome.value, outcome.served_by, outcome.binding) == ("plus", "llm", None)
    agent.llms = ()
    assert agent.run(SIGN, "7").served_by == "none"
    assert own.requests == []


def test_beside_a_canary_without_a_live_binding_only_the_llm_serves(registry):
    own = Scripted(Answer("minus"), name="own")
    agent, _ = following(registry, slm=own)
    id_ = live(registry, 1, mode="canary", share=0.5)
    outcomes = agent.map(SIGN, ["7"] * 40)
    by = Counter((one.value, one.served_by, one.binding) for one in outcomes)
    assert set(by) == {("plus", "llm", None), ("minus", "slm", id_)}
    assert own.requests == []


def test_map_and_stream_follow_too_and_so_do_other_options(registry):
    agent, _ = following(registry)
    first = live(registry, 1)
    other = agent.with_options(escalate="fields")
    assert {one.binding for one in agent.map(SIGN, ["1", "2", "3"])} == {first}
    second = live(registry, 2)
    assert other._switched is agent._switched
    assert agent._switched is not None
    agent._switched.bound.load(SIGN)
    assert other.run(SIGN, "7").binding == second
    with agent.stream(SIGN, "7") as stream:
        told = dict(stream)
    assert stream.outcome.binding == second
    assert told[""].value == "plus"


def test_calibration_and_workflows_leave_the_registry_alone(registry):
    own = Scripted(Answer("plus", confidence=0.7), name="own")
    agent, models = following(registry, slm=own)
    live(registry, 1)
    examples = [(f"number {n}", "plus") for n in range(60)]
    made = agent.calibrate(SIGN, examples, max_error=0.3, confidence=0.8)
    assert made.depends_on["model"] == "own"
    assert len(own.requests) == 60
    assert models.kept == {}

    @agent.workflow(max_error=0.3, confidence=0.8)
    def both(text: str) -> str:
        return str(SIGN(text))

    found = both.run("7")
    assert [(one.served_by, one.binding) for one in found.outcomes] == [("llm", None)]
    assert models.kept == {}
    assert agent.run(SIGN, "7").binding is not None


def test_audits_are_of_the_bindings_certificate(registry):
    agent, models = following(
        registry, llm=Scripted(Answer("minus"), name="llm"), audit=Audit(share=1.0)
    )
    id_ = live(registry, 2)
    outcome = agent.run(SIGN, "7")
    assert agent.audits.flush(10)
    assert outcome.basis is not None
    (name,) = agent.audits.status().promises
    assert name == outcome.basis.certificate
    assert models.values[id_] == "plus"


def test_an_uncertified_binding_is_not_decided_about_by_another_models_certificate(
    registry, caplog
):
    own = Scripted(Answer("plus", confidence=0.95), name="own")
    policy = Certified(certificate(SIGN, own))
    agent, _ = following(registry, Models(certified=False), slm=own, policy=policy)
    live(registry, 1)
    assert [agent.run(SIGN, "7").served_by for _ in range(3)] == ["llm"] * 3
    assert caplog.text.count("has no certificate") == 1
    plain, _ = following(registry, Models(certified=False), slm=own, policy=0.9)
    assert plain.run(SIGN, "7").value == "minus"


def test_what_the_budget_refuses_names_its_binding_too(registry):
    def unsure(one: Binding, *_: Any) -> Bound:
        return Bound(one, Scripted(Answer("minus", confidence=0.6)), None)

    agent, _ = following(registry, unsure)
    id_ = live(registry, 1)
    agent.run(SIGN, "7")
    with agent.spending(llm_calls=1, at_cap="raise"):
        agent.run(SIGN, "7")
        with pytest.raises(BudgetError) as caught:
            agent.run(SIGN, "7")
    assert caught.value.outcome is not None
    assert caught.value.outcome.binding == id_


def test_switching_under_load_loses_no_call_and_frees_what_is_over(registry):
    agent, models = following(registry)
    live(registry, 0)
    agent.run(SIGN, "7")
    outcomes: list[Outcome[Any]] = []
    failed: list[BaseException] = []
    ended = threading.Event()

    def calls() -> None:
        try:
            while not ended.wait(0.01):
                outcomes.append(agent.run(SIGN, "7"))
        except BaseException as error:
            failed.append(error)

    async def tasks() -> None:
        while not ended.is_set():
            outcomes.extend(await asyncio.gather(*(agent.arun(SIGN, "7") for _ in range(4))))
            await asyncio.sleep(0.02)

    def loop() -> None:
        try:
            asyncio.run(tasks())
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=one) for one in (calls, calls, loop)]
    for one in threads:
        one.start()
    began, ids = time.monotonic(), []
    for number in itertools.count(1):
        ids.append(live(registry, number))
        time.sleep(0.05)
        if time.monotonic() - began > 1.0:
            break
    assert agent._switched is not None
    agent._switched.bound.load(SIGN)
    ended.set()
    for one in threads:
        one.join()
    assert failed == []
    assert len(outcomes) > 150
    for outcome in outcomes:
        assert outcome.served_by == "slm"
        assert outcome.binding is not None
        assert outcome.value == models.values[outcome.binding]
    assert len({one.binding for one in outcomes}) > 5
    last = agent.run(SIGN, "7")
    assert last.binding == ids[-1]
    gc.collect()
    alive = [id_ for id_, one in models.kept.items() if one() is not None]
    assert alive == [ids[-1]]


def test_real_models_are_switched_under_load(
    registry: Registry, smol: LlamaCpp, tiny: LlamaCpp, tmp_path: Path
):
    first = real_binding(registry, smol, tmp_path)
    second = real_binding(registry, tiny, tmp_path, context=1024)
    registry.switch("sign", binding=first.id)
    agent = Orchestrator(registry=registry, progress=False)
    agent.run(SIGN, "number 7")
    assert agent._switched is not None
    (entry,) = agent._switched.bound._entries.values()
    old = weakref.ref(entry.bound[first.id].model)
    del entry
    switched = threading.Timer(0.2, lambda: registry.switch("sign", binding=second.id))
    switched.start()
    outcomes: list[Outcome[Any]] = []
    while len({one.binding for one in outcomes}) < 2 and len(outcomes) < 2000:
        outcomes += agent.map(SIGN, [f"number {n}" for n in range(8)])
    switched.join()
    names = {first.id: smol.name, second.id: tiny.name}
    assert {one.binding for one in outcomes} == set(names)
    for outcome in outcomes:
        assert outcome.served_by == "slm"
        assert outcome.binding is not None
        assert outcome.calls[0].model == names[outcome.binding]
    gc.collect()
    assert old() is None
