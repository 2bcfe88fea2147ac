"""The operations of a Llama-like network, with backward passes of their own.

PyTorch differentiates a network operation by operation. On a CPU most of that time goes to moving
activations through memory, so what belongs together is one operation here: a linear layer with its
low-rank terms is one product forward and one backward, and a norm or an activation keeps only what
its backward pass needs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

__all__ = ["adapted_linear", "gated", "normed"]


class _AdaptedLinear(Function):  # type: ignore[misc]
    """``y = x (W + s B A)ᵀ`` for blocks of W's rows, each with a pair (A, B) or none.

    The sum is made once for all tokens of a batch: at thousands of tokens it costs less than one
    percent of the product, while low-rank terms of their own would read and write every
    activation several times.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, scale: float, *factors: Tensor
    ) -> Tensor:
        merged = weight.clone()
        first = 0
        for down, up in zip(factors[::2], factors[1::2], strict=True):
            rows = merged[first : first + up.shape[0]]
            rows.addmm_(up.to(weight.dtype), down.to(weight.dtype), alpha=scale)
            first += up.shape[0]
        ctx.save_for_backward(x, merged, *factors)
        ctx.scale = scale
        return torch.nn.functional.linear(x, merged, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, merged, *factors = ctx.saved_tensors
        downs, ups = factors[::2], factors[1::2]
        grad_x = grad @ merged if ctx.needs_input_grad[0] else None
        rank_x = x @ torch.cat(list(downs)).to(x.dtype).T
        grads_rank, grads_up = [], []
        row = column = 0
        for down, up in zip(downs, ups, strict=True):
            block = grad[:, row : row + up.shape[0]]
            grads_rank.append(block @ up.to(x.dtype))
            low = rank_x[:, column : column + down.shape[0]]
            grads_up.append((block.T @ low).to(up.dtype).mul_(ctx.scale))
            row += up.shape[0]
            column += down.shape[0]
        grad_downs = (torch.cat(grads_rank, dim=1).T @ x).to(downs[0].dtype).mul_(ctx.scale)
        found: list[Tensor] = []
        column = 0
        for down, grad_up in zip(downs, grads_up, strict=True):
            found += [grad_downs[column : column + down.shape[0]], grad_up]
            column += down.shape[0]
        return grad_x, None, None, None, *found


def adapted_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, scale: float, factors: tuple[Tensor, ...]
) -> Tensor:
    """A frozen linear layer with low-rank terms; see Hu et al. 2021, arXiv 2106.09685.

    Args:
        x: Inputs, ``(tokens, in)``.
        weight: ``(out, in)``, frozen.
        bias: ``(out)``, frozen, or ``None``.
        scale: What the low-rank terms are multiplied by.
        factors: ``A`` ``(rank, in)`` and ``B`` ``(rows, rank)`` of each block of the weight's rows
            in turn; none where nothing is trained.

    Returns:
        ``(tokens, out)``.
    """
    if not factors:
        return torch.nn.functional.linear(x, weight, bias)
    found: Tensor = _AdaptedLinear.apply(x, weight, bias, scale, *factors)
    return found


class _Normed(Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        size = x.shape[-1]
        exact = torch.promote_types(x.dtype, torch.float32)
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=exact)
        inverse = (norm.square_().div_(size).add_(epsilon)).rsqrt_().to(x.dtype)
        unit = x * inverse
        ctx.save_for_backward(unit, inverse, weight)
        return unit * weight

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        unit, inverse, weight = ctx.saved_tensors
        scaled = grad * weight
        mean = torch.linalg.vecdot(scaled, unit).unsqueeze(-1).div_(unit.shape[-1])
        return scaled.addcmul_(unit, mean, value=-1).mul_(inverse), None, None


def normed(x: Tensor, weight: Tensor, *, epsilon: float) -> Tensor:
    """Root-mean-square norm over the last dimension; Zhang and Sennrich 2019, arXiv 1910.07467."""
    found: Tensor = _Normed.apply(x, weight, epsilon)
    return found


class _Gated(Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, both: Tensor) -> Tensor:
        gate, up = both.chunk(2, dim=-1)
        share = torch.sigmoid(gate)
        ctx.save_for_backward(both, share)
        return (share * gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        both, share = ctx.saved_tensors
        gate, up = both.chunk(2, dim=-1)
        found = torch.empty_like(both)
        grad_gate, grad_up = found.chunk(2, dim=-1)
        open_ = share * gate
        torch.mul(grad, open_, out=grad_up)
        # silu' = s + silu (1 - s)
        slope = torch.addcmul(open_ + share, open_, share, value=-1)
        torch.mul(grad, up, out=grad_gate)
        grad_gate.mul_(slope)
        return found


def gated(both: Tensor) -> Tensor:
    """``silu(gate) * up`` of ``(tokens, 2 width)``, the gate first; Shazeer 2020, 2002.05202."""
    found: Tensor = _Gated.apply(both)
    return found
