"""The operations of a Llama-like network, with backward passes of their own.

PyTorch differentiates a network operation by operation. On a CPU most of that time goes to moving
activations through memory, so what belongs together is one operation here: a linear layer with its
low-rank terms is one product forward and one backward, and norms, gates and losses keep only what
their backward passes need. The passes over memory are fused where PyTorch can compile them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from hetagent.learn.tune.fusing import fused

__all__ = ["adapted_linear", "added_normed", "gated", "losses", "turned"]


class _AdaptedLinear(Function):  # type: ignore[misc]
    """``y = x (W + s B A)ᵀ`` for blocks of W's rows, each with a pair (A, B).

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


class _AddedNormed(Function):  # type: ignore[misc]
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, more: Tensor | None, weight: Tensor, epsilon: float
    ) -> tuple[Tensor, Tensor]:
        if more is None:
            total = x.view_as(x)
            unit, inverse = _norm(x, weight, epsilon)
        else:
            total, unit, inverse = _add_norm(x, more, weight, epsilon)
        ctx.save_for_backward(total, inverse, weight)
        ctx.adds = more is not None
        return total, unit

    @staticmethod
    def backward(ctx: Any, grad_total: Tensor, grad: Tensor) -> Any:
        found = _norm_back(grad_total, grad, *ctx.saved_tensors)
        return found, found if ctx.adds else None, None, None


def added_normed(
    x: Tensor, more: Tensor | None, weight: Tensor, *, epsilon: float
) -> tuple[Tensor, Tensor]:
    """A sum, and its root-mean-square norm; Zhang and Sennrich 2019, arXiv 1910.07467.

    Args:
        x: ``(…, size)``.
        more: What is added to it, or ``None``.
        weight: Of the norm, ``(size)``, frozen.
        epsilon: Added to the mean square.

    Returns:
        The sum and the norm of it, both ``(…, size)``.
    """
    total, unit = _AddedNormed.apply(x, more, weight, epsilon)
    return total, unit


@fused
def _norm(x: Tensor, weight: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    exact = x.to(torch.promote_types(x.dtype, torch.float32))
    inverse = torch.rsqrt(exact.square().mean(-1, keepdim=True) + epsilon)
    return (exact * inverse * weight).to(x.dtype), inverse


@fused
def _add_norm(
    x: Tensor, more: Tensor, weight: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    total = x + more
    exact = total.to(torch.promote_types(x.dtype, torch.float32))
    inverse = torch.rsqrt(exact.square().mean(-1, keepdim=True) + epsilon)
    return total, (exact * inverse * weight).to(x.dtype), inverse


@fused
def _norm_back(
    grad_total: Tensor, grad: Tensor, total: Tensor, inverse: Tensor, weight: Tensor
) -> Tensor:
    unit = total.to(inverse.dtype) * inverse
    scaled = grad.to(inverse.dtype) * weight
    back = (scaled - unit * (scaled * unit).mean(-1, keepdim=True)) * inverse
    return (grad_total + back).to(total.dtype)


class _Gated(Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, both: Tensor) -> Tensor:
        ctx.save_for_backward(both)
        found: Tensor = _gate(both)
        return found

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (both,) = ctx.saved_tensors
        return _gate_back(grad, both)


def gated(both: Tensor) -> Tensor:
    """``silu(gate) * up`` of ``(tokens, 2 width)``, the gate first; Shazeer 2020, 2002.05202."""
    found: Tensor = _Gated.apply(both)
    return found


@fused
def _gate(both: Tensor) -> Tensor:
    gate, up = both.chunk(2, dim=-1)
    return torch.nn.functional.silu(gate) * up


@fused
def _gate_back(grad: Tensor, both: Tensor) -> Tensor:
    exact = torch.promote_types(both.dtype, torch.float32)
    gate, up = (one.to(exact) for one in both.chunk(2, dim=-1))
    share = torch.sigmoid(gate)
    open_ = gate * share
    # silu' = s + silu (1 - s)
    slope = share + open_ * (1 - share)
    return torch.cat([(grad * up * slope).to(both.dtype), (grad * open_).to(both.dtype)], dim=-1)


@fused
def turned(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Pairs of a last dimension, the first half with the second, turned by angles; contiguous."""
    left, right = x.chunk(2, dim=-1)
    return torch.cat([left * cosine - right * sine, right * cosine + left * sine], dim=-1)


class _Losses(Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        found, total = _cross_entropy(logits, targets)
        ctx.save_for_backward(logits, targets, total)
        return found

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return _cross_entropy_back(grad, *ctx.saved_tensors), None


def losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each row, in nats, exact also where logits are rounded.

    Args:
        logits: ``(rows, vocabulary)``.
        targets: ``(rows)``.

    Returns:
        ``(rows)``, in float32 or better.
    """
    found: Tensor = _Losses.apply(logits, targets)
    return found


@fused
def _cross_entropy(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
    total = torch.logsumexp(exact, dim=-1, keepdim=True)
    return (total - exact.gather(1, targets[:, None])).squeeze(1), total


@fused
def _cross_entropy_back(grad: Tensor, logits: Tensor, targets: Tensor, total: Tensor) -> Tensor:
    shares = torch.exp(logits.to(total.dtype) - total)
    right = torch.arange(logits.shape[1], device=logits.device) == targets[:, None]
    return ((shares - right.to(total.dtype)) * grad[:, None]).to(logits.dtype)
