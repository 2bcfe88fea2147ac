"""A merged model computes what its base does with the adapter."""

import numpy as np
import pytest
import torch

from hetagent.engine.raw import raw_logits
from hetagent.errors import ModelFileError, UnknownModelError
from hetagent.learn.tune.adapter import write_gguf
from hetagent.learn.tune.llama import LlamaNetwork
from hetagent.learn.tune.merge import merge
from hetagent.learn.tune.weights import Weights

TEXTS = [[1, 40, 300, 7], [1, 99, 12]]


@pytest.fixture
def adapter(tiny_path, tmp_path):
    network = LlamaNetwork(Weights(tiny_path))
    factors = network.adapt(rank=4, scale=2.0, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for _, up in factors.values():
            up.normal_(std=0.1, generator=torch.Generator().manual_seed(2))
    path = tmp_path / "adapter.gguf"
    write_gguf(factors, path, shape=network.shape, scale=2.0, name="x")
    return path


@pytest.mark.parametrize(("kind", "most"), [("f32", 0.01), ("q8_0", 0.1)])
def test_it_computes_the_same(tiny_path, adapter, tmp_path, kind, most):
    seen = []
    path = merge(
        tiny_path,
        adapter,
        to=tmp_path / "merged.gguf",
        kind=kind,
        on_progress=lambda done, total: seen.append((done, total)),
    )
    expected = raw_logits(tiny_path, TEXTS, adapter=adapter, threads=1)
    bare = raw_logits(tiny_path, TEXTS, threads=1)
    found = raw_logits(path, TEXTS, threads=1)
    for one, wanted, without in zip(found, expected, bare, strict=True):
        size = np.sqrt(np.mean(wanted**2))
        assert np.sqrt(np.mean((one - wanted) ** 2)) < most * size
        assert np.sqrt(np.mean((without - wanted) ** 2)) > 0.2 * size
    assert seen[-1][0] == seen[-1][1] > 0
    assert sorted(one.name for one in tmp_path.iterdir()) == ["adapter.gguf", "merged.gguf"]


def test_what_does_not_fit_is_refused(tiny_path, smol_path, adapter, tmp_path):
    target = tmp_path / "merged.gguf"
    with pytest.raises(ModelFileError, match="another model"):
        merge(smol_path, adapter, to=target)
    with pytest.raises(ModelFileError, match="no LoRA adapter"):
        merge(tiny_path, tiny_path, to=target)
    with pytest.raises(UnknownModelError):
        merge(tiny_path, adapter, to=target, kind="q3")
    with pytest.raises(ModelFileError, match="cannot be read"):
        merge(tiny_path, tmp_path / "none.gguf", to=target)
    target.write_text("mine")
    with pytest.raises(ModelFileError, match="exists"):
        merge(tiny_path, adapter, to=target)
    assert target.read_text() == "mine"
    assert not [one for one in tmp_path.iterdir() if one.name.startswith(".")]
