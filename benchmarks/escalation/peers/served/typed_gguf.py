"""typed-gguf's confidence in a choice, on the libraries inside llama-cpp-python."""

from __future__ import annotations

import os
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.engine.peers.serve import serve
from benchmarks.engine.peers.typed_gguf_choices import runtime

os.environ["TYPED_GGUF_RUNTIME_DIR"] = str(runtime())
# Threads that spin while others work on the same cores made a decision take 13 s instead of 2.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from typed_gguf.cli import decide_on_handle, prepare_decision
from typed_gguf.engine import session


class Choices:
    """One decision for each question; the weights stay loaded."""

    evaluated = None

    def __init__(self, population: dict[str, Any], options: dict[str, Any]) -> None:
        self._options = options
        self._folder = tempfile.TemporaryDirectory(prefix="typed-gguf-")
        home = Path(self._folder.name)
        any_question = {"state": "-", "instructions": "-", "criteria": {"A": "-", "B": "-"}}
        first = self._payload(any_question)
        self._prepared = prepare_decision(first, home=home, fit_enabled=False)
        self._handle = session.open_model(
            options["model"], home=home, fit_disabled=True, cpu_only=True
        )
        self.facts = {"version": metadata.version("typed-gguf")}

    def warm(self) -> None:
        """The first decision is as slow as the others."""

    def _payload(self, question: dict[str, Any]) -> dict[str, Any]:
        options = {
            "threads": self._options["threads"],
            "backend": "cpu",
            "n_ctx": self._options["context"],
        }
        return {
            "model": self._options["model"],
            "state": question["state"],
            "questions": {
                "answer": {
                    "type": "choice",
                    "instructions": question["instructions"],
                    "criteria": question["criteria"],
                }
            },
            "options": options | self._options.get("prompt", {}),
        }

    def decide(self, questions: list[dict[str, Any]]) -> dict[str, Any]:
        """The choice for each question, its confidence, and all probabilities."""
        return {"answers": [self._one(question) for question in questions]}

    def _one(self, question: dict[str, Any]) -> dict[str, Any]:
        body = decide_on_handle(self._prepared, self._payload(question), self._handle)
        answer = body["answers"]["answer"]
        return {key: answer[key] for key in ("choice", "confidence", "probabilities", "coverage")}


if __name__ == "__main__":
    serve(Choices)
