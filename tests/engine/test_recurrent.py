"""A recurrent model: its state can be copied whole, but not cut back, nor shared within a batch."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from hetagent import LlamaCpp, skill
from hetagent.models.base import Completion
from tests.support.alone import Alone
from tests.support.tiny import write_mamba

TEXTS = ["On Elm Road", "日本 größer", "Well, " * 60]


class Record(BaseModel):
    # One value begins another, and a branch goes on where the best one ends.
    size: Literal["a", "a b", "a b c", "a b d", "e"]
    note: str = Field(max_length=5)
    sure: bool | None
    level: Literal["low", "lower", "lowest"]


@skill
def street(message: str) -> Literal["Elm Road 1", "Elm Road 2", "Elm Street", "Oak", "Oak Lane"]:
    """Find the street."""


@skill(max_tokens=50)
def record(message: str) -> list[Record]:
    """Read the records."""


@skill
def number(message: str) -> int:
    """Count."""


@pytest.fixture(scope="module")
def path(smol_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mamba(smol_path, tmp_path_factory.mktemp("recurrent") / "mamba.gguf")


@pytest.fixture(scope="module")
def model(path: Path) -> Iterator[LlamaCpp]:
    options: dict[str, Any] = {"context": 300, "kv_tokens": 330, "batch": 64}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HETAGENT_CACHE", str(path.parent))
        made = LlamaCpp(path, kv_type="f32", flash_attention="off", **options).load()
    with made:
        yield made


def test_answers_together_are_those_of_requests_alone(model: LlamaCpp, path: Path):
    assert model._engine is not None
    assert model._engine._weights.recurrent
    chosen = [(task, text) for text in TEXTS for task in (street, record, number)] * 2

    async def main() -> list[Completion]:
        return list(await asyncio.gather(*(model.complete(t.request(x)) for t, x in chosen)))

    answers = asyncio.run(main())
    alone = Alone(path)
    for (task, text), answer in zip(chosen, answers, strict=True):
        wanted = alone.complete(model, task.request(text))
        assert answer.text == wanted.text
        assert answer.choices == (wanted.choices and pytest.approx(wanted.choices, abs=1e-4))
        for token, other in zip(answer.tokens or (), wanted.tokens or (), strict=True):
            assert (token.id, token.free) == (other.id, other.free)
            assert token.logprob == pytest.approx(other.logprob, abs=1e-4)
    alone.close()
    assert model.stats().preempted > 0


def test_prefixes_are_reused(model: LlamaCpp):
    first, again = (asyncio.run(model.complete(street.request("Oak"))) for _ in range(2))
    assert again.usage.cached_tokens > 10
    assert again.choices == pytest.approx(first.choices, abs=1e-5)
