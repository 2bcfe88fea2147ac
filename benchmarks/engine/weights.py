"""The weights that every system loads: Q8_0 and F32 copies, and random LoRA adapters."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["adapter", "base_model", "requantized"]

MODEL = "smollm2-135m-instruct"
RANK = 16
# Scales the product of the two factors; small, so that answers stay answers.
SPREAD = 0.01
LINEAR = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


def folder() -> Path:
    """Where the copies are kept between runs."""
    from hetagent.paths import cache_dir

    path = cache_dir() / "benchmarks"
    path.mkdir(exist_ok=True)
    return path


def base_model() -> Path:
    """The catalogue's file."""
    from hetagent.models.fetch import resolve

    return resolve(MODEL)


def requantized(kind: str) -> Path:
    """The catalogue's model with its weights in ``"Q8_0"`` or ``"F32"``."""
    from hetagent.engine.quantize import requantise

    target = folder() / f"{MODEL}.{kind}.gguf"
    if not target.is_file():
        requantise(base_model(), target, kind=kind.lower())
    return target


def adapter(number: int) -> Path:
    """A LoRA adapter of all linear layers with small random weights; the same for each number."""
    target = folder() / f"{MODEL}.r{RANK}.{number}.lora.gguf"
    if not target.is_file():
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            fresh = Path(scratch) / target.name
            _write_adapter(fresh, np.random.default_rng(number))
            fresh.replace(target)
    return target


def _write_adapter(target: Path, random: np.random.Generator) -> None:
    from gguf import GGUFReader, GGUFWriter

    reader = GGUFReader(base_model())
    field = reader.get_field("general.architecture")
    if field is None:
        raise RuntimeError(f"{base_model().name} names no architecture")
    writer: Any = GGUFWriter(target, str(field.contents()))
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(RANK))
    for tensor in reader.tensors:
        name = tensor.name
        if not any(name.endswith(f"{part}.weight") for part in LINEAR):
            continue
        inputs, outputs = (int(size) for size in tensor.shape)
        down = random.normal(0, SPREAD, (RANK, inputs)).astype(np.float32)
        up = random.normal(0, SPREAD, (outputs, RANK)).astype(np.float32)
        writer.add_tensor(f"{name}.lora_a", down)
        writer.add_tensor(f"{name}.lora_b", up)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
