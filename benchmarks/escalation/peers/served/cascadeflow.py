"""cascadeflow's confidence, quality score and acceptance of a draft, as published."""

from __future__ import annotations

import logging
from importlib import metadata
from typing import Any

from cascadeflow.core.cascade import WholeResponseCascade
from cascadeflow.quality.confidence import ProductionConfidenceEstimator
from cascadeflow.schema.config import ModelConfig

from benchmarks.engine.peers.serve import serve


class Scorer:
    """``score`` for answers in words; nothing is learnt between them."""

    evaluated = None

    def __init__(self, population: dict[str, Any], options: dict[str, Any]) -> None:
        logging.disable(logging.CRITICAL)  # it warns of each answer it finds off topic
        provider = options["provider"]
        self._estimator = ProductionConfidenceEstimator(provider)
        self._cascade = WholeResponseCascade(
            ModelConfig(name="slm", provider=provider),
            ModelConfig(name="llm", provider=provider, cost=0.01),
            providers={},
        )
        self.facts = {"version": metadata.version("cascadeflow"), "provider": provider}

    def warm(self) -> None:
        """Nothing is loaded late."""

    def score(self, answers: list[dict[str, Any]]) -> dict[str, Any]:
        """Confidence, quality and acceptance of each answer."""
        return {"scores": [self._one(**answer) for answer in answers]}

    def _one(
        self,
        query: str,
        answer: str,
        confidence: float | None = None,
        logprobs: list[float] | None = None,
    ) -> dict[str, Any]:
        if confidence is None:
            confidence = self._estimator.estimate(
                answer, query=query, logprobs=logprobs, temperature=0.0, finish_reason="stop"
            ).final_confidence
        accepted, found, complexity = self._cascade._should_accept_draft(
            {"content": answer, "confidence": confidence}, query
        )
        return {
            "confidence": confidence,
            "quality": found.score,
            "accepted": bool(accepted),
            "complexity": complexity,
        }


if __name__ == "__main__":
    serve(Scorer)
