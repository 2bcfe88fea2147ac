"""Any model that LiteLLM can call, in OpenAI's form or in Anthropic's."""

from __future__ import annotations

import asyncio
import json
import math
import re
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, TypeVar

from hetagent.errors import InputError
from hetagent.gateway.apis import Refusal, refusal_of
from hetagent.gateway.calls import Answer, Call
from hetagent.gateway.limits import Limits
from hetagent.gateway.sse import Event, event_bytes
from hetagent.gateway.upstream import Price, matches, names_of, price_of
from hetagent.learn.provenance import Provenance
from hetagent.learn.record import Trainable, Usage
from hetagent.models.background import background_loop, import_litellm
from hetagent.models.provider_errors import Place, translate

__all__ = ["LiteLLMUpstream"]

T = TypeVar("T")

# What of a body LiteLLM is given. It takes its own arguments by the same way, among them the
# server's address and keys, which are not the caller's to choose.
_CHAT = frozenset(
    [
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "modalities",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "stream_options",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    ]
)
# What LiteLLM reads without looking what it is.
_OBJECTS = frozenset(
    ["audio", "logit_bias", "prediction", "response_format", "stream_options", "thinking"]
)
_EMBEDDINGS = frozenset({"dimensions", "encoding_format", "input", "user"})
_MESSAGES = frozenset(
    [
        "max_tokens",
        "messages",
        "stop_sequences",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
    ]
)
# Said to the gateway or to OpenAI's own store of answers alone.
_LEFT_OUT = frozenset({"model", "stream", "metadata", "store", "prompt_cache_key"})
_HAS_MCP = find_spec("mcp") is not None
# It imports parts of its own server for streams in Anthropic's form, and some releases for tools.
_MISSING = re.compile(r"No module named '([\w.]+)'")
_STREAM = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))
_JSON = ((b"content-type", b"application/json"),)


