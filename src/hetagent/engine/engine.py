"""A loaded model with its KV cache and scheduler, shared by all that ask for the same."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hetagent.engine.batching import Batcher, Limits
from hetagent.engine.context import SEQUENCES, ContextOptions, LlamaContext
from hetagent.engine.identity import build_identity, cpu_identity
from hetagent.engine.llama import LlamaVocabulary, LlamaWeights
from hetagent.engine.prefix_store import PrefixStore
from hetagent.engine.prefixes import Adapters
from hetagent.engine.probe import require
from hetagent.engine.scheduler import Scheduler
from hetagent.engine.space import Space
from hetagent.errors import ModelError

__all__ = ["Engine", "EngineOptions", "Lease", "acquire", "release"]

# Branches of one choice that are looked at in one evaluation.
_LEAVES = 96


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What two models must agree on to share an engine.

    Attributes:
        path: The GGUF file.
        file: What tells it from any other, also from one written in its place later.
        gpu_layers: Layers to keep on the GPU; -1 for all.
        capacity: Tokens of one prompt and its answer; at most what the model was trained for.
        parallel: Requests under way at once.
        queue: Requests that may wait.
        context: How the KV cache is made.
        store: Folder of stored prefixes; ``None`` for none.
    """

    path: Path
    file: tuple[Any, ...]
    gpu_layers: int
    capacity: int
    parallel: int
    queue: int
    context: ContextOptions
    store: Path | None


class Engine:
    """Weights, vocabulary, KV cache and scheduler of one model.

    Args:
        options: What to load, and how.

    Raises:
        ModelError: It cannot be loaded.
    """

    def __init__(self, options: EngineOptions) -> None:
        found = require(options.path, gpu_layers=options.gpu_layers)
        self._weights = LlamaWeights(
            options.path, gpu_layers=options.gpu_layers, extra_buffers=found.extra_buffers
        )
        context = options.context
        if context.flash_attention == "auto" and found.flash_attention is not None:
            context = replace(context, flash_attention=found.flash_attention)
        self.capacity = min(options.capacity, self._weights.context_length)
        try:
            self._context = LlamaContext(self._weights, context)
        except ModelError:
            self._weights.close()
            raise
        self.vocabulary = LlamaVocabulary(self._weights)
        self.template = self._weights.template
        space = Space(cells=options.context.cells, sequences=SEQUENCES)
        limits = Limits(
            batch=options.context.batch,
            chunk=max(1, options.context.batch // 2),
            leaves=_LEAVES,
            joins=not self._weights.recurrent,
            scans=context.flash_attention == "off" and options.gpu_layers == 0,
        )
        store = None
        if options.store is not None:
            model = self._identity(options, context, extra_buffers=found.extra_buffers)
            store = PrefixStore(options.store, model=model, name_adapters=_name_adapters)
        batcher = Batcher(self._context, space=space, limits=limits, store=store)
        self.scheduler = Scheduler(
            batcher, space=space, parallel=options.parallel, queue=options.queue
        )

    def adapters(self, scales: Sequence[tuple[Path, float]]) -> Adapters:
        """Load LoRA adapters.

        Raises:
            ModelFileError: One is not for this model.
        """
        return tuple((self._weights.load_adapter(path), scale) for path, scale in scales)

    def close(self) -> None:
        """Finish the requests that were taken, and free everything."""
        self.scheduler.close()
        self._context.close()
        self._weights.close()

    def _identity(
        self, options: EngineOptions, context: ContextOptions, *, extra_buffers: bool
    ) -> dict[str, Any]:
        """All that evaluated tokens depend on, besides adapters."""
        return {
            "build": build_identity(),
            "cpu": cpu_identity(),
            "weights": options.file,
            "gpu_layers": options.gpu_layers,
            "extra_buffers": extra_buffers,
            "flash_attention": context.flash_attention,
            "kv_type": context.kv_type,
        }


def _name_adapters(adapters: Adapters) -> Any:
    return [[adapter.identity, scale] for adapter, scale in adapters]


class _Shared:
    """An engine, and how many use it; loaded by the first."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.engine: Engine | None = None


_Key = tuple[int, EngineOptions]
_registry: dict[_Key, _Shared] = {}
_registry_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Lease:
    """The use of an engine, from `acquire` to `release`.

    Attributes:
        engine: What is used.
        key: The process that uses it, and its options.
    """

    engine: Engine
    key: _Key


def acquire(options: EngineOptions) -> Lease:
    """The engine of some options, loaded if nobody uses it yet; `release` it after use.

    Raises:
        ModelError: It cannot be loaded.
    """
    # A forked child has the parent's memory but none of its threads.
    key = (os.getpid(), options)
    with _registry_lock:
        shared = _registry.setdefault(key, _Shared())
        shared.users += 1
    try:
        with shared.lock:
            if shared.engine is None:
                shared.engine = Engine(options)
            return Lease(shared.engine, key)
    except BaseException:
        _leave(key)
        raise


def release(lease: Lease) -> None:
    """Give an engine back, once; the last user's call closes it.

    In a forked child this does nothing with what its parent acquired.
    """
    if lease.key[0] != os.getpid():
        return
    shared = _leave(lease.key)
    if shared is not None:
        with shared.lock:
            if shared.engine is not None:
                shared.engine.close()
                shared.engine = None


def _leave(key: _Key) -> _Shared | None:
    """Count a user less; what is left to close, if it was the last."""
    with _registry_lock:
        shared = _registry[key]
        shared.users -= 1
        if shared.users:
            return None
        del _registry[key]
        return shared
