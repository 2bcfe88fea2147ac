"""Tiny models with random weights, as llama.cpp reads them: a transformer and a recurrent one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter

WIDTH, LAYERS = 64, 2
HEADS, INNER_FEED = 4, 96
INNER, STATE, CONVOLUTION, RANK = 128, 16, 4, 8


class _Writer(GGUFWriter):
    """Writes a model that has the tokens of another."""

    def __init__(self, base: Path, target: Path, architecture: str) -> None:
        super().__init__(target, architecture)
        self._random = np.random.default_rng(3)
        fields = GGUFReader(base).fields
        for name, field in fields.items():
            if name.startswith("tokenizer."):
                kind = field.types[0]
                items = field.types[-1] if kind == GGUFValueType.ARRAY else None
                self.add_key_value(name, field.contents(), kind, sub_type=items)
        self.add_context_length(2048)
        self.add_embedding_length(WIDTH)
        self.add_block_count(LAYERS)
        self.add_layer_norm_rms_eps(1e-5)
        self.add("token_embd.weight", len(fields["tokenizer.ggml.tokens"].data), WIDTH, scale=1.0)
        self.add_ones("output_norm.weight")

    def add(self, name: str, *shape: int, scale: float = 0.3) -> None:
        self.add_tensor(name, self._random.normal(0, scale, shape).astype(np.float32))

    def add_ones(self, name: str, size: int = WIDTH) -> None:
        self.add_tensor(name, np.ones(size, np.float32))

    def write(self) -> None:
        self.write_header_to_file()
        self.write_kv_data_to_file()
        self.write_tensors_to_file()
        self.close()


def write_llama(base: Path, target: Path) -> Path:
    """A transformer with the tokens and the template of another model."""
    writer = _Writer(base, target, "llama")
    writer.add_feed_forward_length(INNER_FEED)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        writer.add_ones(f"{block}attn_norm.weight")
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add(f"{block}{name}.weight", WIDTH, WIDTH)
        writer.add_ones(f"{block}ffn_norm.weight")
        writer.add(f"{block}ffn_gate.weight", INNER_FEED, WIDTH)
        writer.add(f"{block}ffn_up.weight", INNER_FEED, WIDTH)
        writer.add(f"{block}ffn_down.weight", WIDTH, INNER_FEED)
    writer.write()
    return target


def write_mamba(base: Path, target: Path) -> Path:
    """A recurrent model with the tokens and the template of another model."""
    writer = _Writer(base, target, "mamba")
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_ssm_conv_kernel(CONVOLUTION)
    writer.add_ssm_inner_size(INNER)
    writer.add_ssm_state_size(STATE)
    writer.add_ssm_time_step_rank(RANK)
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        writer.add_ones(f"{block}attn_norm.weight")
        writer.add(f"{block}ssm_in.weight", 2 * INNER, WIDTH)
        writer.add(f"{block}ssm_conv1d.weight", INNER, CONVOLUTION)
        writer.add(f"{block}ssm_conv1d.bias", INNER)
        writer.add(f"{block}ssm_x.weight", RANK + 2 * STATE, INNER)
        writer.add(f"{block}ssm_dt.weight", INNER, RANK)
        writer.add(f"{block}ssm_dt.bias", INNER)
        decay = -np.tile(np.arange(1, STATE + 1, dtype=np.float32), (INNER, 1))
        writer.add_tensor(f"{block}ssm_a", decay)
        writer.add_ones(f"{block}ssm_d", INNER)
        writer.add(f"{block}ssm_out.weight", WIDTH, INNER)
    writer.write()
    return target
