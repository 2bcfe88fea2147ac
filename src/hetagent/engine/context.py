"""llama.cpp's KV cache: sequences that are forked, extended together in one batch, and dropped."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hetagent.engine.library import forget_words, last_words, llama_cpp
from hetagent.engine.llama import LlamaAdapter, LlamaWeights
from hetagent.engine.steps import Logits
from hetagent.errors import ModelError

__all__ = ["SEQUENCES", "Batch", "ContextOptions", "FlashAttention", "KvType", "LlamaContext"]

FlashAttention = Literal["auto", "on", "off"]
KvType = Literal["f16", "f32"]

SEQUENCES = 256
"""Sequences a context can tell apart (llama.cpp's own limit)."""

_LEAST_CELLS = 256
_FLASH = {"auto": -1, "off": 0, "on": 1}
_KV = {"f32": 0, "f16": 1}
_NO_ROOM = 1


@dataclass(frozen=True, slots=True)
class ContextOptions:
    """How a context is made.

    Attributes:
        cells: Tokens the KV cache holds, of all sequences together.
        batch: Tokens one evaluation may have.
        threads: CPU threads.
        flash_attention: ``"auto"`` leaves it to llama.cpp.
        kv_type: Precision of the cache.
    """

    cells: int
    batch: int
    threads: int
    flash_attention: FlashAttention = "auto"
    kv_type: KvType = "f16"


class Batch:
    """Tokens to evaluate at once, in llama.cpp's own layout.

    Args:
        size: How many it can hold.
    """

    def __init__(self, size: int) -> None:
        lib = llama_cpp()
        self.size = size
        self.count = 0
        self.outputs = 0
        self._tokens = np.zeros(size, dtype=np.int32)
        self._positions = np.zeros(size, dtype=np.int32)
        self._sequence_counts = np.ones(size, dtype=np.int32)
        self._sequences = np.zeros((size, SEQUENCES), dtype=np.int32)
        self._wanted = np.zeros(size, dtype=np.int8)
        rows = self._sequences.ctypes.data + np.arange(size) * self._sequences.strides[0]
        self._rows = rows.astype(np.uintp)
        self.struct = lib.llama_batch(
            n_tokens=0,
            token=_pointer(self._tokens, ctypes.c_int32),
            embd=None,
            pos=_pointer(self._positions, ctypes.c_int32),
            n_seq_id=_pointer(self._sequence_counts, ctypes.c_int32),
            seq_id=ctypes.cast(
                self._rows.ctypes.data, ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))
            ),
            logits=_pointer(self._wanted, ctypes.c_int8),
        )

    @property
    def room(self) -> int:
        """How many more tokens fit."""
        return self.size - self.count

    def clear(self) -> None:
        """Make it empty."""
        self.count = self.outputs = 0

    def add_run(self, tokens: Sequence[int], position: int, sequences: Sequence[int]) -> None:
        """Append tokens that follow one another, in the same sequences; no logits of them."""
        begin, end = self.count, self.count + len(tokens)
        self._tokens[begin:end] = tokens
        self._positions[begin:end] = range(position, position + len(tokens))
        self._sequence_counts[begin:end] = len(sequences)
        self._sequences[begin:end, : len(sequences)] = sequences
        self._wanted[begin:end] = 0
        self.count = end

    def add(self, token: int, position: int, sequences: Sequence[int], *, wanted: bool) -> None:
        """Append one token; a token may belong to several sequences."""
        index = self.count
        self._tokens[index] = token
        self._positions[index] = position
        self._sequence_counts[index] = len(sequences)
        self._sequences[index, : len(sequences)] = sequences
        self._wanted[index] = wanted
        self.count += 1
        self.outputs += wanted

    def want_last(self) -> None:
        """Ask for the logits after the token that was appended last."""
        self._wanted[self.count - 1] = 1
        self.outputs += 1


