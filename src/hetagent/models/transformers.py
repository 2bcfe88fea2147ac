"""Any causal language model of the ``transformers`` library, on CPU or CUDA."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any

import numpy as np

from hetagent.engine.vocabulary import looks_special
from hetagent.errors import MissingExtraError, ModelError, ModelFileError
from hetagent.models.base import Completion, Request
from hetagent.models.local import LocalModel, Pending, Watch

if TYPE_CHECKING:
    from hetagent.engine.decode import Decoder
    from hetagent.engine.steps import Logits
    from hetagent.engine.tries import Path

__all__ = ["Transformers"]

_LONGEST = 32_768


class Transformers(LocalModel):
    """A causal language model loaded by ``transformers``, under the same constraint as `LlamaCpp`.

    Needs the extra: ``pip install 'hetagent[transformers]'``.

    Args:
        model: A folder, a hub reference such as ``"HuggingFaceTB/SmolLM2-135M-Instruct"``, or a
            loaded ``PreTrainedModel``.
        tokenizer: A loaded fast tokenizer; by default the one that belongs to ``model``. Needed
            with a loaded model.
        device: Such as ``"cpu"``, ``"cuda"`` or ``"cuda:1"``; by default CUDA where there is one.
        dtype: Such as ``"float32"`` or ``"bfloat16"``; by default as the weights are stored.
        context: Tokens of prompt and answer together; at most what the model was trained for.
        chat_template: A Jinja chat template, instead of the tokenizer's own.
        name: A name for outcomes, instead of ``model``.

    Raises:
        MissingExtraError: ``transformers`` or ``torch`` is not installed.
        ModelError: A loaded model was given without its tokenizer.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Any,
        *,
        tokenizer: Any = None,
        device: str | None = None,
        dtype: str | None = None,
        context: int | None = None,
        chat_template: str | None = None,
        name: str | None = None,
    ) -> None:
        _require_packages()
        by_name = isinstance(model, str | os.PathLike)
        if not by_name and tokenizer is None:
            raise ModelError(
                "A loaded model was given without its tokenizer.",
                hint="Pass tokenizer=AutoTokenizer.from_pretrained(...).",
            )
        super().__init__(name or (os.fspath(model) if by_name else type(model).__name__))
        self._model = os.fspath(model) if by_name else model
        self._tokenizer = tokenizer
        self._device = device
        self._dtype = dtype
        self._context = context
        self._template = chat_template
        self._decoder: Decoder | None = None
        self._evaluator: _Evaluator | None = None

    def prompt_tokens(self, request: Request) -> int:
        """Tokens of a request's prompt; the weights are loaded."""
        assert self._decoder is not None
        return self._decoder.prompt_tokens(request)

    def _open(self) -> list[Callable[[], None]]:
        import torch

        from hetagent.engine.chat import ChatTokenizer
        from hetagent.engine.decode import Decoder

        device = self._device or ("cuda" if torch.cuda.is_available() else "cpu")
        model, tokenizer = self._weights()
        model = model.to(device).eval()
        trained = getattr(model.config, "max_position_embeddings", None) or _LONGEST
        capacity = min(self._context or trained, trained)
        vocabulary = _Vocabulary(tokenizer, size=model.config.get_text_config().vocab_size)
        template = self._template or tokenizer.chat_template
        chat = ChatTokenizer(vocabulary, template=template, name=self.name)
        self._evaluator = _Evaluator(model, vocabulary_size=vocabulary.size)
        self._decoder = Decoder(vocabulary=vocabulary, chat=chat, name=self.name, capacity=capacity)
        return [self._evaluator.close]

    async def _submit(self, request: Request, watch: Watch | None) -> Pending:
        return _Call(self._worker, self._work, request, watch)

    def _work(self, call: _Call) -> Completion:
        from hetagent.engine.serial import run

        assert self._decoder is not None
        assert self._evaluator is not None
        decoding = self._decoder.begin(call.request, watch=call.watch)
        return run(decoding, self._evaluator, check=call.check)

    def _weights(self) -> tuple[Any, Any]:
        if not isinstance(self._model, str):
            return self._model, self._tokenizer
        import transformers

        try:
            tokenizer = self._tokenizer or transformers.AutoTokenizer.from_pretrained(self._model)
            model = transformers.AutoModelForCausalLM.from_pretrained(
                self._model, dtype=self._dtype or "auto"
            )
        except (OSError, ValueError) as error:
            raise ModelFileError(
                f"transformers cannot load {self._model}: {' '.join(str(error).split())[:400]}",
                hint="Check the folder or hub reference, and that the network or the hub's cache "
                "has it. Models that need their own remote code are not supported.",
            ) from error
        return model, tokenizer


