"""Attention of many short texts to the start that they share and to themselves."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from hetagent.learn.tune.kernels import turned

__all__ = ["Layout", "attended"]

# Weights of this many tokens' texts are kept for the backward pass; of longer texts they are made
# again there, for they grow with the square.
_KEPT = 256


class Layout(NamedTuple):
    """What the rows of a batch are.

    Attributes:
        fixed: Tokens of the shared start. They see themselves and what is before them; a text's
            tokens see all of them, and so of their own text.
        texts: How many texts follow, of equal length.
        heads: Of queries.
        groups: Of keys and values; each serves ``heads / groups`` heads.
    """

    fixed: int
    texts: int
    heads: int
    groups: int


def attended(qkv: Tensor, cosine: Tensor, sine: Tensor, layout: Layout) -> Tensor:
    """What each token takes from those it may see, by scaled dot products.

    Queries and keys are turned by their places first (Su et al. 2021, arXiv 2104.09864): a head's
    first half with its second.

    Args:
        qkv: ``(fixed + texts * length, heads + 2 groups, size)``: queries, keys, values.
        cosine: ``(fixed + length, size / 2)``: of each place.
        sine: The same.
        layout: What the rows are.

    Returns:
        ``(fixed + texts * length, heads * size)``.
    """
    found: Tensor = _Attended.apply(qkv, cosine, sine, layout)
    return found


class _Parts(NamedTuple):
    """Queries, keys and values, sorted for products; views where they are to be written.

    Attributes:
        q: ``(groups, texts, heads of a group, length, size)``.
        k: ``(groups, texts, length, size)``.
        v: ``(groups, texts, length, size)``.
    """

    q: Tensor
    k: Tensor
    v: Tensor


class _Attended(Function):  # type: ignore[misc]
    """The start's keys and values are multiplied with the queries of all texts at once."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, cosine: Tensor, sine: Tensor, layout: Layout) -> Tensor:
        fixed = layout.fixed
        start, own = _parts(qkv, layout)
        start = _turned(start, cosine[:fixed], sine[:fixed])
        own = _turned(own, cosine[fixed:], sine[fixed:])
        none = start.k[:, :, :0].squeeze(1), start.v[:, :, :0].squeeze(1)
        shared = start.k.squeeze(1), start.v.squeeze(1)
        result = qkv.new_empty(len(qkv), layout.heads * qkv.shape[-1])
        first, others = _taken_parts(result, layout)
        kept = []
        for part, before, out in ((start, none, first), (own, shared, others)):
            weights = _weights(part, before[0])
            out.copy_(_times(weights, before[1], part.v))
            kept.append(weights if part.k.shape[2] <= _KEPT else None)
        ctx.save_for_backward(*start, *own, *kept, cosine, sine)
        ctx.layout = layout
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        *parts, weights0, weights, cosine, sine = ctx.saved_tensors
        layout: Layout = ctx.layout
        start, own = _Parts(*parts[:3]), _Parts(*parts[3:])
        rows = layout.heads + 2 * layout.groups
        result = grad.new_empty(len(grad), rows, own.q.shape[-1])
        out0, out = _parts(result, layout)
        grad0, grads = (one.contiguous() for one in _taken_parts(grad, layout))
        shared = start.k.squeeze(1), start.v.squeeze(1)
        none = shared[0][:, :0], shared[1][:, :0]
        found, (keys0, values0) = _gradients(own, shared, weights, grads)
        _turn_back(found, out, cosine[layout.fixed :], sine[layout.fixed :])
        found, _ = _gradients(start, none, weights0, grad0)
        found.k.squeeze(1).add_(keys0)
        found.v.squeeze(1).add_(values0)
        _turn_back(found, out0, cosine[: layout.fixed], sine[: layout.fixed])
        return result, None, None, None


