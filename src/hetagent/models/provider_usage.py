"""What an answer costs: the tokens a provider reports, at LiteLLM's bundled or given prices."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hetagent.errors import HetagentError, ModelTimeoutError, ProviderError
from hetagent.outcome import Usage

__all__ = ["Tariff"]


class Tariff:
    """What the answers of one model cost.

    Args:
        model: LiteLLM's name of it.
        price: US dollars for a million prompt and a million completion tokens; ``None`` for those
            of LiteLLM's bundled price list.
    """

    def __init__(self, model: str, price: tuple[float, float] | None) -> None:
        self._model = model
        self._price = price
        # A tokeniser that works on bytes makes no more tokens than there are bytes. What the
        # provider reports then tells how many there really are.
        self._tokens_per_byte: float | None = None

    @property
    def free(self) -> bool:
        """Whether it was said to cost nothing."""
        return self._price is not None and not any(self._price)

    def most(self, litellm: Any, arguments: Mapping[str, Any]) -> float | None:
        """US dollars one answer to a call costs at most; ``None`` where the price is not known.

        The length of the prompt is taken from its bytes: as many tokens at first, and then the
        largest share that the provider reported.
        """
        share = 1.0 if self._tokens_per_byte is None else self._tokens_per_byte
        prompt, written = round(_size(arguments) * share), arguments["max_tokens"]
        if not isinstance(written, int):
            return None  # lifted by the caller's own arguments
        if self._price is not None:
            return self._sum(self._price, prompt, written)
        try:
            costs = litellm.cost_per_token(
                model=self._model, prompt_tokens=prompt, completion_tokens=written
            )
        except Exception:  # a model without a price; older versions of LiteLLM raise a bare one
            return None
        return float(sum(costs))

    def reported(self, litellm: Any, response: Any, arguments: Mapping[str, Any]) -> Usage:
        """What the provider reports for an answer, and its price."""
        told = getattr(response, "usage", None)
        prompt = getattr(told, "prompt_tokens", None) or 0
        written = getattr(told, "completion_tokens", None) or 0
        details = getattr(told, "prompt_tokens_details", None)
        cached = getattr(details, "cached_tokens", None) or 0
        if prompt:
            self._tokens_per_byte = max(self._tokens_per_byte or 0.0, prompt / _size(arguments))
        if self._price is not None and (prompt or self.free):
            cost: float | None = self._sum(self._price, prompt, written)
        elif self._price is None and prompt:
            cost = self._listed(litellm, response)
        else:
            cost = None  # nothing was reported
        return Usage(prompt, cached, written, cost)

    def lost(self, error: HetagentError) -> Usage:
        """What a call without an answer did cost: not known where one may have been written."""
        silent = isinstance(error, ModelTimeoutError) or (
            type(error) is ProviderError and error.status is None
        )
        return Usage(cost_usd=None if silent and not self.free else 0.0)

    def _sum(self, price: tuple[float, float], prompt: int, written: int) -> float:
        return (prompt * price[0] + written * price[1]) / 1e6

    def _listed(self, litellm: Any, response: Any) -> float | None:
        """US dollars by LiteLLM's bundled price list, or ``None`` where the model is not in it."""
        try:
            return float(litellm.completion_cost(completion_response=response, model=self._model))
        except Exception:  # as above
            return None


def _size(arguments: Mapping[str, Any]) -> int:
    """Bytes of what becomes the prompt."""
    sent = [arguments["messages"], arguments["response_format"]]
    return len(json.dumps(sent, ensure_ascii=False, default=str).encode(errors="replace"))
