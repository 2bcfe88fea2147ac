"""What clients and servers do below any API: framing, half-sent requests, odd paths."""

import gzip
import json
import socket

import pytest

from hetagent.gateway import HttpUpstream, Limits
from tests.support.gateways import served
from tests.support.stream_server import Got, Piecewise, StreamServer

CHAT = b"/v1/chat/completions"
BODY = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'
SSE = (("Content-Type", "text/event-stream"),)


def mirror(got: Got) -> Piecewise:
    """Tells the target and the body that came."""
    said = {"target": got.target, "body": got.body.decode("latin-1")}
    return Piecewise([] if got.method == "HEAD" else [json.dumps(said).encode()])


@pytest.fixture(scope="module")
def upstream():
    with StreamServer() as server:
        yield server


@pytest.fixture
def gateway(upstream):
    upstream.reply = mirror
    with served(HttpUpstream(f"{upstream.url}/v1")) as found:
        yield found


def exchange(gateway, *parts: bytes) -> bytes:
    """What comes back, until the connection closes or the answer is whole."""
    with socket.create_connection(("127.0.0.1", int(gateway.url.rpartition(":")[2]))) as client:
        client.settimeout(20)
        found = b""
        for part in parts:
            client.sendall(part)
            if part is not parts[-1]:
                found += client.recv(65536)
        while not found.endswith(b"0\r\n\r\n") and (piece := client.recv(65536)):
            found += piece
        return found


def request(*lines: bytes, body: bytes = BODY, version: bytes = b"1.1") -> bytes:
    head = [b"POST %s HTTP/%s" % (CHAT, version), b"Host: x", *lines]
    return b"\r\n".join([*head, b"", body])


def chunked(body: bytes) -> bytes:
    return b"5;a=b\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (body[:5], len(body) - 5, body[5:])


LENGTH = b"Content-Length: %d" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    "sent",
    [
        request(LENGTH),
        request(CHUNKED, body=chunked(BODY)),
        request(LENGTH, b"Connection: close", version=b"1.0"),
        request(LENGTH, b"Connection: upgrade", b"Upgrade: websocket"),
        request(LENGTH, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c"),
        request(LENGTH).replace(b"\r\n", b"\n"),
    ],
    ids=["length", "chunked", "http 1.0", "upgrade", "upgrade to http 2", "line feeds"],
)
def test_a_request_in_any_framing_comes_whole(upstream, gateway, sent):
    found = exchange(gateway, sent)
    assert found.startswith(b"HTTP/1.1 200")
    assert upstream.requests[-1].body == BODY
    assert "transfer-encoding" not in upstream.requests[-1].headers


@pytest.mark.parametrize(
    "lines",
    [
        (LENGTH, b"Content-Length: 3"),
        (b"Transfer-Encoding: xchunked",),
        (CHUNKED, b"Transfer-Encoding: identity"),
        (LENGTH, b"X Y: 1"),
        (b"Content-Length: -5",),
    ],
)
def test_a_request_whose_length_is_doubtful_reaches_nobody(upstream, gateway, lines):
    before = len(upstream.requests)
    assert exchange(gateway, request(*lines)).startswith(b"HTTP/1.1 400")
    assert len(upstream.requests) == before


def test_with_two_framings_what_follows_is_never_a_request_of_its_own_upstream(upstream, gateway):
    smuggled = b"GET /secret HTTP/1.1\r\nHost: x\r\n\r\n"
    before = len(upstream.requests)
    lines = (LENGTH, CHUNKED, b"Connection: close")
    exchange(gateway, request(*lines, body=chunked(BODY + b" " * 9) + smuggled))
    assert {got.target for got in upstream.requests[before:]} <= {CHAT.decode()}


def test_a_client_that_asks_first_is_told_to_go_on(gateway):
    found = exchange(gateway, request(LENGTH, b"Expect: 100-continue", body=b""), BODY)
    assert found.startswith(b"HTTP/1.1 100")
    assert b"HTTP/1.1 200" in found


