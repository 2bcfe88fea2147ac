"""A loaded GGUF file and its tokens, by llama.cpp's low-level API."""

from __future__ import annotations

import ctypes
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from hetagent.engine.identity import file_identity
from hetagent.engine.library import forget_words, last_words, llama_cpp
from hetagent.engine.vocabulary import looks_special
from hetagent.errors import ModelError, ModelFileError

__all__ = ["LlamaAdapter", "LlamaVocabulary", "LlamaWeights"]


@dataclass(frozen=True, eq=False, slots=True)
class LlamaAdapter:
    """Loaded LoRA weights; equal to nothing but themselves.

    Attributes:
        identity: What tells their file, as it was loaded, from any other.
        pointer: llama.cpp's own.
    """

    identity: tuple[Any, ...]
    pointer: Any


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
        self._adapters: dict[tuple[Any, ...], LlamaAdapter] = {}

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

    def load_adapter(self, path: FilePath) -> LlamaAdapter:
        """LoRA weights for this model, loaded at the first call, and again once they are replaced.

        Raises:
            ModelFileError: llama.cpp refuses the file, e.g. since it is for another model.
        """
        try:
            identity = tuple(file_identity(path))
        except OSError as error:
            raise ModelFileError(
                f"The adapter {path.name} cannot be read: {error.strerror}",
                hint="It was there when the model was made; write it again.",
            ) from error
        if identity in self._adapters:
            return self._adapters[identity]
        forget_words()
        pointer = llama_cpp().llama_adapter_lora_init(self.pointer, os.fsencode(path))
        if not pointer:
            raise ModelFileError(
                f"llama.cpp cannot load the adapter {path.name}: {last_words()}",
                hint=f"It must be a LoRA adapter in GGUF made for {self.path.name}.",
            )
        self._adapters[identity] = LlamaAdapter(identity, pointer)
        return self._adapters[identity]

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
        self._pieces: dict[int, bytes] = {}
        self._matcher_tokenizers: dict[tuple[int, ...], Any] = {}

    def encode(self, text: str) -> list[int]:
        """Tokenise plain text; nothing in it becomes a control token."""
        data = text.encode("utf-8")
        room = len(data) + 8
        buffer = (ctypes.c_int32 * room)()
        count = llama_cpp().llama_tokenize(
            self._pointer, data, len(data), buffer, room, False, False
        )
        if count < 0:
            raise ModelError(
                f"llama.cpp cannot tokenise a text of {len(data)} bytes.",
                hint="Shorten the text; if short ones fail too, the file's tokenizer is corrupt.",
            )
        return list(buffer[:count])

    def piece(self, token: int) -> bytes:
        """The bytes a token stands for; empty for control tokens."""
        if token not in self._pieces:
            self._pieces[token] = self._find_piece(token)
        return self._pieces[token]

    def _find_piece(self, token: int) -> bytes:
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
        key = tuple(end_tokens)
        if key not in self._matcher_tokenizers:
            self._matcher_tokenizers[key] = self._make_matcher_tokenizer(key)
        return self._matcher_tokenizers[key]

    def _make_matcher_tokenizer(self, end_tokens: Sequence[int]) -> Any:
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
