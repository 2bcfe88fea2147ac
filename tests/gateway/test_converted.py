"""Calls of converted workloads: their skills answer, the upstream where these are not sure."""

import asyncio
import http.client
import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from openai import AsyncOpenAI, OpenAI

from hetagent import Answer
from hetagent.errors import ModelError
from hetagent.gateway import Conversions, ConvertedUpstream, HttpUpstream
from hetagent.gateway.assemble import assemble_anthropic
from hetagent.learn.cluster import Workloads
from hetagent.learn.task import Task
from hetagent.outcome import Usage
from hetagent.registry import Registry
from hetagent.shadow import comparisons
from tests.support import workload_calls as calls
from tests.support.conversions import bind, bind_model, scripted
from tests.support.gateways import served
from tests.support.stream_server import Piecewise, StreamServer

pytest.importorskip("wordllama")
pytest.importorskip("sklearn")

SSE = (("Content-Type", "text/event-stream"),)
PARTS = {"labels": calls.shop(40), "json": calls.orders(40), "tools": calls.tooled(40)}
ORDER = {"item": "lamp", "count": 3, "urgent": True, "note": None}
CITY = {"tool": "get_weather", "arguments": {"city": "Oslo", "days": None, "unit": None}}
TOKENS = Usage(prompt_tokens=30, cached_tokens=20, completion_tokens=4)
SURE = {
    "labels": Answer("refund", confidence=0.99, usage=TOKENS),
    "json": Answer(ORDER, usage=TOKENS),
    "tools": Answer(CITY, usage=TOKENS),
}
LLM = b'{"id": "x", "choices": [{"message": {"content": "complaint"}, "finish_reason": "stop"}]}'


@pytest.fixture(scope="module")
def found() -> Workloads:
    return Workloads.fit(list(chain(*PARTS.values())))


@pytest.fixture(scope="module")
def tasks(found) -> dict[str, Task]:
    every = list(chain(*PARTS.values()))
    names = {kind: found.assign(some[0]) for kind, some in PARTS.items()}
    return {kind: Task.of(found, name, records=every) for kind, name in names.items()}


@pytest.fixture
def registry(tmp_path) -> Registry:
    return Registry(tmp_path / "registry")


@pytest.fixture
def upstream():
    with StreamServer() as server:
        server.reply = lambda got: Piecewise([LLM])
        yield server


@contextmanager
def converted(registry: Registry, upstream: Any, scripts: Any, **options):
    """A gateway whose small models are scripted, in front of an upstream or of an address."""
    url = upstream if isinstance(upstream, str) else upstream.url
    anthropics = [HttpUpstream(url, api="anthropic")] if options.pop("anthropic", False) else []
    options["open_with"] = scripted(scripts, options.pop("models", None))
    conversions = Conversions(registry, **options)
    conversions.load()
    inner = [HttpUpstream(f"{url}/v1", price=(1.0, 10.0)), *anthropics]
    with served(*[ConvertedUpstream(one, conversions) for one in inner]) as gateway:
        yield gateway


def body(kind: str = "labels", *, seed: int = 7, **more: Any) -> dict[str, Any]:
    maker = {"labels": calls.shop, "json": calls.orders, "tools": calls.tooled}[kind]
    return {"model": "gpt-x", **maker(1, seed=seed)[0].request, **more}


def ask(gateway, asked: dict[str, Any] | None = None, *, path="/v1", **options: Any):
    return gateway.post(f"{path}/chat/completions", body() if asked is None else asked, **options)


def said_by(answer: httpx.Response) -> tuple[str | None, str | None]:
    return answer.headers.get("x-hetagent-served-by"), answer.headers.get("x-hetagent-reason")


@pytest.fixture
def live(registry, found, tasks) -> dict[str, str]:
    """The ids of bindings that are live, one for each workload."""
    ids = {kind: bind(registry, task, found, name=kind) for kind, task in tasks.items()}
    for kind, id_ in ids.items():
        registry.switch(tasks[kind].name, binding=id_)
    return ids


