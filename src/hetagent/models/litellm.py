"""Any model LiteLLM can call: hosted ones, and servers of one's own with an OpenAI-like API."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from hetagent.errors import (
    ConnectError,
    HetagentError,
    ModelError,
    OutputError,
    UnknownModelError,
)
from hetagent.models import structured
from hetagent.models.background import background_loop, import_litellm
from hetagent.models.base import Completion, Request, Token
from hetagent.models.provider_errors import (
    Failure,
    Place,
    filtered,
    missing_key,
    names_a_secret,
    no_choices,
    translate,
    unknown_name,
)
from hetagent.models.provider_forms import FORMS, Forms
from hetagent.models.provider_tokens import answer_tokens
from hetagent.models.provider_usage import Tariff
from hetagent.models.structured import Form
from hetagent.models.tries import Tries, current_tries
from hetagent.outcome import Usage

__all__ = ["LiteLLM"]

LONGEST_RETRY_AFTER = 60.0
"""Seconds; a provider that asks to wait longer than this is not called again."""
LONGEST_BACKOFF = 8.0
"""Seconds between two tries where the provider names no time."""
THINKING_TOKENS = 4096
"""Room for thoughts, beside the answer's own tokens, in models that think before they answer."""
NO_KEY = "none-needed"
"""Sent to a server of one's own, because clients refuse to send no key at all."""


