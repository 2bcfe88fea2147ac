"""Models in GGUF files, run on this machine by llama.cpp."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from hetagent.errors import ModelError, ModelFileError
from hetagent.models.base import Completion, Request

if TYPE_CHECKING:
    from hetagent.engine.decode import Decoder
    from hetagent.engine.llama import FlashAttention, KvType, LlamaContext, LlamaWeights

__all__ = ["LlamaCpp"]

DEFAULT_CONTEXT = 4096


class LlamaCpp:
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
        adapters: Mapping[str | os.PathLike[str], float] | list[str | os.PathLike[str]] | None = None,
        flash_attention: FlashAttention = "auto",
        kv_type: KvType = "f16",
        chat_template: str | None = None,
        progress: bool | None = None,
    ) -> None:
        from hetagent.models.fetch import resolve

        if context < 1:
            raise ModelError(f"context is {context}.", hint="Give at least 1 token.")
        self.path: Path = resolve(os.fspath(model), progress=progress)
        self._name = os.fspath(model) if self.path.name not in os.fspath(model) else self.path.stem
        _check_header(self.path)
        named = adapters if isinstance(adapters, Mapping) else dict.fromkeys(adapters or (), 1.0)
        self._adapters = {Path(path): float(scale) for path, scale in named.items()}
        for path in self._adapters:
            _check_header(path)
        self._context_length = context
        self._threads = threads or _cpus()
        self._gpu_layers = gpu_layers
        self._flash_attention = flash_attention
        self._kv_type = kv_type
        self._template = chat_template
        # One thread owns the weights and the cache; requests queue for it.
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hetagent-llama")
        self._weights: LlamaWeights | None = None
        self._context: LlamaContext | None = None
        self._decoder: Decoder | None = None

    @property
    def name(self) -> str:
        """The catalogue name, hub reference or file name without its ending."""
        return self._name

    def __repr__(self) -> str:
        return f"LlamaCpp({self._name!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load(self) -> Self:
        """Load the weights now instead of at the first call.

        Raises:
            BackendError: The installed llama.cpp cannot run on this machine.
            ModelFileError: llama.cpp refuses the file.
        """
        self._worker.submit(self._load).result()
        return self

    def close(self) -> None:
        """Free the weights; later calls fail."""
        if self._worker._shutdown:
            return
        self._worker.submit(self._free).result()
        self._worker.shutdown()

    async def complete(self, request: Request) -> Completion:
        """Answer a request; see `hetagent.models.base.Model.complete`."""
        cancelled = threading.Event()
        asked = time.perf_counter()

        def work() -> Completion:
            began = time.perf_counter()
            completion = self._load().complete(request, cancelled=cancelled)
            queued = {"queue": began - asked, **completion.seconds}
            return replace(completion, seconds=queued)

        try:
            future = asyncio.get_running_loop().run_in_executor(self._worker, work)
        except RuntimeError as error:
            raise ModelError(f"{self._name} is closed.", hint="Make a new LlamaCpp.") from error
        try:
            return await future
        except asyncio.CancelledError:
            cancelled.set()
            raise

    def _load(self) -> Decoder:
        if self._decoder is None:
            from hetagent.engine.chat import ChatTokenizer
            from hetagent.engine.decode import Decoder
            from hetagent.engine.llama import LlamaContext, LlamaVocabulary, LlamaWeights
            from hetagent.engine.probe import require

            extra_buffers = require(self.path, gpu_layers=self._gpu_layers)
            self._weights = LlamaWeights(
                self.path, gpu_layers=self._gpu_layers, extra_buffers=extra_buffers
            )
            self._context = LlamaContext(
                self._weights,
                context=min(self._context_length, self._weights.context_length),
                threads=self._threads,
                flash_attention=self._flash_attention,
                kv_type=self._kv_type,
                adapters=self._adapters,
            )
            vocabulary = LlamaVocabulary(self._weights)
            template = self._template or self._weights.template
            chat = ChatTokenizer(vocabulary, template=template, name=self._name)
            self._decoder = Decoder(
                self._context, vocabulary=vocabulary, chat=chat, name=self._name
            )
        return self._decoder

    def _free(self) -> None:
        self._decoder = None
        for part in (self._context, self._weights):
            if part is not None:
                part.close()
        self._context = self._weights = None


def _check_header(path: Path) -> None:
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ModelFileError(
            f"{path} cannot be read: {error.strerror or error}.",
            hint="Check the path, or name a model of `hetagent models list`.",
        ) from error
    if magic != b"GGUF":
        raise ModelFileError(
            f"{path} is not a GGUF file.",
            hint="llama.cpp needs weights in GGUF; other formats run with Transformers(...).",
        )


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
