"""What goes through the gateway is what would have gone without it."""

import gzip
import json
import zlib

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetagent.gateway import HttpUpstream, Limits
from tests.support.gateways import served
from tests.support.stream_server import Piecewise, StreamServer

CHAT = "/v1/chat/completions"
ASKED = {"model": "m", "messages": [{"role": "user", "content": "Zürich?"}]}
SSE = (("Content-Type", "text/event-stream; charset=utf-8"),)


@pytest.fixture(scope="module")
def upstream():
    with StreamServer() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(upstream):
    with served(HttpUpstream(f"{upstream.url}/v1")) as found:
        yield found


PIECES = st.lists(st.binary(min_size=1, max_size=400), max_size=6)


@settings(max_examples=40)
@given(
    PIECES,
    st.sampled_from([200, 201, 400, 401, 404, 409, 422, 429, 500, 503, 529]),
    st.tuples(
        st.sampled_from(["application/json", "text/event-stream", "text/html"]), st.booleans()
    ),
)
def test_any_answer_comes_as_it_was_sent(upstream, gateway, pieces, status, form):
    kind, chunked = form
    whole = b"".join(pieces)
    headers = [("Content-Type", kind), ("X-Request-Id", "r1"), ("Retry-After", "7")]
    headers += [] if chunked else [("Content-Length", str(len(whole)))]
    upstream.reply = lambda got: Piecewise(pieces, status=status, headers=headers)
    answer = gateway.post(CHAT, ASKED)
    assert answer.status_code == status
    assert answer.content == whole
    for name, value in headers:
        assert answer.headers[name] == value


def test_a_request_comes_as_it_was_sent(upstream, gateway):
    upstream.requests.clear()
    body = b'{ "model":"m",\n "messages":[{"role":"user","content":"Z\\u00fcrich"}], "x": 1.50 }'
    gateway.client.post(
        f"{CHAT}?a=1&b=%20",
        content=body,
        headers={
            "Authorization": "Bearer sk-caller",
            "OpenAI-Beta": "yes",
            "X-Hetagent-Workload": "booking",
            "Connection": "keep-alive, X-Of-This-Hop",
            "X-Of-This-Hop": "1",
            "TE": "trailers",
        },
    )
    got = upstream.requests[-1]
    assert (got.method, got.target) == ("POST", "/v1/chat/completions?a=1&b=%20")
    assert got.body == body
    assert got.headers["authorization"] == "Bearer sk-caller"
    assert got.headers["openai-beta"] == "yes"
    assert got.headers["host"] == upstream.url.removeprefix("http://")
    assert not {"x-hetagent-workload", "x-of-this-hop", "te"} & got.headers.keys()


