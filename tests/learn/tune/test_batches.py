"""Batches have every text once, keep their limits, and say where tokens are predicted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetagent.errors import InputError
from hetagent.learn.tune.batches import Text, batched, collated

TOKENS = st.lists(st.integers(0, 50), min_size=1, max_size=12).map(tuple)


@st.composite
def texts(draw, *, fixed=2):
    found = []
    for _ in range(draw(st.integers(1, 30))):
        answer = draw(TOKENS)
        free = tuple(draw(st.lists(st.booleans(), min_size=len(answer), max_size=len(answer))))
        prompt = (*range(fixed), *draw(TOKENS))
        found.append(Text(prompt, answer, free, draw(st.floats(0.1, 3))))
    return found


@given(texts(), st.integers(1, 8), st.integers(1, 60), st.integers(0, 5))
def test_every_text_is_in_one_batch(some, size, tokens, seed):
    found = list(batched(some, size=size, tokens=tokens, seed=seed))
    assert sorted(map(id, some)) == sorted(id(one) for batch in found for one in batch)
    for batch in found:
        assert len(batch) <= size
        assert len(batch) == 1 or len(batch) * max(map(len, batch)) <= tokens
    assert found == list(batched(some, size=size, tokens=tokens, seed=seed))


@given(texts())
def test_a_batch_says_what_follows_each_place(some):
    batch = collated(some, fixed=2)
    flat = batch.tokens.reshape(-1).tolist()
    length = batch.tokens.shape[1]
    seen = []
    for place, target, weight, text in zip(
        *(one.tolist() for one in (batch.places, batch.targets, batch.weights, batch.texts)),
        strict=True,
    ):
        one = some[text]
        whole = [*one.prompt, *one.answer]
        at = place - text * length + 2  # in the whole text
        assert whole[at + 1] == target
        assert flat[place] == whole[at]
        assert weight == pytest.approx(one.weight)
        seen.append((text, at + 1 - len(one.prompt)))
    wanted = [(i, j) for i, one in enumerate(some) for j, free in enumerate(one.free) if free]
    assert seen == wanted


def test_texts_that_begin_differently_are_refused():
    with pytest.raises(InputError, match="begin differently"):
        collated([Text((1, 2, 3), (4,), (True,)), Text((1, 5, 3), (4,), (True,))], fixed=2)
    with pytest.raises(InputError, match="begin differently"):
        collated([Text((1, 2), (4,), (True,))], fixed=2)
