"""LoRA adapters with random weights, written as llama.cpp reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFWriter


def write_adapter(base: Path, target: Path, *, rank: int = 4, architecture: str = "") -> Path:
    """An adapter of the attention queries and the values of every layer.

    Args:
        base: The model's GGUF, for its architecture and shapes.
        target: The file to write.
        rank: Of the two factors.
        architecture: Instead of the model's own, for an adapter that does not fit.
    """
    reader = GGUFReader(base)
    field = reader.get_field("general.architecture")
    assert field is not None
    writer = GGUFWriter(target, architecture or str(field.contents()))
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(rank))
    random = np.random.default_rng(0)
    for tensor in reader.tensors:
        if not tensor.name.endswith(("attn_q.weight", "attn_v.weight")):
            continue
        inputs, outputs = (int(size) for size in tensor.shape)
        down = random.normal(0, 0.2, (rank, inputs)).astype(np.float32)
        up = random.normal(0, 0.2, (outputs, rank)).astype(np.float32)
        writer.add_tensor(f"{tensor.name}.lora_a", down)
        writer.add_tensor(f"{tensor.name}.lora_b", up)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target
