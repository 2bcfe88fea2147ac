"""``hetagent serve``: an endpoint that agents are pointed at, which records what they ask."""

from __future__ import annotations

import gc
import ipaddress
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hetagent.cli.redaction import described
from hetagent.cli.serve_converted import load, sum_up
from hetagent.errors import InputError
from hetagent.learn.record import Trainable

if TYPE_CHECKING:
    from hetagent.gateway import Conversions, Gateway, Keys, Upstream
    from hetagent.gateway.apis import Api
    from hetagent.learn.pipeline import Pipeline, RecordStore
    from hetagent.learn.redact.config import Redaction
    from hetagent.learn.store import Store

__all__ = ["make_key", "run_serve"]

_KEYS: dict[str, str] = {
    "openai": "OPENAI_API_KEY",
    "azure": "AZURE_OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
}
# Below warnings they tell addresses with their queries, headers and whole calls.
_TALKATIVE = ("httpx", "httpcore", "hpack", "h11", "openai", "LiteLLM", "LiteLLM Router")
# Redaction computes in a thread of its own; calls must not wait for its turn to end.
_SWITCH_SECONDS = 0.0005
_IN_STORE = "store"


def make_key(keys: Path | None, name: str, *, as_json: bool) -> None:
    """Make a key of the gateway's own and print it, once.

    Raises:
        InputError: There is no file for it, or the name is taken.
    """
    from hetagent.gateway.keys import add_key

    if keys is None:
        raise InputError("There is no file for the key.", hint="Name one with --keys FILE.")
    key = add_key(keys, name)
    if as_json:
        sys.stdout.write(json.dumps({"name": name, "key": key, "file": str(keys)}) + "\n")
    else:
        sys.stdout.write(f"{key}\n")
        sys.stderr.write(f"This is the key {name!r}; {keys} has only its hash.\n")


def run_serve(
    *,
    http: Sequence[tuple[Api, str]],
    models: Sequence[str],
    context: int | None,
    own_keys: bool,
    price: str | None,
    trainable: Trainable | None,
    records: str | None,
    record: bool,
    redaction: Redaction,
    workloads: str | None,
    conversions: Conversions | None,
    keys: Path | None,
    host: str,
    port: int,
    open_to_all: bool,
    body_mb: float,
    timeout: float,
    as_json: bool,
) -> None:
    """Serve until it is stopped, then say what was recorded.

    Raises:
        InputError: An option cannot be used.
        MissingExtraError: A package that is needed is not installed.
        StoreError: The store cannot be opened.
    """
    from hetagent.gateway import Gateway, Keys, Limits
    from hetagent.gateway.server import run

    # First, for packages that are imported later may set it up otherwise.
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    for talkative in _TALKATIVE:
        logging.getLogger(talkative).setLevel(logging.WARNING)
    read = Keys.read(keys) if keys is not None else None
    _refuse_open(host, read, allowed=open_to_all)
    limits = Limits(body_bytes=round(body_mb * 1024 * 1024), read_seconds=timeout)
    with ExitStack() as stack:
        upstreams = stack.enter_context(
            _upstreams(http, models, own_keys, _price(price), trainable, context=context)
        )
        if conversions is not None:
            upstreams = load(conversions, upstreams, quiet=as_json)
        pipeline, place = None, None
        if record:
            recording = _recording(records, redaction, workloads)
            pipeline, place = stack.enter_context(recording)
        gateway = Gateway(*upstreams, pipeline=pipeline, keys=read, limits=limits)
        sys.setswitchinterval(_SWITCH_SECONDS)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        run(
            gateway,
            host=host,
            port=port,
            ready=lambda: _say(gateway, host, port, place, redaction, as_json=as_json),
        )
    _sum_up(gateway, as_json=as_json)
    # Otherwise the process looks through all that spaCy loaded for garbage, for seconds, to end.
    gc.freeze()