class LlamaContext:
    """A KV cache on a model's weights; not safe to use from two threads at once.

    Args:
        weights: The model.
        options: How it is made.

    Raises:
        ModelError: There is not enough memory.
    """

    def __init__(self, weights: LlamaWeights, options: ContextOptions) -> None:
        lib = llama_cpp()
        params = lib.llama_context_default_params()
        # llama.cpp aborts the process where a batch has less room than there are sequences.
        params.n_ctx = max(options.cells, _LEAST_CELLS)
        params.n_batch = params.n_ubatch = max(options.batch, _LEAST_CELLS)
        params.n_seq_max = SEQUENCES
        params.n_threads = params.n_threads_batch = options.threads
        params.flash_attn_type = _FLASH[options.flash_attention]
        params.type_k = params.type_v = _KV[options.kv_type]
        params.kv_unified = True  # sequences share the cells of what they have in common
        params.swa_full = True  # models with sliding windows keep the fixed part whole
        params.no_perf = True
        forget_words()
        self._pointer = lib.llama_init_from_model(weights.pointer, params)
        if not self._pointer:
            raise ModelError(
                f"llama.cpp cannot make a context of {options.cells} tokens for "
                f"{weights.path.name}: {last_words() or 'it gives no reason'}",
                hint="Ask for a smaller context= or kv_tokens=, or close other programs.",
            )
        self._weights = weights
        self._memory = lib.llama_get_memory(self._pointer)
        self._vocabulary_size = int(
            lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(weights.pointer))
        )
        self._adapters: tuple[tuple[LlamaAdapter, float], ...] = ()

    def close(self) -> None:
        """Free the cache."""
        if self._pointer:
            llama_cpp().llama_free(self._pointer)
            self._pointer = None

    def submit(self, batch: Batch) -> None:
        """Begin to evaluate; on a GPU this returns before the work is done.

        Raises:
            ModelError: llama.cpp could not, e.g. since no cells are free.
        """
        batch.struct.n_tokens = batch.count
        forget_words()
        status = llama_cpp().llama_decode(self._pointer, batch.struct)
        if status:
            raise ModelError(
                f"llama.cpp could not evaluate {batch.count} tokens (status {status}): "
                f"{last_words()}",
                hint="Ask for a larger kv_tokens=."
                if status == _NO_ROOM
                else "Run `hetagent doctor`.",
            )

    def logits(self, batch: Batch) -> Logits:
        """Wait for the logits that were asked for, in order; valid until the next `submit`.

        Returns:
            Shape ``[outputs, vocabulary]``.
        """
        if not batch.outputs:
            llama_cpp().llama_synchronize(self._pointer)
            return np.empty((0, self._vocabulary_size), dtype=np.float32)
        pointer = llama_cpp().llama_get_logits(self._pointer)
        return np.ctypeslib.as_array(pointer, shape=(batch.outputs, self._vocabulary_size))

    def fork(self, source: int, target: int, *, start: int = -1, end: int = -1) -> None:
        """Let a sequence also have what another one has, from a position on up to another."""
        llama_cpp().llama_memory_seq_cp(self._memory, source, target, start, end)

    def drop(self, sequence: int) -> None:
        """Forget a sequence; cells that no other one has become free."""
        llama_cpp().llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def use_adapters(self, adapters: Sequence[tuple[LlamaAdapter, float]]) -> None:
        """Apply LoRA adapters, given as loaded weights with their scales, from now on.

        Raises:
            ModelError: llama.cpp refuses them.
        """
        wanted = tuple(adapters)
        if wanted == self._adapters:
            return
        lib = llama_cpp()
        array = (lib.llama_adapter_lora_p_ctypes * len(wanted))(*(one.pointer for one, _ in wanted))
        scales = (ctypes.c_float * len(wanted))(*(scale for _, scale in wanted))
        if lib.llama_set_adapters_lora(self._pointer, array, len(wanted), scales):
            raise ModelError(
                f"llama.cpp cannot apply the adapters to {self._weights.path.name}.",
                hint="They must be LoRA adapters in GGUF made for this model; give fewer at once.",
            )
        self._adapters = wanted

    def save(self, sequence: int) -> bytes:
        """The cells of a sequence, as `restore` takes them."""
        lib = llama_cpp()
        size = lib.llama_state_seq_get_size(self._pointer, sequence)
        buffer = (ctypes.c_uint8 * size)()
        written = lib.llama_state_seq_get_data(self._pointer, buffer, size, sequence)
        return bytes(memoryview(buffer)[:written])

    def restore(self, sequence: int, data: bytes) -> bool:
        """Fill an empty sequence with what `save` gave; whether llama.cpp accepted it."""
        lib = llama_cpp()
        # Only read there, so that no copy is needed.
        buffer = ctypes.cast(ctypes.c_char_p(data), ctypes.POINTER(ctypes.c_uint8))
        read = lib.llama_state_seq_set_data(self._pointer, buffer, len(data), sequence)
        if not read:
            self.drop(sequence)
        return bool(read)


def _pointer(array: np.ndarray[Any, Any], kind: Any) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(kind))
