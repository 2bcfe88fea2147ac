"""Round again: what the LLM answers anew is learned, certified and served, on a tiny model."""

from __future__ import annotations

import json
import random

import pytest
import torch

from hetagent import Orchestrator
from hetagent.integrations.sources import record_source
from hetagent.learn.cluster.workloads import Workloads
from hetagent.learn.convert import ConvertSettings
from hetagent.learn.inputs import Inputs
from hetagent.learn.task import Task, rows, split
from hetagent.learn.tune.settings import TuneSettings
from hetagent.learn.watch import retrain, watch
from hetagent.registry import Registry
from tests.learn.convert.test_convert import WORDS, call, log
from tests.support.bindings import binding

EARLY, LATER = 260, 260
KINDS = {**WORDS, "cloth": ["wool", "silk", "linen", "cotton"]}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def line(number, label, draw):
    return f"{number} {' '.join(draw.choices(KINDS[label], k=3))}"


@pytest.mark.e2e
def test_a_round_recovers_the_share(tiny_path, tmp_path):
    draw = random.Random(3)
    early = [
        call(n, line(n, label, draw), label)
        for n in range(EARLY)
        for label in [draw.choice(["fruit", "tool"])]
    ]
    tune = TuneSettings(epochs=4, batch=16, rate=0.01, evaluations=2, rank=8, precision="f32")
    settings = ConvertSettings(base=str(tiny_path), tune=tune, max_error=0.15)
    registry = Registry(tmp_path / "registry")
    found = Workloads.fit(early)
    (workload,) = [one.name for one in found]
    task = Task.of(found, workload, records=early)
    parted = split(rows(task, early, workloads=found))
    put = registry.put
    old = binding(
        registry,
        task.name,
        task=put(json.dumps(task.to_dict()).encode()),
        certificate=None,
        lineage={
            "workloads": put(found.to_bytes()),
            "inputs": put(Inputs.of(task, parted).to_bytes()),
            "settings": put(json.dumps(settings.to_dict()).encode()),
        },
        facts={"coverage": 0.9, "calls": 100},
    )
    registry.add(old)
    registry.switch(task.name, binding=old.id, uncertified=True)
    later = []
    for n in range(EARLY, EARLY + LATER):
        label = draw.choice(["fruit", "tool", "cloth", "cloth", "cloth"])
        asked = label == "cloth" or draw.random() < 0.3
        parts = {"served_by": "llm", "reason": "low_confidence"}
        if not asked:
            parts = {"served_by": "slm", "trainable": "no-train"}
        one = call(n, line(n, label, draw), label)
        later.append(one.with_(**parts, workload=workload, tags={"binding": old.id}))
    calls = log(tmp_path / "calls.jsonl", [*early, *later])
    with record_source(calls) as records:
        (before,) = watch(records, registry)
        assert before.share.fallen
        assert set(before.new_answers) == {"cloth"}
        assert before.learnable.recommended
        done = retrain(records, registry, before, work=tmp_path / "work")
        assert done.decision.promoted, done.decision.explain()
        assert set(done.task.output.labels) == {"fruit", "tool", "cloth"}
        assert (tmp_path / "work" / "round-2" / "round.json").exists()
        (after,) = watch(records, registry)
    state = registry.state(task.name)
    assert state.live is not None
    assert state.live.id == done.binding.id == after.binding
    assert after.new_answers == {}
    assert not after.learnable.recommended
    agent = Orchestrator(registry=registry, progress=False)
    labels = [draw.choice(list(KINDS)) for _ in range(60)]
    asked = [
        dict.fromkeys(done.task.inputs, line(9000 + n, one, draw)) for n, one in enumerate(labels)
    ]
    outcomes = agent.map(done.task.skill, asked)
    served = [
        (one.value, label)
        for one, label in zip(outcomes, labels, strict=True)
        if one.served_by == "slm"
    ]
    assert len(served) > before.share.served / before.share.calls * 60
    assert sum(value != label for value, label in served) <= 0.15 * len(served)
