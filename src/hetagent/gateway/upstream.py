"""Where calls go: what every upstream is, and a server passed through byte for byte."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Protocol

from hetagent.errors import ConnectError, InputError, ModelTimeoutError, ProviderError
from hetagent.gateway.apis import Api
from hetagent.gateway.calls import Answer, Call
from hetagent.gateway.headers import onward, returned
from hetagent.gateway.limits import Limits
from hetagent.learn.record import Trainable, Usage

if TYPE_CHECKING:
    import httpx

__all__ = ["HttpUpstream", "Price", "Upstream", "matches", "names_of", "price_of"]

Price = tuple[float, float]
"""US dollars for a million tokens of prompt and of completion."""

_KEY_HEADERS = frozenset({b"authorization", b"api-key", b"x-api-key"})
_PIECE = 256 * 1024


class Upstream(Protocol):
    """What answers calls.

    Attributes:
        name: For status, records and messages.
        trainable: Whether its answers may train another model; ``None`` leaves it to the licence of
            the model that answers.
        open_paths: Whether it takes paths that the gateway does not know.
        models: Names of models it has of its own; empty where it is asked for them.
        secrets: Its own keys, which are never recorded.
    """

    name: str
    trainable: Trainable | None
    open_paths: bool
    models: Sequence[str]
    secrets: Sequence[str]

    def serves(self, call: Call) -> bool:
        """Whether such a call may go to it."""

    async def send(self, call: Call) -> Answer:
        """Answer a call; cancelling the task stops the work.

        Raises:
            HetagentError: There is no answer.
            Refusal: It takes no such call.
        """

    def cost(self, usage: Usage) -> float | None:
        """US dollars, or ``None`` where the price is not known."""

    async def start(self, limits: Limits) -> None:
        """Make ready; in the event loop that calls come in."""

    async def aclose(self) -> None:
        """Let go of everything."""


class HttpUpstream:
    """A server that speaks one of the APIs; requests and answers go through as they are.

    The client gets the server's status, headers and bytes, in a stream as they come, compressed
    ones compressed. Calls in Azure's form may go to an OpenAI-compatible server too: the
    deployment is then the model's name.

    Args:
        url: Where the API begins: ``"https://api.openai.com/v1"``, ``"https://api.anthropic.com"``,
            ``"https://NAME.openai.azure.com"``.
        api: Which one it speaks.
        key: Sent instead of the caller's; by default the caller's key goes through.
        models: Patterns of the models that go to it, such as ``"gpt-*"``.
        price: For the records' cost.
        trainable: Whether its answers may train another model; by default what hetagent's catalogue
            says of the model's licence, else unknown.
        name: For status and records; by default the host.

    Raises:
        InputError: The address is none of HTTP.
    """

    def __init__(
        self,
        url: str,
        *,
        api: Api = "openai",
        key: str | None = None,
        models: Sequence[str] = ("*",),
        price: Price | None = None,
        trainable: Trainable | None = None,
        name: str | None = None,
    ) -> None:
        import httpx

        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, TypeError) as error:
            raise InputError(f"{url!r} is no address: {error}.", hint=_URL_HINT) from error
        if parsed.scheme not in ("http", "https") or not parsed.host or parsed.query:
            raise InputError(f"{url!r} is no address of an API.", hint=_URL_HINT)
        self._base = str(parsed).rstrip("/")
        if api != "openai":
            self._base = self._base.removesuffix("/v1").removesuffix("/openai")
        self._path = httpx.URL(self._base).raw_path.decode("ascii").rstrip("/")
        self._api: Api = api
        self._key = key
        self._patterns = tuple(models)
        self._price = price
        self._client: httpx.AsyncClient | None = None
        self.name = name or parsed.netloc.decode("ascii", errors="replace")
        self.trainable: Trainable | None = trainable
        self.models: Sequence[str] = ()
        self.secrets: Sequence[str] = (key,) if key else ()
        # With a key of the gateway's, whoever calls would reach files and accounts by it.
        self.open_paths = key is None

    def __repr__(self) -> str:
        return f"HttpUpstream({self._base!r}, api={self._api!r})"

    def serves(self, call: Call) -> bool:
        """Whether it speaks the call's API, and has the model."""
        spoken = call.api == self._api or (call.api == "azure" and self._api == "openai")
        return spoken and matches(call.model, self._patterns)

    def cost(self, usage: Usage) -> float | None:
        """By the price that was given."""
        return price_of(usage, self._price)

    async def start(self, limits: Limits) -> None:
        """Open the pool of connections."""
        from http.cookiejar import CookieJar, DefaultCookiePolicy

        import httpx

        timeout = httpx.Timeout(
            limits.read_seconds,
            connect=limits.connect_seconds,
            write=limits.send_seconds,
            pool=None,
        )
        self._client = httpx.AsyncClient(
            timeout=timeout,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=256),
            follow_redirects=False,
            # One caller's cookies are none of another's business.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )

    async def aclose(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.aclose()

    async def send(self, call: Call) -> Answer:
        """Send it on.

        Raises:
            ConnectError: The server cannot be reached, or hung up.
            ModelTimeoutError: It does not answer in time.
        """
        import httpx

        assert self._client is not None
        call = self._in_its_form(call)
        headers = self._headers(call)
        if call.body or call.method not in ("GET", "HEAD", "DELETE"):
            headers.append((b"content-length", str(len(call.body)).encode()))
        with _Translated(self.name):
            request = httpx.Request(
                call.method,
                self._base,
                headers=headers,
                content=_pieces_of(call.body) if call.body else None,
                # The target as it came: put together again it might be spelled differently.
                extensions={
                    "timeout": self._client.timeout.as_dict(),
                    "target": self._target(call).encode("latin-1", errors="replace"),
                },
            )
            response = await self._client.send(request, stream=True)
        pieces = self._pieces(response)

        async def close() -> None:
            await pieces.aclose()
            await response.aclose()

        headers = returned(response.headers.raw)
        return Answer(response.status_code, headers, pieces, close)

    async def _pieces(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        with _Translated(self.name):
            async for piece in response.aiter_raw():
                yield piece

    def _in_its_form(self, call: Call) -> Call:
        """A call of Azure's as OpenAI has it; any other as it is."""
        if call.api == self._api or call.api != "azure":
            return call
        body = call.body
        if call.method == "POST" and not call.data.get("model"):
            body = json.dumps({**call.data, "model": call.model}).encode()
        given = dict(call.headers)
        headers = [pair for pair in call.headers if pair[0] != b"api-key"]
        if b"api-key" in given and b"authorization" not in given:
            headers.append((b"authorization", b"Bearer " + given[b"api-key"]))
        return replace(call, api="openai", query=b"", body=body, headers=headers)

    def _target(self, call: Call) -> str:
        path = {
            "openai": f"/{call.path}",
            "azure": f"/openai/{call.path}",
            "anthropic": f"/v1/{call.path}",
        }[call.api]
        if call.api == "azure" and call.model and call.form is not None:
            from urllib.parse import quote

            path = f"/openai/deployments/{quote(call.model, safe='')}/{call.path}"
        query = f"?{call.query.decode('latin-1')}" if call.query else ""
        return f"{self._path}{path}{query}"

    def _headers(self, call: Call) -> list[tuple[bytes, bytes]]:
        host = _host(self._base)
        kept = [(b"host", host), *onward(call.headers)]
        if self._key is None:
            return kept
        kept = [pair for pair in kept if pair[0] not in _KEY_HEADERS]
        own = self._key.encode("utf-8")
        name, value = {
            "openai": (b"authorization", b"Bearer " + own),
            "azure": (b"api-key", own),
            "anthropic": (b"x-api-key", own),
        }[self._api]
        return [*kept, (name, value)]


class _Translated:
    """Turns httpx's errors into ours."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        import httpx

        if isinstance(error, httpx.TimeoutException) and not isinstance(
            error, httpx.ConnectTimeout
        ):
            raise ModelTimeoutError(f"{self._name} gave no answer in time.") from error
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            raise ConnectError(f"{self._name} cannot be reached.", hint=_down(error)) from error
        if isinstance(error, httpx.HTTPError | httpx.InvalidURL):
            what = type(error).__name__
            raise ConnectError(f"The connection to {self._name} broke: {what}.") from error
        if isinstance(error, httpx.StreamError):
            raise ProviderError(f"The stream of {self._name} ended.") from error


_URL_HINT = "Give one like https://api.openai.com/v1."


def matches(model: str, patterns: Sequence[str]) -> bool:
    """Whether a model's name is one of some patterns; one that is not named is any."""
    return not model or any(fnmatchcase(model, pattern) for pattern in patterns)


def names_of(patterns: Sequence[str], *, own: str) -> list[str]:
    """The names to tell of a model: those it goes by, and its own where it goes by any."""
    named = [one for one in patterns if not any(sign in one for sign in "*?[")]
    return [*named, own] if "*" in patterns and own not in named else named


def price_of(usage: Usage, price: Price | None) -> float | None:
    """What tokens cost, or ``None`` where they or the price are not known."""
    if price is None or usage.prompt is None:
        return None
    return (usage.prompt * price[0] + (usage.completion or 0) * price[1]) / 1_000_000


async def _pieces_of(body: bytes) -> AsyncGenerator[bytes, None]:
    """A body in pieces, each with a time limit of its own, so that a slow line may take long."""
    for begin in range(0, len(body), _PIECE):
        yield body[begin : begin + _PIECE]


def _down(error: Exception) -> str:
    return "It took the connection too slowly." if "Timeout" in type(error).__name__ else ""


def _host(url: str) -> bytes:
    import httpx

    return httpx.URL(url).netloc
