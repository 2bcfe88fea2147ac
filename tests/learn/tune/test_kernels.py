"""Each operation's value and gradients are those of PyTorch's own operations."""

import pytest
import torch
from torch.nn.functional import cross_entropy, linear, scaled_dot_product_attention, silu

from hetagent.learn.tune import attention
from hetagent.learn.tune.attention import Layout, attended
from hetagent.learn.tune.kernels import adapted_linear, added_normed, gated, losses


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(3)


def doubles(*size, grad=True):
    return torch.randn(*size, dtype=torch.float64, requires_grad=grad)


def same(ours, plain, inputs):
    """Compare values and gradients of two functions of the same inputs."""
    out, expected = ours(), plain()
    torch.testing.assert_close(out, expected)
    weight = torch.randn_like(expected)
    for one, other in zip(
        torch.autograd.grad((out * weight).sum(), inputs),
        torch.autograd.grad((expected * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_a_linear_layer_with_low_rank_terms_for_blocks_of_its_rows():
    x, weight, bias = doubles(7, 6), doubles(5, 6, grad=False), doubles(5, grad=False)
    a1, b1, a2, b2 = doubles(2, 6), doubles(3, 2), doubles(2, 6), doubles(2, 2)

    def plain():
        whole = weight + 0.7 * torch.cat([b1 @ a1, b2 @ a2])
        return linear(x, whole, bias)

    same(
        lambda: adapted_linear(x, weight, bias, scale=0.7, factors=(a1, b1, a2, b2)),
        plain,
        (x, a1, b1, a2, b2),
    )


def test_a_layer_without_terms_is_a_plain_one():
    x, weight = doubles(7, 6), doubles(5, 6, grad=False)
    torch.testing.assert_close(
        adapted_linear(x, weight, None, scale=1.0, factors=()), linear(x, weight)
    )


@pytest.mark.parametrize("adds", [True, False])
def test_a_sum_and_its_norm(adds):
    x, more, weight = doubles(4, 3, 8), doubles(4, 3, 8), doubles(8, grad=False)

    def both(total, unit):
        return torch.cat([total.sin(), unit.cos()])

    def plain():
        total = x + more if adds else x
        return both(total, total / (total.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight)

    inputs = (x, more) if adds else (x,)
    same(
        lambda: both(*added_normed(x, more if adds else None, weight, epsilon=1e-5)), plain, inputs
    )


def test_losses():
    logits, targets = doubles(5, 11), torch.tensor([0, 3, 10, 3, 7])
    same(
        lambda: losses(logits, targets),
        lambda: cross_entropy(logits, targets, reduction="none"),
        (logits,),
    )
    rounded = logits.detach().bfloat16()
    expected = cross_entropy(rounded.float(), targets, reduction="none")
    torch.testing.assert_close(losses(rounded, targets), expected)


def test_a_gate():
    both = doubles(5, 12)
    same(lambda: gated(both), lambda: silu(both[:, :6]) * both[:, 6:], (both,))


@pytest.mark.parametrize("kept", [256, 0], ids=["short texts", "long texts"])
@pytest.mark.parametrize("fixed", [0, 1, 3])
def test_texts_attend_to_the_shared_start_and_to_themselves(monkeypatch, kept, fixed):
    monkeypatch.setattr(attention, "_KEPT", kept)
    texts, length, heads, groups, size = 3, 4, 4, 2, 8
    qkv = doubles(fixed + texts * length, heads + 2 * groups, size)
    angles = torch.randn(fixed + length, size // 2, dtype=torch.float64)
    layout = Layout(fixed, texts, heads, groups)

    def plain():
        """Each text whole, with the start before it; turned as complex numbers are."""
        found = []
        turns = torch.polar(torch.ones_like(angles), angles)[:, None]
        for text in range(texts):
            own = range(fixed + text * length, fixed + (text + 1) * length)
            rows = qkv[[*range(fixed), *own]]
            turned = torch.complex(*rows[:, :-groups].chunk(2, dim=-1)) * turns
            turned = torch.cat([turned.real, turned.imag], dim=-1)
            parts = turned[:, :heads], turned[:, heads:], rows[:, -groups:]
            parts = (one.transpose(0, 1)[None] for one in parts)
            out = scaled_dot_product_attention(*parts, is_causal=True, enable_gqa=True)
            found.append(out[0].transpose(0, 1).flatten(1))
        return torch.cat([found[0][:fixed], *(one[fixed:] for one in found)])

    same(lambda: attended(qkv, angles.cos(), angles.sin(), layout), plain, (qkv,))
