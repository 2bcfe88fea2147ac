"""The network computes what transformers computes from the same weights."""

import numpy as np
import pytest
import torch

from hetagent.learn.tune.batches import Text, collated
from hetagent.learn.tune.llama import LlamaNetwork
from tests.learn.tune.conftest import FEED, SHAPE, VOCABULARY

THEIRS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
TEXTS = [
    Text((7, 8, 9, 20, 21), (30, 31, 32), (True, False, True)),
    Text((7, 8, 9, 22), (33, 34), (True, True)),
    Text((7, 8, 9, 23, 24, 25, 26), (35,), (True,)),
]


def reference(weights, *, qwen):
    """The same weights in transformers, in float64."""
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

    options = {
        "vocab_size": VOCABULARY,
        "hidden_size": SHAPE.width,
        "intermediate_size": FEED,
        "num_hidden_layers": SHAPE.layers,
        "num_attention_heads": SHAPE.heads,
        "num_key_value_heads": SHAPE.key_heads,
        "head_dim": SHAPE.head,
        "rms_norm_eps": SHAPE.epsilon,
        "rope_parameters": {"rope_type": "default", "rope_theta": SHAPE.base},
        "tie_word_embeddings": True,
        "attention_bias": qwen,
    }
    made = (
        Qwen3ForCausalLM(Qwen3Config(**options))
        if qwen
        else LlamaForCausalLM(LlamaConfig(**options))
    )
    state = {
        "model.embed_tokens.weight": weights["token_embd.weight"],
        "lm_head.weight": weights["token_embd.weight"],
        "model.norm.weight": weights["output_norm.weight"],
    }
    for name, rows in weights.items():
        if name.startswith("blk."):
            _, layer, part, kind = name.split(".")
            state[f"model.layers.{layer}.{THEIRS[part]}.{kind}"] = rows
    if qwen:
        for layer in range(SHAPE.layers):
            state[f"model.layers.{layer}.self_attn.o_proj.bias"] = np.zeros(SHAPE.width)
    made.load_state_dict({name: torch.tensor(rows) for name, rows in state.items()})
    return made.double()


@pytest.mark.parametrize("qwen", [False, True], ids=["llama", "qwen"])
def test_predictions_are_those_of_whole_texts_in_transformers(weights_of, qwen):
    weights = weights_of(qwen=qwen)
    ours = LlamaNetwork(weights, dtype=torch.float64).predictions(collated(TEXTS, fixed=3))
    theirs = reference(weights, qwen=qwen)
    rows = []
    for one in TEXTS:
        with torch.no_grad():
            logits = theirs(torch.tensor([[*one.prompt, *one.answer]])).logits[0]
        first = len(one.prompt) - 1
        rows += [logits[first + place] for place, free in enumerate(one.free) if free]
    torch.testing.assert_close(ours, torch.stack(rows), rtol=1e-5, atol=1e-5)


def test_terms_begin_without_effect_and_then_have_one(weights_of):
    network = LlamaNetwork(weights_of(), dtype=torch.float64)
    batch = collated(TEXTS, fixed=3)
    before = network.predictions(batch)
    factors = network.adapt(rank=2, scale=1.0, generator=torch.Generator().manual_seed(1))
    assert len(factors) == 7 * SHAPE.layers
    torch.testing.assert_close(network.predictions(batch), before)
    with torch.no_grad():
        for _, up in factors.values():
            up.normal_()
    assert (network.predictions(batch) - before).abs().max() > 0.01
    with network.without_factors():
        torch.testing.assert_close(network.predictions(batch), before)


def test_gradients_of_the_terms_are_those_of_differences(weights_of):
    network = LlamaNetwork(weights_of(), dtype=torch.float64)
    factors = network.adapt(rank=2, scale=0.5, generator=torch.Generator().manual_seed(1))
    batch = collated(TEXTS, fixed=3)
    generator = torch.Generator().manual_seed(2)
    parameters = []
    for name, pair in factors.items():
        made = tuple(one.detach().double() for one in pair)
        made[1].normal_(generator=generator)
        factors[name] = tuple(one.requires_grad_() for one in made)
        parameters += factors[name]

    def loss():
        return torch.nn.functional.cross_entropy(network.predictions(batch), batch.targets)

    loss().backward()
    for one in parameters[::5]:
        way = torch.randn(one.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            one.add_(way, alpha=1e-4)
            up = loss()
            one.add_(way, alpha=-2e-4)
            down = loss()
            one.add_(way, alpha=1e-4)
        assert (one.grad * way).sum().item() == pytest.approx(
            (up - down).item() / 2e-4, rel=1e-3, abs=1e-6
        )