class _Vocabulary:
    """A fast tokenizer's tokens; see `hetagent.engine.vocabulary.Vocabulary`."""

    def __init__(self, tokenizer: Any, *, size: int) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ModelError(
                f"{type(tokenizer).__name__} is not a fast tokenizer.",
                hint="Only tokenizers with a tokenizer.json can be constrained.",
            )
        self._tokenizer = tokenizer
        # Weights may have rows beyond the tokenizer's last token, to round their number up.
        self.size = max(size, len(tokenizer))
        self.specials: Mapping[str, int] = {
            token.content: id_
            for id_, token in tokenizer.added_tokens_decoder.items()
            if token.special or looks_special(token.content)
        }
        self.end = _end(tokenizer)
        opening = tokenizer.encode("")[:1]
        self.bos: int | None = opening[0] if opening == [tokenizer.bos_token_id] else None
        self._pieces: Any = None

    def encode(self, text: str) -> list[int]:
        """Tokenise plain text; nothing in it becomes a control token."""
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def piece(self, token: int) -> bytes:
        """The bytes a token stands for; empty for control tokens."""
        if self._pieces is None:
            self._pieces = self.matcher_tokenizer([self.end])
        if self._pieces.is_special_token(token):
            return b""
        return bytes(self._pieces.decode_bytes([token]))

    def matcher_tokenizer(self, end_tokens: Sequence[int]) -> Any:
        """An ``llguidance.LLTokenizer`` of these tokens, with these ending an answer."""
        from llguidance.hf import from_tokenizer

        return from_tokenizer(self._tokenizer, n_vocab=self.size, eos_token=list(end_tokens))


class _Call:
    """One request on its way through the worker thread."""

    def __init__(
        self,
        worker: Executor,
        work: Callable[[_Call], Completion],
        request: Request,
        watch: Watch | None,
    ) -> None:
        self.request = request
        self.watch = watch
        self._cancelled = threading.Event()
        self.future: Future[Completion] = worker.submit(work, self)

    def cancel(self) -> None:
        self._cancelled.set()

    def check(self) -> None:
        from hetagent.engine.steps import Cancelled

        if self._cancelled.is_set():
            raise Cancelled


class _Evaluator:
    """One text with its key-value cache; see `hetagent.engine.serial.Evaluator`."""

    def __init__(self, model: Any, *, vocabulary_size: int) -> None:
        self._model = model
        self._size = vocabulary_size
        self._cache: Any = None
        self._text: list[int] = []

    def start(self, tokens: Sequence[int]) -> Logits:
        """Begin a new text; nothing is kept between prompts."""
        self._text = list(tokens)
        logits, self._cache = self._evaluate(self._text, cache=None)
        return logits

    def extend(self, tokens: Sequence[int]) -> Logits:
        """Append tokens; logits after the last, shape ``[vocabulary]``."""
        before = self._text
        self._text = [*before, *tokens]
        logits, self._cache = self._continue(list(tokens), before=before, cache=self._cache)
        return logits

    def branch(self, paths: Sequence[Path]) -> list[Logits]:
        """Logits after several continuations, each on a copy of the cache."""
        results = []
        for path in paths:
            cache = copy.deepcopy(self._cache)
            results.append(self._continue(list(path), before=self._text, cache=cache)[0])
        return results

    def close(self) -> None:
        """Let go of the weights."""
        self._model = self._cache = None

    def _continue(self, new: list[int], *, before: list[int], cache: Any) -> tuple[Logits, Any]:
        # A model that returns no cache is given the whole text anew.
        if cache is None:
            return self._evaluate([*before, *new], cache=None)
        return self._evaluate(new, cache=cache)

    def _evaluate(self, tokens: list[int], *, cache: Any) -> tuple[Logits, Any]:
        import torch

        with torch.inference_mode():
            ids = torch.tensor([tokens], device=self._model.device)
            result = self._model(input_ids=ids, past_key_values=cache, use_cache=True)
        last = result.logits[0, -1].float().cpu().numpy()
        # Tokens the weights have no row for can never be chosen.
        logits = np.full(self._size, -np.inf, dtype=np.float32)
        logits[: len(last)] = last
        return logits, getattr(result, "past_key_values", None)


def _end(tokenizer: Any) -> int:
    if tokenizer.eos_token_id is None:
        raise ModelError(
            "The tokenizer names no end-of-sequence token.",
            hint="Set tokenizer.eos_token to the token that ends a text.",
        )
    return int(tokenizer.eos_token_id)


def _require_packages() -> None:
    from importlib.util import find_spec

    for package in ("transformers", "torch"):
        if find_spec(package) is None:
            raise MissingExtraError(package, extra="transformers")
