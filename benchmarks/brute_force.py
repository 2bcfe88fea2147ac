"""Probabilities computed the plain way: one evaluation of one text for every single number.

Shares with hetagent only the prompt's and labels' tokens and the constraint's masks; the
evaluations are made here, in a fresh context of llama-cpp-python's low-level API, without a cache,
without branches and without forking.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hetagent import LlamaCpp
from hetagent.confidence import free_tokens, score
from hetagent.engine import library
from hetagent.skill import Skill

CONTEXT = 2048
BATCH = 512

llama_cpp = library.llama_cpp()  # the package itself, without its chatter


class PlainModel:
    """Logits after a text, each time evaluated from its first token."""

    def __init__(self, path: Path) -> None:
        self._model = llama_cpp.llama_model_load_from_file(
            str(path).encode(), llama_cpp.llama_model_default_params()
        )
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = CONTEXT
        params.n_batch = params.n_ubatch = BATCH
        params.type_k = params.type_v = 0  # F32
        params.flash_attn_type = 0
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        self._size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))

    def log_softmax(self, tokens: Sequence[int]) -> np.ndarray:
        """Log-probabilities of all tokens after a text."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)
        for begin in range(0, len(tokens), BATCH):
            chunk = tokens[begin : begin + BATCH]
            array = (llama_cpp.llama_token * len(chunk))(*chunk)
            batch = llama_cpp.llama_batch_get_one(array, len(chunk))
            if llama_cpp.llama_decode(self._context, batch):
                raise RuntimeError("llama.cpp could not evaluate a text")
        pointer = llama_cpp.llama_get_logits_ith(self._context, -1)
        logits = np.ctypeslib.as_array(pointer, shape=(self._size,)).astype(np.float64)
        return logits - np.logaddexp.reduce(logits)

    def close(self) -> None:
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)


def exact_choice_gap(path: Path, task: Skill[..., Any], rows: Sequence[Any]) -> float:
    """Largest difference of any label's probability from a brute-force computation."""
    plain = PlainModel(path)
    worst = 0.0
    with LlamaCpp(path, kv_type="f32", flash_attention="off", context=CONTEXT) as model:
        for row in rows:
            request = _request(task, row)
            completion = asyncio.run(model.complete(request))
            chat = model._decoder._chat
            prompt = chat.encode(request.messages)
            paths = {
                label: (*chat.encode_answer(label, prompt=prompt), chat.end_of_turn)
                for label in request.output.labels
            }
            for label, expected in _label_probabilities(plain, prompt.tokens, paths).items():
                worst = max(worst, abs(completion.choices[label] - expected))
    plain.close()
    return worst


def exact_record_gap(path: Path, task: Skill[..., Any], rows: Sequence[Any]) -> float:
    """Largest difference of any token's, field's or value's probability from teacher forcing.

    For records whose fields are all decoded; those with a fixed set of values are scored otherwise.
    """
    plain = PlainModel(path)
    worst = 0.0
    with LlamaCpp(path, kv_type="f32", flash_attention="off", context=CONTEXT) as model:
        for row in rows:
            request = _request(task, row)
            completion = asyncio.run(model.complete(request))
            decoder = model._decoder
            matcher = decoder._compiler.compile(request.output).start()
            text = list(decoder._chat.encode(request.messages).tokens)
            expected = []
            forced: list[int] = []
            for token in completion.tokens:
                forced = forced or matcher.forced_tokens()
                if forced:
                    if token.id != forced.pop(0):
                        raise RuntimeError("a forced token was not taken")
                    expected.append(0.0)
                else:
                    logprobs = plain.log_softmax(text)
                    kept = np.logaddexp.reduce(logprobs[matcher.mask()])
                    expected.append(logprobs[token.id] - kept)
                worst = max(worst, abs(math.exp(expected[-1]) - math.exp(token.logprob)))
                text.append(token.id)
                if token.text:
                    matcher.advance(token.id)
            free = {id(token) for _, token in free_tokens(completion.tokens)}
            path_logprob = sum(
                value
                for token, value in zip(completion.tokens, expected, strict=True)
                if id(token) in free
            )
            if completion.finish == "stop":
                whole = score(completion, request.output).confidence
                worst = max(worst, abs(whole - math.exp(path_logprob)))
    plain.close()
    return worst


def _label_probabilities(plain: PlainModel, prompt: Any, paths: Any) -> dict[str, float]:
    known: dict[tuple[int, ...], np.ndarray] = {}
    result = {}
    for label, path in paths.items():
        total = 0.0
        for depth, token in enumerate(path):
            before = path[:depth]
            if before not in known:
                known[before] = plain.log_softmax([*prompt, *before])
            siblings = sorted({p[depth] for p in paths.values() if p[:depth] == before})
            total += known[before][token] - np.logaddexp.reduce(known[before][siblings])
        result[label] = math.exp(total)
    return result


def _request(task: Skill[..., Any], row: Any) -> Any:
    args, kwargs = task.bind_row(row)
    return task.request(*args, **kwargs)
