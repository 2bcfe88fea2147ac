"""llama.cpp's low-level API as an evaluator: weights, vocabulary, and one text in a KV cache."""

from __future__ import annotations

import ctypes
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, Literal

import numpy as np

from hetagent.engine.decode import Logits, Path
from hetagent.engine.library import forget_words, last_words, llama_cpp
from hetagent.engine.vocabulary import looks_special
from hetagent.errors import ModelError, ModelFileError

__all__ = ["FlashAttention", "KvType", "LlamaContext", "LlamaVocabulary", "LlamaWeights"]

FlashAttention = Literal["auto", "on", "off"]
KvType = Literal["f16", "f32"]

_BATCH = 512
_LEAST_CONTEXT = 256
# Sequence 0 holds the text; the others are branches of a choice's trie.
_BRANCHES = 63
_TEXT = 0


class LlamaWeights:
    """A loaded GGUF file.

    Args:
        path: The file.
        gpu_layers: Layers to keep on the GPU; -1 for all.
        extra_buffers: Whether llama.cpp may repack weights for this CPU (faster where it works).

    Raises:
        ModelFileError: llama.cpp refuses the file.
    """

    def __init__(self, path: FilePath, *, gpu_layers: int, extra_buffers: bool) -> None:
        lib = llama_cpp()
        params = lib.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        params.use_extra_bufts = extra_buffers
        forget_words()
        self.path = path
        self.pointer = lib.llama_model_load_from_file(os.fsencode(path), params)
        if not self.pointer:
            raise ModelFileError(
                f"llama.cpp cannot load {path.name}: {last_words() or 'it gives no reason'}",
                hint="The file is truncated, corrupt, or of an architecture this llama.cpp does "
                "not know: fetch it again, or update llama-cpp-python.",
            )
        self.context_length = int(lib.llama_model_n_ctx_train(self.pointer))
        # Their state cannot be cut back to an earlier position, only copied whole.
        self.recurrent = bool(
            lib.llama_model_is_recurrent(self.pointer) or lib.llama_model_is_hybrid(self.pointer)
        )
        self._adapters: list[Any] = []

    @property
    def template(self) -> str | None:
        """The chat template in the file, or ``None``."""
        return self.metadata("tokenizer.chat_template")

    def metadata(self, key: str) -> str | None:
        """One metadata value of the file as text, or ``None``."""
        lib = llama_cpp()
        name = key.encode()
        size = lib.llama_model_meta_val_str(self.pointer, name, None, 0)
        if size < 0:
            return None
        buffer = ctypes.create_string_buffer(size + 1)
        lib.llama_model_meta_val_str(self.pointer, name, buffer, size + 1)
        return buffer.value.decode("utf-8", errors="replace")

    def load_adapter(self, path: FilePath) -> Any:
        """Load LoRA weights for this model.

        Raises:
            ModelFileError: llama.cpp refuses the file, e.g. since it is for another model.
        """
        forget_words()
        pointer = llama_cpp().llama_adapter_lora_init(self.pointer, os.fsencode(path))
        if not pointer:
            raise ModelFileError(
                f"llama.cpp cannot load the adapter {path.name}: {last_words()}",
                hint=f"It must be a LoRA adapter in GGUF made for {self.path.name}.",
            )
        self._adapters.append(pointer)
        return pointer

    def close(self) -> None:
        """Free the weights and their adapters; every context on them must be closed before."""
        if self.pointer:
            # Adapters are freed with their model (llama.h).
            llama_cpp().llama_model_free(self.pointer)
            self.pointer = None
            self._adapters.clear()


