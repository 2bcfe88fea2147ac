"""The form in which a server takes an output type: the strongest first, and what is found is kept.

A form is a JSON Schema that the server holds answers to, JSON without one, or words in the prompt.
"""

from __future__ import annotations

from typing import Any, Literal

from hetagent.errors import ProviderError
from hetagent.models.provider_errors import Failure
from hetagent.models.structured import Form
from hetagent.schema import OutputType

__all__ = ["FORMS", "Forms"]

FORMS: tuple[Form, ...] = ("schema", "json", "prompt")
"""From the strongest to the weakest."""


class Forms:
    """What is known of the forms that one server takes.

    Args:
        model: LiteLLM's name of the model.
        wanted: A form, or ``"auto"`` to find out.
        own_server: Whether it is another server than the provider's own.
    """

    def __init__(
        self, model: str, wanted: Literal["auto", "schema", "json", "prompt"], *, own_server: bool
    ) -> None:
        self._model = model
        self._wanted = wanted
        self._own_server = own_server
        # What "auto" found out: the form in use, those of single schemas, and forms that worked.
        self._form: Form | None = None
        self._form_of: dict[str, Form] = {}
        self._worked: set[Form] = set()

    def to_try(
        self, output: OutputType[Any], litellm: Any, provider: str, model: str
    ) -> tuple[Form, ...]:
        """The forms to ask in, one after the other.

        Args:
            output: What is asked for.
            litellm: The library.
            provider: LiteLLM's name of the provider.
            model: The provider's own name of the model.
        """
        if self._wanted != "auto":
            return (self._wanted,)
        known = self._form_of.get(output.fingerprint) or self._form
        if known is None:
            known = self._strongest(litellm, provider, model)
        return FORMS[FORMS.index(known) :]

    def may_be_the_fault(self, failure: Failure, form: Form) -> bool:
        """Whether a call may have failed for the way it asked for structured output.

        Some servers say so. Others only fail, with a status that may mean anything, and do so
        from the first call on.
        """
        if failure.refused:
            return True
        if not self._own_server or form in self._worked:
            return False
        status = failure.error.status if type(failure.error) is ProviderError else None
        return status is not None and (status in (400, 422) or status >= 500)

    def learn(self, output: OutputType[Any], form: Form, failure: Failure | None) -> None:
        """Note that a form worked, and how the first one tried had failed."""
        self._worked.add(form)
        if failure is not None and failure.refused == "schema":
            self._form_of[output.fingerprint] = form
        elif failure is not None:
            self._form = form

    def _strongest(self, litellm: Any, provider: str, model: str) -> Form:
        takes = litellm.get_supported_openai_params(model=model, custom_llm_provider=provider)
        if "response_format" not in (takes or ()):
            return "prompt"
        if self._own_server or litellm.supports_response_schema(model=self._model):
            return "schema"
        return "json"
