"""The answers of one sequence without a cache, to compare those of batches with; see `plain`."""

from __future__ import annotations

from typing import Any

from benchmarks.engine.peers.serve import serve
from benchmarks.engine.plain import Plain


class Reference:
    """Answers calls one after another."""

    evaluated = None

    def __init__(self, workload: dict[str, Any], options: dict[str, Any]) -> None:
        self._skills = workload["skills"]
        self._plain = Plain(
            options["model"],
            threads=options["threads"],
            context=options["context"],
            exact=bool(options.get("exact")),
            flash_attention=options["flash_attention"],
            gpu_layers=options["gpu_layers"],
        )
        self.facts: dict[str, Any] = {}

    def warm(self) -> None:
        """Nothing is kept between calls."""

    def details(self, calls: list[dict[str, Any]], callers: int) -> dict[str, Any]:
        """Tokens and probabilities of answers; `callers` is always one at a time here."""
        return {"details": [self._detail(call) for call in calls]}

    def _detail(self, call: dict[str, Any]) -> dict[str, Any]:
        skill = self._skills[call["skill"]]
        if skill["form"] == "choice":
            choices = self._plain.choices(skill, call["message"])
            return {"text": max(choices, key=lambda label: choices[label]), "choices": choices}
        found = self._plain.evaluation(skill, call["message"], cached=False)
        return {"text": found.text, "tokens": found.tokens, "logprobs": found.logprobs}


if __name__ == "__main__":
    serve(Reference)