class LiteLLMUpstream:
    """A model of LiteLLM's, whatever the provider.

    The provider's key is the gateway's: LiteLLM reads it from the environment.

    Args:
        model: LiteLLM's name of it, provider first: ``"anthropic/claude-sonnet-4-5"``.
        models: Names it is asked for by; patterns such as ``"*"`` too. By default its own.
        api_base: Address of a server that is not the provider's own.
        api_key: The key, instead of the environment's.
        extra: Further arguments of LiteLLM's for every call, such as ``{"drop_params": True}``.
        price: US dollars for a million tokens of prompt and completion, where LiteLLM's bundled
            price list does not have the model.
        trainable: Whether its answers may train another model; by default what hetagent's catalogue
            says of the model's licence, else unknown.

    Raises:
        InputError: The name is empty.
    """

    def __init__(
        self,
        model: str,
        *,
        models: Sequence[str] | None = None,
        api_base: str | None = None,
        api_key: str | None = None,
        extra: Mapping[str, Any] | None = None,
        price: Price | None = None,
        trainable: Trainable | None = None,
    ) -> None:
        if not model.strip():
            raise InputError("The model's name is empty.", hint='Try "openai/gpt-5-mini".')
        self._model = model
        self._patterns = tuple(models) if models is not None else (model,)
        self._api_base = api_base
        self._api_key = api_key
        self._extra = dict(extra or {})
        self._price = price
        self._seconds = 600.0
        self._place = Place(
            model, api_base, "the provider's API key", (api_key,) if api_key else ()
        )
        self.name = model
        self.trainable: Trainable | None = trainable or Provenance().of(model)
        self.open_paths = False
        self.models: Sequence[str] = names_of(self._patterns, own=model)
        self.secrets: Sequence[str] = (api_key,) if api_key else ()

    def __repr__(self) -> str:
        return f"LiteLLMUpstream({self._model!r})"

    def serves(self, call: Call) -> bool:
        """Whether it is asked for by one of its names."""
        return call.form is not None and bool(call.model) and matches(call.model, self._patterns)

    def cost(self, usage: Usage) -> float | None:
        """By the price that was given, or LiteLLM's list."""
        if self._price is not None or usage.prompt is None:
            return price_of(usage, self._price)
        try:
            costs = import_litellm().cost_per_token(
                model=self._model,
                prompt_tokens=usage.prompt,
                completion_tokens=usage.completion or 0,
            )
        except Exception:  # a model without a price; older versions of LiteLLM raise a bare one
            return None
        return float(sum(costs))

    async def start(self, limits: Limits) -> None:
        """Import LiteLLM, which takes seconds."""
        self._seconds = limits.read_seconds
        await _there(_imported())

    async def aclose(self) -> None:
        """LiteLLM's connections end with the process."""

    async def send(self, call: Call) -> Answer:
        """Ask the provider.

        Raises:
            Refusal: LiteLLM takes no such argument.
            HetagentError: The provider failed or refused.
        """
        method, known = _METHODS[str(call.form)]
        arguments = self._arguments(call, known)
        found = await self._failing_as_ours(_there(self._ask(method, arguments)))
        if call.streamed:
            pieces = self._stream(found, call)
            return Answer(200, _STREAM, pieces, pieces.aclose)
        return Answer(200, _JSON, _once(_dumped(found).encode("utf-8", errors="replace")))

    def _arguments(self, call: Call, known: frozenset[str]) -> dict[str, Any]:
        given = {name: value for name, value in call.data.items() if name not in _LEFT_OUT}
        strange = sorted(set(given) - known)
        if strange:
            raise Refusal(
                400,
                f"Unrecognized request argument: {', '.join(strange)}.",
                code="unknown_argument",
            )
        if "messages" in known and not _are_objects(given.get("messages")):
            raise Refusal(
                400, "messages is not a list of objects, or is empty.", code="invalid_messages"
            )
        if "input" in known and "input" not in given:
            raise Refusal(400, "input is missing.", code="invalid_input")
        if call.form == "anthropic.messages" and not isinstance(given.get("max_tokens"), int):
            raise Refusal(400, "max_tokens is missing, or is no number.", code="invalid_request")
        for name in given.keys() & _OBJECTS:
            if not isinstance(given[name], Mapping | None):
                raise Refusal(400, f"{name} is no object.", code="invalid_request")
        for name in given.keys() & {"functions", "tools"}:
            if given[name] not in (None, []) and not _are_objects(given[name]):
                raise Refusal(400, f"{name} is not a list of objects.", code="invalid_request")
        return {
            "num_retries": 0,
            "max_retries": 0,
            "timeout": self._seconds,
            **({"stream": True} if call.streamed else {}),
            **({"api_base": self._api_base} if self._api_base else {}),
            **({"api_key": self._api_key} if self._api_key else {}),
            # With tools, some versions import a package that they do not require.
            **({"_skip_mcp_handler": True} if given.get("tools") and not _HAS_MCP else {}),
            **given,
            **self._extra,
            "model": self._model,
        }

    async def _ask(self, method: Callable[[Any], Any], arguments: dict[str, Any]) -> Any:
        return await method(import_litellm())(**arguments)

    async def _stream(self, found: Any, call: Call) -> AsyncGenerator[bytes, None]:
        """The chunks, as events; the stream itself lives on LiteLLM's loop."""
        chunks = found.__aiter__()
        try:
            while True:
                chunk = await self._failing_as_ours(_there(_next(chunks)))
                if chunk is _END:
                    break
                # Anthropic's form comes as events already.
                yield chunk if isinstance(chunk, bytes) else event_bytes(_event(chunk, call))
            if call.form == "openai.chat":
                yield event_bytes(Event("[DONE]"))
        finally:
            if (close := getattr(found, "aclose", None)) is not None:
                await _there(_closed(close))

    async def _failing_as_ours(self, work: Awaitable[T]) -> T:
        try:
            return await work
        except (Refusal, asyncio.CancelledError):
            raise
        except Exception as error:
            if missing := _MISSING.search(str(error)):
                raise Refusal(
                    501,
                    f"LiteLLM needs the package {missing[1]} for such a call, and does not install "
                    "it by itself. Install litellm[proxy], or call Anthropic without LiteLLM "
                    "between: hetagent serve --anthropic URL",
                    code="not_supported",
                ) from None
            # Not chained: what LiteLLM raises may hold the key.
            failure = translate(error, self._place)
            if failure.retry_after is None:
                raise failure.error from None
            refusal = refusal_of(failure.error)
            refusal.headers = ((b"retry-after", str(math.ceil(failure.retry_after)).encode()),)
            raise refusal from failure.error


def _event(chunk: Any, call: Call) -> Event:
    data = _dumped(chunk)
    if call.form != "anthropic.messages":
        return Event(data)
    return Event(data, str(json.loads(data).get("type", "")))


def _dumped(found: Any) -> str:
    if hasattr(found, "model_dump_json"):
        # What was not said is left out, as OpenAI does; a null that was said is kept.
        return str(found.model_dump_json(exclude_unset=True))
    return json.dumps(found, ensure_ascii=False, default=str)


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


_METHODS: dict[str, tuple[Callable[[Any], Any], frozenset[str]]] = {
    "openai.chat": (lambda litellm: litellm.acompletion, _CHAT),
    "openai.embeddings": (lambda litellm: litellm.aembedding, _EMBEDDINGS),
    "anthropic.messages": (lambda litellm: litellm.anthropic.messages.acreate, _MESSAGES),
}
_END = object()


async def _imported() -> None:
    litellm = import_litellm()
    # Messages in Anthropic's form would go to OpenAI's "responses", which few servers have.
    litellm.use_chat_completions_url_for_anthropic_messages = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Built at first use, with warnings of pydantic's.
        delta = litellm.utils.Delta(content="")
        litellm.ModelResponseStream(choices=[litellm.utils.StreamingChoices(delta=delta)])
        hasattr(litellm.anthropic, "messages")


async def _next(chunks: Any) -> Any:
    try:
        return await chunks.__anext__()
    except StopAsyncIteration:
        return _END


async def _closed(close: Callable[[], Any]) -> None:
    await close()


async def _there(work: Coroutine[Any, Any, T]) -> T:
    """Run something on LiteLLM's loop; cancelling it here cancels it there."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, background_loop()))


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body