class LlamaVocabulary:
    """The tokens of a loaded model; see `hetagent.engine.vocabulary.Vocabulary`."""

    def __init__(self, weights: LlamaWeights) -> None:
        lib = llama_cpp()
        self._weights = weights  # keeps the pointer alive
        self._pointer = lib.llama_model_get_vocab(weights.pointer)
        self.size = int(lib.llama_vocab_n_tokens(self._pointer))
        self.end = int(lib.llama_vocab_eos(self._pointer))
        adds_bos = lib.llama_vocab_get_add_bos(self._pointer)
        self.bos: int | None = int(lib.llama_vocab_bos(self._pointer)) if adds_bos else None
        self.specials: Mapping[str, int] = self._find_specials()

    def encode(self, text: str) -> list[int]:
        """Tokenise plain text; nothing in it becomes a control token."""
        data = text.encode("utf-8")
        room = len(data) + 8
        buffer = (ctypes.c_int32 * room)()
        count = llama_cpp().llama_tokenize(
            self._pointer, data, len(data), buffer, room, False, False
        )
        if count < 0:
            raise ModelError(f"llama.cpp cannot tokenise a text of {len(data)} bytes.")
        return list(buffer[:count])

    def piece(self, token: int) -> bytes:
        """The bytes a token stands for; empty for control tokens."""
        lib = llama_cpp()
        size = 64
        buffer = ctypes.create_string_buffer(size)
        length = lib.llama_token_to_piece(self._pointer, token, buffer, size, 0, False)
        if length < 0:
            buffer = ctypes.create_string_buffer(-length)
            length = lib.llama_token_to_piece(self._pointer, token, buffer, -length, 0, False)
        return bytes(buffer.raw[:length])

    def matcher_tokenizer(self, end_tokens: Sequence[int]) -> Any:
        """An ``llguidance.LLTokenizer`` of these tokens, with these ending an answer."""
        llama_cpp()
        from llguidance.llamacpp import lltokenizer_from_vocab

        with warnings.catch_warnings():
            # llguidance calls a name that llama-cpp-python has deprecated.
            warnings.simplefilter("ignore", DeprecationWarning)
            return lltokenizer_from_vocab(self._pointer, eos_token=list(end_tokens))

    def _find_specials(self) -> dict[str, int]:
        lib = llama_cpp()
        found: dict[str, int] = {}
        for token in range(self.size):
            attributes = lib.llama_vocab_get_attr(self._pointer, token)
            if attributes & (lib.LLAMA_TOKEN_ATTR_CONTROL | lib.LLAMA_TOKEN_ATTR_USER_DEFINED):
                text = lib.llama_vocab_get_text(self._pointer, token).decode("utf-8", "replace")
                # User-defined tokens are also runs of spaces and the like, which are plain text.
                if attributes & lib.LLAMA_TOKEN_ATTR_CONTROL or looks_special(text):
                    found[text] = token
        return found


