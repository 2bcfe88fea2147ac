"""Guesses save evaluations, and never change an answer."""

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from hetagent import LlamaCpp
from hetagent.engine.constrained import ConstrainedDecoder
from hetagent.engine.drafts import Draft, Lookup
from hetagent.engine.steps import END
from hetagent.schema import OutputType

tokens = st.lists(st.integers(0, 3), max_size=30)


def followers(text: Sequence[int]) -> int | None:
    """What followed the longest earlier match of the end, by trying every place."""
    best: tuple[int, int] = (0, -1)
    for place in range(len(text) - 1):
        length = 0
        while length < min(16, place + 1) and text[place - length] == text[len(text) - 1 - length]:
            length += 1
        best = max(best, (length, place))
    return text[best[1] + 1] if best[0] else None


@given(tokens, tokens)
def test_what_followed_the_longest_match(text: list[int], more: list[int]):
    lookup = Lookup(text)
    assert lookup.next() == followers(text)
    lookup.extend(more)
    assert lookup.next() == followers(text + more)
    lookup.cut(len(text))
    assert len(lookup) == len(text)
    assert lookup.next() == followers(text)


class Booking(BaseModel):
    day: str | None = Field(max_length=12)
    kind: Literal["lunch", "dinner"] | None
    name: str | None = Field(max_length=12)
    guests: int = Field(ge=1, le=40)


class Model:
    """Logits that depend on the whole text, and on nothing else.

    Args:
        size: Of the vocabulary.
        seed: What it is like.
        wish: Tokens it prefers, each where the ones before were written.
    """

    def __init__(self, size: int, *, seed: int, wish: Sequence[int] = ()) -> None:
        self._size = size
        self._seed = seed
        self._wish = tuple(wish)

    def logits(self, prompt: Sequence[int], answer: Sequence[int]) -> Any:
        digest = hashlib.sha256(repr((self._seed, *prompt, *answer)).encode()).digest()
        values = np.random.default_rng(list(digest)).normal(size=self._size).astype(np.float32)
        if len(answer) < len(self._wish) and tuple(answer) == self._wish[: len(answer)]:
            values[self._wish[len(answer)]] += 50
        return values


def decode(
    smol: LlamaCpp, kind: Any, model: Model, prompt: Sequence[int], *, drafting: bool, limit: int
) -> tuple[Any, int]:
    """An answer, and how many evaluations it took."""
    assert smol._engine is not None
    assert smol._decoder is not None
    end = smol._engine.vocabulary.end
    steps = ConstrainedDecoder(smol._engine.vocabulary, end_of_turn=end).decode(
        smol._decoder._compiler.compile(OutputType.of(kind)),
        output=OutputType.of(kind),
        prompt=prompt,
        fixed=0,
        limit=limit,
        room=limit,
        watch=None,
    )
    text: list[int] = []
    count = 0
    previous = None
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            return stop.value, count
        count += 1
        if step.kept != END:  # what is kept is what is appended
            path = previous.tokens_to(step.kept)
            assert tuple(step.append[: len(path)]) == path
        text += step.append
        tree = step.trie
        if step.guess is not None and drafting:
            tree = step.guess()
            assert step.guess() is tree  # asked again where the batch was put off
        step.meanwhile()
        places = [END] + ([node for node in tree.wanted if node != END] if tree else [])
        answer = text[len(prompt) :]
        continued = [(*answer, *(tree.tokens_to(node) if tree else ())) for node in places]
        step.read(places, np.stack([model.logits(prompt, one) for one in continued]))
        previous = tree


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", [Booking, list[str], int, str], ids=str)
def test_an_answer_is_the_same_with_guesses(smol: LlamaCpp, kind: Any, seed: int):
    assert smol._engine is not None
    vocabulary = smol._engine.vocabulary
    model = Model(vocabulary.size, seed=seed)
    # Prompts that hold the answer, half of it, and nothing like it.
    alone, _ = decode(smol, kind, model, [1], drafting=False, limit=60)
    ids = [token.id for token in alone["tokens"]]
    for prompt in ([1, *ids, 1], [1, *ids[: len(ids) // 2], 2], [1, 5, 1]):
        plain, most = decode(smol, kind, model, prompt, drafting=False, limit=60)
        drafted, fewer = decode(smol, kind, model, prompt, drafting=True, limit=60)
        assert drafted == plain
        assert fewer <= most


def test_repeating_the_prompt_takes_few_evaluations(smol: LlamaCpp):
    assert smol._engine is not None
    vocabulary = smol._engine.vocabulary
    text = '{"day": "on friday", "kind": "dinner", "name": "Nguyen", "guests": 12}'
    wish = vocabulary.encode(text)
    model = Model(vocabulary.size, seed=0, wish=wish)
    prompt = [1, *wish, 1]
    plain, most = decode(smol, Booking, model, prompt, drafting=False, limit=99)
    drafted, fewer = decode(smol, Booking, model, prompt, drafting=True, limit=99)
    assert drafted == plain
    assert drafted["text"] == text
    assert fewer < 0.6 * most


def test_guesses_that_are_left_out(smol: LlamaCpp):
    """A draft of which only the end of the text was evaluated is a plain step."""
    assert smol._engine is not None
    assert smol._decoder is not None
    matcher = smol._decoder._compiler.compile(OutputType.of(Booking)).start()
    mask = matcher.mask()
    first = int(np.flatnonzero(mask)[0])
    behind = matcher.copy()
    behind.advance(first)
    draft = Draft(matcher)
    draft.propose([first], [first], [(1, behind)])
    assert draft.tree is not None
    logits = np.zeros((2, len(mask)), dtype=np.float32)
    logits[0, first] = 9
    draft.read([END], logits[:1])
    assert [pick.token for pick in draft.picks] == [first]
    assert draft.kept == END
    draft.read([END, 0], logits)
    assert len(draft.picks) == 2
    assert draft.kept == 0
