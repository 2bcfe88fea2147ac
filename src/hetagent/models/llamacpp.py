"""Models in GGUF files, run on this machine by llama.cpp."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hetagent.errors import ModelError
from hetagent.models.local import LocalModel

if TYPE_CHECKING:
    from hetagent.engine.decode import Decoder
    from hetagent.engine.llama import FlashAttention, KvType

__all__ = ["LlamaCpp"]

DEFAULT_CONTEXT = 4096


class LlamaCpp(LocalModel):
    """A model in a GGUF file.

    The file is found, and fetched where it must be, when the object is made; the weights are loaded
    at the first call, or by `load`. Calls are answered one after another.

    Args:
        model: A catalogue name (``hetagent models list``), a path to a ``.gguf`` file, or a hub
            reference such as ``"owner/repository/file.gguf"``.
        context: Tokens of prompt and answer together; at most what the model was trained for.
        threads: CPU threads; by default one for each CPU this process may use.
        gpu_layers: Layers to keep on the GPU; -1 for all.
        adapters: LoRA adapters in GGUF, with the scale of each; or a sequence for a scale of 1.
        flash_attention: ``"auto"`` leaves it to llama.cpp.
        kv_type: Precision of the KV cache.
        chat_template: A Jinja chat template, instead of the file's own.
        progress: Whether to show a download's progress; by default on a terminal.

    Raises:
        UnknownModelError: No such catalogue name.
        ModelFileError: The file is missing or is not GGUF.
        DownloadError: It could not be fetched.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        context: int = DEFAULT_CONTEXT,
        threads: int | None = None,
        gpu_layers: int = 0,
        adapters: Mapping[str, float] | Sequence[str | os.PathLike[str]] = (),
        flash_attention: FlashAttention = "auto",
        kv_type: KvType = "f16",
        chat_template: str | None = None,
        progress: bool | None = None,
    ) -> None:
        from hetagent.models.fetch import resolve
        from hetagent.models.fetch_store import check_gguf

        _check_options(
            context=context >= 1,
            threads=threads is None or threads >= 1,
            flash_attention=flash_attention in ("auto", "on", "off"),
            kv_type=kv_type in ("f16", "f32"),
        )
        reference = os.fspath(model)
        self.path: Path = resolve(reference, progress=progress)
        is_path = reference.endswith(self.path.name)
        super().__init__(self.path.stem if is_path else reference)
        named = adapters if isinstance(adapters, Mapping) else dict.fromkeys(adapters, 1.0)
        self._adapters = {Path(path): float(scale) for path, scale in named.items()}
        for path in self._adapters:
            check_gguf(path)
        self._context_length = context
        self._threads = threads or _cpus()
        self._gpu_layers = gpu_layers
        self._flash_attention = flash_attention
        self._kv_type = kv_type
        self._template = chat_template

    def _open(self) -> tuple[Decoder, list[Callable[[], None]]]:
        from hetagent.engine.chat import ChatTokenizer
        from hetagent.engine.decode import Decoder
        from hetagent.engine.llama import LlamaContext, LlamaVocabulary, LlamaWeights
        from hetagent.engine.probe import require
        from hetagent.models.fetch_store import check_gguf

        check_gguf(self.path)  # it may have gone since this object was made
        extra_buffers = require(self.path, gpu_layers=self._gpu_layers)
        weights = LlamaWeights(self.path, gpu_layers=self._gpu_layers, extra_buffers=extra_buffers)
        try:
            context = LlamaContext(
                weights,
                context=min(self._context_length, weights.context_length),
                threads=self._threads,
                flash_attention=self._flash_attention,
                kv_type=self._kv_type,
                adapters=self._adapters,
            )
        except ModelError:
            weights.close()
            raise
        to_free = [context.close, weights.close]
        try:
            vocabulary = LlamaVocabulary(weights)
            chat = ChatTokenizer(
                vocabulary, template=self._template or weights.template, name=self.name
            )
            decoder = Decoder(context, vocabulary=vocabulary, chat=chat, name=self.name)
        except ModelError:
            for free in to_free:
                free()
            raise
        return decoder, to_free


def _check_options(**fine: bool) -> None:
    allowed = {
        "context": "at least 1 token",
        "threads": "at least 1",
        "flash_attention": "'auto', 'on' or 'off'",
        "kv_type": "'f16' or 'f32'",
    }
    for name, is_fine in fine.items():
        if not is_fine:
            raise ModelError(f"{name} is out of range.", hint=f"Give {allowed[name]}.")


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