def test_two_requests_at_once_are_answered_in_their_order(upstream, gateway):
    other = BODY.replace(b"hi", b"ho")
    with socket.create_connection(("127.0.0.1", int(gateway.url.rpartition(":")[2]))) as client:
        client.settimeout(20)
        client.sendall(request(LENGTH) + request(LENGTH, body=other))
        found = b""
        while found.count(b"0\r\n\r\n") < 2:
            found += client.recv(65536)
    assert found.index(b"hi") < found.index(b"ho")


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "GET", "DELETE", "PUT", "PATCH"])
def test_other_methods_of_a_path_are_passed_on(upstream, gateway, method):
    answer = gateway.client.request(method, "/v1/chat/completions/c1?limit=2")
    assert answer.status_code == 200
    got = upstream.requests[-1]
    assert (got.method, got.target) == (method, "/v1/chat/completions/c1?limit=2")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/files/a%2Fb",
        "/v1/files/a%3Fb=c",
        "/v1/files/a%23b",
        "/v1/files/%41%20b",
        "/v1/files//x/",
        "/v1/files/a;b=1,2:@!$&*()'?q='%27'&r=%zz",
    ],
)
def test_a_path_comes_as_it_was_written(gateway, path):
    found = exchange(gateway, b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
    assert json.dumps({"target": path})[1:-1].encode() in found
    prefixed = b"GET /w/a%%20b%s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode()
    assert json.dumps({"target": path})[1:-1].encode() in exchange(gateway, prefixed)


@pytest.mark.parametrize(
    "path",
    ["/v1/../secret", "/v1/%2e%2e/secret", "/v1/a/./b", "/openai/deployments/../chat/completions"],
)
def test_a_path_cannot_leave_the_upstreams_address(upstream, gateway, path):
    before = len(upstream.requests)
    found = exchange(gateway, b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
    assert found.startswith(b"HTTP/1.1 400")
    assert b"invalid_path" in found
    assert len(upstream.requests) == before


def test_a_path_that_is_nowhere_is_not_found_in_the_apis_form(gateway):
    answer = gateway.post("/nowhere", {})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert gateway.post("/gateway/health", {}).status_code == 405


@pytest.mark.parametrize(
    "packed",
    [gzip.compress(BODY), gzip.compress(BODY[:9]) + gzip.compress(BODY[9:])],
    ids=["one member", "two members"],
)
def test_a_compressed_request_goes_through_as_it_is_and_is_recorded_plain(
    upstream, gateway, packed
):
    headers = {"Content-Encoding": "gzip"}
    answer = gateway.client.post(CHAT.decode(), content=packed, headers=headers)
    assert upstream.requests[-1].body == packed
    assert upstream.requests[-1].headers["content-encoding"] == "gzip"
    assert gateway.record_of(answer).request == json.loads(BODY)


@pytest.mark.parametrize(("coding", "status"), [("gzip", 400), ("br", 415)])
def test_a_compressed_request_that_cannot_be_read_is_refused(gateway, coding, status):
    headers = {"Content-Encoding": coding}
    answer = gateway.client.post(CHAT.decode(), content=b"none", headers=headers)
    assert answer.status_code == status


def test_what_unpacks_to_more_than_the_limit_is_refused(upstream):
    with served(HttpUpstream(upstream.url), limits=Limits(body_bytes=100_000)) as gateway:
        bomb = gzip.compress(b" " * 10_000_000)
        headers = {"Content-Encoding": "gzip"}
        answer = gateway.client.post(CHAT.decode(), content=bomb, headers=headers)
    assert answer.status_code == 413


def test_headers_that_come_twice_go_twice(upstream, gateway):
    upstream.reply = lambda got: Piecewise([b"{}"], headers=[("Set-Cookie", "a"), ("X-B", "1")] * 2)
    answer = gateway.client.post(
        CHAT.decode(), content=BODY, headers=[("X-A", "1"), ("X-A", "2"), ("Connection", "X-C")]
    )
    assert answer.headers.get_list("set-cookie") == ["a", "a"]
    assert answer.headers.get_list("x-b") == ["1", "1"]


def test_a_workload_in_any_script_is_read_as_it_was_written(gateway):
    headers = {"X-Hetagent-Workload": "Zürich".encode()}
    answer = gateway.client.post(CHAT.decode(), content=BODY, headers=headers)
    assert gateway.record_of(answer).workload == "Zürich"


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_has_none(upstream, gateway, status):
    upstream.reply = lambda got: Piecewise([], status=status, headers=[("Content-Length", "0")])
    assert gateway.post(CHAT.decode(), json.loads(BODY)).status_code == status
    upstream.reply = mirror
    assert gateway.post(CHAT.decode(), json.loads(BODY)).status_code == 200


def test_a_page_of_html_that_fails_is_passed_on_and_recorded(upstream, gateway):
    page = b"<html>Bad gateway</html>"
    headers = [("Content-Type", "text/html"), ("Retry-After", "3")]
    upstream.reply = lambda got: Piecewise([page], status=502, headers=headers)
    answer = gateway.post(CHAT.decode(), json.loads(BODY))
    assert (answer.status_code, answer.content, answer.headers["retry-after"]) == (502, page, "3")
    assert gateway.record_of(answer).error.message == page.decode()


def test_a_server_that_falls_silent_in_mid_stream_is_left_and_told_to_the_record(upstream):
    piece = b'data: {"choices": [{"index": 0, "delta": {"content": "Hel"}}]}\n\n'
    upstream.reply = lambda got: Piecewise([piece, piece], headers=SSE, pause=30)
    limits = Limits(read_seconds=0.3)
    with served(HttpUpstream(upstream.url), limits=limits) as gateway:
        found = exchange(gateway, request(LENGTH))
        record = gateway.records()[0]
    assert found.count(b"Hel") == 1
    assert not found.endswith(b"0\r\n\r\n")  # broken off, as it would be without a gateway
    assert (record.error.kind, record.complete) == ("ModelTimeoutError", False)


def test_a_stream_without_the_mark_of_its_end_comes_whole_and_is_not_complete(upstream, gateway):
    piece = b'data: {"choices": [{"index": 0, "delta": {"content": "Hel"}}]}\n\n'
    upstream.reply = lambda got: Piecewise([piece], headers=SSE)
    answer = gateway.post(CHAT.decode(), json.loads(BODY))
    assert answer.content == piece
    record = gateway.record_of(answer)
    assert (record.complete, record.error) == (False, None)


def test_bytes_that_are_no_text_and_very_long_lines_go_through_and_are_recorded(upstream, gateway):
    long = json.dumps({"choices": [{"index": 0, "delta": {"content": "x" * 3_000_000}}]}).encode()
    whole = b"data: \xff\xfe{\n\ndata: " + long + b"\n\ndata: [DONE]\n\n"
    pieces = [whole[n : n + 60_000] for n in range(0, len(whole), 60_000)]
    upstream.reply = lambda got: Piecewise(pieces, headers=SSE)
    answer = gateway.post(CHAT.decode(), json.loads(BODY))
    assert answer.content == whole
    record = gateway.record_of(answer)
    assert len(record.response["choices"][0]["message"]["content"]) == 3_000_000
    assert record.complete
