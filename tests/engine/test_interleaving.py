"""Whatever else is under way, an answer is the one that the request would get alone.

On a tiny transformer of random 32-bit weights, with a 32-bit cache and without flash attention,
where the shape of a batch moves nothing.
"""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from hetagent import LlamaCpp, skill
from hetagent.models.base import Completion, Request
from tests.support.alone import Alone
from tests.support.lora import write_adapter
from tests.support.settled import settled

CELLS = 400
LONG = [f"branch office {number:03}, floor {number % 7}" for number in range(12)]
TEXTS = [
    "A table for two at eight",
    "Cancel it",
    '日本 größer \\ " {]',
    "Could we, " * 30 + "please?",
    "We are nine, in the garden, and one of us has a card. " * 4,
]


class Booking(BaseModel):
    day: Literal["today", "tomorrow", "to be said"]
    outside: bool | None
    people: int = Field(ge=1, le=40)


class Note(BaseModel):
    kind: Literal["card", "card_arrival", "cash"] | None
    text: str = Field(max_length=8)
    marks: list[Literal["a", "b"]] = Field(max_length=1)


@skill
def intent(message: str) -> Literal["book", "book a table", "cancel", "other"]:
    """Decide what the guest wants."""


@skill(max_tokens=30)
def booking(message: str) -> Booking:
    """Read the booking, and take today where no day is named at all."""


@skill(max_tokens=30)
def note(message: str) -> list[Note]:
    """Take notes, at most one of them for every thing that is said."""


@skill
def number(message: str) -> int:
    """Count the guests."""


@skill
def office(message: str) -> Literal[tuple(LONG)]:  # type: ignore[valid-type]
    """Find the office."""


SKILLS: list[Any] = [intent, booking, note, number, office]


@pytest.fixture(scope="module")
def adapter(tiny_path: Path) -> Path:
    return write_adapter(tiny_path, tiny_path.parent / "interleaved.gguf", rank=2)


@pytest.fixture(scope="module")
def models(tiny_path: Path, adapter: Path) -> Iterator[list[LlamaCpp]]:
    """Two models on one engine whose cache holds little more than the longest request."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HETAGENT_CACHE", str(tiny_path.parent))
        yield from load(tiny_path, adapter)


def load(path: Path, adapter: Path) -> Iterator[list[LlamaCpp]]:
    options: dict[str, Any] = {
        "context": CELLS,
        "kv_tokens": CELLS,
        "kv_type": "f32",
        "flash_attention": "off",
        "batch": 64,
        "parallel": 6,
    }
    with (
        LlamaCpp(path, **options).load() as plain,
        LlamaCpp(path, adapters={str(adapter): 0.5}, **options).load() as tuned,
    ):
        assert plain._engine is tuned._engine
        yield [plain, tuned]


@pytest.fixture(scope="module")
def alone(tiny_path: Path) -> Iterator[Alone]:
    made = Alone(tiny_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def expected() -> dict[Any, Completion]:
    """Answers of requests alone, each computed once."""
    return {}


async def cancel_after(task: asyncio.Task[Any], seconds: float) -> None:
    await asyncio.sleep(seconds)
    task.cancel()


async def ask(model: LlamaCpp, request: Request, delay: float) -> Completion:
    await asyncio.sleep(delay)
    return await model.complete(request)


async def interleave(models: list[LlamaCpp], chosen: list[Any], dice: random.Random) -> list[Any]:
    tasks = []
    waits = []
    for which, task_skill, text in chosen:
        request = task_skill.request(text)
        task = asyncio.create_task(
            ask(models[which], request, dice.choice([0, dice.random() / 10]))
        )
        tasks.append(task)
        if dice.random() < 0.25:
            waits.append(asyncio.create_task(cancel_after(task, dice.random() / 4)))
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.gather(*waits)
    return answers


def agree(answer: Completion, wanted: Completion) -> None:
    assert answer.text == wanted.text
    assert answer.finish == wanted.finish
    assert answer.choices == (wanted.choices and pytest.approx(wanted.choices, abs=1e-4))
    assert answer.outside == (wanted.choices and pytest.approx(wanted.outside, abs=1e-4))
    assert len(answer.tokens or ()) == len(wanted.tokens or ())
    for token, other in zip(answer.tokens or (), wanted.tokens or (), strict=True):
        assert (token.id, token.text, token.free) == (other.id, other.text, other.free)
        assert token.logprob == pytest.approx(other.logprob, abs=1e-4)
        assert token.outside == pytest.approx(other.outside, abs=1e-4)


@pytest.mark.parametrize("seed", range(6))
def test_any_interleaving_gives_the_answers_of_requests_alone(
    models: list[LlamaCpp],
    alone: Alone,
    adapter: Path,
    expected: dict[Any, Completion],
    seed: int,
):
    dice = random.Random(seed)
    before = settled(models[0])
    assert models[0]._engine is not None
    batcher = models[0]._engine.scheduler._batcher
    # Idle prefixes leave the cache at once, as where attention scans all of it, or late.
    scans = seed % 2 == 0
    batcher._limits = replace(batcher._limits, scans=scans)
    chosen = [
        (int(dice.random() < 0.3), dice.choice(SKILLS), dice.choice(TEXTS)) for _ in range(40)
    ]
    answers = asyncio.run(interleave(models, chosen, dice))
    finished = 0
    for (which, task, text), answer in zip(chosen, answers, strict=True):
        if isinstance(answer, asyncio.CancelledError):
            continue
        assert isinstance(answer, Completion), answer
        key = which, task.name, text
        if key not in expected:
            adapters = [(adapter, 0.5)] if which else []
            expected[key] = alone.complete(models[which], task.request(text), adapters=adapters)
        agree(answer, expected[key])
        finished += 1
    assert finished >= 16
    models[0].load()
    after = settled(models[0])
    assert after.kv_peak > CELLS // 2
    if scans:
        assert after.shelved > after.prefixes  # left since nobody needed them, and came back
    else:
        assert after.evicted > before.evicted  # to make room
    assert after.preempted > before.preempted
