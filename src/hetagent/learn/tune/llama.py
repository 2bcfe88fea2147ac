"""A Llama-like network for training on many short texts that begin alike.

All prompts of a skill share their first tokens. Those are evaluated once in a batch, and every
text attends to their keys and values: the same result, and the same gradients, as from whole texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding, linear

from hetagent.learn.tune.attention import Layout, attended
from hetagent.learn.tune.batches import Batch
from hetagent.learn.tune.kernels import adapted_linear, added_normed, gated
from hetagent.learn.tune.weights import Weights, frequencies

__all__ = ["LlamaNetwork", "parameters"]

Factors = dict[str, tuple[Tensor, Tensor]]


@dataclass(slots=True)
class _Block:
    """Weights of one layer; those that read the same input are one matrix."""

    attention_norm: Tensor
    qkv: Tensor
    qkv_bias: Tensor | None
    query_norm: Tensor | None
    key_norm: Tensor | None
    output: Tensor
    feed_norm: Tensor
    gate_up: Tensor
    down: Tensor


class LlamaNetwork:
    """The network of a GGUF file, dequantised and frozen, with trainable low-rank terms.

    Args:
        weights: The file.
        dtype: What it computes in.
        device: Where.
    """

    def __init__(
        self,
        weights: Weights,
        *,
        dtype: torch.dtype = torch.bfloat16,
        device: str | torch.device = "cpu",
    ) -> None:
        self.shape = weights.shape
        self.dtype = dtype
        self.device = torch.device(device)

        def load(*names: str) -> Tensor:
            rows = np.concatenate([weights[f"{name}"] for name in names])
            return torch.from_numpy(rows).to(self.device, dtype)

        def maybe(*names: str) -> Tensor | None:
            return load(*names) if names[0] in weights else None

        self._embedding = load("token_embd.weight")
        self._head = maybe("output.weight")
        self._norm = load("output_norm.weight")
        self._blocks = []
        for number in range(self.shape.layers):
            p = f"blk.{number}."
            qkv = [f"{p}attn_{one}" for one in "qkv"]
            self._blocks.append(
                _Block(
                    attention_norm=load(f"{p}attn_norm.weight"),
                    qkv=load(*(f"{one}.weight" for one in qkv)),
                    qkv_bias=maybe(*(f"{one}.bias" for one in qkv)),
                    query_norm=maybe(f"{p}attn_q_norm.weight"),
                    key_norm=maybe(f"{p}attn_k_norm.weight"),
                    output=load(f"{p}attn_output.weight"),
                    feed_norm=load(f"{p}ffn_norm.weight"),
                    gate_up=load(f"{p}ffn_gate.weight", f"{p}ffn_up.weight"),
                    down=load(f"{p}ffn_down.weight"),
                )
            )
        self._turns = torch.from_numpy(frequencies(weights, self.shape)).to(self.device)
        self._factors: Factors = {}
        self._scale = 0.0

    def adapt(self, *, rank: int, scale: float, generator: torch.Generator) -> Factors:
        """Put low-rank terms beside all linear layers: by tensor name, ``A`` and ``B``.

        ``B`` is zero, so that training begins with the network as it is.
        """
        self._scale = scale
        self._factors = {}
        for name, (rows, columns) in self._sizes():
            down = torch.empty(rank, columns).uniform_(-1, 1, generator=generator)
            down.mul_(columns**-0.5)
            up = torch.zeros(rows, rank)
            self._factors[name] = (
                down.to(self.device).requires_grad_(),
                up.to(self.device).requires_grad_(),
            )
        return self._factors

    @contextmanager
    def without_factors(self, bare: bool = True, /) -> Iterator[None]:
        """The network as it was before it was adapted, for a while."""
        kept = self._factors
        self._factors = {} if bare else kept
        try:
            yield
        finally:
            self._factors = kept

    def hidden(self, batch: Batch) -> Tensor:
        """States that the batch's targets are predicted from, ``(predictions, width)``."""
        fixed = len(batch.fixed)
        rows, length = batch.tokens.shape
        tokens = torch.cat([batch.fixed, batch.tokens.reshape(-1)]).to(self.device)
        angles = torch.arange(fixed + length, device=self.device)[:, None] * self._turns
        turns = angles.cos().to(self.dtype), angles.sin().to(self.dtype)
        layout = Layout(fixed, rows, self.shape.heads, self.shape.key_heads)
        wanted = batch.places.to(self.device) + fixed
        x, more = embedding(tokens, self._embedding), None
        for number, block in enumerate(self._blocks):
            x, inputs = self._normed(x, more, block.attention_norm)
            seen = self._attended(number, inputs, turns, layout)
            if number == len(self._blocks) - 1:  # of the last layer only these are looked at
                x, seen = x[wanted], seen[wanted]
            more = self._linear(number, block.output, seen, "attn_output")
            x, inputs = self._normed(x, more, block.feed_norm)
            both = self._linear(number, block.gate_up, inputs, "ffn_gate", "ffn_up")
            more = self._linear(number, block.down, gated(both), "ffn_down")
        return self._normed(x, more, self._norm)[1]

    def predictions(self, batch: Batch) -> Tensor:
        """Logits of the batch's targets, ``(predictions, vocabulary)``."""
        head = self._embedding if self._head is None else self._head
        return linear(self.hidden(batch), head)

    def _attended(
        self, number: int, inputs: Tensor, turns: tuple[Tensor, Tensor], layout: Layout
    ) -> Tensor:
        """What each token takes from those before it, ``(tokens, heads * head)``."""
        block = self._blocks[number]
        qkv = self._linear(
            number, block.qkv, inputs, "attn_q", "attn_k", "attn_v", bias=block.qkv_bias
        ).unflatten(1, (-1, self.shape.head))
        if block.query_norm is not None and block.key_norm is not None:
            queries, keys, values = qkv.split([layout.heads, layout.groups, layout.groups], dim=1)
            _, queries = self._normed(queries, None, block.query_norm)
            _, keys = self._normed(keys, None, block.key_norm)
            qkv = torch.cat([queries, keys, values], dim=1)
        return attended(qkv, *turns, layout)

    def _linear(
        self, number: int, weight: Tensor, x: Tensor, *names: str, bias: Tensor | None = None
    ) -> Tensor:
        found = [self._factors.get(f"blk.{number}.{name}.weight") for name in names]
        factors = tuple(one for pair in found if pair is not None for one in pair)
        return adapted_linear(x, weight, bias, scale=self._scale, factors=factors)

    def _normed(self, x: Tensor, more: Tensor | None, weight: Tensor) -> tuple[Tensor, Tensor]:
        return added_normed(x, more, weight, epsilon=self.shape.epsilon)

    def _sizes(self) -> Iterator[tuple[str, tuple[int, int]]]:
        shape = self.shape
        queries, keys = shape.heads * shape.head, shape.key_heads * shape.head
        for number, block in enumerate(self._blocks):
            width = block.down.shape[1]
            sizes: dict[str, tuple[int, int]] = {
                "attn_q": (queries, shape.width),
                "attn_k": (keys, shape.width),
                "attn_v": (keys, shape.width),
                "attn_output": (shape.width, queries),
                "ffn_gate": (width, shape.width),
                "ffn_up": (width, shape.width),
                "ffn_down": (shape.width, width),
            }
            yield from ((f"blk.{number}.{name}.weight", size) for name, size in sizes.items())


def parameters(factors: Factors) -> list[Any]:
    """The trainable tensors, in a fixed order."""
    return [one for pair in factors.values() for one in pair]
