"""What stands in for a value has its form, agrees within a scope, and is nobody's."""

import re
from datetime import date
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import redaction_values as values
from hetagent.learn.redact.checksums import luhn, mod97
from hetagent.learn.redact.ids import id_of
from hetagent.learn.redact.surrogates import Draw, Surrogates

KEY = b"0123456789abcdef"
ONE, OTHER = Surrogates(KEY, "one"), Surrogates(KEY, "other")
SEEDS = st.integers(0, 10**6)


def form(text):
    return re.sub(r"[^\W\d_]", "a", re.sub(r"\d", "0", text))


@given(SEEDS, st.sampled_from(sorted(values.CARDS)), st.sampled_from(["", ":plain", ":dash"]))
def test_a_card_is_one_that_is_for_tests(seed, issuer, style):
    number = values.card(Random(seed), issuer + style)
    new = ONE.of("card", number)
    digits = re.sub(r"\D", "", new)
    assert luhn(digits)
    assert form(new) == form(number)
    assert digits.startswith(("400000", "555555", "378282", "601111"))
    assert re.sub(r"\D", "", ONE.of("card", digits_of(number))) == digits


def digits_of(text):
    return re.sub(r"\D", "", text)


@given(SEEDS, st.sampled_from(sorted(values.IBANS)))
def test_an_account_is_valid_and_at_no_bank(seed, country):
    number = values.iban(Random(seed), country)
    new = ONE.of("iban", number)
    compact = new.replace(" ", "")
    assert mod97(compact)
    assert form(new) == form(number)
    assert new[:2] == country
    assert set(compact[4:8]) <= set("0X")
    assert new != number


@given(SEEDS, st.sampled_from(sorted(values.IDS)))
def test_an_id_has_its_form_and_fails_its_check(seed, name):
    number = values.IDS[name](Random(seed), "")
    new = ONE.of("national_id", number)
    assert form(new) == form(number)
    assert new != number
    known = id_of(number)
    if known is not None and known.holds is not None and name not in ("dk_cpr", "kr_rrn"):
        assert not known.check(new)


@pytest.mark.parametrize(
    "forms",
    [
        ["+1 (415) 555-2671", "415-555-2671", "4155552671", "1-415-555-2671"],
        ["+49 151 23456789", "0151 23456789", "0049 151/23456789"],
        ["+47 912 34 567", "91234567"],
        ["+33 6 12 34 56 78", "06 12 34 56 78"],
    ],
)
def test_a_phone_number_is_the_same_one_however_it_is_written(forms):
    new = [ONE.of("phone", one) for one in forms]
    assert [form(one) for one in new] == [form(one) for one in forms]
    assert len({digits_of(one)[-8:] for one in new}) == 1
    assert digits_of(new[0]) != digits_of(forms[0])


def test_american_numbers_are_those_of_films():
    assert re.fullmatch(r"\(\d{3}\) 555-01\d\d", ONE.of("phone", "(212) 736-5000"))


def test_an_address_of_a_mailbox_leads_nowhere_and_one_domain_stays_one():
    first, second = (ONE.of("email", f"{who}@corp.de") for who in ("ann.roe", "bo.lund"))
    assert first.partition("@")[2] == second.partition("@")[2]
    assert re.search(r"\.example\.(com|org|net)$", first)
    assert ONE.of("email", "support@corp.de").startswith("support@")
    assert ONE.of("email", "ann.roe%40corp.de") == first.replace("@", "%40")


def test_an_address_on_the_internet_is_one_for_documentation():
    assert re.match(r"(192\.0\.2|198\.51\.100|203\.0\.113)\.\d+$", ONE.of("ip", "8.8.8.8"))
    assert ONE.of("ip", "2a00:1450::1").startswith("2001:db8:")


@pytest.mark.parametrize(
    ("street", "kept"),
    [
        ("742 Hollow Birch Lane", r"\d{3} [A-Z][a-z]+ Lane"),
        ("Lindenstraße 14", r"[A-Z][a-z]+straße \d\d"),
        ("8 rue des Tilleuls", r"\d rue des [A-Z][a-z]+"),
        ("Calle de Toledo 88", r"Calle de [A-Z][a-z]+ \d\d"),
        ("PO Box 3317", r"PO Box \d{4}.*"),
        ("1600 Cedar Bluff Blvd, Apt 12C", r"\d{4} [A-Z][a-z]+ Blvd, Apt \d\dC"),
    ],
)
def test_a_street_keeps_its_kind(street, kept):
    new = ONE.of("address", street)
    assert re.fullmatch(kept, new), new
    assert new != street


def test_a_postcode_keeps_its_form():
    assert re.fullmatch(r"[A-Z]{2}\d \d[A-Z]{2}", ONE.of("address", "LS6 2QD"))


def test_a_token_keeps_what_says_whose_it_is():
    for name in ("openai_proj", "anthropic", "github", "slack", "stripe", "aws_id"):
        token = values.SECRETS[name](Random(3))
        new = ONE.of("secret", token)
        assert new[:4] == token[:4]
        assert len(new) == len(token)
        assert new[12:] != token[12:]
    block = values.private_key(Random(3))
    new = ONE.of("secret", block)
    assert new.splitlines()[0] == block.splitlines()[0]
    assert new.splitlines()[-1] == block.splitlines()[-1]
    assert not set(new.splitlines()[1:-1]) & set(block.splitlines()[1:-1])


def test_all_dates_of_a_scope_move_by_the_same_number_of_days():
    first = date.fromisoformat(ONE.of("date", "2024-03-01"))
    second = date.fromisoformat(ONE.of("date", "2024-03-31"))
    assert (second - first).days == 30
    assert first != date(2024, 3, 1)
    assert ONE.of("date", "1 March 2024") == f"{first.day} {first:%B} {first.year}"


@given(st.text(min_size=2), st.sampled_from(["person", "email", "secret", "mine", "address"]))
def test_the_same_value_is_the_same_in_a_scope(text, kind):
    assert ONE.of(kind, text) == ONE.of(kind, text)


def test_another_scope_or_key_gives_another_one():
    assert ONE.of("card", "4539 1256 3823 1297") != OTHER.of("card", "4539 1256 3823 1297")
    strange = Surrogates(b"another key that is", "one")
    assert ONE.of("card", "4539 1256 3823 1297") != strange.of("card", "4539 1256 3823 1297")


def test_draws_are_even():
    draw = Draw(KEY, "even")
    counts = [0] * 10
    for _ in range(10_000):
        counts[draw.below(10)] += 1
    expected = sum((count - 1000) ** 2 / 1000 for count in counts)
    assert expected < 27.9  # chi-squared with nine degrees of freedom, p = 0.001
