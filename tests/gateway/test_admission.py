"""Who is let in, what is noted of them, and what never is."""

import json
import stat

import pytest

from hetagent.errors import InputError
from hetagent.gateway import Gateway, HttpUpstream, Keys, Limits, add_key
from hetagent.gateway.marks import call_marks
from tests.support.gateways import served
from tests.support.stream_server import Piecewise, StreamServer

CHAT = "/v1/chat/completions"
ASKED = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
SAID = b'{"model": "m", "choices": [{"index": 0, "message": {"content": "Yes"}}]}'


@pytest.fixture(scope="module")
def upstream():
    with StreamServer() as server:
        server.reply = lambda got: Piecewise([SAID])
        yield server


def test_a_key_is_kept_as_a_hash_that_only_its_owner_may_read(tmp_path):
    file = tmp_path / "keys"
    key, other = add_key(file, "agent"), add_key(file, "test")
    assert key not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    keys = Keys.read(file)
    assert (keys.name_of(key), keys.name_of(other)) == ("agent", "test")
    assert keys.name_of(key[:-1]) is None
    assert keys.name_of("") is None


def test_a_name_is_taken_once(tmp_path):
    add_key(tmp_path / "keys", "agent")
    with pytest.raises(InputError, match="already"):
        add_key(tmp_path / "keys", "agent")
    with pytest.raises(InputError, match="no name"):
        add_key(tmp_path / "keys", "two words")


