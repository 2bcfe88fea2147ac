"""The gateway: an agent's API on one side, the upstreams on the other, records beside them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hetagent.errors import InputError, MissingExtraError
from hetagent.gateway.apis import Api, Refusal
from hetagent.gateway.calls import Call
from hetagent.gateway.converted import ConvertedUpstream
from hetagent.gateway.intake import ClientGoneError, Intake, Receive, Scope, Send, as_written
from hetagent.gateway.keys import Keys
from hetagent.gateway.limits import Limits
from hetagent.gateway.openapi import document
from hetagent.gateway.relay import Relay, send_whole
from hetagent.gateway.tap import Recording, Tap
from hetagent.gateway.upstream import Upstream
from hetagent.learn.pipeline import Pipeline
from hetagent.learn.record import Form

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = ["Gateway"]

_SECONDS_TO_SETTLE = 5.0
_FORMS: dict[str, Form] = {
    "chat/completions": "openai.chat",
    "embeddings": "openai.embeddings",
    "messages": "anthropic.messages",
}


class Gateway:
    """An endpoint that an agent is pointed at instead of its provider's.

    Args:
        upstreams: What answers; each call goes to the first that serves its API and model.
        pipeline: Where records go; ``None`` records nothing. The gateway closes it.
        keys: Who is let in; ``None`` lets in everyone who reaches it, but no web pages.
        limits: Of single calls.

    Raises:
        InputError: There is no upstream.
        MissingExtraError: The packages of the extra ``gateway`` are not installed.
    """

    def __init__(
        self,
        *upstreams: Upstream,
        pipeline: Pipeline | None = None,
        keys: Keys | None = None,
        limits: Limits | None = None,
    ) -> None:
        if not upstreams:
            raise InputError(
                "The gateway has no upstream.", hint="Give one: Gateway(HttpUpstream(URL))."
            )
        self.limits = limits or Limits()
        self.keys = keys
        self._upstreams: Sequence[Upstream] = upstreams
        self._intake = Intake(keys=keys, limits=self.limits)
        self._tap = Tap(pipeline, limits=self.limits)
        self._began = time.monotonic()
        self._under_way = 0
        self._calls = self._failed = self._unrecorded = 0
        self.app: Starlette = self._build()

    def status(self) -> dict[str, Any]:
        """What it did so far, as JSON data.

        Returns:
            ``seconds`` since it was made; ``under_way``, ``calls``, ``failed`` (without a whole
            answer) and ``passed_on`` (paths that are not recorded); ``upstreams``, by name;
            ``records``: whether calls are recorded (``on``), and what became of them; and where
            workloads are converted, ``conversions``: see
            `hetagent.gateway.conversions.Conversions.status`.
        """
        told: dict[str, Any] = {
            "seconds": round(time.monotonic() - self._began, 3),
            "under_way": self._under_way,
            "calls": self._calls,
            "failed": self._failed,
            "passed_on": self._unrecorded,
            "upstreams": [one.name for one in self._upstreams],
            "records": {"on": self._tap.on, **asdict(self._tap.recorded)},
        }
        for one in self._upstreams:
            if isinstance(one, ConvertedUpstream):  # which all follow one registry
                told["conversions"] = one.conversions.status()
        return told

    def _build(self) -> Starlette:
        try:
            from starlette.applications import Starlette
            from starlette.exceptions import HTTPException
            from starlette.routing import BaseRoute, Mount, Route
        except ImportError as error:
            raise MissingExtraError("starlette", extra="gateway") from error

        routes: list[BaseRoute] = []
        for prefix in ("", "/w/{workload}"):
            # Azure's newer paths are OpenAI's behind a word of its own.
            roots = (f"{prefix}/v1", f"{prefix}/openai/v1")
            deployment = f"{prefix}/openai/deployments/{{model:path}}"
            paths = ("chat/completions", "embeddings")
            posts = [
                (f"{root}/{path}", _Calls(self, "openai", path)) for root in roots for path in paths
            ]
            posts += [(f"{deployment}/{path}", _Calls(self, "azure", path)) for path in paths]
            posts += [(f"{prefix}/v1/messages", _Calls(self, "anthropic", "messages"))]
            others = [(f"{root}/{{path:path}}", _Calls(self, "openai")) for root in roots]
            others += [(f"{prefix}/openai/{{path:path}}", _Calls(self, "azure"))]
            routes += [Route(path, endpoint, methods=["POST"]) for path, endpoint in posts]
            routes += [Route(f"{root}/models", _Models(self), methods=["GET"]) for root in roots]
            one = "models/{path:path}"
            routes += [Route(f"{root}/{one}", _Models(self), methods=["GET"]) for root in roots]
            routes += [Route(path, endpoint) for path, endpoint in others]
        own = [
            Route("/health", _Own(self, "health"), methods=["GET"]),
            Route("/status", _Own(self, "status"), methods=["GET"]),
            Route("/openapi.json", _Own(self, "openapi"), methods=["GET"]),
        ]
        return Starlette(
            routes=[*routes, Mount("/gateway", routes=own)],
            lifespan=self._lifespan,
            exception_handlers={HTTPException: _not_here},
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Any) -> AsyncIterator[None]:
        for upstream in self._upstreams:
            await upstream.start(self.limits)
        try:
            yield
        finally:
            # What was cancelled still has to let go of its upstream and leave its record.
            end = time.monotonic() + _SECONDS_TO_SETTLE
            while self._under_way and time.monotonic() < end:
                await asyncio.sleep(0.01)
            for upstream in self._upstreams:
                await upstream.aclose()
            task = asyncio.current_task()
            hurried = task is not None and task.cancelling() > 0
            timeout = _SECONDS_TO_SETTLE if hurried else self.limits.stop_seconds
            await asyncio.to_thread(lambda: self._tap.close(timeout=timeout))

    def _upstream_of(self, call: Call) -> Upstream:
        for upstream in self._upstreams:
            known = call.form is not None or call.path.split("/")[0] == "models"
            if upstream.serves(call) and (known or upstream.open_paths):
                return upstream
        if call.form is None:
            raise Refusal(
                404,
                f"The gateway has no /{call.path}, and passes it on to nobody: a model takes calls "
                "alone, and a server called with the gateway's own key too.",
                code="not_found",
            )
        what = f"the model {call.model!r}" if call.model else "a call without a model"
        raise Refusal(
            404, f"The gateway has no upstream for {what} in this API.", code="model_not_found"
        )


class _Calls:
    """Answers the calls of one path; without one, passes on what the gateway does not know."""

    def __init__(self, gateway: Gateway, api: Api, path: str = "") -> None:
        self._gateway = gateway
        self._api: Api = api
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = self._path or as_written(scope)
        api = self._api
        if api == "openai" and path not in _FORMS and _is_anthropic(scope, path):
            api = "anthropic"
        await self._serve(scope, receive, send, api=api, path=path)

    async def _serve(
        self, scope: Scope, receive: Receive, send: Send, *, api: Api, path: str
    ) -> None:
        gateway = self._gateway
        relay = Relay(scope, receive, send, api=api, limits=gateway.limits)
        gateway._under_way += 1
        try:
            if gateway._under_way > gateway.limits.at_once:
                refusal = Refusal(
                    503,
                    "The gateway has too many calls under way.",
                    code="overloaded",
                    headers=((b"retry-after", b"1"),),
                )
                refusal.unread = True
                raise refusal
            form = _FORMS.get(path.rstrip("/")) if scope["method"] == "POST" else None
            call = await gateway._intake.read(scope, receive, api=api, path=path, form=form)
            upstream = gateway._upstream_of(call)
            await self._relay(relay, call, upstream)
        except ClientGoneError:
            return
        except Refusal as refusal:
            await relay.refuse(refusal)
        finally:
            gateway._under_way -= 1

    async def _relay(self, relay: Relay, call: Call, upstream: Upstream) -> None:
        gateway = self._gateway
        recording = Recording(call, upstream, room=gateway._tap.room_for(call))
        try:
            await relay.answer(upstream.send(call), recording)
        finally:
            if call.form is None:
                gateway._unrecorded += 1
            else:
                gateway._calls += 1
                gateway._failed += not recording.complete or (recording.status or 500) >= 400
                gateway._tap.submit(recording)


class _Models(_Calls):
    """Tells the models: those the gateway names, or the upstream's own."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway, "openai")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = "models"
        if "path" in scope["path_params"]:
            path = f"models/{as_written(scope)}"
        api: Api = "anthropic" if _is_anthropic(scope, path) else "openai"
        await self._serve(scope, receive, send, api=api, path=path)

    async def _serve(
        self, scope: Scope, receive: Receive, send: Send, *, api: Api, path: str
    ) -> None:
        named = [name for one in self._gateway._upstreams for name in one.models]
        asked = scope["path_params"].get("path")
        if not named or (asked is not None and asked not in named):
            await super()._serve(scope, receive, send, api=api, path=path)
            return
        relay = Relay(scope, receive, send, api=api, limits=self._gateway.limits)
        try:
            self._gateway._intake.admit([(n.lower(), v) for n, v in scope["headers"]])
        except Refusal as refusal:
            await relay.refuse(refusal)
            return
        models = [
            {"id": name, "object": "model", "created": 0, "owned_by": "hetagent"} for name in named
        ]
        told: Any = {"object": "list", "data": models}
        if asked is not None:
            told = next(one for one in models if one["id"] == asked)
        await send_whole(send, 200, json.dumps(told).encode())


