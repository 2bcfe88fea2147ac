"""Requests answered one at a time by llama.cpp: one sequence, no batching, no cached prefix."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hetagent import LlamaCpp
from hetagent.engine.library import llama_cpp
from hetagent.engine.serial import run
from hetagent.models.base import Completion, Request
from tests.support.reference import Reference


class Alone:
    """Answers what a `LlamaCpp` is asked, without its scheduler; see `serial.Evaluator`.

    Args:
        path: The model's file.
        context: Tokens of prompt and answer.
    """

    def __init__(self, path: Path, *, context: int = 1024) -> None:
        self._reference = Reference(path)
        self._lib = llama_cpp()
        params = self._lib.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = context
        params.n_threads = params.n_threads_batch = 2
        params.type_k = params.type_v = 0  # F32
        params.flash_attn_type = 0
        self._context = self._lib.llama_init_from_model(self._reference.model, params)
        assert self._context
        self._memory = self._lib.llama_get_memory(self._context)
        self._text: list[int] = []

    def close(self) -> None:
        self._lib.llama_free(self._context)
        self._reference.close()

    def complete(
        self, model: LlamaCpp, request: Request, *, adapters: Sequence[tuple[Path, float]] = ()
    ) -> Completion:
        """What the model should answer."""
        self._use(adapters)
        assert model._decoder is not None
        decoding = model._decoder.begin(request)
        return run(decoding, self, check=lambda: None)

    def start(self, tokens: Sequence[int]) -> Any:
        self._lib.llama_memory_clear(self._memory, True)
        self._text = []
        return self.extend(tokens)

    def extend(self, tokens: Sequence[int]) -> Any:
        logits = self._evaluate(tokens, len(self._text))
        self._text += tokens
        return logits

    def branch(self, paths: Sequence[Sequence[int]]) -> list[Any]:
        found = []
        for path in paths:
            found.append(self._evaluate(path, len(self._text)))
            if not self._lib.llama_memory_seq_rm(self._memory, 0, len(self._text), -1):
                self.start(list(self._text))  # a recurrent state cannot be taken back
        return found

    def _evaluate(self, tokens: Sequence[int], position: int) -> Any:
        batch = self._lib.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for index, token in enumerate(tokens):
            batch.token[index] = token
            batch.pos[index] = position + index
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = 0
            batch.logits[index] = index == len(tokens) - 1
        try:
            assert self._lib.llama_decode(self._context, batch) == 0
        finally:
            self._lib.llama_batch_free(batch)
        pointer = self._lib.llama_get_logits_ith(self._context, -1)
        size = self._reference.size
        return np.ctypeslib.as_array(pointer, shape=(size,)).astype(np.float32)

    def _use(self, adapters: Sequence[tuple[Path, float]]) -> None:
        load: Callable[..., Any] = self._lib.llama_adapter_lora_init
        loaded = [load(self._reference.model, str(path).encode()) for path, _ in adapters]
        array = (self._lib.llama_adapter_lora_p_ctypes * len(loaded))(*loaded)
        scales = (ctypes.c_float * len(loaded))(*(scale for _, scale in adapters))
        assert not self._lib.llama_set_adapters_lora(self._context, array, len(loaded), scales)