def test_openais_client_gets_answers_in_the_apis_form(registry, live, tasks, upstream):
    with converted(registry, upstream, SURE) as gateway:
        with OpenAI(base_url=f"{gateway.url}/v1", api_key="x", max_retries=0) as client:
            create = client.chat.completions.with_raw_response.create
            raw = create(**body())
            answer = raw.parse()
            assert answer.choices[0].message.content == "refund"
            assert (answer.choices[0].finish_reason, answer.model) == ("stop", "gpt-x")
            assert answer.usage.total_tokens == 34
            assert answer.usage.prompt_tokens_details.cached_tokens == 20
            copied = client.chat.completions.create(**body("json"))
            assert json.loads(copied.choices[0].message.content) == ORDER
            called = client.chat.completions.create(**body("tools"))
            (call,) = called.choices[0].message.tool_calls
            assert (call.function.name, json.loads(call.function.arguments)) == (
                "get_weather",
                {"city": "Oslo"},
            )
            assert called.choices[0].finish_reason == "tool_calls"
            assert called.choices[0].message.content is None
        headers = raw.http_response.headers
        assert headers["x-hetagent-served-by"] == "slm"
        assert headers["x-hetagent-workload"] == tasks["labels"].workload
        assert headers["x-hetagent-binding"] == live["labels"]
        assert 0.8 < float(headers["x-hetagent-confidence"]) < 1
        record = gateway.record_of(raw.http_response)
        assert (record.served_by, record.reason, record.served_model) == ("slm", "", "small-labels")
        assert (record.workload, record.cost_usd) == (tasks["labels"].workload, 0.0)
        assert (record.tags, record.trainable) == ({"binding": live["labels"]}, "no-train")
        assert (record.usage.prompt, record.usage.cached, record.usage.completion) == (30, 20, 4)
        assert record.complete
        assert tasks["labels"].label(record) is None
        status = gateway.status()["conversions"]["skills"][tasks["labels"].name]
        assert (status["mode"], status["binding"]) == ("live", live["labels"])
        # The recorded calls took 110 tokens each, of which the small model wrote 4.
        assert (status["slm"], status["llm"]) == (1, 0)
        assert status["saved_usd"] == pytest.approx((106 * 1.0 + 4 * 10.0) / 1e6)
    assert upstream.requests == []


def test_openais_client_gets_streams(registry, live, upstream):
    more = {"stream": True}
    with_usage = {**more, "stream_options": {"include_usage": True}}

    async def in_asyncio(url: str) -> str:
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client:
            stream = await client.chat.completions.create(**body("json", **more))
            chunks = [one async for one in stream if one.choices]
            return "".join(one.choices[0].delta.content or "" for one in chunks)

    with converted(registry, upstream, SURE) as gateway:
        with OpenAI(base_url=f"{gateway.url}/v1", api_key="x", max_retries=0) as client:
            chunks = list(client.chat.completions.create(**body("tools", **with_usage)))
            raw = client.chat.completions.with_raw_response.create(**body(**more))
            words = list(raw.parse())
        assert json.loads(asyncio.run(in_asyncio(gateway.url))) == ORDER
        last = gateway.record_of(raw.http_response)
    told = [one.usage for one in chunks if one.usage]
    assert [one.total_tokens for one in told] == [34]
    assert all(one.choices and one.usage is None for one in words)
    chunks = [one for one in chunks if one.choices]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert {one.model for one in chunks} == {"gpt-x"}
    wanted = [
        one.choices[0].delta.tool_calls[0] for one in chunks if one.choices[0].delta.tool_calls
    ]
    assert wanted[0].function.name == "get_weather"
    assert wanted[0].id
    assert json.loads("".join(one.function.arguments for one in wanted)) == {"city": "Oslo"}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    content = "".join(one.choices[0].delta.content or "" for one in words)
    assert content == "refund"
    assert (last.served_by, last.streamed, last.complete) == ("slm", True, True)
    assert (last.usage.prompt, last.usage.completion) == (30, 4)
    assert last.response["choices"][0]["message"]["content"] == "refund"
    assert upstream.requests == []


def in_anthropics_form(kind: str, **more: Any) -> dict[str, Any]:
    asked = body(kind)
    (system, *others) = asked["messages"]
    found = {"model": "claude-x", "max_tokens": 99, "system": system["content"], "messages": others}
    if "tools" in asked:
        found["tools"] = [
            {"name": f["name"], "description": f["description"], "input_schema": f["parameters"]}
            for f in (one["function"] for one in asked["tools"])
        ]
    return {**found, **more}


