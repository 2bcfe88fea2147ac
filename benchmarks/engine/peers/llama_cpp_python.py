"""llama-cpp-python's `Llama.create_chat_completion` with a JSON schema.

The model stays loaded, and `Llama` keeps what it can of the last prompt. Several adapters need an
instance each. Where one instance serves several skills, it forgets a skill's prompt as soon as it
is given another's, unless it has a cache of states in memory.
"""

from __future__ import annotations

import json
from importlib import metadata
from typing import Any

from llama_cpp import Llama, LlamaRAMCache

from benchmarks.engine.peers.serve import serve

# Of each instance; the state of one of these prompts takes 40 to 150 MB, most of it logits.
CACHE_BYTES = 1 << 30


class CountingLlama(Llama):
    """Counts the tokens it evaluates."""

    evaluated = 0

    def eval(self, tokens: Any) -> None:
        type(self).evaluated += len(tokens)
        super().eval(tokens)


def load(options: dict[str, Any], *, adapter: str | None) -> CountingLlama:
    return CountingLlama(
        model_path=options["model"],
        n_ctx=options["context"],
        n_threads=options["threads"],
        n_threads_batch=options["threads"],
        n_gpu_layers=options["gpu_layers"],
        flash_attn=options["gpu_layers"] != 0,
        lora_path=adapter,
        verbose=False,
    )


class ChatCompletion:
    """One call is one chat completion."""

    def __init__(self, workload: dict[str, Any], options: dict[str, Any]) -> None:
        self._skills = workload["skills"]
        instances: dict[str | None, CountingLlama] = {}
        self._llamas = {}
        for name, skill in self._skills.items():
            key = name if options["instance_per_skill"] else skill["adapter"]
            if key not in instances:
                instances[key] = load(options, adapter=skill["adapter"])
            self._llamas[name] = instances[key]
        if len(instances) < len(self._llamas):
            for llama in instances.values():
                llama.set_cache(LlamaRAMCache(CACHE_BYTES))
        self.facts = {"version": metadata.version("llama-cpp-python")}

    @property
    def evaluated(self) -> int:
        return CountingLlama.evaluated

    def answer(self, call: dict[str, Any]) -> str:
        skill = self._skills[call["skill"]]
        reply = self._llamas[call["skill"]].create_chat_completion(
            messages=[*skill["messages"], {"role": "user", "content": call["message"]}],
            response_format={"type": "json_object", "schema": skill["schema"]},
            temperature=0.0,
            max_tokens=skill["max_tokens"],
        )
        text = reply["choices"][0]["message"]["content"]
        return str(json.loads(text)) if skill["form"] == "choice" else text


if __name__ == "__main__":
    serve(ChatCompletion)
