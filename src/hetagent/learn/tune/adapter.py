"""Low-rank terms as files: GGUF for llama.cpp, safetensors as peft writes them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hetagent.learn.tune.weights import Shape, Weights, interleaved

__all__ = ["PEFT_NAMES", "base_name", "write_gguf", "write_peft"]

PEFT_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""Linear layers of a block: llama.cpp's names, and those of transformers and peft."""


def write_gguf(
    factors: Mapping[str, tuple[Tensor, Tensor]],
    path: Path,
    *,
    shape: Shape,
    scale: float,
    name: str,
) -> None:
    """Write an adapter as llama.cpp loads it, in float16; complete or not at all.

    Args:
        factors: ``A`` and ``B`` by the tensor's name.
        path: Where.
        shape: Of the network.
        scale: What the terms are multiplied by.
        name: Of the adapter.
    """
    from gguf import GGUFWriter

    rank = next(iter(factors.values()))[0].shape[0]
    partial = path.with_name(f".{path.name}.partial")
    writer: Any = GGUFWriter(partial, shape.architecture)
    writer.add_string("general.type", "adapter")
    writer.add_string("general.name", name)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", scale * rank)
    heads = {"attn_q": shape.heads, "attn_k": shape.key_heads} if shape.interleaves else {}
    for tensor, (down, up) in factors.items():
        rows = up.detach().cpu().numpy()
        if (count := heads.get(tensor.split(".")[2])) is not None:
            rows = interleaved(rows, count)
        writer.add_tensor(f"{tensor}.lora_a", down.detach().cpu().numpy().astype(np.float16))
        writer.add_tensor(f"{tensor}.lora_b", rows.astype(np.float16))
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_peft(
    factors: Mapping[str, tuple[Tensor, Tensor]], folder: Path, *, scale: float, base: str
) -> None:
    """Write an adapter as ``peft.PeftModel.from_pretrained`` loads it.

    Args:
        factors: ``A`` and ``B`` by the tensor's name.
        folder: Where; it is made.
        scale: What the terms are multiplied by.
        base: Name of the model that it was trained on.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    rank = next(iter(factors.values()))[0].shape[0]
    tensors = {}
    for tensor, (down, up) in factors.items():
        _, layer, part, _ = tensor.split(".")
        name = f"base_model.model.model.layers.{layer}.{PEFT_NAMES[part]}"
        tensors[f"{name}.lora_A.weight"] = down.detach().to("cpu", torch.float16).contiguous()
        tensors[f"{name}.lora_B.weight"] = up.detach().to("cpu", torch.float16).contiguous()
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": scale * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "target_modules": sorted({PEFT_NAMES[one.split(".")[2]].split(".")[1] for one in factors}),
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1) + "\n")


def base_name(weights: Weights) -> str:
    """What a file's metadata calls the model."""
    found = weights.metadata("general.name")
    return str(found) if found else weights.path.stem
