"""A model's logits for given tokens, as nothing has touched them: to compare it with others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hetagent.engine.context import Batch, ContextOptions, LlamaContext
from hetagent.engine.llama import LlamaWeights
from hetagent.engine.probe import require
from hetagent.engine.steps import Logits

__all__ = ["raw_logits"]


def raw_logits(
    model: Path,
    texts: Sequence[Sequence[int]],
    *,
    adapter: Path | None = None,
    threads: int,
    gpu_layers: int = 0,
) -> list[Logits]:
    """Logits after the last token of each text, evaluated one by one.

    Args:
        model: A GGUF file.
        texts: Tokens, at least one in each.
        adapter: LoRA weights to apply.
        threads: CPU threads.
        gpu_layers: Layers to keep on the GPU.

    Returns:
        For each text an array of shape ``[vocabulary]``.

    Raises:
        BackendError: llama.cpp does not run here.
        ModelFileError: llama.cpp refuses a file.
        ModelError: There is not enough memory.
    """
    verdict = require(model, gpu_layers=gpu_layers)
    weights = LlamaWeights(model, gpu_layers=gpu_layers, extra_buffers=verdict.extra_buffers)
    try:
        longest = max(map(len, texts))
        context = LlamaContext(
            weights, ContextOptions(cells=longest, batch=longest, threads=threads)
        )
        try:
            if adapter is not None:
                context.use_adapters([(weights.load_adapter(adapter), 1.0)])
            batch = Batch(longest)
            found = []
            for tokens in texts:
                batch.clear()
                batch.add_run(tokens, 0, [0])
                batch.want_last()
                context.submit(batch)
                found.append(np.array(context.logits(batch)[0]))
                context.drop(0)
            return found
        finally:
            context.close()
    finally:
        weights.close()
