"""A skill is tuned end to end: lessons, training, adapter files, and the engine that loads them."""

import asyncio
import random
from dataclasses import replace
from typing import Literal

import pytest
import torch

from hetagent import skill
from hetagent.errors import InputError, ModelFileError
from hetagent.learn.tune.adapter import write_gguf
from hetagent.learn.tune.agreement import agreement
from hetagent.learn.tune.llama import LlamaNetwork
from hetagent.learn.tune.run import lessons, tune
from hetagent.learn.tune.settings import TuneSettings
from hetagent.learn.tune.weights import Weights

WORDS = {"fruit": ["apple", "pear", "plum", "fig"], "tool": ["saw", "drill", "plane", "file"]}
SETTINGS = TuneSettings(epochs=12, batch=16, rate=0.02, evaluations=4, rank=8)


@skill
def kind(words: str) -> Literal["fruit", "tool", "neither"]:
    """Name what the words are of."""


@pytest.fixture(scope="module")
def examples():
    draw = random.Random(2)
    found = []
    for _ in range(120):
        label = draw.choice(["fruit", "tool"])
        found.append((" ".join(draw.choices(WORDS[label], k=3)), label))
    return found


@pytest.fixture(scope="module")
def tuned(tiny, examples, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned") / "kind"
    return tune(kind, examples, to=folder, model=tiny, settings=SETTINGS)


def answers(model, rows):
    async def ask():
        return await asyncio.gather(*(model.complete(kind.request(row)) for row in rows))

    return [one.text for one in asyncio.run(ask())]


def test_the_engine_answers_as_it_was_trained(tuned, tiny):
    rows = ["apple fig plum", "saw file drill", "plum plum apple", "drill plane saw"]
    with tuned.model(context=1024) as model:
        assert answers(model, rows) == ["fruit", "tool", "fruit", "tool"]
    assert set(answers(tiny, rows)) != {"fruit", "tool"} or answers(tiny, rows) != [
        "fruit",
        "tool",
        "fruit",
        "tool",
    ]
    assert tuned.history.evaluations[-1].exact > 0.9
    assert tuned.agreement.holds
    assert tuned.facts["learned"] + tuned.facts["checked"] == 120
    names = {one.name for one in tuned.folder.iterdir()}
    assert names == {
        "adapter.gguf",
        "adapter_model.safetensors",
        "adapter_config.json",
        "tuned.json",
    }


def test_what_is_done_is_not_done_again(tuned, tiny, examples):
    seen = []
    again = tune(
        kind,
        examples,
        to=tuned.folder,
        model=tiny,
        settings=SETTINGS,
        tell=lambda stage, _: seen.append(stage),
    )
    assert seen == []
    assert again == tuned
    with pytest.raises(ModelFileError, match="something else"):
        tune(kind, examples, to=tuned.folder, model=tiny, settings=replace(SETTINGS, seed=9))


@pytest.mark.parametrize("stage", ["reading", "training", "writing", "comparing"])
def test_a_killed_run_ends_with_the_same_adapter(tuned, tiny, examples, tmp_path, stage):
    def kill(at, progress):
        if at == stage and (progress is None or progress.done == 20):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(kind, examples, to=tmp_path, model=tiny, settings=SETTINGS, tell=kill)
    again = tune(kind, examples, to=tmp_path, model=tiny, settings=SETTINGS)
    assert again.facts["adapter"] == tuned.facts["adapter"]
    assert again.history.losses == tuned.history.losses
    assert not (tmp_path / "checkpoint.pt").exists()


def test_an_adapter_that_is_not_what_was_trained_is_seen(tiny_path, tiny, examples, tmp_path):
    texts, fixed = lessons(kind, examples[:8], model=tiny)
    network = LlamaNetwork(Weights(tiny_path))
    factors = network.adapt(rank=4, scale=2.0, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for _, up in factors.values():
            up.normal_(std=0.05)
    path = tmp_path / "adapter.gguf"

    def compared(**changed):
        shape = replace(network.shape, **changed.pop("shape", {}))
        write_gguf(factors, path, **{"shape": shape, "scale": 2.0, "name": "x", **changed})
        return agreement(network, texts, model=tiny_path, adapter=path, fixed=fixed)

    assert compared().holds
    assert not compared(scale=1.0).holds
    # Rows of queries and keys as they are in the network, not as llama.cpp wants them.
    assert not compared(shape={"heads": 1, "key_heads": 1}).holds


def test_what_cannot_be_learned_is_refused(tiny, examples, tmp_path):
    with pytest.raises(InputError, match="Example 1"):
        tune(kind, [("a saw", "vegetable")], to=tmp_path, model=tiny)
    with pytest.raises(InputError, match="too few"):
        tune(kind, examples[:1], to=tmp_path, model=tiny)


def test_an_input_is_learned_or_checked_with_but_not_both(tiny, examples, tmp_path):
    from hetagent.learn.tune.run import _held_out

    learn, held = _held_out(kind, examples * 3, seed=0)
    assert held
    assert not {row for row, _ in learn} & {row for row, _ in held}
    assert _held_out(kind, examples * 3, seed=0) == (learn, held)
    assert _held_out(kind, examples * 3, seed=1) != (learn, held)