@contextmanager
def _upstreams(
    http: Sequence[tuple[Api, str]],
    models: Sequence[str],
    own_keys: bool,
    price: tuple[float, float] | None,
    trainable: Trainable | None,
    *,
    context: int | None,
) -> Iterator[list[Upstream]]:
    """Models that are named go before servers, which take every name."""
    from hetagent.gateway import HttpUpstream
    from hetagent.gateway.litellm_upstream import LiteLLMUpstream
    from hetagent.gateway.local import LocalUpstream
    from hetagent.models.litellm import LiteLLM
    from hetagent.models.llamacpp import LlamaCpp

    found: list[Upstream] = []
    local: dict[str, LlamaCpp] = {}
    try:
        for given in models:
            alias, _, name = given.rpartition("=")
            model = _named(name, local, context)
            names = [alias or name]
            if isinstance(model, LiteLLM):
                found.append(LiteLLMUpstream(name, models=names, price=price, trainable=trainable))
            else:
                found.append(LocalUpstream(model, models=names, trainable=trainable))
        for api, url in http:
            key = _own_key(api) if own_keys else None
            found.append(HttpUpstream(url, api=api, key=key, price=price, trainable=trainable))
        if not found:
            raise InputError(
                "There is nothing to pass calls on to.",
                hint="Give --upstream https://api.openai.com/v1, or --model NAME.",
            )
        yield found
    finally:
        for one in local.values():
            one.close()


def _named(name: str, local: dict[str, Any], context: int | None) -> Any:
    """A model; one that has several names is loaded once."""
    from hetagent.cli.options import model_named
    from hetagent.models.llamacpp import LlamaCpp

    if name not in local:
        model = model_named(name, context=context)
        if not isinstance(model, LlamaCpp):
            return model
        local[name] = model.load()
    return local[name]


def _own_key(api: str) -> str:
    key = os.environ.get(_KEYS[api], "")
    if not key:
        raise InputError(
            f"--own-keys was given, and {_KEYS[api]} is not set.",
            hint="Set it, or leave --own-keys out to pass on the callers' keys.",
        )
    return key


@contextmanager
def _recording(
    records: str | None, redaction: Redaction, workloads: str | None
) -> Iterator[tuple[Pipeline, str]]:
    """What keeps the records, and where."""
    from hetagent.learn.pipeline import Pipeline
    from hetagent.learn.store import Store

    with Store(records) as store, redaction.redactor(store.surrogate_key) as redactor:
        kept = store if workloads is None else _assigning(store, records, workloads)
        yield Pipeline(kept, redact=redactor), store.name


def _assigning(store: Store, records: str | None, workloads: str) -> RecordStore:
    """A store that tells records their workloads as they come."""
    from hetagent.learn.cluster import Workloads
    from hetagent.learn.cluster.kept import AssigningStore, found_before

    if workloads != _IN_STORE:
        return AssigningStore(store, Workloads.load(workloads))
    found = found_before(records)
    return AssigningStore(store, found.workloads, interactive=found.interactive)


def _price(given: str | None) -> tuple[float, float] | None:
    if given is None:
        return None
    try:
        prompt, completion = map(float, given.split(","))
    except ValueError:
        raise InputError(
            f"--price {given} is no price.",
            hint="Give US dollars for a million tokens of prompt and completion: --price 0.25,2",
        ) from None
    return prompt, completion


def _refuse_open(host: str, keys: Keys | None, *, allowed: bool) -> None:
    if keys is not None or allowed or host == "localhost":
        return
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise InputError(
            f"Everyone who reaches {host} could spend your money.",
            hint="Give --keys FILE, or --open where the network is yours alone.",
        )


def _say(
    gateway: Gateway,
    host: str,
    port: int,
    place: str | None,
    redaction: Redaction,
    *,
    as_json: bool,
) -> None:
    replaced = None if place is None else described(redaction)
    shown = f"[{host}]" if ":" in host else host
    base = f"http://{shown}:{port}"
    if as_json:
        facts = {"base_url": f"{base}/v1", "place": place, "replaced": replaced, **gateway.status()}
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()
        return
    sys.stderr.write(
        f"Serving {', '.join(gateway.status()['upstreams'])}.\n"
        f"  base URL    {base}/v1\n"
        f"  a workload  {base}/w/NAME/v1\n"
        f"  status      {base}/gateway/status\n"
        f"  records     {place or 'off'}\n"
        f"  replaced    {replaced or '-'}\n"
        "Ctrl-C stops it.\n"
    )


def _sum_up(gateway: Gateway, *, as_json: bool) -> None:
    status = gateway.status()
    if as_json:
        sys.stdout.write(json.dumps(status) + "\n")
        return
    records = status["records"]
    sys.stderr.write(
        f"{status['calls']} calls, {status['failed']} of them failed; "
        f"{records['written']} recorded, {records['lost']} not.\n"
    )
    for line in sum_up(status.get("conversions")):
        sys.stderr.write(f"  {line}\n")
    if records["last_error"]:
        sys.stderr.write(f"  The last one was not recorded because of: {records['last_error']}\n")
