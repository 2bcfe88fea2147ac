"""What a constraint costs: Outlines' backends, and llguidance stepped directly.

    python -m benchmarks.constraints --json constraints.json

For each schema: seconds to compile it, and microseconds to mask and advance one token, along an
answer that SmolLM2 gave. Interleaved; medians. A backend that cannot act is reported with the
reason. Masking through Outlines includes what its logits processor does to the logits; stepping
directly includes finding the allowed ids.
"""

from __future__ import annotations

import asyncio
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, Field

from benchmarks.report import Report, arguments, main
from hetagent import LlamaCpp, skill
from hetagent.constraint import Compiler, bounded
from hetagent.engine import library
from hetagent.models.fetch import resolve

ROUNDS = 5


class Small(BaseModel):
    city: str = Field(max_length=30)
    day: Literal["today", "tomorrow"]


class Line(BaseModel):
    article: str = Field(max_length=30)
    count: int = Field(ge=1, le=99)
    price: float | None


class Large(BaseModel):
    customer: str
    lines: list[Line] = Field(max_length=3)
    express: bool
    note: str | None


@skill(max_tokens=96)
def small(text: str) -> Small:
    """Read where and when."""


@skill(max_tokens=96)
def large(text: str) -> Large:
    """Read the order."""


def measure(report: Report, options: Any) -> None:
    with LlamaCpp("smollm2-135m-instruct").load() as model:
        decoder = model._decoder
        for task, text in ((small, "Oslo tomorrow"), (large, "Two lamps for Ann, express")):
            completion = asyncio.run(model.complete(task.request(text)))
            tokens = [token.id for token in completion.tokens]
            tokenizer = model._engine.vocabulary.matcher_tokenizer([decoder._chat.end_of_turn])
            compare(report, task, tokens, tokenizer=tokenizer, size=model._engine.vocabulary.size)


def compare(report: Report, task: Any, tokens: Sequence[int], *, tokenizer: Any, size: int) -> None:
    ways: dict[str, Callable[[], tuple[float, float]]] = {
        "hetagent (Outlines compiles, stepped directly)": lambda: direct(task, tokens, tokenizer)
    }
    outlines_model = load_outlines_model()
    for backend in ("llguidance", "outlines_core", "xgrammar"):
        ways[f"Outlines, {backend}"] = lambda name=backend: through_outlines(
            name, outlines_model, task, tokens, size
        )
    figures: dict[str, list[tuple[float, float]]] = {}
    failures: dict[str, str] = {}
    for _ in range(ROUNDS):
        for way, run in ways.items():
            if way in failures:
                continue
            try:
                figures.setdefault(way, []).append(run())
            except Exception as error:  # what it says is the finding
                failures[way] = f"{type(error).__name__}: {' '.join(str(error).split())[:90]}"
    for way in ways:
        found = figures.get(way, []) if way not in failures else []
        report.row(
            part=task.name,
            way=way,
            compile_ms=statistics.median(f[0] for f in found) * 1e3 if found else None,
            us_per_token=statistics.median(f[1] for f in found) * 1e6 if found else None,
            tokens=len(tokens),
            failure=failures.get(way),
        )


def direct(task: Any, tokens: Sequence[int], tokenizer: Any) -> tuple[float, float]:
    began = time.perf_counter()
    constraint = Compiler(tokenizer).compile(task.output)
    compiled = time.perf_counter()
    matcher = constraint.start()
    for token in tokens[:-1]:
        matcher.mask()
        matcher.forced()
        matcher.advance(token)
    matcher.mask()
    return compiled - began, (time.perf_counter() - compiled) / len(tokens)


def through_outlines(
    backend: str, model: Any, task: Any, tokens: Sequence[int], size: int
) -> tuple[float, float]:
    import json

    from outlines.backends import get_json_schema_logits_processor

    schema = {k: v for k, v in bounded(task.schema).items() if k != "$schema"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        began = time.perf_counter()
        processor = get_json_schema_logits_processor(backend, model, json.dumps(schema))
        compiled = time.perf_counter()
        logits = np.zeros((1, size), dtype=np.float32)
        text: list[int] = [0]
        for token in tokens:
            masked = processor(np.asarray([text]), logits.copy())
            if np.isfinite(np.asarray(masked)).all():
                raise RuntimeError("the text stays unconstrained")
            text.append(token)
    return compiled - began, (time.perf_counter() - compiled) / len(tokens)


def load_outlines_model() -> Any:
    import outlines

    llama_cpp = library.llama_cpp()
    llama = llama_cpp.Llama(
        model_path=str(resolve("smollm2-135m-instruct")), vocab_only=True, verbose=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return outlines.from_llamacpp(llama)


if __name__ == "__main__":
    main(measure, arguments("What a constraint costs."))
