"""Logs say what failed and where, and nothing of what was said."""

from __future__ import annotations

import json

from hetagent.raised import raised

SAID = "I am Maria Keller"


def caught(act) -> Exception:
    try:
        act()
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


def test_it_names_type_module_and_line_but_no_words():
    error = caught(lambda: int(SAID))
    assert SAID in str(error)
    assert raised(error).startswith(f"ValueError in {__name__}, line ")
    assert SAID not in raised(error)


def test_it_is_where_the_error_arose_not_where_it_was_caught():
    assert raised(caught(lambda: json.loads(SAID))).startswith("JSONDecodeError in json.decoder,")


def test_an_error_that_was_never_raised_has_its_type():
    assert raised(KeyError(SAID)) == "KeyError"