def test_anthropics_form_whole_and_as_a_stream(registry, live, upstream):
    with converted(registry, upstream, SURE, anthropic=True) as gateway:
        for kind, stop in (("labels", "end_turn"), ("tools", "tool_use")):
            answer = gateway.post("/v1/messages", in_anthropics_form(kind))
            stream = gateway.post("/v1/messages", in_anthropics_form(kind, stream=True))
            assert [said_by(one) for one in (answer, stream)] == [("slm", None)] * 2
            records = [gateway.record_of(one) for one in (answer, stream)]
            assert [one.usage.prompt for one in records] == [30, 30]
            whole = answer.json()
            assert (whole["type"], whole["role"]) == ("message", "assistant")
            assert (whole["model"], whole["stop_reason"]) == ("claude-x", stop)
            assert whole["usage"] == {
                "input_tokens": 10, "cache_read_input_tokens": 20, "output_tokens": 4,
            }  # fmt: skip
            (block,) = whole["content"]
            if kind == "tools":
                assert (block["type"], block["name"]) == ("tool_use", "get_weather")
                assert block["input"] == {"city": "Oslo"}
            else:
                assert block == {"type": "text", "text": "refund"}
            events = assemble_anthropic([(0.0, stream.content)])
            assert events.complete
            for made in (whole, events.response):
                del made["id"]
                for one in made["content"]:
                    one.pop("id", None)
            assert events.response == whole
    assert upstream.requests == []


def test_azures_form_names_its_deployment(registry, live, upstream):
    asked = {key: value for key, value in body().items() if key != "model"}
    with converted(registry, upstream, SURE) as gateway:
        answer = gateway.post("/openai/deployments/mine/chat/completions?api-version=1", asked)
    assert (answer.json()["model"], said_by(answer)) == ("mine", ("slm", None))


def broken(request):
    raise ZeroDivisionError


UNSURE = {
    "low_confidence": Answer("refund", confidence=0.5),
    "invalid_output": Answer(raw="nonsense"),
    "truncated": Answer("refund", truncated=True),
    "timeout": Answer("refund", delay=30.0),
    "model_error": Answer(error=ModelError("It is broken.")),
}


def test_what_the_skill_is_not_sure_of_goes_on_byte_for_byte(registry, live, tasks, upstream):
    task = tasks["labels"]
    asked = b'{"model":"gpt-x",   "messages": ' + json.dumps(body()["messages"]).encode() + b"}"
    answers = iter(UNSURE.values())
    scripts = {**SURE, "labels": lambda _: next(answers), "tools": Answer({"tool": "none"})}
    scripts["json"] = broken
    with converted(registry, upstream, scripts, timeout=0.2) as gateway:
        for reason in UNSURE:
            answer = gateway.client.post("/v1/chat/completions", content=asked)
            assert (upstream.requests[-1].body, answer.content) == (asked, LLM)
            assert said_by(answer) == ("llm", reason)
            assert answer.headers["x-hetagent-binding"] == live["labels"]
            assert ("x-hetagent-confidence" in answer.headers) == (reason == "low_confidence")
            record = gateway.record_of(answer)
            assert (record.served_by, record.reason) == ("llm", reason)
            assert (record.tags["binding"], record.workload) == (live["labels"], task.workload)
            assert task.label(record) == "complaint"
        status = gateway.status()["conversions"]["skills"][task.name]
        # Only the LLM says that no tool fits; and what nobody foresaw costs no call.
        assert said_by(ask(gateway, body("tools", stream=True))) == ("llm", "no_tool")
        assert said_by(ask(gateway, body("json"))) == ("llm", "model_error")
    assert (status["slm"], status["llm"]) == (0, len(UNSURE))
    assert status["reasons"] == dict.fromkeys(UNSURE, 1)
    assert len(upstream.requests) == len(UNSURE) + 2


