"""A tiny recurrent model with random weights: Mamba, as llama.cpp reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter

WIDTH, INNER, STATE, CONVOLUTION, RANK, LAYERS = 64, 128, 16, 4, 8, 2


def write_recurrent(base: Path, target: Path) -> Path:
    """Write a model that has the tokens of another.

    Args:
        base: A model's GGUF, for its tokens and chat template.
        target: The file to write.
    """
    reader = GGUFReader(base)
    writer = GGUFWriter(target, "mamba")
    for name, field in reader.fields.items():
        if name.startswith("tokenizer."):
            kind = field.types[0]
            items = field.types[-1] if kind == GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), kind, sub_type=items)
    writer.add_context_length(2048)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(LAYERS)
    writer.add_ssm_conv_kernel(CONVOLUTION)
    writer.add_ssm_inner_size(INNER)
    writer.add_ssm_state_size(STATE)
    writer.add_ssm_time_step_rank(RANK)
    writer.add_layer_norm_rms_eps(1e-5)
    random = np.random.default_rng(3)

    def add(name: str, *shape: int, scale: float = 0.3) -> None:
        writer.add_tensor(name, random.normal(0, scale, shape).astype(np.float32))

    vocabulary = len(reader.fields["tokenizer.ggml.tokens"].data)
    add("token_embd.weight", vocabulary, WIDTH, scale=1.0)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        writer.add_tensor(f"{block}attn_norm.weight", np.ones(WIDTH, np.float32))
        add(f"{block}ssm_in.weight", 2 * INNER, WIDTH)
        add(f"{block}ssm_conv1d.weight", INNER, CONVOLUTION)
        add(f"{block}ssm_conv1d.bias", INNER)
        add(f"{block}ssm_x.weight", RANK + 2 * STATE, INNER)
        add(f"{block}ssm_dt.weight", INNER, RANK)
        add(f"{block}ssm_dt.bias", INNER)
        decay = -np.tile(np.arange(1, STATE + 1, dtype=np.float32), (INNER, 1))
        writer.add_tensor(f"{block}ssm_a", decay)
        writer.add_tensor(f"{block}ssm_d", np.ones(INNER, np.float32))
        add(f"{block}ssm_out.weight", WIDTH, INNER)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target
