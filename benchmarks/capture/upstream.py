"""A small provider on loopback, as quick as can be: it answers every POST with the same bytes.

    python -m benchmarks.capture.upstream

It prints its port. A body with ``"stream": true`` is answered with sixty events at once, or with a
``pause`` in its ``metadata`` in that pace.
"""

from __future__ import annotations

import asyncio
import json

HEAD = {"id": "chatcmpl-1", "created": 1, "model": "bench"}
WORDS = ("The", *[f" word{number}" for number in range(57)])


def whole() -> bytes:
    message = {"role": "assistant", "content": "".join(WORDS)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 400, "completion_tokens": 60, "total_tokens": 460}
    body = {**HEAD, "object": "chat.completion", "choices": [choice], "usage": usage}
    return json.dumps(body).encode()


def events() -> list[bytes]:
    deltas = [{"role": "assistant", "content": ""}, *({"content": word} for word in WORDS)]
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    kind = {**HEAD, "object": "chat.completion.chunk"}
    lines = [json.dumps({**kind, "choices": [choice]}) for choice in choices]
    return [f"data: {line}\n\n".encode() for line in [*lines, "[DONE]"]]


WHOLE, EVENTS = whole(), events()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int(head.split("content-length:")[1].split("\r\n")[0])
            asked = json.loads(await reader.readexactly(length))
            if asked.get("stream"):
                await stream(writer, (asked.get("metadata") or {}).get("pause", 0))
            else:
                kind = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                writer.write(b"%sContent-Length: %d\r\n\r\n%s" % (kind, len(WHOLE), WHOLE))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def stream(writer: asyncio.StreamWriter, pause: float) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
    writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
    for event in EVENTS:
        writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        if pause:
            await asyncio.sleep(pause)
    writer.write(b"0\r\n\r\n")


async def main() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