class LiteLLM:
    """A remote model, called through LiteLLM.

    The answer is asked for as strictly as the provider allows and validated in full. An answer
    that is not valid is shown to the model once, with its error, to be repaired. With
    ``top_logprobs``, the completion has its tokens and their probabilities.

    Args:
        name: LiteLLM's name of the model, provider first: ``"openai/gpt-5-mini"``. Any
            OpenAI-compatible server is ``"openai/<its model>"`` with ``api_base``.
        api_base: Address of a server that is not the provider's own; mostly ends in ``/v1``.
        api_key: The key; by default the provider's environment variable, such as
            ``OPENAI_API_KEY``. A server of one's own needs none.
        timeout: Seconds one try may take. Retries, the waits between them and a repair each come
            on top.
        max_retries: Further tries after rate limits, timeouts and server errors. A server that
            cannot be reached at all is not tried again. The waits double from half a second to
            eight, or are as long as the provider's ``Retry-After`` says, up to a minute.
        temperature: Sampling temperature; left out for models that do not take it.
        structured: How to ask for the output type: ``"schema"`` (``response_format`` with the JSON
            Schema), ``"json"`` (``response_format`` for any JSON, and the schema in the prompt) or
            ``"prompt"`` (the prompt alone). ``"auto"`` takes the strongest that LiteLLM says the
            model has, falls back where the server refuses it, and remembers that.
        top_logprobs: Alternatives to ask for at each token, with their probabilities, which give
            every field a confidence; 0 asks for none. OpenAI and vLLM, as it comes, allow 20.
        price: US dollars for a million prompt and a million completion tokens, where LiteLLM's
            bundled price list does not have the model; ``(0, 0)`` for a server of one's own.
        extra: Further arguments of ``litellm.acompletion``, such as ``num_ctx``; they win.
        backoff: Seconds before the first retry.

    Raises:
        UnknownModelError: The name is empty.
        ModelError: An argument is out of range.
    """

    def __init__(
        self,
        name: str,
        *,
        api_base: str | None = None,
        api_key: str | None = None,
        timeout: float = 60.0,
        max_retries: int = 3,
        temperature: float = 0.0,
        structured: Literal["auto", "schema", "json", "prompt"] = "auto",
        top_logprobs: int = 0,
        price: tuple[float, float] | None = None,
        extra: Mapping[str, Any] | None = None,
        backoff: float = 0.5,
    ) -> None:
        if not name.strip():
            raise UnknownModelError("The model's name is empty.", hint='Try "openai/gpt-5-mini".')
        if not timeout > 0 or max_retries < 0 or backoff < 0:
            raise ModelError(
                f"timeout={timeout}, max_retries={max_retries} or backoff={backoff} is too small.",
                hint="Give a timeout above 0 seconds, and 0 or more of the others.",
            )
        if structured not in ("auto", *FORMS):
            raise ModelError(
                f"structured={structured!r} is not a way to ask for an output type.",
                hint="Use 'auto', 'schema', 'json' or 'prompt'.",
            )
        if not isinstance(top_logprobs, int) or top_logprobs < 0:
            raise ModelError(
                f"top_logprobs={top_logprobs!r} is not a number of alternatives.",
                hint="Give 0 for no probabilities, or up to 20, which most servers allow.",
            )
        taken = {"model", "messages", "stream", "n"} & set(extra or {})
        if taken:
            raise ModelError(
                f"extra sets {', '.join(sorted(taken))}, which hetagent sets itself.",
                hint="Leave it out.",
            )
        self._name = name
        self._api_base = api_base
        self._api_key = api_key
        self._timeout = timeout
        self._max_retries = max_retries
        self._temperature = temperature
        self._structured = structured
        self._top_logprobs = top_logprobs
        self._tariff = Tariff(name, price)
        self._extra = dict(extra or {})
        self._backoff = backoff
        self._forms = Forms(name, structured, own_server=api_base is not None)

    @property
    def name(self) -> str:
        """LiteLLM's name of the model."""
        return self._name

    def __repr__(self) -> str:
        return f"LiteLLM({self._name!r})"

    async def price(self, request: Request) -> float | None:
        """What one answer costs at most; see `hetagent.models.base.PricedModel`."""
        if self._tariff.free:
            return 0.0
        work = asyncio.run_coroutine_threadsafe(self._most(request), background_loop())
        return await asyncio.wrap_future(work)

    async def _most(self, request: Request) -> float | None:
        litellm = import_litellm()
        try:
            call = _Call(request, litellm, *self._place(litellm))
        except HetagentError:
            return None  # the call itself will say why
        return self._tariff.most(litellm, self._arguments(call, [], self._forms_for(call)[0]))

    async def complete(self, request: Request) -> Completion:
        """Answer a request; cancelling the task closes the connection.

        Raises:
            CredentialsError: There is no key, or the provider refused it.
            UnknownModelError: LiteLLM knows no such provider.
            InputTooLongError: The prompt does not fit the model's context.
            ModelTimeoutError: No try was answered in time.
            RateLimitError: Every try met a rate limit.
            ConnectError: The server cannot be reached.
            ProviderError: The provider failed or refused the request.
            OutputError: The answer is not valid, nor is the repaired one.
        """
        work = asyncio.run_coroutine_threadsafe(self._complete(request), background_loop())
        return await asyncio.wrap_future(work)

    async def _complete(self, request: Request) -> Completion:
        litellm = import_litellm()
        call = _Call(request, litellm, *self._place(litellm))
        try:
            return await self._answer(call)
        except HetagentError as error:
            # What failed was paid for all the same.
            error.usage, error.attempts = call.usage, max(1, call.attempts)
            raise

    async def _answer(self, call: _Call) -> Completion:
        """An answer, repaired once where it is not valid."""
        request = call.request
        answer = await self._ask(call, [])
        if answer.finish != "length":
            try:
                text = structured.read(request.output, answer.text)
            except OutputError as error:
                repair = structured.repair(answer.text, error)
            else:
                return call.completion(self._name, answer, text)
            answer = await self._ask(call, repair)
        if answer.finish == "length":
            return call.completion(self._name, answer, answer.text)
        try:
            text = structured.read(request.output, answer.text)
        except OutputError as error:
            raise OutputError(
                f"{self._name} gave no valid answer, nor a repaired one. {error.message}",
                text=answer.text,
                hint="Use a stronger model, or simplify the output type.",
            ) from None
        return call.completion(self._name, answer, text)

    async def _ask(self, call: _Call, turns: structured.Chat) -> _Answer:
        """One answer, asked for in the strongest form the server takes."""
        forms = self._forms_for(call)
        first: Failure | None = None
        for form in forms:
            # On mere suspicion, which comes after the retries, a weaker form is tried once.
            suspected = first is not None and first.refused is None
            result = await self._try(call, turns, form, retries=not suspected)
            if isinstance(result, _Answer):
                self._forms.learn(call.request.output, form, first)
                return result
            if first is None or first.refused:
                first = result
            if not self._forms.may_be_the_fault(result, form):
                break
        assert first is not None
        raise first.error

    def _forms_for(self, call: _Call) -> tuple[Form, ...]:
        return self._forms.to_try(call.request.output, call.litellm, *self._route(call.litellm))

    def _route(self, litellm: Any) -> tuple[str, str]:
        """The provider, and its own name for the model."""
        try:
            found = litellm.get_llm_provider(model=self._name, api_base=self._api_base)
        except litellm.BadRequestError:
            raise unknown_name(self._name) from None
        return found[1], found[0]

    def _place(self, litellm: Any) -> tuple[Place, str | None]:
        """Where calls go, and the key to send where there is none and none is needed."""
        provider, _ = self._route(litellm)
        variable = f"{provider.upper()}_API_KEY"
        missing = litellm.validate_environment(model=self._name)["missing_keys"]
        if os.environ.get(variable) == "":
            missing = [variable]
        given = self._api_key or self._extra.get("api_key") or litellm.api_key
        hidden = [self._extra[name] for name in self._extra if names_a_secret(name)]
        secrets = [value for value in (given, *hidden) if isinstance(value, str) and value]
        place = Place(self._name, self._api_base, missing[-1] if missing else variable, secrets)
        # Names other than keys stand for credentials that may as well come from elsewhere.
        if given or not missing or not all(name.endswith("_API_KEY") for name in missing):
            return place, None
        if self._api_base is None:
            raise missing_key(place)
        return place, NO_KEY

    async def _try(
        self, call: _Call, turns: structured.Chat, form: Form, *, retries: bool
    ) -> _Answer | Failure:
        """Call, and call again where that may help."""
        from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

        retrying = AsyncRetrying(
            stop=stop_after_attempt(1 + (self._max_retries if retries else 0)),
            retry=retry_if_exception(_worth_retrying),
            wait=self._wait,
            reraise=True,
        )
        try:
            return cast(_Answer, await retrying(self._call_once, call, turns, form))
        except Failure as failure:
            return failure

    def _wait(self, state: Any) -> float:
        from tenacity import wait_exponential, wait_random

        backoff = wait_exponential(multiplier=self._backoff, max=LONGEST_BACKOFF)
        jitter = wait_random(0, self._backoff)
        asked = state.outcome.exception().retry_after
        return float(max(backoff(state) + jitter(state), asked or 0.0))

    async def _call_once(self, call: _Call, turns: structured.Chat, form: Form) -> _Answer:
        call.attempts += 1
        if call.tries is not None:
            call.tries.begun = call.attempts
        start = time.perf_counter()
        try:
            arguments = self._arguments(call, turns, form)
            async with asyncio.timeout(self._timeout):
                response = await call.litellm.acompletion(**arguments)
        except Exception as error:
            failure = translate(error, call.place)
            call.usage += self._tariff.lost(failure.error)
            # Not chained: what LiteLLM raises may hold the key, which a traceback would show.
            raise failure from None
        finally:
            call.seconds += time.perf_counter() - start
        call.usage += self._tariff.reported(call.litellm, response, arguments)
        if not response.choices:
            raise Failure(no_choices(call.place))
        choice = response.choices[0]
        if choice.finish_reason == "content_filter":
            raise Failure(filtered(call.place))
        finish: Literal["stop", "length"] = "length" if choice.finish_reason == "length" else "stop"
        logprobs = getattr(choice, "logprobs", None) if self._top_logprobs else None
        return _Answer(choice.message.content or "", finish, logprobs)

    def _arguments(self, call: _Call, turns: structured.Chat, form: Form) -> dict[str, Any]:
        request = call.request
        thinks = call.litellm.supports_reasoning(model=self._name)
        own_server = self._api_base is not None or self._structured == "json"
        return {
            "model": self._name,
            "messages": [*structured.chat(request.messages, request.output, form), *turns],
            "response_format": structured.response_format(
                form, request.output, own_server=own_server
            ),
            "max_tokens": request.max_tokens + (THINKING_TOKENS if thinks else 0),
            "temperature": self._temperature,
            **({"logprobs": True, "top_logprobs": n} if (n := self._top_logprobs) else {}),
            "api_base": self._api_base,
            "api_key": self._api_key or call.stand_in_key,
            "timeout": self._timeout,
            "num_retries": 0,
            "max_retries": 0,
            "drop_params": True,
            **self._extra,
        }


