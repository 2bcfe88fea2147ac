"""llama.cpp used plainly, to work out which tokens a call needs; knows nothing of hetagent.

Imports llama-cpp-python, llguidance, jinja2 and numpy only. The rules:

- A skill's fixed prompt is what the prompts of any two inputs share; it is evaluated once.
- A **choice** needs its suffix (the rest of the prompt) and, of the trie of labels with the end of
  turn, the nodes with several children and the nodes on the way to them. Nothing else.
- A **record** is decoded greedily under the schema's mask. Tokens that llguidance forces
  (`compute_ff_tokens`), and tokens that are the only allowed ones, are evaluated in the same batch
  as the token before them; what follows the last decision is not evaluated at all.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jinja2
import llama_cpp
import llguidance
import numpy as np
from llguidance.llamacpp import lltokenizer_from_vocab
from llguidance.numpy import fill_next_token_bitmask

__all__ = [
    "Evaluation",
    "Node",
    "Plain",
    "allowed",
    "label_probabilities",
    "log_softmax",
    "trie_rows",
]

BATCH = 512
# As every system's records are asked for: no optional whitespace.
WRITTEN = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Node:
    """A node of a trie of labels that has to be evaluated.

    Attributes:
        path: The tokens that lead to it; the last is its own.
        children: The tokens that may follow, where its logits are needed; else empty.
    """

    path: Tokens
    children: Tokens


@dataclass(frozen=True)
class Evaluation:
    """What one call needs.

    Attributes:
        fixed: How many tokens of the prompt are the skill's own.
        steps: Token lists, each evaluated in one go; the first begins with the prompt's rest.
        nodes: For a choice: the nodes that are evaluated together with the first step.
        text: For a record: the answer.
        tokens: For a record: all the answer's tokens, without the end of turn.
        logprobs: For a record: of each token that was decided, its place in `tokens` and the
            natural logarithm of its probability among the allowed ones.
        masks: For a record: which tokens were allowed at each of these, as llguidance's bits.
    """

    fixed: int
    steps: tuple[Tokens, ...]
    nodes: tuple[Node, ...] = ()
    text: str | None = None
    tokens: Tokens = ()
    logprobs: tuple[tuple[int, float], ...] = ()
    masks: tuple[np.ndarray, ...] = ()


class Plain:
    """A model and a context, and the plain ways to use them.

    Args:
        model: Path of the GGUF file.
        threads: CPU threads.
        context: Tokens of all sequences together.
        sequences: How many sequences there may be.
        exact: F32 KV cache and no flash attention.
        flash_attention: ``"on"``, ``"off"`` or ``"auto"``, which leaves it to llama.cpp.
        gpu_layers: Layers to keep on the GPU; -1 for all.
    """

    def __init__(
        self,
        model: str,
        *,
        threads: int,
        context: int,
        sequences: int = 1,
        exact: bool = False,
        flash_attention: str = "auto",
        gpu_layers: int = 0,
    ) -> None:
        llama_cpp.llama_log_set(_silence, None)
        llama_cpp.llama_backend_init()
        loading = llama_cpp.llama_model_default_params()
        loading.n_gpu_layers = gpu_layers
        self.model = llama_cpp.llama_model_load_from_file(os.fsencode(model), loading)
        if not self.model:
            raise RuntimeError(f"llama.cpp cannot load {model}")
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = context
        params.n_batch = params.n_ubatch = BATCH
        params.n_seq_max = sequences
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified = True
        params.no_perf = True
        params.flash_attn_type = {"auto": -1, "off": 0, "on": 1}[flash_attention]
        if exact:
            params.type_k = params.type_v = llama_cpp.GGML_TYPE_F32
            params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        self.memory = llama_cpp.llama_get_memory(self.context)
        self.vocabulary = llama_cpp.llama_model_get_vocab(self.model)
        self.size = int(llama_cpp.llama_vocab_n_tokens(self.vocabulary))
        self._template = self._load_template()
        self.end = self._find_end()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            self._tokenizer = lltokenizer_from_vocab(self.vocabulary, eos_token=[self.end])
        self._fixed = lru_cache(maxsize=None)(self._compute_fixed)
        self._matchers: dict[str, Any] = {}
        self._kept: Tokens = ()

    def prompt(self, skill: dict[str, Any], message: str) -> Tokens:
        """The tokens of a call's prompt, by the model's own chat template."""
        return self.tokenize(self._render([*skill["messages"], user(message)]))

    def fixed(self, skill: dict[str, Any]) -> Tokens:
        """The tokens that the prompts of all inputs of a skill begin with."""
        return self._fixed(json.dumps(skill["messages"]))

    def evaluation(self, skill: dict[str, Any], message: str, *, cached: bool) -> Evaluation:
        """What a call needs; a record is decoded to find out.

        Args:
            skill: As the workload has it.
            message: The call's input.
            cached: Whether decoding a record may keep the fixed prompt of the call before.
        """
        prompt = self.prompt(skill, message)
        # What the text shares with the fixed prompt may end earlier than that does.
        fixed = common(self.fixed(skill), prompt[:-1])
        if skill["form"] == "choice":
            nodes = trie_rows(list(self.label_paths(skill, message).values()))
            return Evaluation(fixed, (prompt[fixed:],), nodes)
        return self._decode(skill, prompt, fixed, cached=cached)

    def label_paths(self, skill: dict[str, Any], message: str) -> dict[str, Tokens]:
        """Each label's tokens as they follow the prompt, and the end of turn."""
        text = self._render([*skill["messages"], user(message)])
        prompt = self.tokenize(text)
        paths = {}
        for label in skill["labels"]:
            whole = self.tokenize(text + label)
            if whole[: len(prompt)] != prompt:
                raise RuntimeError(f"the label {label!r} merges with the prompt")
            paths[label] = (*whole[len(prompt) :], self.end)
        return paths

    def choices(self, skill: dict[str, Any], message: str) -> dict[str, float]:
        """Each label's probability, every node evaluated alone after one uncached prompt."""
        prompt = self.prompt(skill, message)
        paths = self.label_paths(skill, message)
        self.clear()
        after = {(): self.evaluate(prompt, at=0)}
        for node in trie_rows(list(paths.values())):
            if node.children:
                llama_cpp.llama_memory_seq_rm(self.memory, 0, len(prompt), -1)
                for depth, token in enumerate(node.path):
                    after[node.path] = self.evaluate((token,), at=len(prompt) + depth)
        return label_probabilities(paths, after)

    def evaluate(self, tokens: Sequence[int], *, at: int) -> np.ndarray:
        """Append tokens to sequence 0 from a position on; logits after the last."""
        for begin in range(0, len(tokens), BATCH):
            chunk = tokens[begin : begin + BATCH]
            array = (llama_cpp.llama_token * len(chunk))(*chunk)
            status = llama_cpp.llama_decode(
                self.context, llama_cpp.llama_batch_get_one(array, len(chunk))
            )
            if status:
                raise RuntimeError(f"llama.cpp could not evaluate {len(chunk)} tokens: {status}")
        if llama_cpp.llama_memory_seq_pos_max(self.memory, 0) != at + len(tokens) - 1:
            raise RuntimeError("a text was not appended where it should be")
        pointer = llama_cpp.llama_get_logits_ith(self.context, -1)
        return np.array(np.ctypeslib.as_array(pointer, shape=(self.size,)), np.float64)

    def clear(self) -> None:
        """Forget every text."""
        llama_cpp.llama_memory_clear(self.memory, True)
        self.forget()

    def forget(self) -> None:
        """Do not take the fixed prompt that is kept for the next one's."""
        self._kept = ()

    def _decode(
        self, skill: dict[str, Any], prompt: Tokens, fixed: int, *, cached: bool
    ) -> Evaluation:
        prefix = prompt[:fixed]
        if cached and self._kept == prefix:
            llama_cpp.llama_memory_seq_rm(self.memory, 0, fixed, -1)
        else:
            self.clear()
            if cached:
                self.evaluate(prefix, at=0)
                self._kept = prefix
        start = fixed if cached else 0
        matcher = self._matcher(skill["schema"])
        answer: list[int] = []
        steps: list[Tokens] = []
        decided: list[tuple[int, float]] = []
        masks: list[np.ndarray] = []
        pending = list(prompt[start:])
        length = start
        while len(answer) < skill["max_tokens"]:
            forced = matcher.compute_ff_tokens()
            if forced:
                self._consume(matcher, forced)
                answer += forced
                pending += forced
                continue
            bits = self._mask(matcher)
            ids = allowed(bits)
            if list(ids) == [self.end]:
                break
            if len(ids) == 1:
                token = int(ids[0])
            else:
                logits = self.evaluate(pending, at=length)
                steps.append(tuple(pending))
                length += len(pending)
                pending = []
                logprobs = log_softmax(logits[ids])
                best = int(np.argmax(logprobs))
                token = int(ids[best])
                decided.append((len(answer), float(logprobs[best])))
                masks.append(bits)
            if token == self.end:
                break
            self._consume(matcher, [token])
            answer.append(token)
            pending.append(token)
        text = b"".join(self.piece(token) for token in answer).decode("utf-8", errors="replace")
        return Evaluation(
            fixed, tuple(steps), (), text, tuple(answer), tuple(decided), tuple(masks)
        )

    def _matcher(self, schema: dict[str, Any]) -> Any:
        key = json.dumps(schema)
        if key not in self._matchers:
            grammar = llguidance.grammar_from(
                "json_schema", json.dumps({**schema, "x-guidance": WRITTEN})
            )
            self._matchers[key] = llguidance.LLMatcher(self._tokenizer, grammar)
            if self._matchers[key].is_error():
                raise RuntimeError(self._matchers[key].get_error())
        return self._matchers[key].deep_copy()

    def _consume(self, matcher: Any, tokens: Sequence[int]) -> None:
        if not matcher.consume_tokens(list(tokens)):
            raise RuntimeError(f"llguidance refused its own tokens: {matcher.get_error()}")

    def _mask(self, matcher: Any) -> np.ndarray:
        bits = np.zeros((1, (self._tokenizer.vocab_size + 31) // 32), dtype=np.int32)
        fill_next_token_bitmask(matcher, bits)
        return bits

    def tokenize(self, text: str) -> Tokens:
        """Tokens of a text in which control tokens are meant."""
        data = text.encode()
        buffer = (llama_cpp.llama_token * (len(data) + 8))()
        count = llama_cpp.llama_tokenize(
            self.vocabulary, data, len(data), buffer, len(buffer), False, True
        )
        return tuple(buffer[:count])

    def piece(self, token: int) -> bytes:
        buffer = ctypes.create_string_buffer(256)
        length = llama_cpp.llama_token_to_piece(self.vocabulary, token, buffer, 256, 0, False)
        return bytes(buffer.raw[:length])

    def _compute_fixed(self, messages: str) -> Tokens:
        turns = json.loads(messages)
        probes = [self.tokenize(self._render([*turns, user(text)])) for text in ("a", "7", "(")]
        shared = min(common(probes[0], other) for other in probes[1:])
        return probes[0][:shared]

    def _render(self, messages: Sequence[dict[str, str]], *, answer: bool = True) -> str:
        return str(self._template.render(messages=messages, add_generation_prompt=answer))

    def _load_template(self) -> jinja2.Template:
        buffer = ctypes.create_string_buffer(1 << 16)
        size = llama_cpp.llama_model_meta_val_str(
            self.model, b"tokenizer.chat_template", buffer, len(buffer)
        )
        if size < 0:
            raise RuntimeError("the model has no chat template")
        environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
        return environment.from_string(buffer.value.decode())

    def _find_end(self) -> int:
        turns = [user("a"), {"role": "assistant", "content": "b"}]
        after = self._render(turns, answer=False).rsplit("b", 1)[1]
        return self.tokenize(after)[0]


def label_probabilities(
    paths: dict[str, Tokens], after: dict[Tokens, np.ndarray]
) -> dict[str, float]:
    """The probability of every label, from the logits after every node with several children."""
    scores = dict.fromkeys(paths, 0.0)
    for label, path in paths.items():
        for depth, token in enumerate(path):
            siblings = sorted({p[depth] for p in paths.values() if p[:depth] == path[:depth]})
            if len(siblings) > 1:
                logits = after[path[:depth]]
                scores[label] += log_softmax(logits[siblings])[siblings.index(token)]
    return {label: math.exp(score) for label, score in scores.items()}


def allowed(bits: np.ndarray) -> np.ndarray:
    """The tokens that a mask allows."""
    return np.flatnonzero(np.unpackbits(bits.view(np.uint8), bitorder="little"))


def trie_rows(paths: Sequence[Tokens]) -> tuple[Node, ...]:
    """The nodes that must be evaluated to know the probability of every path; root excluded."""
    children: dict[Tokens, dict[int, None]] = {}
    for path in paths:
        for depth, token in enumerate(path):
            children.setdefault(path[:depth], {})[token] = None
    branching = {node for node, tokens in children.items() if len(tokens) > 1}
    needed = {node[:depth] for node in branching for depth in range(1, len(node) + 1)}
    return tuple(
        Node(node, tuple(children[node]) if node in branching else ())
        for node in sorted(needed, key=lambda node: (len(node), node))
    )


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def common(left: Sequence[int], right: Sequence[int]) -> int:
    pairs = zip(left, right, strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(left), len(right)))


def log_softmax(values: np.ndarray) -> np.ndarray:
    shifted = values - values.max()
    return shifted - np.log(np.exp(shifted).sum())


@llama_cpp.llama_log_callback
def _silence(level: int, text: bytes, data: Any) -> None:
    """Llama.cpp reports every load at length; failures show in what its functions return."""
