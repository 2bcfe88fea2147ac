"""From recorded calls to a promoted skill, on a tiny model that learns in seconds."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch

from hetagent import Orchestrator
from hetagent.errors import InputError
from hetagent.integrations.sources import record_source
from hetagent.learn.convert import ConvertSettings, convert
from hetagent.learn.record import CallRecord
from hetagent.learn.tune.settings import TuneSettings
from hetagent.registry import Registry

BEGAN = datetime(2026, 9, 1, tzinfo=UTC)
SYSTEM = (
    "You sort lines of a shop's stock list for the people in the warehouse who put things away. "
    "Answer with one of the labels fruit and tool, and with nothing else at all."
)
WORDS = {"fruit": ["apple", "pear", "plum", "fig"], "tool": ["saw", "drill", "plane", "file"]}
COUNT = 600


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made_settings(base):
    tune = TuneSettings(epochs=5, batch=16, rate=0.01, evaluations=2, rank=8, precision="f32")
    return ConvertSettings(base=str(base), tune=tune, max_error=0.1)


def call(number, line, label, *, trainable="trainable"):
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": line}]
    message = {"role": "assistant", "content": label}
    return CallRecord(
        id=f"{number:032x}",
        time=BEGAN + timedelta(minutes=number),
        form="openai.chat",
        source="gateway",
        model="m",
        request={"model": "m", "messages": messages},
        response={"choices": [{"message": message, "finish_reason": "stop"}]},
        cost_usd=0.001,
        trainable=trainable,
        redacted={},
    )


def lines(count, *, seed=1):
    draw = random.Random(seed)
    for number in range(count):
        label = draw.choice(["fruit", "tool"])
        yield number, f"{number} {' '.join(draw.choices(WORDS[label], k=3))}", label


def log(path, records):
    path.write_text("".join(one.to_json() + "\n" for one in records), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    records = [call(*one) for one in lines(COUNT)]
    return log(tmp_path_factory.mktemp("calls") / "calls.jsonl", records)


@pytest.fixture(scope="module")
def settings(tiny_path):
    return made_settings(tiny_path)


def run(calls, folder, settings, **more):
    with record_source(calls) as records:
        return convert(
            records,
            registry=Registry(folder / "registry"),
            work=folder / "work",
            settings=settings,
            **more,
        )


@pytest.fixture(scope="module")
def converted(calls, settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("converted")
    return run(calls, folder, settings), folder


def test_a_workload_becomes_a_skill_that_serves(converted):
    done, folder = converted
    assert done.decision.promoted, done.decision.explain()
    assert done.state.mode == "live"
    assert done.state.live is not None
    assert done.state.live.id == done.binding.id
    assert done.evaluation.right > 0.95
    assert done.economics.llm_usd == pytest.approx(0.001)
    agent = Orchestrator(registry=folder / "registry", progress=False)
    rows = [dict.fromkeys(done.task.inputs, "9999 plum fig pear")]
    (outcome,) = agent.map(done.task.skill, rows)
    assert (outcome.value, outcome.served_by) == ("fruit", "slm")
    assert outcome.binding == done.binding.id


def test_what_the_binding_tells_of_where_it_came_from(converted):
    done, folder = converted
    registry = Registry(folder / "registry")
    assert registry.verify() == []
    assert set(done.binding.lineage) == {
        "records", "workloads", "dataset", "inputs", "settings", "tuned", "evaluation", "decision",
    }  # fmt: skip
    decision = json.loads(registry.path(done.binding.lineage["decision"]).read_text())
    assert decision["promoted"] is True


def test_done_stages_are_not_done_again(converted, calls, settings):
    done, folder = converted
    again = run(calls, folder, settings)
    assert all(one.again for one in again.stages)
    assert again.binding.id == done.binding.id
    assert len(Registry(folder / "registry").history(done.binding.skill)) == 1


def test_shuffled_labels_are_refused(settings, tmp_path):
    draw = random.Random(5)
    labels = [label for _, _, label in lines(300)]
    draw.shuffle(labels)
    records = [
        call(number, line, label)
        for (number, line, _), label in zip(lines(300), labels, strict=True)
    ]
    short = replace(settings, tune=replace(settings.tune, epochs=1))
    done = run(log(tmp_path / "calls.jsonl", records), tmp_path, short)
    assert not done.decision.promoted
    assert "uncertified" in {one.why for one in done.decision.objections}
    assert (done.state.mode, done.state.live) == ("shadow", None)


@pytest.mark.parametrize(
    ("trainable", "said"), [("no-train", "terms forbid"), ("unknown", "--trainable unknown")]
)
def test_answers_that_nobody_may_learn_from(settings, tmp_path, trainable, said):
    records = [call(*one, trainable=trainable) for one in lines(60)]
    with pytest.raises(InputError) as raised:
        run(log(tmp_path / "calls.jsonl", records), tmp_path, settings)
    assert said in str(raised.value)
    assert Registry(tmp_path / "registry").states() == {}


def test_too_few_calls(settings, tmp_path):
    records = [call(*one) for one in lines(30)]
    with pytest.raises(InputError, match="are left to"):
        run(log(tmp_path / "calls.jsonl", records), tmp_path, settings)


SCRIPT = """
import sys, torch
from pathlib import Path
torch.set_num_threads(1)
sys.path.insert(0, {root!r})
from tests.learn.convert.test_convert import made_settings, run
stage = []
def tell(name, done, total):
    if name not in stage[-1:]:
        stage.append(name)
        print(name, flush=True)
run(Path({calls!r}), Path({folder!r}), made_settings({base!r}), tell=tell)
"""


@pytest.mark.e2e
def test_a_conversion_that_is_killed_ends_with_the_same(converted, calls, tiny_path, tmp_path):
    done, _ = converted
    root = str(Path(__file__).parents[3])
    script = SCRIPT.format(root=root, calls=str(calls), folder=str(tmp_path), base=str(tiny_path))
    draw = random.Random(3)
    for stage in ("records", "task", "training", "comparing", "evaluate"):
        process = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=os.environ
        )
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == stage:
                time.sleep(draw.random() * 0.3)
                process.send_signal(signal.SIGKILL)
                break
        process.wait()
        process.stdout.close()
    again = run(calls, tmp_path, made_settings(tiny_path))
    assert again.decision.promoted
    assert again.binding.model == done.binding.model  # the adapter, bit for bit
    for name in ("records", "workloads", "dataset"):
        assert again.binding.lineage[name] == done.binding.lineage[name]
    assert again.binding.task == done.binding.task
    assert Registry(tmp_path / "registry").verify() == []
