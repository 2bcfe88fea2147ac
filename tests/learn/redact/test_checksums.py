"""Check digits agree with those of the labelled values, which were written apart from them."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import redaction_values as values
from hetagent.learn.redact.checksums import luhn, mod97, verhoeff
from hetagent.learn.redact.ids import find_national_ids, id_of

COUNTRIES = sorted(values.IBANS)


@given(st.integers(0, 10**6), st.sampled_from(sorted(values.CARDS)))
def test_cards_pass_and_with_another_digit_they_do_not(seed, issuer):
    number = values.card(Random(seed), f"{issuer}:plain")
    assert luhn(number)
    assert not luhn(number[:-1] + str((int(number[-1]) + 1) % 10))


@given(st.integers(0, 10**6), st.sampled_from(COUNTRIES))
def test_accounts_pass_and_with_two_digits_exchanged_they_do_not(seed, country):
    number = values.iban(Random(seed), f"{country}:plain")
    assert mod97(number)
    if number[-1] != number[-2]:
        assert not mod97(number[:-2] + number[-1] + number[-2])


@given(st.integers(0, 10**6))
def test_verhoeffs_check_sees_any_single_wrong_digit(seed):
    number = values.in_aadhaar(Random(seed), "").replace(" ", "")
    assert verhoeff(number)
    assert not verhoeff(str((int(number[0]) + 1) % 10) + number[1:])


@pytest.mark.parametrize("name", sorted(set(values.IDS) - {"passport"}))
def test_each_countrys_ids_are_known_by_their_form_and_check(name):
    for seed in range(40):
        text = values.IDS[name](Random(seed), "")
        known = id_of(text)
        assert known is not None, text
        assert known.check(text), text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("BSN 111222333 of the tenant", ["111222333"]),  # the check holds, and the word is there
        ("order 111222333 of the tenant", []),
        ("passport C01X00T47", []),
        ("passport no. C1234567X", ["C1234567X"]),
        ("my NHS number is 123 456 7890", ["123 456 7890"]),  # told so, though the check fails
        ("version 123.456.789-10", []),
        ("756.9217.0769.85", ["756.9217.0769.85"]),
    ],
)
def test_a_number_is_an_id_by_its_check_or_by_the_word_before_it(text, found):
    assert [text[one.start : one.end] for one in find_national_ids(text)] == found
