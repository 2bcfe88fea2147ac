"""`hetagent serve` in a process of its own: it serves, stops when told, and says what it did."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx
import pytest
from typer.testing import CliRunner

from hetagent.cli.app import app
from hetagent.cli.serve_converted import load, sum_up
from hetagent.errors import InputError, StoreError
from hetagent.gateway import Conversions, HttpUpstream, Keys
from hetagent.gateway.tallies import Tally
from hetagent.learn.cluster import Workloads
from hetagent.learn.cluster.kept import find_workloads
from hetagent.learn.store import Query, Reader, Store
from hetagent.learn.task import Task
from hetagent.registry import Registry
from tests.support import workload_calls as calls
from tests.support.bindings import added
from tests.support.conversions import bind_model
from tests.support.stream_server import Piecewise, StreamServer

SSE = (("Content-Type", "text/event-stream"),)
ASKED = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def serve(*options: str, environment: dict[str, str] | None = None, stderr=None):
    """The process, and the first line it says."""
    recording = [] if "--records" in options else ["--no-record"]
    command = [sys.executable, "-m", "hetagent", "serve", "--json", *recording, *options]
    path = os.pathsep.join(sys.path)
    process = subprocess.Popen(
        [*command, "--port", str(free_port())],
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env={**os.environ, "PYTHONPATH": path, **(environment or {})},
    )
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def ask(base: str, body: dict = ASKED, **options) -> httpx.Response:
    with httpx.Client(timeout=120, verify=False) as client:
        return client.post(f"{base}/chat/completions", json=body, **options)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_it_finishes_what_is_under_way_and_says_what_it_did(sign):
    with StreamServer() as upstream:
        upstream.reply = lambda got: Piecewise([b'{"choices": []}'])
        with serve("--upstream", f"{upstream.url}/v1") as (process, said):
            assert said["records"]["on"] is False
            assert ask(said["base_url"]).json() == {"choices": []}
            process.send_signal(sign)
            last, _ = process.communicate(timeout=120)
            assert process.returncode == 0
    assert json.loads(last)["calls"] == 1


def test_with_keys_and_its_own_key_for_the_provider(tmp_path):
    file = tmp_path / "keys"
    result = CliRunner().invoke(app, ["serve", "--keys", str(file), "--new-key", "me", "--json"])
    key = json.loads(result.stdout)["key"]
    assert Keys.read(file).name_of(key) == "me"
    with StreamServer() as upstream:
        options = ["--upstream", upstream.url, "--keys", str(file), "--own-keys"]
        with serve(*options, environment={"OPENAI_API_KEY": "sk-mine"}) as (_, said):
            assert ask(said["base_url"]).status_code == 401
            answer = ask(said["base_url"], headers={"Authorization": f"Bearer {key}"})
            assert answer.status_code == 200
        assert upstream.requests[-1].headers["authorization"] == "Bearer sk-mine"


def test_calls_are_in_the_store_redacted_before_it_says_good_bye(tmp_path, monkeypatch):
    database = tmp_path / "records.db"
    monkeypatch.setenv("HETAGENT_KEYS", str(tmp_path / "keys"))
    asked = {"model": "m", "messages": [{"role": "user", "content": "Mail ann.lee@example.org!"}]}
    with StreamServer() as upstream:
        upstream.reply = lambda got: Piecewise([b'{"choices": [{"message": {"content": "ok"}}]}'])
        with serve("--upstream", upstream.url, "--records", str(database)) as (process, said):
            assert said["place"] == str(database)
            for _ in range(5):
                ask(said["base_url"], asked, headers={"x-hetagent-workload": "mail"})
            process.send_signal(signal.SIGTERM)
            last, _ = process.communicate(timeout=120)
        assert upstream.requests[-1].json == asked  # redaction is of the record alone
    assert json.loads(last)["records"]["written"] == 5
    with Reader(database) as reader:
        found = list(reader.records())
    assert [record.workload for record in found] == ["mail"] * 5
    assert all(record.response["choices"][0]["message"]["content"] == "ok" for record in found)
    assert "ann.lee" not in "".join(record.to_json() for record in found)
    assert all(record.redacted for record in found)


def test_calls_are_assigned_to_workloads_that_were_found_before(tmp_path, monkeypatch):
    pytest.importorskip("wordllama")
    pytest.importorskip("sklearn")
    database = tmp_path / "records.db"
    monkeypatch.setenv("HETAGENT_KEYS", str(tmp_path / "keys"))
    some = calls.orders(40)
    with Store(database) as store:
        store.append(some)
    options = ["--upstream", "http://x", "--records", str(database), "--workloads", "store"]
    with pytest.raises(StoreError, match="no workloads beside"):
        CliRunner().invoke(app, ["serve", *options], catch_exceptions=False)
    (found,) = find_workloads(database)
    with StreamServer() as upstream:
        upstream.reply = lambda got: Piecewise([b'{"choices": [{"message": {"content": "ok"}}]}'])
        options[1] = upstream.url
        with serve(*options) as (process, said):
            asked = {"model": "new", **calls.orders(1, seed=7)[0].request}
            ask(said["base_url"], asked)
            ask(said["base_url"], {**ASKED, "model": "new"})
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=120)
    with Reader(database) as reader:
        new = list(reader.records(Query(model="new")))
    assert [record.workload for record in new] == [found.name, None]


def test_a_local_model_under_another_name_beside_a_server(tiny_path, scratch_cache):
    with StreamServer() as upstream:
        options = ["--model", f"m={tiny_path}", "--upstream", upstream.url]
        with serve(*options) as (_, said):
            found = ask(said["base_url"], {**ASKED, "max_tokens": 3}).json()
            assert (found["model"], found["usage"]["completion_tokens"]) == ("m", 3)
            assert ask(said["base_url"], {**ASKED, "model": "other"}).json() == {}
        assert [got.json["model"] for got in upstream.requests] == ["other"]


@pytest.mark.e2e
def test_what_is_converted_while_it_runs_is_answered_by_the_small_model(
    tmp_path, tiny, scratch_cache
):
    pytest.importorskip("wordllama")
    pytest.importorskip("sklearn")
    some = calls.shop(40)
    found = Workloads.fit(some)
    task = Task.of(found, next(iter(found)).name, records=some)
    registry = Registry(tmp_path / "registry")
    asked = {"model": "m", **calls.shop(1, seed=3)[0].request}
    with StreamServer() as upstream:
        options = ["--upstream", upstream.url, "--price", "1,10"]
        options += ["--convert", "--registry", str(registry.folder), "--slm-timeout", "60"]
        with serve(*options) as (process, said):
            assert said["conversions"]["skills"] == {}
            assert ask(said["base_url"], asked).json() == {}
            registry.switch(
                task.name, binding=bind_model(registry, task, found, tiny, context=1024)
            )
            end = time.monotonic() + 60
            while (answer := ask(said["base_url"], asked)).json() == {}:
                assert time.monotonic() < end
                time.sleep(0.05)
            assert answer.json()["choices"][0]["message"]["content"] in task.output.labels
            assert answer.headers["x-hetagent-served-by"] == "slm"
            process.send_signal(signal.SIGTERM)
            last, _ = process.communicate(timeout=120)
    skills = json.loads(last)["conversions"]["skills"]
    assert (skills[task.name]["slm"], skills[task.name]["llm"]) == (1, 0)
    assert skills[task.name]["saved_usd"] > 0


def test_it_says_what_it_has_loaded_and_what_that_saved(tmp_path, capsys):
    registry = Registry(tmp_path)
    conversions = Conversions(registry)
    inner = HttpUpstream("http://127.0.0.1:9")
    (upstream,) = load(conversions, [inner], quiet=False)
    assert upstream.name == inner.name
    assert "Nothing is converted yet" in capsys.readouterr().err
    broken = added(registry, "sort", task=registry.put(b"{}"))
    registry.switch("sort", binding=broken)
    load(conversions, [inner], quiet=False)
    told = capsys.readouterr().err
    assert f"The binding {broken} cannot be used: " in told
    assert list(sum_up(conversions.status())) == list(sum_up(None)) == []
    tally = Tally()
    tally.answered(saved=0.0125)
    tally.answered(saved=None)
    tally.went_on("low_confidence")
    assert list(sum_up({"skills": {"sort": tally.to_dict()}})) == [
        "sort: 2 calls answered by the small model, 1 by the LLM (1 low_confidence); "
        "about $0.0125 saved."
    ]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ([], "nothing to pass calls on to"),
        (["--upstream", "http://x", "--registry", "somewhere"], "is for --convert"),
        (["--upstream", "http://x", "--host", "0.0.0.0"], "Everyone who reaches"),
        (["--upstream", "http://x", "--price", "cheap"], "is no price"),
        (["--upstream", "nowhere"], "is no address"),
        (["--new-key", "me"], "no file"),
        (["--upstream", "http://x", "--keys", "missing"], "cannot be read"),
        (["--azure", "http://x", "--own-keys"], "AZURE_OPENAI_API_KEY is not set"),
    ],
)
def test_options_that_cannot_be_used_are_told(options, what, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AZURE_OPENAI_API_KEY", raising=False)
    with pytest.raises(InputError, match=what):
        CliRunner().invoke(app, ["serve", "--no-record", *options], catch_exceptions=False)


def test_a_port_that_is_taken_is_told(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = ["serve", "--no-record", "--upstream", "http://x", "--port", port]
        result = subprocess.run(
            [sys.executable, "-m", "hetagent", *command],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=False,
        )
    assert result.returncode == 2
    assert "Serving" not in result.stderr
    assert f"Port {port} of 127.0.0.1 cannot be listened on" in result.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_second_ctrl_c_ends_streams_at_once_and_keeps_their_records(host, tmp_path):
    piece = b'data: {"choices": [{"index": 0, "delta": {"content": "x"}}]}\n\n'
    with StreamServer() as upstream:
        upstream.reply = lambda got: Piecewise([piece] * 2, headers=SSE, pause=60)
        options = ["--upstream", upstream.url, "--host", host]
        with serve(*options, stderr=subprocess.PIPE) as (process, said):
            assert (host in said["base_url"]) or (f"[{host}]" in said["base_url"])
            with httpx.Client(timeout=120, verify=False) as client:
                url = f"{said['base_url']}/chat/completions"
                with client.stream("POST", url, json={**ASKED, "stream": True}) as answer:
                    pieces = answer.iter_raw()
                    assert next(pieces) == piece
                    process.send_signal(signal.SIGINT)
                    time.sleep(0.5)
                    assert process.poll() is None  # it waits for what is under way
                    process.send_signal(signal.SIGINT)
                    last, errors = process.communicate(timeout=60)
                    with pytest.raises(httpx.RemoteProtocolError):
                        next(pieces)
    assert (json.loads(last)["calls"], json.loads(last)["failed"]) == (1, 1)
    assert "lifespan" not in errors
