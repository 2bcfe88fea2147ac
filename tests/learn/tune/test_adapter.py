"""Adapters as files: rows in llama.cpp's order, and as peft loads them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hetagent.learn.tune.adapter import write_gguf, write_peft
from hetagent.learn.tune.batches import collated
from hetagent.learn.tune.llama import LlamaNetwork
from hetagent.learn.tune.weights import _halved, interleaved
from tests.learn.tune.conftest import SHAPE
from tests.learn.tune.test_llama import TEXTS, reference


@pytest.fixture
def network(weights_of):
    made = LlamaNetwork(weights_of(), dtype=torch.float64)
    factors = made.adapt(rank=2, scale=1.5, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for _, up in factors.values():
            up.normal_(std=0.2, generator=torch.Generator().manual_seed(2))
            up.copy_(up.half())  # as it is written
    for down, _ in factors.values():
        down.requires_grad_(False).copy_(down.half())
    return made, factors


@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 3))
def test_rows_are_put_in_order_and_back(heads, half, columns):
    rows = np.arange(heads * half * 2 * columns, dtype=np.float32).reshape(-1, columns)
    there = interleaved(rows, heads)
    assert np.array_equal(_halved(there, heads), rows)
    # Of each head the first row, and next to it the one half a head further.
    assert np.array_equal(there[0], rows[0])
    assert np.array_equal(there[1], rows[half])


def test_a_gguf_has_all_terms_under_their_names(network, tmp_path):
    from gguf import GGUFReader

    _, factors = network
    path = tmp_path / "adapter.gguf"
    write_gguf(factors, path, shape=SHAPE, scale=1.5, name="a skill")
    reader = GGUFReader(path)
    fields = {name: reader.fields[name].contents() for name in reader.fields if "." in name}
    assert fields["general.architecture"] == "llama"
    assert fields["adapter.type"] == "lora"
    assert fields["adapter.lora.alpha"] == 3.0
    tensors = {one.name: one.data for one in reader.tensors}
    assert set(tensors) == {f"{name}.lora_{part}" for name in factors for part in "ab"}
    name = "blk.1.attn_q.weight"
    up = factors[name][1].detach().numpy().astype(np.float16)
    assert np.array_equal(tensors[f"{name}.lora_b"], interleaved(up, SHAPE.heads))
    name = "blk.0.ffn_up.weight"
    assert np.array_equal(
        tensors[f"{name}.lora_b"], factors[name][1].detach().numpy().astype(np.float16)
    )
    assert not list(tmp_path.glob(".*"))


# peft 0.21 asks transformers 5 for something that has another name now.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
def test_peft_computes_the_same_with_it(network, weights_of, tmp_path):
    from peft import PeftModel

    made, factors = network
    write_peft(factors, tmp_path / "adapter", scale=1.5, base="tiny")
    theirs = PeftModel.from_pretrained(
        reference(weights_of(), qwen=False), tmp_path / "adapter"
    ).double()
    ours = made.predictions(collated(TEXTS[:1], fixed=3))
    one = TEXTS[0]
    with torch.no_grad():
        logits = theirs(torch.tensor([[*one.prompt, *one.answer]])).logits[0]
    first = len(one.prompt) - 1
    torch.testing.assert_close(ours, logits[[first, first + 2]], rtol=1e-4, atol=1e-4)