@pytest.mark.parametrize(
    ("coding", "packed"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_a_compressed_answer_stays_compressed_and_is_recorded(upstream, gateway, coding, packed):
    said = {"model": "m", "choices": [{"index": 0, "message": {"content": "Yes"}}]}
    data = packed(json.dumps(said).encode())
    headers = [("Content-Type", "application/json"), ("Content-Encoding", coding)]
    upstream.reply = lambda got: Piecewise([data[:9], data[9:]], headers=headers)
    upstream.requests.clear()
    with gateway.client.stream(
        "POST", CHAT, json=ASKED, headers={"Accept-Encoding": f"{coding}, xz"}
    ) as got:
        assert b"".join(got.iter_raw()) == data
        assert got.headers["content-encoding"] == coding
    assert upstream.requests[-1].headers["accept-encoding"] == coding
    assert gateway.record_of(got).response == said


def test_an_answer_is_not_compressed_where_the_caller_did_not_ask(upstream, gateway):
    upstream.requests.clear()
    gateway.client.post(CHAT, json=ASKED, headers={"Accept-Encoding": ""})
    assert upstream.requests[-1].headers["accept-encoding"] == "identity"


def test_pieces_are_passed_on_as_they_come(upstream, gateway):
    gate = upstream.gate()
    upstream.reply = lambda got: Piecewise([b"data: 1\n\n", b"data: 2\n\n"], headers=SSE, gate=gate)
    with gateway.client.stream("POST", CHAT, json={**ASKED, "stream": True}) as answer:
        pieces = answer.iter_raw()
        assert next(pieces) == b"data: 1\n\n"
        gate.open()
        assert next(pieces) == b"data: 2\n\n"


def test_redirects_are_the_callers_to_follow(upstream, gateway):
    headers = [("Location", "http://elsewhere/"), ("Content-Length", "0")]
    upstream.reply = lambda got: Piecewise(status=307, headers=headers)
    answer = gateway.post(CHAT, ASKED)
    assert (answer.status_code, answer.headers["location"]) == (307, "http://elsewhere/")


def test_cookies_of_one_caller_are_none_of_anothers(upstream, gateway):
    headers = [("Set-Cookie", "session=1"), ("Content-Length", "0")]
    upstream.reply = lambda got: Piecewise(headers=headers)
    assert gateway.post(CHAT, ASKED).headers["set-cookie"] == "session=1"
    gateway.client.cookies.clear()
    gateway.post(CHAT, ASKED)
    assert "cookie" not in upstream.requests[-1].headers


def test_paths_that_are_not_known_are_passed_on_and_not_recorded(upstream, gateway):
    upstream.reply = lambda got: Piecewise([b'{"id": "file-1"}'])
    before = gateway.status()["passed_on"]
    answer = gateway.get("/v1/files/file-1?purpose=x")
    assert answer.json() == {"id": "file-1"}
    assert upstream.requests[-1].target == "/v1/files/file-1?purpose=x"
    gateway.wait_for(lambda: gateway.status()["passed_on"] == before + 1)
    assert "x-hetagent-record" not in answer.headers
    gateway.record_of(gateway.post(CHAT, ASKED))
    assert {record.form for record in gateway.store.records} == {"openai.chat"}


def test_with_a_key_of_its_own_the_gateway_passes_on_no_other_paths(upstream):
    upstream.reply = lambda got: Piecewise([b'{"data": []}'])
    with served(HttpUpstream(f"{upstream.url}/v1", key="sk-gateway")) as gateway:
        assert gateway.get("/v1/files").status_code == 404
        assert gateway.get("/v1/models").json() == {"data": []}
        gateway.post(CHAT, ASKED, headers={"Authorization": "Bearer sk-caller", "api-key": "k"})
    assert upstream.requests[-1].headers["authorization"] == "Bearer sk-gateway"
    assert "api-key" not in upstream.requests[-1].headers


def test_azures_calls_go_to_azure(upstream):
    upstream.reply = lambda got: Piecewise([b"{}"])
    with served(HttpUpstream(upstream.url, api="azure", key="az")) as gateway:
        path = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
        answer = gateway.post(f"/w/plans{path}", {"messages": []}, headers={"api-key": "mine"})
        assert upstream.requests[-1].target == path
        assert upstream.requests[-1].headers["api-key"] == "az"
        record = gateway.record_of(answer)
    assert (record.model, record.workload, record.form) == ("gpt-4o", "plans", "openai.chat")


def test_azures_calls_go_to_an_openai_server_too(upstream):
    upstream.reply = lambda got: Piecewise([b"{}"])
    with served(HttpUpstream(f"{upstream.url}/v1")) as gateway:
        gateway.post(
            "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
            {"messages": []},
            headers={"api-key": "mine"},
        )
    got = upstream.requests[-1]
    assert got.target == "/v1/chat/completions"
    assert got.json == {"messages": [], "model": "gpt-4o"}
    assert got.headers["authorization"] == "Bearer mine"
    assert "api-key" not in got.headers


def test_anthropics_calls_go_to_anthropic_and_openais_to_openai(upstream):
    upstream.reply = lambda got: Piecewise([b"{}"])
    openai = HttpUpstream(f"{upstream.url}/openai/v1")
    anthropic = HttpUpstream(f"{upstream.url}/anthropic", api="anthropic")
    with served(openai, anthropic) as gateway:
        gateway.post("/v1/messages", ASKED)
        assert upstream.requests[-1].target == "/anthropic/v1/messages"
        gateway.post("/v1/messages/count_tokens", ASKED)
        assert upstream.requests[-1].target == "/anthropic/v1/messages/count_tokens"
        headers = {"anthropic-version": "2023-06-01"}
        gateway.get("/v1/models", headers=headers)
        assert upstream.requests[-1].target == "/anthropic/v1/models"
        gateway.post("/openai/v1/chat/completions", ASKED)
        assert upstream.requests[-1].target == "/openai/v1/chat/completions"


def test_a_call_goes_to_the_first_upstream_that_has_the_model(upstream):
    upstream.reply = lambda got: Piecewise([b"{}"])
    small = HttpUpstream(f"{upstream.url}/small", models=["qwen*"])
    with served(small, HttpUpstream(f"{upstream.url}/large", models=["gpt-*"])) as gateway:
        gateway.post(CHAT, {**ASKED, "model": "qwen-1.5b"})
        assert upstream.requests[-1].target.startswith("/small/")
        gateway.post(CHAT, {**ASKED, "model": "gpt-9"})
        assert upstream.requests[-1].target.startswith("/large/")
        answer = gateway.post(CHAT, {**ASKED, "model": "other"})
        assert answer.status_code == 404
        assert "no upstream for the model 'other'" in answer.json()["error"]["message"]


def test_a_server_that_cannot_be_reached_is_a_bad_gateway():
    with StreamServer() as gone:
        address = gone.url
    with served(HttpUpstream(address)) as gateway:
        answer = gateway.post(CHAT, ASKED)
        assert answer.status_code == 502
        assert answer.json()["error"]["code"] == "upstream_unreachable"
        record = gateway.records()[0]
    assert record.response is None
    assert (record.error.kind, record.error.status) == ("ConnectError", 502)


def test_a_server_that_does_not_answer_in_time_is_told(upstream):
    upstream.reply = lambda got: Piecewise([b"{}"], delay=30)
    with served(HttpUpstream(upstream.url), limits=Limits(read_seconds=0.2)) as gateway:
        answer = gateway.post(CHAT, ASKED)
    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "upstream_timeout"


def test_a_stream_that_breaks_off_breaks_off_for_the_client(upstream, gateway):
    piece = b'data: {"choices": [{"index": 0, "delta": {"content": "Hel"}}]}\n\n'
    upstream.reply = lambda got: Piecewise([piece], headers=SSE, broken=True)
    with gateway.client.stream("POST", CHAT, json={**ASKED, "stream": True}) as answer:
        parts = answer.iter_raw()
        assert next(parts) == piece
        with pytest.raises(httpx.RemoteProtocolError):
            next(parts)
    record = gateway.record_of(answer)
    assert not record.complete
    assert record.error.kind == "ConnectError"
    assert record.response["choices"][0]["message"]["content"] == "Hel"
