"""The floor's loop with its logits read: how much batching alone moves probabilities.

The batches are the floor's. A record follows the text that one cached sequence decodes, so that
every decision can be compared; that text is flipped where another token is the best one somewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import llama_cpp
import numpy as np

from benchmarks.engine.floor import Floor
from benchmarks.engine.peers.serve import serve
from benchmarks.engine.plain import Evaluation, allowed, label_probabilities, log_softmax


class BareLoop(Floor):
    """Answers calls in the floor's batches."""

    def details(self, calls: Sequence[dict[str, Any]], callers: int) -> dict[str, Any]:
        """Probabilities of answers, as `Reference` has them; `same` says which were flipped."""
        evaluations = [self._evaluation(call) for call in calls]
        self._evaluate_prefixes(calls)
        plan = self._plan(calls, evaluations, callers)
        logits: list[list[np.ndarray]] = [[] for _ in calls]
        context, memory = self._plain.context, self._plain.memory
        for step in plan:
            self._use(step.adapter)
            for prefix, sequence in step.forks:
                llama_cpp.llama_memory_seq_cp(memory, prefix, sequence, -1, -1)
            self._decode(step.batch)
            pointer = llama_cpp.llama_get_logits(context)
            rows = np.ctypeslib.as_array(pointer, shape=(len(step.wanted), self._plain.size))
            for call, row in zip(step.wanted, rows, strict=True):
                logits[call].append(np.array(row, np.float64))
            for sequence in step.frees:
                llama_cpp.llama_memory_seq_rm(memory, sequence, -1, -1)
            llama_cpp.llama_batch_free(step.batch)
        found = zip(calls, evaluations, logits, strict=True)
        return {"details": [self._detail(*one) for one in found]}

    def _detail(
        self, call: dict[str, Any], evaluation: Evaluation, logits: Sequence[np.ndarray]
    ) -> dict[str, Any]:
        skill = self._skills[call["skill"]]
        if skill["form"] == "choice":
            asked = [(), *(node.path for node in evaluation.nodes if node.children)]
            paths = self._plain.label_paths(skill, call["message"])
            choices = label_probabilities(paths, dict(zip(asked, logits, strict=True)))
            return {"text": max(choices, key=lambda label: choices[label]), "choices": choices}
        logprobs = []
        same = True
        for (place, _), bits, row in zip(
            evaluation.logprobs, evaluation.masks, logits, strict=True
        ):
            ids = allowed(bits)
            values = log_softmax(row[ids])
            # Where the end of turn was decided, no token of the answer stands there.
            at_end = place >= len(evaluation.tokens)
            token = self._plain.end if at_end else evaluation.tokens[place]
            chosen = int(np.flatnonzero(ids == token)[0])
            same = same and chosen == int(values.argmax())
            logprobs.append((place, float(values[chosen])))
        return {"tokens": evaluation.tokens, "logprobs": logprobs, "same": same}


if __name__ == "__main__":
    serve(BareLoop)