def _parts(qkv: Tensor, layout: Layout) -> tuple[_Parts, _Parts]:
    """Views of the start's rows and of the texts'."""
    heads, groups = layout.heads, layout.groups
    start, own = (
        _Parts(
            rows[:, :, :heads].unflatten(2, (groups, -1)).permute(2, 0, 3, 1, 4),
            rows[:, :, heads:-groups].permute(2, 0, 1, 3),
            rows[:, :, -groups:].permute(2, 0, 1, 3),
        )
        for rows in _split(qkv, layout)
    )
    return start, own


def _taken_parts(taken: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
    """Views of what the start's tokens take and the texts', in the layout of queries."""
    sizes = (layout.groups, layout.heads // layout.groups, -1)
    start, own = (rows.unflatten(2, sizes).permute(2, 0, 3, 1, 4) for rows in _split(taken, layout))
    return start, own


def _split(rows: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
    """The start, as of one text, and the texts."""
    own = rows[layout.fixed :].unflatten(0, (layout.texts, -1))
    return rows[: layout.fixed].unsqueeze(0), own


def _turned(parts: _Parts, cosine: Tensor, sine: Tensor) -> _Parts:
    """Contiguous, queries and keys turned."""
    q, k = (turned(one, cosine, sine) for one in (parts.q, parts.k))
    return _Parts(q, k, parts.v.contiguous())


def _turn_back(parts: _Parts, to: _Parts, cosine: Tensor, sine: Tensor) -> None:
    to.q.copy_(turned(parts.q, cosine, -sine))
    to.k.copy_(turned(parts.k, cosine, -sine))
    to.v.copy_(parts.v)


def _weights(parts: _Parts, keys0: Tensor) -> Tensor:
    """How much each query takes of the start's places and of its own text's."""
    q, fixed = parts.q, keys0.shape[1]
    length = q.shape[3]
    scores = q.new_empty(*q.shape[:4], fixed + length)
    if fixed:
        scores[..., :fixed] = (q.flatten(1, 3) @ keys0.mT).view(*q.shape[:4], fixed)
    scores[..., fixed:] = (q.flatten(2, 3) @ parts.k.mT).view(*q.shape[:4], length)
    later = torch.ones(length, fixed + length, dtype=torch.bool, device=q.device).triu(fixed + 1)
    exact = scores.to(torch.promote_types(q.dtype, torch.float32)) * q.shape[-1] ** -0.5
    return exact.masked_fill_(later, -torch.inf).softmax(-1).to(q.dtype)


def _times(weights: Tensor, shared: Tensor, own: Tensor) -> Tensor:
    """Weighted sums over the start's rows and the text's own."""
    fixed = shared.shape[1]
    found = (weights[..., fixed:].flatten(2, 3) @ own).unflatten(2, weights.shape[2:4])
    if fixed:
        found += (weights[..., :fixed].flatten(1, 3) @ shared).view_as(found)
    return found


def _gradients(
    parts: _Parts, shared: tuple[Tensor, Tensor], weights: Tensor | None, grad: Tensor
) -> tuple[_Parts, tuple[Tensor, Tensor]]:
    """Of the parts, and of the start's keys and values."""
    (q, k, v), (keys0, values0) = parts, shared
    if weights is None:
        weights = _weights(parts, keys0)
    fixed = keys0.shape[1]
    first, own = weights[..., :fixed], weights[..., fixed:]
    by_weight = torch.empty_like(weights)
    by_weight[..., :fixed] = (grad.flatten(1, 3) @ values0.mT).view_as(first)
    by_weight[..., fixed:] = (grad.flatten(2, 3) @ v.mT).view_as(own)
    by_score = torch._softmax_backward_data(by_weight, weights, -1, weights.dtype)
    by_score.mul_(q.shape[-1] ** -0.5)
    found = _Parts(
        _times(by_score, keys0, k),
        by_score[..., fixed:].flatten(2, 3).mT @ q.flatten(2, 3),
        own.flatten(2, 3).mT @ grad.flatten(2, 3),
    )
    keys0_grad = by_score[..., :fixed].flatten(1, 3).mT @ q.flatten(1, 3)
    return found, (keys0_grad, first.flatten(1, 3).mT @ grad.flatten(1, 3))
