"""Arrays of evidence say what the evidence itself says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetagent.calibrate.calibrator import FEATURES, Calibrator, features
from hetagent.calibrate.evidence_table import EvidenceTable
from hetagent.evidence import Evidence, by_field, jointly

shares = st.floats(0, 1)
some = st.none() | shares
evidences = st.builds(
    Evidence,
    shares,
    shares,
    margin=st.none(),
    entropy=st.none() | st.floats(0, 5),
    least=some,
    tokens=st.integers(0, 50),
    answer=st.sampled_from(["a", "b", "null"]),
)
CALIBRATOR = Calibrator(
    "combined",
    {name: 0.1 * (number + 1) for number, name in enumerate(FEATURES)},
    (-5.0, 0.0, 5.0),
    (0.1, 0.4, 0.95),
    {"a": 1.5},
    {"null": {"log_odds": -0.5, "tokens": 2.0}},
)


@given(st.lists(evidences, min_size=1, max_size=8))
def test_scores_and_probabilities_are_those_of_each(found):
    table = EvidenceTable.of(found)
    assert len(table) == len(found)
    assert table.scores(CALIBRATOR) == pytest.approx([CALIBRATOR.score(one) for one in found])
    assert table.probabilities(CALIBRATOR) == pytest.approx(
        [CALIBRATOR.probability(one) for one in found]
    )
    assert table.take([0, 0]).answers.tolist() == [found[0].answer] * 2


@given(st.lists(st.tuples(evidences, shares, shares), min_size=1, max_size=8))
def test_records_are_joined_alike(rows):
    table = EvidenceTable.of([one for one, _, _ in rows])
    together = table.jointly(np.array([[a, b] for _, a, b in rows]))
    expected = EvidenceTable.of([jointly(one, [a, b]) for one, a, b in rows])
    assert together.columns == pytest.approx(expected.columns)


def test_a_record_without_calibrated_fields_stays_as_it_is():
    whole = Evidence(0.3, least=0.4)
    assert jointly(whole, []) is whole
    assert jointly(whole, [0.5, 0.9]) == Evidence(0.45, least=0.5)


@given(evidences)
def test_features_are_finite_numbers(one):
    assert list(features(one)) == list(FEATURES)
    assert all(np.isfinite(value) for value in features(one).values())


def test_a_list_is_one_field():
    found = by_field(
        {
            "": Evidence(0.1),
            "name": Evidence(0.9, answer="text"),
            "tags": Evidence(0.5, tokens=1, least=0.5),
            "tags[0]": Evidence(0.8, outside=0.1, tokens=2, least=0.7),
            "tags[1].x": Evidence(0.5, tokens=1, least=0.5),
        }
    )
    assert list(found) == ["", "name", "tags"]
    assert found["tags"].raw == pytest.approx(0.2)
    assert found["tags"].outside == pytest.approx(0.1)
    assert (found["tags"].least, found["tags"].tokens) == (0.5, 4)


def test_the_table_is_linear_between_knots_and_constant_outside():
    assert CALIBRATOR.of_score(-9) == 0.1
    assert CALIBRATOR.of_score(9) == 0.95
    assert CALIBRATOR.of_score(2.5) == pytest.approx((0.4 + 0.95) / 2)
    assert Calibrator.from_dict(CALIBRATOR.to_dict()) == CALIBRATOR
