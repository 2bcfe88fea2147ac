"""guidance on llama.cpp: `select` for choices, `json` for records.

A skill's fixed messages are rendered once and every call continues from there; guidance keeps the
longest beginning that the next text shares with the last one, and fast-forwards forced tokens.
Several adapters need a model each. Where one model serves several skills, it forgets a skill's
prompt as soon as it is given another's.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from importlib import metadata
from typing import Any

import guidance
from guidance import assistant, models, select, system, user
from guidance.chat import ChatMLTemplate
from guidance.models import _llama_cpp

from benchmarks.engine.peers.serve import serve

TURNS = {"system": system, "user": user, "assistant": assistant}


class Guidance:
    """One call is one program: the user's turn, then the constrained answer."""

    def __init__(self, workload: dict[str, Any], options: dict[str, Any]) -> None:
        self.evaluated = 0
        self._skills = workload["skills"]
        instances: dict[str | None, Any] = {}
        self._begun = {}
        for name, skill in self._skills.items():
            key = name if options["instance_per_skill"] else skill["adapter"]
            if key not in instances:
                instances[key] = self._load(options, adapter=skill["adapter"])
            self._begun[name] = begin(instances[key], skill)
        self._answers = {name: grammar(skill) for name, skill in self._skills.items()}
        self.facts = {"version": metadata.version("guidance")}

    def _load(self, options: dict[str, Any], *, adapter: str | None) -> Any:
        lm = models.LlamaCpp(
            options["model"],
            echo=False,
            chat_template=ChatMLTemplate,  # what SmolLM2's own comes to
            enable_monitoring=False,
            n_ctx=options["context"],
            n_threads=options["threads"],
            n_threads_batch=options["threads"],
            n_gpu_layers=options["gpu_layers"],
            flash_attn=options["gpu_layers"] != 0,
            lora_path=adapter,
        )
        self._count(lm._interpreter.engine)
        return lm

    def _count(self, engine: _llama_cpp.LlamaCppEngine) -> None:
        plain = engine.get_logits

        def counted(*args: Any, **kwargs: Any) -> Any:
            result = plain(*args, **kwargs)
            self.evaluated += result["n_tokens"] - result["n_cached"]
            return result

        engine.get_logits = counted

    def answer(self, call: dict[str, Any]) -> str:
        lm = self._begun[call["skill"]]
        with user():
            lm += call["message"]
        with assistant():
            lm += self._answers[call["skill"]]
        return str(lm["answer"])


def begin(lm: Any, skill: dict[str, Any]) -> Any:
    """The program that every call of a skill continues."""
    for message in skill["messages"]:
        with turn(message["role"]):
            lm += message["content"]
    return lm


def turn(role: str) -> AbstractContextManager[Any]:
    return TURNS[role]()


def grammar(skill: dict[str, Any]) -> Any:
    if skill["form"] == "choice":
        return select(skill["labels"], name="answer")
    return guidance.json(name="answer", schema=json.loads(json.dumps(skill["schema"])))


if __name__ == "__main__":
    serve(Guidance)
