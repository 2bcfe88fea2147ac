"""The gateway's OpenAPI document is valid, and whatever fits it or does not never makes a 500."""

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import openapi

from hetagent.gateway import HttpUpstream
from hetagent.gateway.local import LocalUpstream
from hetagent.gateway.openapi import document
from tests.support.gateways import served
from tests.support.stream_server import Got, Piecewise, StreamServer


def echo(got: Got) -> Piecewise:
    """As a server that takes everything: whatever came is in the answer."""
    return Piecewise([json.dumps({"object": "echo", "length": len(got.body)}).encode()])


@pytest.fixture(scope="module")
def gateways(tiny):
    """One that passes everything on, and one whose local model reads everything itself."""
    with StreamServer() as upstream:
        upstream.reply = echo
        passing = [HttpUpstream(f"{upstream.url}/v1")]
        passing.append(HttpUpstream(upstream.url, api="anthropic"))
        with served(*passing) as first, served(LocalUpstream(tiny, models=["*"])) as second:
            yield first, second


schema = openapi.from_dict(document())


def examples(count: int) -> settings:
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )


@schema.parametrize()
@examples(6)
def test_nothing_makes_an_internal_error(gateways, case):
    _ask(gateways, case)


@pytest.mark.e2e
@pytest.mark.timeout(1800)
@schema.parametrize()
@examples(100)
def test_nothing_of_much_more_makes_an_internal_error(gateways, case):
    _ask(gateways, case)


def _ask(gateways, case) -> None:
    _short(case)
    for gateway in gateways:
        answer = case.call(base_url=gateway.url)
        checks = schemathesis.checks
        case.validate_response(answer, checks=[checks.not_a_server_error])
        if answer.status_code >= 400:
            assert "error" in answer.json()


def _short(case) -> None:
    """Keep the local model's answers short; what is generated stays as strange as it was."""
    body = case.body
    if isinstance(body, dict) and isinstance(body.get("max_tokens", 1), int):
        body["max_tokens"] = min(body.get("max_tokens", 1), 4)


def test_each_path_of_the_document_is_served(gateways):
    for gateway in gateways:
        for path, operations in document()["paths"].items():
            if "post" in operations:
                found = gateway.post(path.replace("{", "").replace("}", ""), {"model": ""})
                known = found.json().get("error", {}).get("code") != "not_found"
                assert known, path
            else:
                assert gateway.get(path.replace("{workload}", "w")).status_code == 200