class _Own:
    """What the gateway tells of itself."""

    def __init__(self, gateway: Gateway, what: str) -> None:
        self._gateway = gateway
        self._what = what

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._what == "health":
            await send_whole(send, 200, b'{"status": "ok"}')
            return
        try:
            self._gateway._intake.admit([(n.lower(), v) for n, v in scope["headers"]])
        except Refusal as refusal:
            relay = Relay(scope, receive, send, api="openai", limits=self._gateway.limits)
            await relay.refuse(refusal)
            return
        told = self._gateway.status() if self._what == "status" else document()
        await send_whole(send, 200, json.dumps(told).encode())


def _is_anthropic(scope: Scope, path: str) -> bool:
    """Some paths both APIs have; Anthropic's clients name its version."""
    return path.split("/", maxsplit=1)[0] == "messages" or any(
        name.lower() == b"anthropic-version" for name, _ in scope["headers"]
    )


async def _not_here(request: Any, error: Any) -> Any:
    """Starlette's own errors, in the form of OpenAI's."""
    from starlette.responses import Response

    from hetagent.gateway.apis import error_body

    message = f"The gateway has no {request.method} {request.url.path}."
    refusal = Refusal(error.status_code, message, code="not_found")
    return Response(
        error_body("openai", refusal),
        error.status_code,
        headers=error.headers,
        media_type="application/json",
    )
