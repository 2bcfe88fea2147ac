"""The softmax under a mask, against the same in 64 bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetagent.engine.sampling import pick


@settings(max_examples=200)
@given(st.lists(st.floats(-80, 80, width=32), min_size=1, max_size=30), st.data())
def test_the_best_of_the_allowed(values: list[float], data: st.DataObject):
    logits = np.array(values, dtype=np.float32)
    chosen = sorted(data.draw(st.sets(st.integers(0, len(values) - 1), min_size=1)))
    mask = np.zeros(len(values), dtype=bool)
    mask[chosen] = True
    found = pick(logits, mask)
    wide = logits.astype(np.float64)
    assert logits[found.token] >= logits[chosen].max() - 1e-5, "the first of those as good"
    assert mask[found.token]
    expected = wide[found.token] - np.logaddexp.reduce(wide[chosen])
    assert found.logprob == pytest.approx(expected, abs=1e-5)
    inside = np.exp(np.logaddexp.reduce(wide[chosen]) - np.logaddexp.reduce(wide))
    assert found.outside == pytest.approx(1 - inside, abs=1e-5)
    assert found.logprob <= 0
    assert 0 <= found.outside <= 1


def test_what_is_allowed_has_no_weight_in_32_bits():
    found = pick(np.array([90, -100, -101, -np.inf], np.float32), np.array([0, 1, 1, 1], bool))
    assert found.token == 1
    assert np.exp(found.logprob) == pytest.approx(1 / (1 + np.exp(-1)))
    assert found.outside == 1.0


def test_a_token_without_a_row_is_never_taken():
    """As where a vocabulary is longer than the model's output."""
    found = pick(np.array([-np.inf, -1e30, -np.inf], np.float32), np.array([1, 1, 1], bool))
    assert (found.token, found.logprob, found.outside) == (1, 0.0, 0.0)


def test_the_logits_stay_as_they_are():
    logits = np.array([1, 2, 3], np.float32)
    mask = np.array([1, 0, 1], bool)
    pick(logits, mask)
    assert (logits.tolist(), mask.tolist()) == ([1, 2, 3], [True, False, True])
