"""Slow, rude and unlucky clients, large bodies, many streams, and stores that fail."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from hetagent.gateway import Gateway, HttpUpstream, Limits
from hetagent.gateway.server import serving
from hetagent.learn.pipeline import Pipeline
from tests.support.gateways import Memory, served
from tests.support.stream_server import Piecewise, StreamServer

CHAT = "/v1/chat/completions"
ASKED = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
SSE = (("Content-Type", "text/event-stream"),)
SAID = b'{"model": "m", "choices": [{"index": 0, "message": {"content": "Yes"}}]}'


@pytest.fixture
def upstream():
    with StreamServer() as server:
        server.reply = lambda got: Piecewise([SAID])
        yield server


@pytest.fixture
def gateway(upstream):
    with served(HttpUpstream(f"{upstream.url}/v1")) as found:
        yield found


def connect(gateway) -> socket.socket:
    found = socket.create_connection(("127.0.0.1", int(gateway.url.rpartition(":")[2])))
    found.settimeout(30)
    return found


def events(count: int, size: int = 10) -> list[bytes]:
    delta = {"choices": [{"index": 0, "delta": {"content": "x" * size}}]}
    return [f"data: {json.dumps(delta)}\n\n".encode()] * count


@pytest.mark.timeout(900)
def test_two_hundred_streams_at_once_are_whole_and_recorded(upstream, gateway):
    gate = upstream.gate()
    pieces = [*events(3), b"data: [DONE]\n\n"]
    upstream.reply = lambda got: Piecewise(pieces, headers=SSE, gate=gate, pause=0.01)

    async def ask() -> set[bytes]:
        limits = httpx.Limits(max_connections=None)
        url = f"{gateway.url}{CHAT}"
        async with httpx.AsyncClient(timeout=800, limits=limits, verify=False) as client:
            bodies = [{**ASKED, "stream": True, "user": f"u{number}"} for number in range(200)]
            answers = [asyncio.create_task(client.post(url, json=body)) for body in bodies]
            while upstream.most_at_once < 200:
                await asyncio.sleep(0.05)
            # All of them are under way; others are served as well.
            assert (await client.get(f"{gateway.url}/gateway/health")).status_code == 200
            gate.open()
            return {answer.content for answer in await asyncio.gather(*answers)}

    assert asyncio.run(ask()) == {b"".join(pieces)}
    records = gateway.records(200)
    assert {record.client_id for record in records} == {f"u{number}" for number in range(200)}
    assert all(record.complete and record.streamed for record in records)


def test_a_client_that_hangs_up_ends_the_upstreams_stream_at_once(upstream, gateway):
    gate = upstream.gate()
    upstream.reply = lambda got: Piecewise(events(3), headers=SSE, gate=gate)
    with gateway.client.stream("POST", CHAT, json={**ASKED, "stream": True}) as answer:
        assert next(answer.iter_raw())
    assert upstream.wait_for(lambda: upstream.hung_up == 1)
    gate.open()
    record = gateway.record_of(answer)
    assert not record.complete
    assert record.error.kind == "Disconnected"
    assert record.response["choices"][0]["message"]["content"] == "x" * 10
    assert gateway.status()["failed"] == 1


def test_a_client_that_hangs_up_at_the_mark_of_the_end_had_all_of_it(upstream, gateway):
    gate = upstream.gate()
    pieces = [b"".join([*events(1), b"data: [DONE]\n\n"]), b": never mind\n\n"]
    upstream.reply = lambda got: Piecewise(pieces, headers=SSE, gate=gate)
    with gateway.client.stream("POST", CHAT, json={**ASKED, "stream": True}) as answer:
        next(answer.iter_raw())
    record = gateway.record_of(answer)
    assert (record.complete, record.error) == (True, None)
    assert gateway.status()["failed"] == 0


def test_a_client_that_hangs_up_before_the_answer_ends_the_upstreams_work(upstream, gateway):
    upstream.reply = lambda got: Piecewise([SAID], delay=60)
    with pytest.raises(httpx.ReadTimeout):
        gateway.client.post(CHAT, json=ASKED, timeout=0.5)
    assert upstream.wait_for(lambda: upstream.hung_up == 1)
    record = gateway.records()[0]
    assert (record.complete, record.response, record.error.kind) == (False, None, "Disconnected")


def test_a_client_that_does_not_read_holds_the_upstream_back_and_is_dropped(upstream):
    sent = 0

    def many():
        nonlocal sent
        for piece in [b"x" * 100_000] * 2000:
            sent += 1
            yield piece

    class Pieces(list):
        def __iter__(self):
            return many()

    upstream.reply = lambda got: Piecewise(Pieces(), headers=SSE)
    limits = Limits(send_seconds=1.0)
    with served(HttpUpstream(upstream.url), limits=limits) as gateway, connect(gateway) as client:
        body = json.dumps({**ASKED, "stream": True}).encode()
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
            % (len(body), body)
        )
        record = gateway.records()[0]
        assert record.error.kind in ("SlowClient", "Disconnected")
        assert not record.complete
        # What fits into the buffers on the way was sent, and not the 200 MB.
        assert sent < 1000
        assert upstream.wait_for(lambda: upstream.hung_up == 1)


def test_a_body_at_the_limit_goes_through_and_one_above_it_is_refused(upstream):
    frame = len(json.dumps({"model": "m", "text": ""}).encode())
    limit = 64 * 1024 * 1024
    with served(HttpUpstream(upstream.url)) as gateway:
        at = json.dumps({"model": "m", "text": "x" * (limit - frame)}).encode()
        assert len(at) == limit
        with httpx.Client(timeout=120, verify=False) as client:
            answer = client.post(f"{gateway.url}{CHAT}", content=at)
            assert answer.status_code == 200
            assert upstream.requests[-1].body == at
            above = at + b" "
            for content in (above, iter([above])):  # with its length, and chunked without
                answer = client.post(f"{gateway.url}{CHAT}", content=content)
                assert answer.status_code == 413
                assert answer.json()["error"]["code"] == "request_too_large"
            answer = client.post(f"{gateway.url}/v1/messages", content=above)
            assert answer.json()["error"]["type"] == "request_too_large"
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"model": }', b"[]", b'"text"', b"\xff\xfe", b'{"a": ' * 20_000, b"null", b"7"],
)
def test_what_is_no_json_object_is_refused_in_the_apis_form(gateway, body):
    answer = gateway.client.post(CHAT, content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    answer = gateway.client.post("/v1/messages", content=body)
    assert answer.json()["type"] == "error"


def test_half_a_surrogate_pair_goes_through_and_is_recorded_without_it(upstream, gateway):
    body = b'{"model": "m", "messages": [{"role": "user", "content": "a\\ud800b"}]}'
    answer = gateway.client.post(CHAT, content=body)
    assert upstream.requests[-1].body == body
    assert gateway.record_of(answer).request["messages"][0]["content"] == "a?b"


def test_a_body_that_comes_too_slowly_is_refused(upstream):
    limits = Limits(body_seconds=0.2)
    with served(HttpUpstream(upstream.url), limits=limits) as gateway, connect(gateway) as client:
        client.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{" % CHAT.encode())
        assert client.recv(100).startswith(b"HTTP/1.1 408")


def test_a_head_that_comes_too_slowly_is_dropped(upstream):
    limits = Limits(header_seconds=0.2)
    with served(HttpUpstream(upstream.url), limits=limits) as gateway:
        for sent in (b"", b"POST /v1/chat/comp"):
            with connect(gateway) as client, contextlib.suppress(ConnectionResetError):
                client.sendall(sent)
                assert client.recv(100) == b""


def test_more_calls_at_once_than_allowed_are_refused(upstream):
    gate = upstream.gate()
    upstream.reply = lambda got: Piecewise([SAID[:5], SAID[5:]], gate=gate)
    with (
        served(HttpUpstream(upstream.url), limits=Limits(at_once=1)) as gateway,
        ThreadPoolExecutor(1) as pool,
    ):
        first = pool.submit(gateway.post, CHAT, ASKED)
        assert upstream.wait_for(lambda: len(upstream.requests) == 1)
        answer = gateway.post(CHAT, ASKED)
        gate.open()
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert first.result().status_code == 200


@pytest.mark.parametrize("error", [OSError("disk full"), RuntimeError("database is locked")])
def test_a_store_that_fails_costs_records_and_no_call(upstream, gateway, caplog, error):
    gateway.store.error = error
    for _ in range(5):
        assert gateway.post(CHAT, ASKED).content == SAID
    assert upstream.wait_for(lambda: gateway.status()["records"]["lost"] == 5)
    assert type(error).__name__ in gateway.status()["records"]["last_error"]
    assert caplog.text.count("was not recorded") == 1
    gateway.store.error = None
    gateway.record_of(gateway.post(CHAT, ASKED))


def test_a_store_that_hangs_costs_no_call(upstream):
    limits = Limits(record_bytes=20_000)
    with served(HttpUpstream(upstream.url), limits=limits) as gateway:
        gateway.store.go.clear()
        for _ in range(8):
            body = {**ASKED, "user": "x" * 4000}
            assert gateway.post(CHAT, body).content == SAID
        assert upstream.wait_for(lambda: gateway.status()["records"]["lost"] >= 3)
        gateway.store.go.set()
        gateway.records(4)
        gateway.record_of(gateway.post(CHAT, ASKED))


def test_stopping_finishes_what_is_under_way_and_writes_its_record(upstream):
    gate = upstream.gate()
    upstream.reply = lambda got: Piecewise([SAID[:5], SAID[5:]], gate=gate)
    store = Memory()
    gateway = Gateway(HttpUpstream(upstream.url), pipeline=Pipeline(store, redact=lambda one: one))
    stop, address = threading.Event(), []

    def serve() -> None:
        with serving(gateway) as url:
            address.append(url)
            stop.wait()

    thread = threading.Thread(target=serve)
    thread.start()
    assert upstream.wait_for(lambda: bool(address))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(httpx.post, f"{address[0]}{CHAT}", json=ASKED, timeout=60)
        assert upstream.wait_for(lambda: len(upstream.requests) == 1)
        stop.set()
        time.sleep(0.3)
        assert thread.is_alive()
        gate.open()
        assert answer.result().content == SAID
    thread.join(30)
    assert not thread.is_alive()
    assert [record.complete for record in store.records] == [True]


def test_stopping_ends_what_takes_too_long_and_records_it_as_incomplete(upstream):
    upstream.reply = lambda got: Piecewise(events(2), headers=SSE, pause=60)
    limits = Limits(stop_seconds=1.0)
    with ThreadPoolExecutor(1) as pool:
        with served(HttpUpstream(upstream.url), limits=limits) as gateway:
            url = f"{gateway.url}{CHAT}"
            answer = pool.submit(httpx.post, url, json={**ASKED, "stream": True}, timeout=60)
            assert upstream.wait_for(lambda: len(upstream.requests) == 1)
        with pytest.raises(httpx.HTTPError):
            answer.result()
    assert [record.error.kind for record in gateway.store.records] == ["Stopped"]


def test_what_an_upstream_says_as_it_fails_is_not_logged(upstream, caplog):
    """Errors of libraries may quote the prompt; logs are read by more people than records."""
    said = "I am Maria Keller"

    class Failing(HttpUpstream):
        async def send(self, call):
            raise ValueError(f"cannot take {call.data['messages'][0]['content']}")

    body = {"model": "m", "messages": [{"role": "user", "content": said}]}
    with caplog.at_level("DEBUG"), served(Failing(upstream.url)) as gateway:
        assert gateway.post(CHAT, body).status_code == 502
        gateway.records()
    logged = [one for one in caplog.records if one.name == "hetagent"]
    assert any("ValueError in" in one.getMessage() for one in logged)
    assert said not in "".join(f"{one.getMessage()}{one.exc_info}" for one in logged)
