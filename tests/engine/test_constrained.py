"""Decoding step by step: what is evaluated, what is not, and where it ends."""

from typing import Annotated, Any, Literal

import numpy as np
import pytest
from pydantic import BaseModel, Field

from hetagent import LlamaCpp
from hetagent.engine.constrained import ConstrainedDecoder
from hetagent.engine.steps import END, Step
from hetagent.errors import ConstraintError
from hetagent.models.base import Token
from hetagent.schema import OutputType

REST = (1000, 1001, 1002)


class Booking(BaseModel):
    day: Literal["today", "tomorrow"]
    note: str = Field(max_length=4)
    outside: bool


class Run:
    """An answer whose logits prefer one text."""

    def __init__(
        self, model: LlamaCpp, kind: Any, wish: str, *, limit: int = 99, room: int = 99
    ) -> None:
        assert model._engine is not None
        assert model._decoder is not None
        self.vocabulary = model._engine.vocabulary
        self.end = self.vocabulary.end
        output: OutputType[Any] = OutputType.of(kind)
        self.wish = self.vocabulary.encode(wish)
        self.steps: list[Step] = []
        self.watched: list[Token] = []
        answer = ConstrainedDecoder(self.vocabulary, end_of_turn=self.end).decode(
            model._decoder._compiler.compile(output),
            output=output,
            prompt=REST,
            fixed=0,
            limit=limit,
            room=room,
            watch=self.watched.append,
        )
        while True:
            try:
                step = next(answer)
            except StopIteration as stop:
                self.answer = stop.value
                return
            self.steps.append(step)
            step.meanwhile()
            places = (END,) if step.trie is None else step.trie.wanted
            step.read(places, np.stack([self.logits() for _ in places]))

    def logits(self) -> Any:
        logits = np.zeros(self.vocabulary.size, dtype=np.float32)
        logits[self.wish] = 10
        return logits

    @property
    def appended(self) -> list[int]:
        return [token for step in self.steps for token in step.append]


def test_a_record(smol: LlamaCpp):
    wish = '{"day": "tomorrow", "note": "x", "outside": false}'
    run = Run(smol, Booking, wish)
    tokens = run.answer["tokens"]
    assert run.answer["finish"] == "stop"
    assert b"".join(token.text for token in tokens).decode() == run.answer["text"]
    assert run.watched == list(tokens)
    assert list(run.steps[0].append[:3]) == list(REST)
    assert [step.trie is not None for step in (run.steps[0], run.steps[-1])] == [True, True]
    # Everything but what nothing depends on is evaluated, once and in order.
    ids = [token.id for token in tokens]
    assert run.appended == [*REST, *ids[: len(run.appended) - 3]]
    assert len(run.steps) < len(tokens) / 2
    # The end of turn is all that is allowed: nobody is asked.
    assert tokens[-1] == Token(run.end, b"", 0.0, 0.0, 0)
    certain = [token for token in tokens if (token.logprob, token.outside) == (0.0, 0.0)]
    assert all(token.free == len(token.text) for token in certain)
    assert len(certain) > len(tokens) / 3


def test_the_best_branch_is_kept(smol: LlamaCpp):
    run = Run(smol, Booking, '{"day": "tomorrow", "note": "x", "outside": false}')
    first, second = run.steps[:2]
    assert first.trie is not None
    if second.kept != END:
        path = first.trie.tokens_to(second.kept)
        assert tuple(second.append[: len(path)]) == path


@pytest.mark.parametrize("limit", range(1, 16))
def test_any_limit_cuts(smol: LlamaCpp, limit: int):
    wish = '{"day": "tomorrow", "note": "x", "outside": false}'
    whole = Run(smol, Booking, wish).answer["tokens"]
    run = Run(smol, Booking, wish, limit=limit)
    assert run.answer["finish"] == "length"
    assert run.answer["tokens"] == whole[:limit]


@pytest.mark.parametrize("room", range(1, 12))
def test_nothing_beyond_the_context_is_looked_at(smol: LlamaCpp, room: int):
    class Long(BaseModel):
        a: Literal["one two three four five six x", "one two three four five six y"]

    wish = '{"a": "one two three four five six y"}'
    run = Run(smol, Long, wish, limit=room, room=room)
    assert run.answer["finish"] == "length"
    for index, step in enumerate(run.steps):
        before = sum(len(one.append) for one in run.steps[: index + 1]) - len(REST)
        assert before + (step.trie.depth if step.trie else 0) <= room


def test_a_type_the_vocabulary_cannot_spell(smol: LlamaCpp):
    with pytest.raises(ConstraintError):
        Run(smol, Annotated[str, Field(pattern="^\x16+$", max_length=3)], "x")


def test_bare_values_have_no_fields(smol: LlamaCpp):
    run = Run(smol, int, "42")
    assert all(step.trie is None for step in run.steps)
    assert run.answer["text"].startswith(("4", "2"))