def test_what_is_not_the_skills_goes_on(registry, live, tasks, upstream):
    history = [*body()["messages"], {"role": "assistant", "content": "hm"}, *body()["messages"]]
    wanting = [body(logprobs=True), body(n=2), body(messages=history), body(stop=["x"])]
    other = {"model": "m", "messages": [{"role": "user", "content": "How are you today?"}]}
    with converted(registry, upstream, SURE) as gateway:
        answers = [ask(gateway, one) for one in wanting]
        others = [
            ask(gateway, other),
            ask(gateway, headers={"x-hetagent-interactive": "true"}),
            ask(gateway, path="/w/another/v1"),
            gateway.post("/v1/embeddings", {"model": "m", "input": "x"}),
            gateway.get("/v1/files"),
        ]
        assert said_by(ask(gateway, path=f"/w/{tasks['labels'].workload}/v1")) == ("slm", None)
    assert [got.json for got in upstream.requests[:4]] == wanting
    assert [said_by(one) for one in answers] == [("llm", "other_request")] * 4
    assert all("x-hetagent-binding" not in one.headers for one in answers)
    assert [said_by(one) for one in others] == [(None, None)] * 5
    assert len(upstream.requests) == 9


def test_a_workload_that_has_only_a_name_gets_calls_that_say_it(registry, tasks, upstream):
    task = tasks["labels"]
    registry.switch(task.name, binding=bind(registry, task, None))
    with converted(registry, upstream, {"a": SURE["labels"]}) as gateway:
        assert said_by(ask(gateway)) == (None, None)
        marked = ask(gateway, headers={"x-hetagent-workload": task.workload})
    assert said_by(marked) == ("slm", None)


def test_where_the_skill_is_sure_the_upstream_may_be_down(registry, live):
    with converted(registry, "http://127.0.0.1:9", SURE) as gateway:
        assert ask(gateway).json()["choices"][0]["message"]["content"] == "refund"
        assert ask(gateway, body(seed=3, n=2)).status_code == 502
        long = body()
        long["messages"][-1]["content"] += " and what is more" * 5000  # read in a thread
        assert said_by(ask(gateway, long)) == ("slm", None)


def test_a_client_that_goes_away_ends_the_small_models_work(registry, live, upstream):
    models: dict[str, Any] = {}
    scripts = {**SURE, "labels": Answer("refund", delay=30.0)}
    with converted(registry, upstream, scripts, timeout=60, models=models) as gateway:
        with pytest.raises(httpx.ReadTimeout):
            ask(gateway, timeout=0.5)
        gateway.wait_for(lambda: gateway.gateway.status()["under_way"] == 0)
        (record,) = gateway.records()
    assert len(models["labels"].requests) == 1
    assert (record.complete, record.error.kind) == (False, "Disconnected")
    assert upstream.requests == []


def test_a_shadow_answers_unheard_and_is_compared_with_the_llm(registry, found, tasks, upstream):
    task = tasks["labels"]
    id_ = bind(registry, task, found)
    registry.switch(task.name, binding=id_, mode="shadow")
    chunks = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "com"}}]},
        {"choices": [{"index": 0, "delta": {"content": "plaint"}, "finish_reason": "stop"}]},
    ]
    lines = [f"data: {one}\n\n".encode() for one in [*map(json.dumps, chunks), "[DONE]"]]
    answers = iter(["complaint", "refund", "complaint"])
    with converted(registry, upstream, {"a": lambda _: Answer(next(answers))}) as gateway:
        marks = {"x-hetagent-trace": "run-1"}
        some = [ask(gateway, headers=marks)]
        upstream.reply = lambda got: Piecewise(lines, headers=SSE)
        some.append(ask(gateway, body(stream=True), headers=marks))
        upstream.reply = lambda got: Piecewise([b'{"choices": []}'])
        some.append(ask(gateway))  # no label
        records = [gateway.record_of(one) for one in some]
    # Closing the gateway waits for them.
    compared = list(comparisons(registry, id_))
    assert [said_by(one) for one in some] == [("llm", "shadow")] * 3
    assert [one.content for one in some[:2]] == [LLM, b"".join(lines)]
    assert sorted(one.same for one in compared) == [False, True]
    assert {one.trace_id for one in compared} == {"run-1"}
    assert {(one.accepted, one.served_by) for one in compared} == {(True, "llm")}
    assert {(one.served_by, one.reason) for one in records} == {("llm", "shadow")}
    assert "binding" not in records[0].tags


