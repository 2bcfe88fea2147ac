"""An independent computation of what hetagent reports, on llama.cpp's bare API.

Nothing of `hetagent.engine` is used but the module that loads the library.
"""

from __future__ import annotations

import ctypes
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hetagent.engine.library import llama_cpp


def quantise_to_f32(source: Path, target: Path) -> None:
    """Write a GGUF file's weights as 32-bit floats."""
    lib = llama_cpp()
    params = lib.llama_model_quantize_default_params()
    params.ftype = 0  # LLAMA_FTYPE_ALL_F32
    params.allow_requantize = True
    status = lib.llama_model_quantize(os.fsencode(source), os.fsencode(target), params)
    assert status == 0, f"llama_model_quantize answered {status}"


class Reference:
    """One model file, each text evaluated whole in a context of its own."""

    def __init__(self, path: Path, *, context: int = 768) -> None:
        self.lib = llama_cpp()
        self.context = context
        params = self.lib.llama_model_default_params()
        params.n_gpu_layers = 0
        self.model = self.lib.llama_model_load_from_file(os.fsencode(path), params)
        assert self.model
        self.vocabulary = self.lib.llama_model_get_vocab(self.model)
        self.size = self.lib.llama_vocab_n_tokens(self.vocabulary)

    def close(self) -> None:
        self.lib.llama_model_free(self.model)

    def tokenize(self, text: str, *, special: bool = True) -> list[int]:
        data = text.encode()
        room = len(data) + 8
        buffer = (ctypes.c_int32 * room)()
        args = (self.vocabulary, data, len(data), buffer, room, True, special)
        count = self.lib.llama_tokenize(*args)
        assert count >= 0
        return list(buffer[:count])

    def template(self) -> str:
        buffer = ctypes.create_string_buffer(1 << 16)
        key = b"tokenizer.chat_template"
        self.lib.llama_model_meta_val_str(self.model, key, buffer, len(buffer))
        return buffer.value.decode()

    def render(self, messages: Sequence[Any]) -> str:
        """The model's own template over the real contents."""
        from jinja2 import Environment

        turns = [{"role": m.role, "content": m.content} for m in messages]
        template = Environment(trim_blocks=True, lstrip_blocks=True).from_string(self.template())
        return template.render(messages=turns, add_generation_prompt=True)

    def logits(self, tokens: Sequence[int]) -> np.ndarray[Any, Any]:
        """Logits after every token, by one ``llama_decode`` in a fresh context."""
        params = self.lib.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = self.context
        params.n_threads = params.n_threads_batch = 2
        params.type_k = params.type_v = 0  # F32
        params.flash_attn_type = 0
        context = self.lib.llama_init_from_model(self.model, params)
        assert context
        batch = self.lib.llama_batch_init(len(tokens), 0, 1)
        try:
            batch.n_tokens = len(tokens)
            for index, token in enumerate(tokens):
                batch.token[index] = token
                batch.pos[index] = index
                batch.n_seq_id[index] = 1
                batch.seq_id[index][0] = 0
                batch.logits[index] = True
            assert self.lib.llama_decode(context, batch) == 0
            rows = []
            for index in range(len(tokens)):
                pointer = self.lib.llama_get_logits_ith(context, index)
                rows.append(np.ctypeslib.as_array(pointer, shape=(self.size,)).astype(np.float64))
            return np.array(rows)
        finally:
            self.lib.llama_batch_free(batch)
            self.lib.llama_free(context)

    def label_probabilities(self, prompt: str, labels: Sequence[str], end: str) -> dict[str, float]:
        """The probability of every label by its own pass over prompt, label and end of turn."""
        start = self.tokenize(prompt)
        paths = self.paths(prompt, labels, end)
        result = {}
        for label, path in paths.items():
            logits = self.logits([*start, *path])
            product = 1.0
            for depth, token in enumerate(path):
                here = path[:depth]
                children = {p[depth] for p in paths.values() if p[:depth] == here}
                row = logits[len(start) - 1 + depth]
                top = max(row[child] for child in children)
                weights = {child: np.exp(row[child] - top) for child in children}
                product *= float(weights[token] / sum(weights.values()))
            result[label] = product
        return result

    def paths(self, prompt: str, labels: Sequence[str], end: str) -> dict[str, list[int]]:
        """Each label's tokens as they follow the prompt, end of turn included."""
        start = self.tokenize(prompt)
        paths = {}
        for label in labels:
            whole = self.tokenize(prompt + label + end)
            assert whole[: len(start)] == start, f"{label!r} merges with the prompt"
            paths[label] = whole[len(start) :]
        return paths

    def matcher_tokenizer(self, end: int) -> Any:
        from llguidance.llamacpp import lltokenizer_from_vocab

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return lltokenizer_from_vocab(self.vocabulary, eos_token=[end])

    def piece(self, token: int) -> bytes:
        buffer = ctypes.create_string_buffer(256)
        length = self.lib.llama_token_to_piece(self.vocabulary, token, buffer, 256, 0, False)
        return bytes(buffer.raw[:length])