class LlamaContext:
    """One text in llama.cpp's KV cache; see `hetagent.engine.decode.Evaluator`.

    The fixed part of the last prompt stays in the cache. It and what follows are always evaluated
    as two batches, so that a result does not depend on what was asked before: on quantised weights
    the shape of a batch moves probabilities.

    Args:
        weights: The model.
        context: Tokens of prompt and answer together.
        threads: CPU threads.
        flash_attention: ``"auto"`` leaves it to llama.cpp.
        kv_type: Precision of the cache.
        adapters: LoRA files with their scales.

    Raises:
        ModelError: There is not enough memory.
    """

    def __init__(
        self,
        weights: LlamaWeights,
        *,
        context: int,
        threads: int,
        flash_attention: FlashAttention = "auto",
        kv_type: KvType = "f16",
        adapters: Mapping[FilePath, float] | None = None,
    ) -> None:
        lib = llama_cpp()
        params = lib.llama_context_default_params()
        # llama.cpp aborts the process where a batch has less room than there are sequences.
        params.n_ctx = max(context, _LEAST_CONTEXT)
        params.n_batch = params.n_ubatch = min(_BATCH, params.n_ctx)
        params.n_seq_max = _BRANCHES + 1
        params.n_threads = params.n_threads_batch = threads
        params.flash_attn_type = {"auto": -1, "off": 0, "on": 1}[flash_attention]
        params.type_k = params.type_v = {"f32": 0, "f16": 1}[kv_type]
        params.kv_unified = True  # branches share the prompt's cells
        params.swa_full = True  # models with sliding windows keep the fixed part whole
        params.no_perf = True
        forget_words()
        self._weights = weights
        self._pointer = lib.llama_init_from_model(weights.pointer, params)
        if not self._pointer:
            raise ModelError(
                f"llama.cpp cannot make a context of {context} tokens for {weights.path.name}: "
                f"{last_words() or 'it gives no reason'}",
                hint="Ask for a smaller context=, or close other programs.",
            )
        self.capacity = context
        self._memory = lib.llama_get_memory(self._pointer)
        self._vocabulary_size = int(
            lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(weights.pointer))
        )
        self._batch_size = int(lib.llama_n_batch(self._pointer))
        self._batch = lib.llama_batch_init(self._batch_size, 0, _BRANCHES + 1)
        self._kept: tuple[int, ...] = ()
        self._length = 0
        if adapters:
            self._set_adapters(adapters)

    def close(self) -> None:
        """Free the cache."""
        if self._pointer:
            lib = llama_cpp()
            lib.llama_batch_free(self._batch)
            lib.llama_free(self._pointer)
            self._pointer = None

    def start(self, tokens: Sequence[int], *, fixed: int, check: Any) -> tuple[Logits, int]:
        """Begin a new text; see `Evaluator.start`."""
        # The last token is always evaluated, since its logits are needed.
        prefix = tuple(tokens[: min(fixed, len(tokens) - 1)])
        cached = self._rewind_to(prefix)
        if cached < len(prefix):
            # Kept only once it is whole: the evaluation may be cancelled in the middle.
            self._append(prefix, check=check)
            self._kept = prefix
        self._append(tokens[len(prefix) :], check=check)
        return self._logits(-1), cached

    def extend(self, token: int) -> Logits:
        """Append one token; see `Evaluator.extend`."""
        self._append([token], check=lambda: None)
        return self._logits(-1)

    def branch(self, paths: Sequence[Path]) -> list[Logits]:
        """Logits after several continuations; see `Evaluator.branch`."""
        results: dict[Path, Logits] = {}
        for group in self._groups(paths):
            results |= self._branch_group(group)
        return [results[path] for path in paths]

    def _groups(self, paths: Sequence[Path]) -> list[list[Path]]:
        """Split continuations so that each group fits the branches, a batch and the context."""
        room = min(self._batch_size, self.capacity - self._length)
        groups: list[list[Path]] = [[]]
        nodes: set[Path] = set()
        limit = 1 if self._weights.recurrent else _BRANCHES
        for path in paths:
            new = {path[: depth + 1] for depth in range(len(path))}
            if groups[-1] and (len(groups[-1]) >= limit or len(nodes | new) > room):
                groups.append([])
                nodes = set()
            groups[-1].append(path)
            nodes |= new
        return groups

    def _branch_group(self, paths: Sequence[Path]) -> dict[Path, Logits]:
        """Evaluate a trie in one batch: a node belongs to the sequences of all paths through it."""
        lib = llama_cpp()
        members: dict[Path, list[int]] = {}
        for sequence, path in enumerate(paths, _TEXT + 1):
            lib.llama_memory_seq_cp(self._memory, _TEXT, sequence, -1, -1)
            for depth in range(len(path)):
                members.setdefault(path[: depth + 1], []).append(sequence)
        wanted = set(paths)
        order = sorted(members, key=len)
        results: dict[Path, Logits] = {}
        try:
            # More than one batch only where a single label is longer than a batch.
            for begin in range(0, len(order), self._batch_size):
                chunk = order[begin : begin + self._batch_size]
                for index, node in enumerate(chunk):
                    position = self._length + len(node) - 1
                    self._put(index, node[-1], position, members[node], logits=node in wanted)
                self._evaluate(len(chunk))
                results |= {n: self._logits(i) for i, n in enumerate(chunk) if n in wanted}
            return results
        finally:
            for sequence in range(_TEXT + 1, _TEXT + 1 + len(paths)):
                lib.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def _rewind_to(self, prefix: tuple[int, ...]) -> int:
        """Cut the text back to a prefix it already has, or to nothing; the length that is left."""
        lib = llama_cpp()
        keep = len(prefix) if prefix and prefix == self._kept else 0
        if keep and lib.llama_memory_seq_rm(self._memory, _TEXT, keep, -1):
            self._length = keep
            return keep
        lib.llama_memory_clear(self._memory, True)
        self._kept = ()
        self._length = 0
        return 0

    def _append(self, tokens: Sequence[int], *, check: Any) -> None:
        for begin in range(0, len(tokens), self._batch_size):
            check()
            chunk = tokens[begin : begin + self._batch_size]
            for index, token in enumerate(chunk):
                last = index == len(chunk) - 1
                self._put(index, token, self._length + index, [_TEXT], logits=last)
            self._evaluate(len(chunk))
            self._length += len(chunk)

    def _put(
        self, index: int, token: int, position: int, sequences: Sequence[int], *, logits: bool
    ) -> None:
        batch = self._batch
        batch.token[index] = token
        batch.pos[index] = position
        batch.n_seq_id[index] = len(sequences)
        for place, sequence in enumerate(sequences):
            batch.seq_id[index][place] = sequence
        batch.logits[index] = logits

    def _evaluate(self, count: int) -> None:
        self._batch.n_tokens = count
        forget_words()
        status = llama_cpp().llama_decode(self._pointer, self._batch)
        if status:
            self._kept = ()
            raise ModelError(
                f"llama.cpp could not evaluate {count} tokens (status {status}): {last_words()}",
                hint="Ask for a larger context=." if status == 1 else "Run `hetagent doctor`.",
            )

    def _logits(self, index: int) -> Logits:
        pointer = llama_cpp().llama_get_logits_ith(self._pointer, index)
        values = np.ctypeslib.as_array(pointer, shape=(self._vocabulary_size,))
        return np.array(values, dtype=np.float32)

    def _set_adapters(self, adapters: Mapping[FilePath, float]) -> None:
        lib = llama_cpp()
        pointers = [self._weights.load_adapter(path) for path in adapters]
        array = (lib.llama_adapter_lora_p_ctypes * len(pointers))(*pointers)
        scales = (ctypes.c_float * len(pointers))(*adapters.values())
        if lib.llama_set_adapters_lora(self._pointer, array, len(pointers), scales):
            raise ModelError(f"llama.cpp cannot apply the adapters to {self._weights.path.name}.")
