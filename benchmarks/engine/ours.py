"""hetagent as one of the measured systems, by its public API."""

from __future__ import annotations

import asyncio
import gc
from importlib import metadata
from typing import Any

from benchmarks.engine.peers.serve import serve
from benchmarks.engine.workloads import skills_of
from hetagent import LlamaCpp, Orchestrator

__all__ = ["Ours"]


class Ours:
    """One call is one `Orchestrator.run`; callers are threads."""

    def __init__(self, workload: dict[str, Any], options: dict[str, Any]) -> None:
        settings = {
            "threads": options["threads"],
            "context": options["context"],
            "all_labels": not options.get("best_label", False),
            "gpu_layers": options["gpu_layers"],
            "flash_attention": options["flash_attention"],
        }
        if options.get("exact"):
            settings |= {"kv_type": "f32", "flash_attention": "off"}
        model = LlamaCpp(options["model"], **settings)
        self._models = [model]
        self._skills = {}
        for task in skills_of(workload["cell"]):
            # A workload may have fewer skills than its cell.
            if task.name not in workload["skills"]:
                continue
            adapter = workload["skills"][task.name]["adapter"]
            bound = model
            if adapter:
                bound = LlamaCpp(options["model"], adapters=[adapter], **settings)
                self._models.append(bound)
            self._skills[task.name] = task.using(bound)
        self._agent = Orchestrator(slm=model, policy=0.0, progress=False)
        self.facts = {"version": metadata.version("hetagent")}

    @property
    def evaluated(self) -> int:
        """Tokens given to the model; models on one file share what they run on, and its figures."""
        return int(self._models[0].stats().evaluated)

    def answer(self, call: dict[str, Any]) -> str:
        task = self._skills[call["skill"]]
        args, kwargs = task.bind_row(given(call))
        outcome = self._agent.run(task, *args, **kwargs)
        return str(task.output.encode(outcome.value))

    def details(self, calls: list[dict[str, Any]], callers: int) -> dict[str, Any]:
        """Tokens and probabilities of answers, `callers` at a time, as the models report them."""

        async def ask(call: dict[str, Any], limit: asyncio.Semaphore) -> dict[str, Any]:
            task = self._skills[call["skill"]]
            args, kwargs = task.bind_row(given(call))
            async with limit:
                completion = await task.model.complete(task.request(*args, **kwargs))
            return {
                "text": completion.text,
                "choices": dict(completion.choices) if completion.choices else None,
                "tokens": [
                    {"id": token.id, "logprob": token.logprob, "text": token.text.hex()}
                    for token in completion.tokens or ()
                ],
            }

        async def ask_all() -> list[dict[str, Any]]:
            limit = asyncio.Semaphore(callers)
            return await asyncio.gather(*(ask(call, limit) for call in calls))

        return {"details": asyncio.run(ask_all())}

    def close(self) -> dict[str, Any]:
        for model in self._models:
            model.close()
        gc.collect()
        return {}


def given(call: dict[str, Any]) -> Any:
    """The input as the skill takes it; JSON has made a list of a tuple."""
    row = call["input"]
    return tuple(row) if isinstance(row, list) else row


if __name__ == "__main__":
    serve(Ours)
