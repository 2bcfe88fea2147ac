"""A model on this machine, behind OpenAI's chat completions."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from hetagent.gateway.apis import Refusal
from hetagent.gateway.calls import Answer, Call
from hetagent.gateway.limits import Limits
from hetagent.gateway.local_request import LocalRequest, LocalTool, read_request
from hetagent.gateway.openai_form import (
    DONE,
    JSON_HEADERS,
    STREAM_HEADERS,
    Chunks,
    completion,
    head_of,
    once,
    tool_call,
    usage_json,
)
from hetagent.gateway.upstream import matches, names_of
from hetagent.learn.provenance import Provenance
from hetagent.learn.record import Trainable, Usage
from hetagent.models.base import Completion, Message, Request, StreamingModel, Token
from hetagent.schema import OutputType

__all__ = ["LocalUpstream"]

_IN_WORDS = "answer in words"


@dataclass(slots=True)
class _Told:
    """A piece of an answer.

    Attributes:
        text: Of the message, or of a tool call's arguments.
        tool: Name of the tool whose call begins here.
        tokens: Those that the text is made of.
    """

    text: str = ""
    tool: str | None = None
    tokens: list[Token] = field(default_factory=list)


@dataclass(slots=True)
class _Spent:
    """What an answer took and how it ended, once it is there."""

    prompt: int | None = 0
    completion: int = 0
    cached: int = 0
    finish: str = "stop"

    def add(self, completion: Completion) -> None:
        self.add_prompt(completion.usage.prompt_tokens)
        self.completion += completion.usage.completion_tokens
        self.cached += completion.usage.cached_tokens

    def add_prompt(self, tokens: int | None) -> None:
        self.prompt = None if tokens is None or self.prompt is None else self.prompt + tokens

    def usage(self) -> dict[str, Any] | None:
        if self.prompt is None:
            return None
        return usage_json(self.prompt, self.completion, self.cached)

    def recorded(self) -> Usage:
        """The same for the record; nothing where the answer was broken off before its end."""
        return Usage(self.prompt, self.completion, self.cached) if self.prompt else Usage()


class LocalUpstream:
    """A local model: text, JSON Schemas, any JSON object, tools and probabilities of tokens.

    Its answers are decoded greedily, so temperatures and seeds change nothing. What it does not do
    is refused: several answers, pictures and sound, embeddings, and Anthropic's API.

    Args:
        model: Such as ``LlamaCpp("qwen2.5-coder-1.5b-instruct")``.
        models: Names it is asked for by; patterns such as ``"*"`` too. By default its own.
        trainable: Whether its answers may train another model; by default what the catalogue says
            of its licence.
    """

    def __init__(
        self,
        model: StreamingModel,
        *,
        models: Sequence[str] | None = None,
        trainable: Trainable | None = None,
    ) -> None:
        self._model = model
        self._patterns = tuple(models) if models is not None else (model.name,)
        self.name = model.name
        self.trainable: Trainable | None = trainable or Provenance().of(model.name)
        self.open_paths = False
        self.models: Sequence[str] = names_of(self._patterns, own=model.name)
        self.secrets: Sequence[str] = ()

    def __repr__(self) -> str:
        return f"LocalUpstream({self._model!r})"

    def serves(self, call: Call) -> bool:
        """Whether it is asked for by one of its names, in OpenAI's API or Azure's."""
        named = bool(call.model) and matches(call.model, self._patterns)
        return call.form is not None and call.api != "anthropic" and named

    def cost(self, usage: Usage) -> float | None:
        """Nothing."""
        return 0.0

    async def start(self, limits: Limits) -> None:
        """The weights are loaded at the first call, or before."""

    async def aclose(self) -> None:
        """The model is its owner's to close."""

    async def send(self, call: Call) -> Answer:
        """Answer a call.

        Raises:
            Refusal: It asks for what the model does not do.
            HetagentError: The model failed.
        """
        if call.form != "openai.chat":
            raise Refusal(
                404, f"The local model {self.name} gives no embeddings.", code="not_supported"
            )
        # Off the loop: what a schema says may take long to understand.
        request = await asyncio.to_thread(read_request, call.data)
        spent = _Spent()
        told = self._answer(request, spent)
        head = head_of(call.model)
        if not call.streamed:
            return Answer(200, JSON_HEADERS, once(await _whole(told, request, spent, head)))
        # The first piece, so that what cannot be served is an error and no broken stream.
        first = await anext(told, None)
        pieces = _events(first, told, request, spent, head)
        return Answer(200, STREAM_HEADERS, pieces, pieces.aclose, spent.recorded)

    async def _answer(self, request: LocalRequest, spent: _Spent) -> AsyncGenerator[_Told, None]:
        tool = await self._tool(request, spent) if request.tools else None
        if tool is not None:
            yield _Told(tool=tool.name)
            asked = f"Write the arguments of a call of {tool.name} as JSON."
            messages, output = _asked(request.messages, asked), tool.arguments
        else:
            messages, output = request.messages, request.output
        wanted = Request(messages, output, request.max_tokens)
        stop = request.stop if tool is None else ()
        async for told in self._texts(wanted, stop, spent):
            yield told
        if tool is not None and spent.finish == "stop":
            spent.finish = "tool_calls"

    async def _tool(self, request: LocalRequest, spent: _Spent) -> LocalTool | None:
        """Which tool the model would call next; ``None`` for an answer in words."""
        tools = {tool.name: tool for tool in request.tools}
        labels = [*tools] if request.must_call else [*tools, _IN_WORDS]
        if len(labels) == 1:
            return request.tools[0]
        output: OutputType[Any] = OutputType.of(Literal[tuple(labels)])
        asked = f"Choose what to do next: {', '.join(labels)}."
        completion = await self._model.complete(
            Request(_asked(request.messages, asked), output, request.max_tokens)
        )
        spent.add(completion)
        return tools.get(completion.text)

    async def _texts(
        self, request: Request, stop: Sequence[str], spent: _Spent
    ) -> AsyncIterator[_Told]:
        """The text as it is written, up to a text that ends it."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        held = _Told()
        written = 0
        stream = self._model.stream(request)
        try:
            async for one in stream:
                if isinstance(one, Completion):
                    spent.add(one)
                    spent.finish = one.finish
                    break
                written += 1
                held.text += decoder.decode(one.text)
                if one.text:
                    held.tokens.append(one)
                found, safe = _cut(held.text, stop)
                if found:
                    spent.completion += written
                    # The stream ends here, before its completion that would tell it.
                    count = getattr(self._model, "prompt_tokens", None)
                    spent.add_prompt(None if count is None else count(request))
                    held.text = held.text[:safe]
                    break
                if safe:
                    yield _Told(held.text[:safe], tokens=held.tokens)
                    held = _Told(held.text[safe:])
        finally:
            if (close := getattr(stream, "aclose", None)) is not None:
                await close()
        rest = held.text + decoder.decode(b"", final=True)
        if rest:
            yield replace(held, text=rest)


def _cut(text: str, stop: Sequence[str]) -> tuple[bool, int]:
    """Whether a text that ends the answer is there, and how much of this is surely before it."""
    places = [place for one in stop if (place := text.find(one)) >= 0]
    if places:
        return True, min(places)
    longest = max((len(one) for one in stop), default=1) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(one.startswith(text[-length:]) for one in stop):
            return False, len(text) - length
    return False, len(text)


def _asked(messages: Sequence[Message], question: str) -> tuple[Message, ...]:
    """The conversation with a question at its end."""
    *before, last = messages
    if last.role == "user":
        return (*before, replace(last, content=f"{last.content}\n\n{question}"))
    return (*before, last, Message("user", question))


async def _whole(
    told: AsyncIterator[_Told], request: LocalRequest, spent: _Spent, head: dict[str, Any]
) -> bytes:
    text, tool = "", None
    tokens: list[Token] = []
    async for one in told:
        tool = tool or one.tool
        text += one.text
        tokens += one.tokens
    message: dict[str, Any] = {"role": "assistant", "content": text if tool is None else None}
    if tool is not None:
        message["tool_calls"] = [tool_call(tool, text)]
    logprobs = _logprobs(tokens, request) if request.logprobs and tool is None else None
    return completion(head, message, finish=spent.finish, usage=spent.usage(), logprobs=logprobs)


async def _events(
    first: _Told | None,
    told: AsyncGenerator[_Told, None],
    request: LocalRequest,
    spent: _Spent,
    head: dict[str, Any],
) -> AsyncGenerator[bytes, None]:
    chunks = Chunks(head)
    called = False
    try:
        yield chunks.delta({"role": "assistant", "content": ""})
        one = first
        while one is not None:
            if one.tool is not None:
                called = True
                yield chunks.delta({"tool_calls": [{"index": 0, **tool_call(one.tool, "")}]})
            elif called:
                piece = {"index": 0, "function": {"arguments": one.text}}
                yield chunks.delta({"tool_calls": [piece]})
            else:
                logprobs = _logprobs(one.tokens, request) if request.logprobs else None
                yield chunks.delta({"content": one.text}, logprobs=logprobs)
            one = await anext(told, None)
        yield chunks.delta({}, finish=spent.finish)
        if request.usage_in_stream:
            yield chunks.usage(spent.usage())
        yield DONE
    finally:
        await told.aclose()


def _logprobs(tokens: Sequence[Token], request: LocalRequest) -> dict[str, Any]:
    """Of each token among those that the answer's form allowed; no others are told."""
    content = []
    for token in tokens:
        told = {
            "token": token.text.decode("utf-8", errors="replace"),
            "logprob": token.logprob,
            "bytes": list(token.text),
        }
        content.append({**told, "top_logprobs": [told] if request.top_logprobs else []})
    return {"content": content, "refusal": None}
