"""Records that look like an agent's, made as fast as they are asked for."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from hetagent.learn.record import CallError, CallRecord, Usage, new_id

WORKLOADS = ("intent", "extract", "summarise", "plan", "review", "search", "write", None)
MODELS = ("gpt-4o", "gpt-4o-mini", "claude-sonnet-4", "qwen2.5-72b")
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
WORDS = (
    "the table order guest please move cancel price list of for with date time people number mail",
    "address write code test review plan step tool page find click open read next answer short",
)


def records(count: int, *, days: int = 30, seed: int = 0) -> Iterator[CallRecord]:
    """Of about 3,000 characters each, spread over some days in rising order."""
    generator = random.Random(seed)
    words = " ".join(WORDS).split()
    system = " ".join(generator.choices(words, k=300))
    # A few hundred texts are drawn from: making each anew would cost more than storing it.
    texts = [" ".join(generator.choices(words, k=200)) for _ in range(400)]
    step = timedelta(days=days) / max(count, 1)
    for number in range(count):
        prompt, answer = generator.choice(texts), generator.choice(texts)[:300]
        failed = generator.random() < 0.01
        yield CallRecord(
            id=new_id(),
            time=FIRST + number * step,
            form="openai.chat",
            source="gateway",
            model=generator.choice(MODELS),
            request={
                "messages": [
                    {"role": "system", "content": system},
                    {"role": "user", "content": prompt},
                ],
                "temperature": 0,
            },
            response=None if failed else {
                "choices": [{"message": {"content": answer}, "finish_reason": "stop"}]
            },
            error=CallError("RateLimitError", 429, "Slow down.") if failed else None,
            usage=Usage() if failed else Usage(len(prompt) // 4 + 400, len(answer) // 4),
            cost_usd=None if failed else 0.001 + generator.random() * 0.002,
            seconds=generator.lognormvariate(0, 0.5),
            workload=generator.choice(WORKLOADS),
            trace_id=f"trace-{number // 8}",
            conversation_id=f"conversation-{number // 3}",
            client_id=f"client-{generator.randrange(5000)}",
            redacted={},
        )  # fmt: skip
