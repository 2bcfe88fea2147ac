"""What an answer cost: the tokens a provider reports, at LiteLLM's bundled or given prices."""

from __future__ import annotations

from typing import Any

from hetagent.outcome import Usage

__all__ = ["reported_usage"]


def reported_usage(
    litellm: Any, model: str, price: tuple[float, float] | None, response: Any
) -> Usage:
    """What the provider reports, and its price."""
    reported = getattr(response, "usage", None)
    prompt = getattr(reported, "prompt_tokens", None) or 0
    written = getattr(reported, "completion_tokens", None) or 0
    details = getattr(reported, "prompt_tokens_details", None)
    cached = getattr(details, "cached_tokens", None) or 0
    if price is not None and (prompt or not any(price)):
        cost: float | None = (prompt * price[0] + written * price[1]) / 1e6
    elif price is None and prompt:
        cost = _listed_cost(litellm, model, response)
    else:
        cost = None  # nothing was reported
    return Usage(prompt, cached, written, cost)


def _listed_cost(litellm: Any, model: str, response: Any) -> float | None:
    """US dollars by LiteLLM's bundled price list, or ``None`` where the model is not in it."""
    try:
        return float(litellm.completion_cost(completion_response=response, model=model))
    except Exception:  # a model without a price; older versions of LiteLLM raise a bare one
        return None
