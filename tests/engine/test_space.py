"""Cells and sequences are counted, never given twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetagent.engine.space import Space


def test_cells():
    space = Space(cells=10, sequences=2)
    space.take(7)
    assert (space.used, space.free_cells, space.peak) == (7, 3, 7)
    space.give(5)
    space.take(1)
    assert (space.used, space.peak) == (3, 7)
    with pytest.raises(RuntimeError, match="11 of 10"):
        space.take(8)


@given(st.lists(st.integers(0, 4), max_size=30))
def test_sequences_are_of_one_user_at_a_time(counts: list[int]):
    space = Space(cells=1, sequences=8)
    held: list[list[int]] = []
    for count in counts:
        if count > space.free_sequences:
            for sequences in held:
                space.give_sequences(sequences)
            held = []
        taken = space.take_sequences(count)
        assert len(taken) == count
        held.append(taken)
        everyone = [sequence for sequences in held for sequence in sequences]
        assert len(set(everyone)) == len(everyone)
        assert space.free_sequences == 8 - len(everyone)
    assert all(0 <= sequence < 8 for sequences in held for sequence in sequences)
