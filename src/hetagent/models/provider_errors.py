"""LiteLLM's exceptions, and those beneath them, as hetagent's own.

LiteLLM raises its own kin of the OpenAI client's exceptions, chained to the client's, which are
chained to those of the HTTP library. The status alone does not tell an unreachable server from one
that failed, so the whole chain is read. Names of classes are compared instead of the classes, for
LiteLLM must not be imported here.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Literal
from urllib.parse import urlsplit

from hetagent.errors import (
    ConnectError,
    CredentialsError,
    HetagentError,
    InputError,
    InputTooLongError,
    ModelTimeoutError,
    ProviderError,
    RateLimitError,
    UnknownModelError,
)

__all__ = [
    "Failure",
    "Place",
    "filtered",
    "missing_key",
    "no_choices",
    "translate",
    "unknown_name",
]

_EXCERPT = 80
_LONGEST_MESSAGE = 300
_PREFIX = re.compile(r"^(?:litellm\.\w+: |\w+Error: |\w+ Error: |\w+Exception - )+")
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
_SHORTEST_SECRET = 6
_BEARER = re.compile(r"(Bearer\s+)\S+", re.IGNORECASE)
_FORMAT = re.compile(
    r"response_format|json.?schema|json_object|structured.?output|grammar", re.IGNORECASE
)
_SCHEMA = re.compile(
    r"(?:invalid|unrecognized|unsupported) schema|schema conversion|"
    r"schema\b.*\b(?:not (?:permitted|supported|allowed)|unsupported)",
    re.IGNORECASE,
)
_CONTEXT = re.compile(r"context (?:length|size|window|limit)|maximum context|too many tokens", re.I)
_CONTEXT_LIMIT = re.compile(
    r"(?:context (?:length|size|window)(?: is| of)?|maximum of)\D{0,12}(\d+)", re.IGNORECASE
)
_RECEIVED = re.compile(
    r"Empty or invalid response .*? Received: '?(.*?)'?\. Check the reverse proxy", re.DOTALL
)
_DROPPED = frozenset(
    {"ConnectionResetError", "BrokenPipeError", "ReadError", "WriteError", "RemoteProtocolError"}
)
_CONTEXT_ASKED = re.compile(
    r"(?:requested|resulted in|request) \(?(\d+)|(\d+) (?:input )?tokens", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Place:
    """Whom a call went to, for messages.

    Attributes:
        model: LiteLLM's name of the model.
        api_base: Address of the server; ``None`` for the provider's own.
        key_variable: Environment variable the provider's key is read from.
        secrets: What must not be shown, beside the values of the environment's own secrets.
    """

    model: str
    api_base: str | None
    key_variable: str
    secrets: Collection[str] = ()

    def server(self) -> str:
        """The server in words, without user name or password."""
        if self.api_base is None:
            return f"the provider of {self.model!r}"
        parts = urlsplit(self.api_base)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"

    def clean(self, text: str) -> str:
        """A text without any secret."""
        hidden = {
            value
            for name, value in os.environ.items()
            if _SECRET_NAME.search(name) and len(value) >= _SHORTEST_SECRET
        }
        for secret in sorted({*hidden, *self.secrets}, key=len, reverse=True):
            text = text.replace(secret, "***")
        return _BEARER.sub(r"\1***", text)


def names_a_secret(name: str) -> bool:
    """Whether a variable or argument of this name holds a key or password."""
    return bool(_SECRET_NAME.search(name.upper()))


class Failure(Exception):  # noqa: N818  # it carries an error and is not one
    """One call that failed, with what decides whether it is made again.

    Attributes:
        error: What the caller gets if it is not.
        retry_after: Seconds the provider asks to wait, or ``None``.
        refused: What it refused, where it did not take the way it was asked for structured
            output: the ``"format"`` in any case, or this ``"schema"``.
    """

    def __init__(
        self,
        error: HetagentError,
        *,
        retry_after: float | None = None,
        refused: Literal["format", "schema"] | None = None,
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.retry_after = retry_after
        self.refused = refused


def translate(error: Exception, place: Place) -> Failure:
    """What an exception of LiteLLM's means."""
    chain = list(_chain(error))
    names = {kind.__name__ for link in chain for kind in type(link).__mro__}
    message = place.clean(_PREFIX.sub("", str(error).strip()))
    status = getattr(error, "status_code", None)
    retry_after = _retry_after(chain)
    ours = _without_answer(chain, names, message, place)
    if ours is None:
        status = status if isinstance(status, int) else None
        ours = _with_answer(error, status, message, place, retry_after)
    refused: Literal["format", "schema"] | None = None
    if type(ours) is ProviderError and _FORMAT.search(message):
        refused = "schema" if _SCHEMA.search(message) else "format"
    return Failure(ours, retry_after=retry_after, refused=refused)


def missing_key(place: Place) -> CredentialsError:
    """The error where there is no key to call with."""
    return CredentialsError(
        f"There is no API key for {place.model!r}.",
        hint=f"Set {place.key_variable} in the environment, or give api_key=. A server of your "
        "own needs api_base= and no key.",
    )


def unknown_name(name: str) -> UnknownModelError:
    """The error where LiteLLM knows no provider for a name."""
    return UnknownModelError(
        f"{name!r} names no provider that LiteLLM knows.",
        hint='Write provider and model, such as "openai/gpt-5-mini"; '
        f'for an OpenAI-compatible server of your own, "openai/{name}" with api_base=.',
    )


