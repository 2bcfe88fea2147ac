"""A program that makes calls by LiteLLM and by hetagent's orchestrator, and records them.

    python -m benchmarks.leaks.program LOG STORE UPSTREAM OUTCOMES REDACTION < cases

Everything that is logged at DEBUG goes to a file, but for what LiteLLM and HTTP clients tell of
the calls that they make: that is the program's own, whether it records or not.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_OF_CLIENTS = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy", "openai", "httpx", "httpcore")


def main() -> None:
    log, store, upstream, outcomes, redaction = sys.argv[1:]
    logging.basicConfig(filename=log, level=logging.DEBUG)
    logging.captureWarnings(True)
    for name in _OF_CLIENTS:
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pydantic")
    cases = json.load(sys.stdin)
    with recording(store, redaction) as recorder:
        made = by_litellm(recorder, upstream, cases)
        made += by_orchestrator(recorder, upstream, outcomes, cases)
        kept = recorder.flush(timeout=300)
        print(json.dumps({"calls": made, "written": kept.written, "lost": kept.lost,
                          "last_error": kept.last_error}))  # fmt: skip


@contextmanager
def recording(store: str, redaction: str) -> Iterator[Any]:
    """A recorder as it is by default, or with a redaction file."""
    from hetagent import Recorder
    from hetagent.learn.redact.config import Redaction
    from hetagent.learn.store import Store

    if not redaction:
        with Recorder(store) as recorder:
            yield recorder
        return
    with (
        Store(store) as opened,
        Redaction.read(redaction).redactor(opened.surrogate_key) as redactor,
        Recorder(opened, redact=redactor) as recorder,
    ):
        yield recorder


def by_litellm(recorder: Any, upstream: str, cases: list[dict[str, Any]]) -> int:
    """Each case once: whole, in a stream, as arguments of a tool, refused, broken off."""
    from benchmarks.leaks.upstream import WAYS
    from hetagent.models.background import import_litellm

    litellm = import_litellm()
    litellm.callbacks = [recorder]
    litellm.suppress_debug_info = True
    for at, case in enumerate(cases):
        way = WAYS[at % len(WAYS)]
        options: dict[str, Any] = {
            "model": f"openai/{way}", "api_base": f"{upstream}/v1", "api_key": "sk-loopback-key-1",
            "max_retries": 0, "user": case["values"][0] if case["values"] else None,
            "messages": [{"role": "system", "content": case["marked"]},
                         {"role": "user", "content": case["text"]}],
        }  # fmt: skip
        try:
            if at % 2 and way in ("echo", "tool", "break"):
                for _ in litellm.completion(**options, stream=True):
                    pass
            else:
                litellm.completion(**options)
        except Exception as error:  # errors are part of what is recorded
            logging.getLogger("program").debug("a call failed: %s", type(error).__name__)
    return len(cases)


def by_orchestrator(
    recorder: Any, upstream: str, outcomes: str, cases: list[dict[str, Any]]
) -> int:
    """Each case once: answered by the small model, escalated to an LLM, or failed."""
    from hetagent import Answer, LiteLLM, Orchestrator, Scripted, skill
    from hetagent.errors import HetagentError, ModelError

    @skill
    def note(message: str) -> str:
        """Repeat the message."""

    def scripted(request: Any) -> Answer:
        said = request.messages[-1].content
        if len(said) % 5 == 0:
            return Answer(error=ModelError(f"cannot read {said}"))
        return Answer(said[:900], confidence=0.95 if len(said) % 3 else 0.1)

    llm = LiteLLM("openai/echo", api_base=f"{upstream}/v1", api_key="sk-loopback-key-1")
    agent = Orchestrator(Scripted(scripted), llm=llm, record=recorder, log=outcomes)
    for case in cases:
        try:
            agent.run(note, f"{case['marked']} {case['text']}")
        except HetagentError as error:
            logging.getLogger("program").debug("an outcome failed: %s", type(error).__name__)
    return len(cases)


if __name__ == "__main__":
    main()