@dataclass(frozen=True, slots=True)
class _Answer:
    text: str
    finish: Literal["stop", "length"]
    logprobs: Any


@dataclass(slots=True)
class _Call:
    """One `complete`, and what it has cost so far."""

    request: Request
    litellm: Any
    place: Place
    stand_in_key: str | None
    attempts: int = 0
    seconds: float = 0.0
    usage: Usage = field(default_factory=Usage)
    tries: Tries | None = field(default_factory=current_tries.get)

    def completion(self, model: str, answer: _Answer, text: str) -> Completion:
        """The completion of an answer whose text, in the output type's own form, is ``text``."""
        tokens: tuple[Token, ...] | None = None
        if answer.finish == "stop" and answer.logprobs is not None:
            tokens = answer_tokens(
                answer.logprobs, content=answer.text, output=self.request.output, text=text
            )
        return Completion(
            text,
            model,
            finish=answer.finish,
            tokens=tokens,
            usage=self.usage,
            seconds={"request": self.seconds},
            attempts=self.attempts,
        )


def _worth_retrying(error: BaseException) -> bool:
    return (
        isinstance(error, Failure)
        and error.error.retryable
        and not isinstance(error.error, ConnectError)
        and error.refused is None
        and (error.retry_after or 0.0) <= LONGEST_RETRY_AFTER
    )