def no_choices(place: Place) -> ProviderError:
    """The error where an answer of the API's has no answer of the model in it."""
    return ProviderError(
        f"{place.server()} sent an answer with no choices in it.",
        retryable=True,
        hint="Try again; if it goes on, look at the server's log.",
    )


def filtered(place: Place) -> ProviderError:
    """The error where the provider withheld the answer."""
    return ProviderError(
        f"The provider's content filter stopped the answer of {place.model!r}.",
        hint="Change the input, or ask another model.",
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _without_answer(
    chain: list[BaseException], names: set[str], message: str, place: Place
) -> HetagentError | None:
    """The error where nothing that can be read came back."""
    reason = _said(place.clean(str(chain[-1]) or type(chain[-1]).__name__))
    if "LLM Provider NOT provided" in message:
        return unknown_name(place.model)
    if "Missing credentials" in message:
        return missing_key(place)
    if "UnicodeEncodeError" in names:
        return InputError(
            "The input holds half a surrogate pair, which cannot be sent.",
            hint="Decode it with errors='replace' first.",
        )
    if names & {"TimeoutError", "Timeout", "APITimeoutError", "TimeoutException"}:
        return ModelTimeoutError(
            f"{place.model} gave no answer in time.",
            hint="Give LiteLLM a longer timeout=, or try again later.",
        )
    for link in chain:
        if isinstance(link, json.JSONDecodeError):
            return _unreadable(link.doc, place)
    if names & _DROPPED:
        return ProviderError(
            f"{place.server()} closed the connection before it answered.",
            retryable=True,
            hint="Try again; if it goes on, look at the server's log.",
        )
    if names & {"ConnectError", "ClientConnectorError"}:
        return ConnectError(
            f"{place.server()} cannot be reached: {reason}",
            hint="Check api_base and the network, and whether the server runs.",
        )
    received = _RECEIVED.search(message)
    if received:
        return _unreadable(received[1], place)
    if "APIConnectionError" in names:
        return ProviderError(
            f"The call to {place.server()} failed: {reason}",
            retryable="NetworkError" in names,
            hint="Check api_base and the arguments given in extra.",
        )
    return None


def _with_answer(
    error: Exception, status: int | None, message: str, place: Place, retry_after: float | None
) -> HetagentError:
    """The error where the provider answered with one, by its status."""
    name = type(error).__name__
    if name == "ContextWindowExceededError" or (status == 400 and _CONTEXT.search(message)):
        return _too_long(message, place)
    said = _said(message)
    if status in (401, 403):
        return CredentialsError(
            f"The provider refused the key for {place.model!r}: {said}",
            status=status,
            hint=f"Check {place.key_variable}, or the api_key that was given, and what it may use.",
        )
    if status == 429:
        return RateLimitError(
            f"The provider limits the rate of calls to {place.model!r}: {said}",
            status=status,
            hint=f"Wait{f' {retry_after:.0f} s' if retry_after else ''}, make fewer calls at once, "
            "or raise max_retries.",
        )
    if status == 404:
        return ProviderError(
            f"{place.server()} has no {place.model!r}: {said}",
            status=status,
            hint="Check the model's name and api_base, which mostly ends in /v1.",
        )
    if status is None or status >= 500:
        return ProviderError(
            f"{place.server()} failed: {said}",
            status=status,
            retryable=True,
            hint="Try again later; if it goes on, look at the provider's status page or log.",
        )
    return ProviderError(
        f"{place.server()} refused the request: {said}",
        status=status,
        retryable=False,
        hint="Change the request as it says.",
    )


def _unreadable(body: str, place: Place) -> ProviderError:
    excerpt = place.clean(body)[:_EXCERPT]
    what = f"It begins: {excerpt!r}." if body.strip() else "It is empty."
    return ProviderError(
        f"{place.server()} answered with something that is not the API's JSON. {what}",
        retryable=True,
        hint="Check that api_base is the API's address, and not a web page's or a proxy's.",
    )


def _too_long(message: str, place: Place) -> InputTooLongError:
    limit = _CONTEXT_LIMIT.search(message)
    asked = _CONTEXT_ASKED.search(message.replace(limit[0], "") if limit else message)
    return InputTooLongError(
        f"The input does not fit the context window of {place.model!r}: {_said(message)}",
        tokens=int(asked[1] or asked[2]) if asked else 0,
        limit=int(limit[1]) if limit else 0,
        hint="Shorten the input, or use a model with a longer context.",
    )


def _said(message: str) -> str:
    """What a provider said, short; of a web page only its beginning."""
    text = " ".join(message.split()) or "it did not say why"
    longest = _EXCERPT if "<html" in text.lower() or "<!doctype" in text.lower() else None
    if len(text) > (longest := longest or _LONGEST_MESSAGE):
        text = f"{text[:longest]}…"
    return text if text.endswith((".", "…", "!", "?")) else f"{text}."


def _retry_after(chain: list[BaseException]) -> float | None:
    """Seconds to wait by the ``Retry-After`` header (RFC 9110, section 10.2.3)."""
    for link in chain:
        response = getattr(link, "response", None)
        for headers in (
            getattr(link, "litellm_response_headers", None),
            getattr(response, "headers", None),
        ):
            given = headers.get("retry-after") if headers else None
            if given:
                return _seconds(str(given))
    return None


def _seconds(given: str) -> float | None:
    try:
        return max(0.0, float(given))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(given).timestamp() - time.time())
    except ValueError:
        return None
