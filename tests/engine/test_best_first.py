"""The best label without the others: the same as if all had been scored."""

import asyncio
import math
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetagent import LlamaCpp, skill
from hetagent.engine.best_first import choose_best
from hetagent.engine.decode import choose
from hetagent.engine.steps import END, Answer, Logits
from hetagent.engine.tries import Path, Trie

VOCABULARY = 12
PATHS = st.lists(
    st.lists(st.integers(1, 4), min_size=1, max_size=5).map(lambda path: (*path, 0)),
    min_size=1,
    max_size=12,
    unique=True,
)


class Model:
    """Logits that depend on the path alone."""

    def __init__(self, seed: int, sharpness: float) -> None:
        self.seed = seed
        self.sharpness = sharpness
        self.looked_at: list[Path] = []

    def logits(self, path: Path) -> Logits:
        random = np.random.default_rng([self.seed, len(path), *path])
        return (random.normal(size=VOCABULARY) * self.sharpness).astype(np.float32)

    def run(self, answer: Answer) -> dict[str, Any]:
        while True:
            try:
                step = next(answer)
            except StopIteration as stop:
                return dict(stop.value)
            places: list[int] = [END] if step.append else []
            if step.trie is not None:
                places += [node for node in step.trie.wanted if node != END]
            paths = [
                () if p == END or step.trie is None else step.trie.tokens_to(p) for p in places
            ]
            self.looked_at += paths
            step.read(places, np.stack([self.logits(path) for path in paths]))


@settings(max_examples=150)
@given(PATHS, st.integers(0, 1000), st.sampled_from([0.1, 1.0, 6.0]))
def test_the_best_label_is_that_of_all(paths: Sequence[Path], seed: int, sharpness: float):
    labels = [str(path) for path in paths]
    trie = Trie(paths)
    exact = Model(seed, sharpness).run(choose(labels, trie, rest=[7]))
    model = Model(seed, sharpness)
    found = model.run(choose_best(labels, trie, rest=[7]))
    assert found["text"] == exact["text"]
    best = found["text"]
    assert found["choices"][best] == pytest.approx(exact["choices"][best], abs=1e-6)
    assert found["outside"] == pytest.approx(exact["outside"], abs=1e-5)
    assert sum(found["choices"].values()) == pytest.approx(1, abs=1e-6)
    assert max(found["choices"], key=lambda label: found["choices"][label]) == best
    assert list(found["choices"]) == labels
    assert len(set(model.looked_at)) == len(model.looked_at), "nothing is evaluated twice"


def test_what_cannot_win_is_not_looked_at():
    """A sure first token leaves the other branches alone."""
    paths = [(first, second, 0) for first in (1, 2, 3) for second in (1, 2, 3)]

    class Sure(Model):
        def logits(self, path: Path) -> Logits:
            values = np.zeros(VOCABULARY, dtype=np.float32)
            values[2] = 20
            return values

    model = Sure(0, 1)
    found = model.run(choose_best([str(path) for path in paths], Trie(paths), rest=[7]))
    assert found["text"] == "(2, 2, 0)"
    assert model.looked_at == [(), (2,)]
    assert math.isclose(sum(found["choices"].values()), 1, abs_tol=1e-6)


@skill
def topic(
    message: str,
) -> Literal["card lost", "card stolen", "card blocked", "transfer failed", "transfer late", "no"]:
    """Say what the message is about."""


def test_with_a_real_model(f32: LlamaCpp, f32_path: FilePath):
    options: dict[str, Any] = {"kv_type": "f32", "flash_attention": "off", "context": 1024}
    with LlamaCpp(f32_path, all_labels=False, **options) as model:
        for text in ("I lost my card", "The transfer came late", "Hello"):
            request = topic.request(text)
            found = asyncio.run(model.complete(request))
            exact = asyncio.run(f32.complete(request))
            assert found.text == exact.text
            assert found.choices is not None
            assert exact.choices is not None
            assert found.choices[found.text] == pytest.approx(exact.choices[exact.text], abs=1e-4)
            assert found.outside == pytest.approx(exact.outside, abs=1e-4)
            assert sum(found.choices.values()) == pytest.approx(1, abs=1e-6)
