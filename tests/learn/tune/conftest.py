"""A tiny network with random weights, as a GGUF file would give them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hetagent.learn.tune.weights import Shape

SHAPE = Shape(
    architecture="llama",
    layers=2,
    width=32,
    heads=4,
    key_heads=2,
    head=8,
    context=128,
    epsilon=1e-5,
    base=10_000.0,
)
VOCABULARY, FEED = 61, 48


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Two processes whose threads wait for one another on two cores take many times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Made(dict):
    """Weights by name, with a shape."""

    shape = SHAPE


@pytest.fixture
def weights_of():
    """Makes weights; ``qwen`` gives the layers biases and norms of queries and keys."""

    def make(*, qwen=False):
        draw = np.random.default_rng(5)

        def matrix(*size):
            return (draw.standard_normal(size) * size[-1] ** -0.5).astype(np.float32)

        found = Made()
        if qwen:
            found.shape = replace(SHAPE, architecture="qwen3")
        shape = found.shape
        found["token_embd.weight"] = matrix(VOCABULARY, shape.width)
        found["output_norm.weight"] = 1 + matrix(shape.width)
        for number in range(shape.layers):
            block = {
                "attn_norm": 1 + matrix(shape.width),
                "attn_q": matrix(shape.heads * shape.head, shape.width),
                "attn_k": matrix(shape.key_heads * shape.head, shape.width),
                "attn_v": matrix(shape.key_heads * shape.head, shape.width),
                "attn_output": matrix(shape.width, shape.heads * shape.head),
                "ffn_norm": 1 + matrix(shape.width),
                "ffn_gate": matrix(FEED, shape.width),
                "ffn_up": matrix(FEED, shape.width),
                "ffn_down": matrix(shape.width, FEED),
            }
            for name, rows in block.items():
                found[f"blk.{number}.{name}.weight"] = rows
            if qwen:
                found[f"blk.{number}.attn_q_norm.weight"] = 1 + matrix(shape.head)
                found[f"blk.{number}.attn_k_norm.weight"] = 1 + matrix(shape.head)
                for name in ("attn_q", "attn_k", "attn_v"):
                    size = len(found[f"blk.{number}.{name}.weight"])
                    found[f"blk.{number}.{name}.bias"] = matrix(size)
        return found

    return make