def test_a_shadow_of_a_live_binding_is_compared_with_that(registry, found, tasks, upstream):
    task = tasks["labels"]
    ids = {name: bind(registry, task, found, name=name) for name in "ab"}
    registry.switch(task.name, binding=ids["a"])
    registry.switch(task.name, binding=ids["b"], mode="shadow")
    scripts = {"a": SURE["labels"], "b": Answer("delivery", confidence=0.5)}
    with converted(registry, upstream, scripts) as gateway:
        answer = ask(gateway)
        status = gateway.status()["conversions"]["skills"][task.name]
    assert (said_by(answer), answer.headers["x-hetagent-binding"]) == (("slm", None), ids["a"])
    assert (status["trial"], status["shadowed"]) == (ids["b"], 1)
    (one,) = comparisons(registry, ids["b"])
    assert (one.same, one.accepted, one.served_by) == (False, False, "slm")


def test_a_canary_keeps_each_conversation_on_its_side(registry, found, tasks, upstream):
    task = tasks["labels"]
    registry.switch(task.name, binding=bind(registry, task, found), mode="canary", share=0.5)
    with converted(registry, upstream, {"a": SURE["labels"]}) as gateway:
        sides = {}
        for number in range(40):
            headers = {"x-hetagent-conversation": f"c{number % 20}"}
            side = said_by(ask(gateway, headers=headers))
            assert sides.setdefault(number % 20, side) == side
    assert set(sides.values()) == {("slm", None), (None, None)}


def test_what_is_promoted_while_it_runs_is_taken_up_and_bindings_keep_their_own_task(
    registry, found, tasks, upstream
):
    task = tasks["labels"]
    # A later conversion of the same skill that knows one answer more.
    data = task.to_dict()
    data["answers"]["labels"] = [*data["answers"]["labels"], "praise"]
    more = Task.from_dict(data)
    scripts = {"a": SURE["labels"], "b": Answer("praise", confidence=0.99)}
    with converted(registry, upstream, scripts) as gateway:
        assert said_by(ask(gateway)) == (None, None)
        assert gateway.status()["conversions"]["skills"] == {}
        for name, own, label in (("a", task, "refund"), ("b", more, "praise")):
            registry.switch(task.name, binding=bind(registry, own, found, name=name))
            wait_for(lambda label=label: label in ask(gateway).text)
        assert gateway.status()["conversions"]["failures"] == {}


@pytest.mark.usefixtures("live")
def test_a_broken_binding_fails_no_call_and_is_told(registry, tasks, found, upstream, caplog):
    broken = bind(registry, tasks["json"], found, name="json", task=registry.put(b"{}"))
    registry.switch(tasks["json"].name, binding=broken)
    missing = bind(registry, tasks["tools"], found, name="unknown")
    registry.switch(tasks["tools"].name, binding=missing)
    with converted(registry, upstream, SURE) as gateway:
        assert said_by(ask(gateway)) == ("slm", None)
        for kind in ("json", "tools"):
            for _ in range(3):
                answer = ask(gateway, body(kind))
                assert (answer.content, said_by(answer)) == (LLM, (None, None))
        failures = gateway.status()["conversions"]["failures"]
    assert failures.keys() == {broken, missing}
    assert len([one for one in caplog.records if broken in one.getMessage()]) == 1


def test_a_log_that_breaks_while_it_runs_leaves_all_as_it_is(registry, live, upstream):
    with converted(registry, upstream, SURE) as gateway:
        assert said_by(ask(gateway)) == ("slm", None)
        log = registry.folder / "log.jsonl"
        whole = log.read_bytes()
        log.write_bytes(b"\0 nonsense\n" + whole)
        for _ in range(5):
            assert said_by(ask(gateway)) == ("slm", None)
        wait_for(lambda: gateway.status()["conversions"]["last_error"] is not None)
        log.write_bytes(whole)
        Registry(registry.folder).switch(next(iter(registry.states())), mode="off")
        wait_for(lambda: None in {said_by(ask(gateway, body(kind)))[0] for kind in PARTS})
        assert gateway.status()["conversions"]["last_error"] is None