@pytest.mark.parametrize("text", ["", "agent", "agent plain-text-key", "agent sha256:00"])
def test_a_file_without_good_keys_is_an_error_and_lets_nobody_in(tmp_path, text):
    (tmp_path / "keys").write_text(text)
    with pytest.raises(InputError):
        Keys.read(tmp_path / "keys")


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer KEY"},
        {"api-key": "KEY"},
        {"x-api-key": "KEY"},
        {"x-hetagent-key": "KEY", "Authorization": "Bearer sk-caller"},
    ],
)
def test_the_key_comes_by_any_of_the_apis_headers_and_ends_here(upstream, tmp_path, headers):
    key = add_key(tmp_path / "keys", "agent")
    given = {name: value.replace("KEY", key) for name, value in headers.items()}
    with served(HttpUpstream(upstream.url), keys=Keys.read(tmp_path / "keys")) as gateway:
        answer = gateway.post(CHAT, ASKED, headers=given)
        assert answer.status_code == 200
        assert gateway.record_of(answer).tags["key"] == "agent"
    sent = upstream.requests[-1].headers
    assert key not in json.dumps(sent)
    assert sent.get("authorization") == ("Bearer sk-caller" if len(headers) == 2 else None)


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong"}, {"x-hetagent-key": "wrong"}]
)
def test_without_a_key_there_is_an_error_in_the_apis_form(upstream, tmp_path, headers):
    add_key(tmp_path / "keys", "agent")
    before = len(upstream.requests)
    with served(HttpUpstream(upstream.url), keys=Keys.read(tmp_path / "keys")) as gateway:
        answer = gateway.post(CHAT, ASKED, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        answer = gateway.post("/v1/messages", ASKED, headers=headers)
        assert answer.json()["error"]["type"] == "authentication_error"
        for path in ("/v1/models", "/gateway/status", "/gateway/openapi.json"):
            assert gateway.get(path, headers=headers).status_code == 401
        assert gateway.get("/gateway/health").json() == {"status": "ok"}
    assert len(upstream.requests) == before


def test_a_web_page_may_not_call_a_gateway_without_keys(upstream, tmp_path):
    headers = {"Origin": "https://evil.example", "Content-Type": "text/plain"}
    before = len(upstream.requests)
    with served(HttpUpstream(upstream.url)) as gateway:
        answer = gateway.post(CHAT, ASKED, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "origin_refused")
    assert len(upstream.requests) == before


def test_keys_are_never_recorded_wherever_they_turn_up(upstream):
    key = "sk-caller-123456"
    said = {"choices": [{"index": 0, "message": {"content": f"Your key is {key}."}}]}
    upstream.reply = lambda got: Piecewise([json.dumps(said).encode()])
    with served(HttpUpstream(upstream.url)) as gateway:
        headers = {"Authorization": f"Bearer {key}"}
        answer = gateway.post(CHAT, {**ASKED, "api_key": key}, headers=headers)
        assert key in answer.text
        assert key not in gateway.record_of(answer).to_json()
        upstream.reply = lambda got: Piecewise(
            [json.dumps({"error": {"message": f"Incorrect API key: {key}"}}).encode()], status=401
        )
        answer = gateway.post(CHAT, ASKED, headers=headers)
        record = gateway.record_of(answer)
    assert record.error.message == "Incorrect API key: [key]"
    assert (record.error.status, record.response) == (401, None)
    upstream.reply = lambda got: Piecewise([SAID])


def test_the_path_goes_before_the_header_and_the_header_before_the_metadata(upstream):
    body = {**ASKED, "metadata": {"hetagent_workload": "m", "hetagent_conversation": "c1"}}
    header = {"x-hetagent-workload": "h"}
    with served(HttpUpstream(upstream.url)) as gateway:
        for path, headers, workload in (
            ("/w/p%20q/v1/chat/completions", header, "p q"),
            (CHAT, header, "h"),
            (CHAT, {}, "m"),
        ):
            record = gateway.record_of(gateway.post(path, body, headers=headers))
            assert (record.workload, record.conversation_id) == (workload, "c1")
            assert record.request == body


@pytest.mark.parametrize(
    ("headers", "data", "expected"),
    [
        ({}, {}, (None, None, False)),
        ({"x-hetagent-trace": "t", "x-hetagent-client": "c"}, {"user": "u"}, ("t", "c", False)),
        ({"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}, {"user": "u"}, ("a" * 32, "u", False)),
        ({"traceparent": "nonsense"}, {"safety_identifier": "s", "user": "u"}, (None, "s", False)),
        ({}, {"metadata": {"user_id": "anthropic"}}, (None, "anthropic", False)),
        ({"x-hetagent-interactive": "true"}, {"user": 7}, (None, None, True)),
        ({}, {"metadata": {"hetagent_interactive": True}}, (None, None, True)),
        ({}, {"metadata": "no mapping", "user": ["x"]}, (None, None, False)),
    ],
)
def test_labels_come_from_headers_and_from_what_the_apis_have(headers, data, expected):
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    found = call_marks(pairs, data, workload=None, tags={})
    assert (found.trace, found.client, bool(found.interactive)) == expected


def test_a_gateway_needs_an_upstream_and_limits_above_nothing():
    with pytest.raises(InputError, match="no upstream"):
        Gateway()
    with pytest.raises(InputError, match="no limit"):
        Limits(body_bytes=0)
    for address in ("api.openai.com", "ftp://x/v1", "http://", "https://x/v1?key=1"):
        with pytest.raises(InputError, match="no address"):
            HttpUpstream(address)


def test_the_gateways_key_is_found_beside_a_providers_and_neither_is_recorded(upstream, tmp_path):
    key = add_key(tmp_path / "keys", "agent")
    with served(HttpUpstream(upstream.url), keys=Keys.read(tmp_path / "keys")) as gateway:
        headers = {"x-api-key": "sk-provider-1", "Authorization": f"bearer {key}"}
        body = {**ASKED, "note": f"{key} and sk-provider-1"}
        answer = gateway.post(CHAT, body, headers=headers)
        assert answer.status_code == 200
        assert gateway.record_of(answer).request["note"] == "[key] and [key]"
    sent = upstream.requests[-1].headers
    assert (sent.get("x-api-key"), sent.get("authorization")) == ("sk-provider-1", None)
