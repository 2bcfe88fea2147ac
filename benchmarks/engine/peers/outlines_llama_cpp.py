"""Outlines on llama-cpp-python, with its llguidance backend.

Each skill's generator is made once, so that its constraint is compiled once. Outlines resets the
`Llama` after every call, so that it forgets its prompt; llama-cpp-python's own cache of states in
memory brings that back (three times the calls per second with, at some memory). Where several
skills have adapters, each has an instance of its own, since a `Llama` has one adapter.
"""

from __future__ import annotations

import json
import warnings
from importlib import metadata
from typing import Any, Literal

import outlines
from llama_cpp import LlamaRAMCache
from outlines.inputs import Chat
from outlines.types import JsonSchema

from benchmarks.engine.peers.llama_cpp_python import CACHE_BYTES, CountingLlama, load
from benchmarks.engine.peers.serve import serve


class Generators:
    """One call is one call of a skill's generator."""

    def __init__(self, workload: dict[str, Any], options: dict[str, Any]) -> None:
        self._skills = workload["skills"]
        models: dict[str | None, Any] = {}
        self._generators = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name, skill in self._skills.items():
                adapter = skill["adapter"]
                if adapter not in models:
                    llama = load(options, adapter=adapter)
                    llama.set_cache(LlamaRAMCache(CACHE_BYTES))
                    models[adapter] = outlines.from_llamacpp(llama)
                self._generators[name] = outlines.Generator(
                    models[adapter], output_type(skill), backend="llguidance"
                )
        self.facts = {"version": metadata.version("outlines"), "backend": "llguidance"}

    @property
    def evaluated(self) -> int:
        return CountingLlama.evaluated

    def answer(self, call: dict[str, Any]) -> str:
        skill = self._skills[call["skill"]]
        messages = [*skill["messages"], {"role": "user", "content": call["message"]}]
        return str(
            self._generators[call["skill"]](
                Chat(messages), temperature=0.0, max_tokens=skill["max_tokens"]
            )
        )


def output_type(skill: dict[str, Any]) -> Any:
    if skill["form"] == "choice":
        return Literal[tuple(skill["labels"])]
    return JsonSchema(json.dumps(skill["schema"]))


if __name__ == "__main__":
    serve(Generators)