@pytest.mark.usefixtures("scratch_cache")
def test_a_real_model_is_loaded_and_certified(registry, found, tasks, tiny, upstream):
    task = tasks["labels"]
    id_ = bind_model(registry, task, found, tiny, context=1024)
    registry.switch(task.name, binding=id_)
    with served(ConvertedUpstream(HttpUpstream(f"{upstream.url}/v1"), registry)) as gateway:
        ask(gateway)
        wait_for(lambda: said_by(ask(gateway)) == ("slm", None))
        with ThreadPoolExecutor(8) as pool:
            some = list(pool.map(lambda seed: ask(gateway, body(seed=seed)), range(24)))
        assert gateway.status()["conversions"]["failures"] == {}
    assert {said_by(one) for one in some} == {("slm", None)}
    labels = {one.json()["choices"][0]["message"]["content"] for one in some}
    assert labels <= set(task.skill.output.labels)
    assert all(one.json()["usage"]["prompt_tokens"] > 10 for one in some)


SECONDS, RATE, CLIENTS = 3.0, 200, 8


def test_switches_under_two_hundred_calls_a_second_lose_and_mislabel_none(
    registry, found, tasks, upstream
):
    task = tasks["labels"]
    ids = {name: bind(registry, task, found, name=name) for name in "ab"}
    labels = {ids["a"]: "refund", ids["b"]: "delivery", None: "complaint"}
    scripts = {"a": Answer("refund", confidence=0.99), "b": Answer("delivery", confidence=0.99)}
    registry.switch(task.name, binding=ids["a"])
    switch = Registry(registry.folder).switch  # as another process would
    steps = [
        lambda: switch(task.name, mode="off"),
        lambda: switch(task.name, binding=ids["b"]),
        lambda: switch(task.name, binding=ids["a"], mode="canary", share=0.5),
        lambda: Registry(registry.folder).rollback(task.name),
        lambda: switch(task.name, binding=ids["a"]),
        lambda: Registry(registry.folder).rollback(task.name),
    ]
    with converted(registry, upstream, scripts) as gateway:
        start = time.monotonic() + 0.1
        with ThreadPoolExecutor(CLIENTS) as pool:
            count = round(SECONDS * RATE / CLIENTS)
            clients = [
                pool.submit(keep_asking, gateway.url, start, one, count) for one in range(CLIENTS)
            ]
            for number, step in enumerate(steps, 1):
                time.sleep(max(0.0, start + SECONDS * number / (len(steps) + 1) - time.monotonic()))
                step()
            answers = [one for client in clients for one in client.result()]
        # What the last rollback leads back to has taken over by now, and nothing else serves.
        wait_for(lambda: ask(gateway).headers["x-hetagent-binding"] == ids["b"])
        answers += keep_asking(gateway.url, time.monotonic(), CLIENTS, 20)
        records = gateway.records(len(answers) + 1)
    assert len(answers) == RATE * SECONDS + 20
    assert {binding for _, binding, *_ in answers[-20:]} == {ids["b"]}
    # Each was answered once, and by whom its headers say.
    assert all(status == 200 for status, *_ in answers)
    assert all(label == labels[binding] for _, binding, label, _ in answers)
    assert len({record for *_, record in answers}) == len(answers)
    assert len(upstream.requests) == sum(binding is None for _, binding, *_ in answers)
    recorded = {one.id: one.tags.get("binding") for one in records}
    assert all(recorded[record] == binding for _, binding, _, record in answers)
    by = Counter(binding for _, binding, *_ in answers)
    assert all(by[one] for one in labels)


def keep_asking(url: str, start: float, client: int, count: int) -> list[tuple[Any, ...]]:
    """Ask at an even pace; of each call its status, binding, label and record."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    every = CLIENTS / RATE
    answers = []
    for number in range(count):
        time.sleep(max(0.0, start + every * (number + client / CLIENTS) - time.monotonic()))
        asked = json.dumps(body(seed=1000 * client + number))
        connection.request("POST", "/v1/chat/completions", asked)
        answer = connection.getresponse()
        label = json.loads(answer.read())["choices"][0]["message"]["content"]
        binding = answer.headers["x-hetagent-binding"]
        answers.append((answer.status, binding, label, answer.headers["x-hetagent-record"]))
    connection.close()
    return answers


def wait_for(condition: Any) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.02)
