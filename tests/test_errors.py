"""The tree of errors: what is a kind of what, and that each says what to do next."""

import inspect
import re

import pytest

from hetagent import errors

CLASSES = {name: getattr(errors, name) for name in errors.__all__}


def test_all_is_sorted_and_complete():
    declared = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception)
    }
    assert set(errors.__all__) == declared
    assert errors.__all__ == sorted(errors.__all__)


def test_the_tree_in_the_docstring_is_the_tree_of_classes():
    drawn: dict[str, str] = {}
    open_: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^([│├└─ ]*)(\w+Error|StaleCertificate)\b", line)
        if not found:
            continue
        depth, name = len(found[1]), found[2]
        while open_ and open_[-1][0] >= depth:
            open_.pop()
        drawn[name] = open_[-1][1] if open_ else "Exception"
        open_.append((depth, name))
    assert drawn == {name: kind.__mro__[1].__name__ for name, kind in CLASSES.items()}


def test_the_message_ends_with_the_hint():
    error = errors.ModelError("It broke.", hint="Mend it.")
    assert str(error) == "It broke. Mend it."
    assert (error.message, error.hint) == ("It broke.", "Mend it.")
    assert str(errors.ModelError("It broke.")) == "It broke."


@pytest.mark.parametrize(
    "kind",
    [errors.RateLimitError, errors.ConnectError, errors.ModelTimeoutError, errors.DownloadError],
)
def test_retryable_kinds(kind):
    assert kind("x").retryable


@pytest.mark.parametrize("kind", [errors.ModelError, errors.ProviderError, errors.CredentialsError])
def test_other_kinds_are_not_retryable(kind):
    assert not kind("x").retryable


def test_one_provider_error_may_be_retryable_alone():
    assert errors.ProviderError("x", retryable=True, status=500).retryable
    assert not errors.ProviderError("x").retryable
    assert not errors.RateLimitError("x", retryable=False).retryable


def test_a_missing_extra_is_an_import_error_and_names_the_extra():
    error = errors.MissingExtraError("torch", extra="transformers")
    assert isinstance(error, ImportError)
    assert "pip install 'hetagent[transformers]'" in str(error)


def test_details_of_errors():
    assert errors.InputTooLongError("x", tokens=9, limit=4).tokens == 9
    assert errors.InputTooLongError("x", tokens=9, limit=4).limit == 4
    assert errors.OutputError("x", text="half").text == "half"
