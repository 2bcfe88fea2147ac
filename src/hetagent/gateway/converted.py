"""An upstream in front of another: calls of converted workloads are answered by their skills.

Where the skill is not sure, or fails, the call goes on as it came, and the agent that made it gets
what it always got. Headers say who answered.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from hetagent.errors import OutputError
from hetagent.gateway.calls import Answer, Call, Served
from hetagent.gateway.conversions import Conversions, Part, Turn
from hetagent.gateway.headers import OWN_PREFIX
from hetagent.gateway.limits import Limits
from hetagent.gateway.recording import make_record
from hetagent.gateway.room import Room
from hetagent.gateway.said import answer_with
from hetagent.gateway.tap import Recording
from hetagent.gateway.upstream import Upstream
from hetagent.learn.cluster.embed import Embed, wordllama
from hetagent.learn.record import Trainable, Usage
from hetagent.outcome import Outcome
from hetagent.raised import raised
from hetagent.registry import Registry

__all__ = ["ConvertedUpstream"]

_log = logging.getLogger("hetagent")

# Of answers that wait to be compared with a shadow's; beyond it they are not compared.
_SHADOWED_BYTES = 64 * 1024 * 1024
_SECONDS_TO_SETTLE = 2.0


class ConvertedUpstream:
    """Answers calls of converted workloads with their skills, and passes all others on.

    Args:
        upstream: Where calls go that no skill answers.
        registry: What says which workloads are converted, or its folder; or what follows it
            already, which several upstreams share so that each model is loaded once.
        timeout: Seconds that a small model may take for a call before it goes on.
        embed: The function that workloads were found with.

    Attributes:
        conversions: What follows the registry.
    """

    def __init__(
        self,
        upstream: Upstream,
        registry: Conversions | Registry | str | os.PathLike[str],
        *,
        timeout: float = 10.0,
        embed: Embed = wordllama,
    ) -> None:
        self._inner = upstream
        self.conversions = (
            registry
            if isinstance(registry, Conversions)
            else Conversions(registry, timeout=timeout, embed=embed)
        )
        self._room = Room(_SHADOWED_BYTES)
        self._labeller = ThreadPoolExecutor(1, thread_name_prefix="hetagent-shadowed")
        self.name = upstream.name
        self.trainable: Trainable | None = upstream.trainable
        self.open_paths = upstream.open_paths
        self.models: Sequence[str] = upstream.models
        self.secrets: Sequence[str] = upstream.secrets

    def __repr__(self) -> str:
        return f"ConvertedUpstream({self._inner!r}, {self.conversions.registry!r})"

    def serves(self, call: Call) -> bool:
        """Whether the upstream behind it takes such calls."""
        return self._inner.serves(call)

    def cost(self, usage: Usage) -> float | None:
        """What the upstream behind it says."""
        return self._inner.cost(usage)

    async def start(self, limits: Limits) -> None:
        """Make the upstream behind it ready."""
        await self._inner.start(limits)

    async def aclose(self) -> None:
        """Let go of the upstream behind it, and end the comparisons under way."""
        await self._inner.aclose()
        await asyncio.to_thread(self.settle, _SECONDS_TO_SETTLE)

    def settle(self, timeout: float | None = None) -> bool:
        """Wait until all answers are compared with shadows'; whether that was so in time."""
        self._labeller.submit(lambda: None).result()
        return self.conversions.shadows.flush(timeout)

    async def send(self, call: Call) -> Answer:
        """Answer a call, or pass it on.

        Raises:
            HetagentError: The upstream behind it gives no answer.
            Refusal: It takes no such call.
        """
        turn = await self.conversions.turn(call)
        if turn is None:
            return await self._inner.send(call)
        served = Served("llm", turn.task.workload, "shadow" if turn.fits else "other_request")
        if turn.fits and turn.serving is not None:
            found = await self._asked(call, turn, turn.serving)
            if isinstance(found, Answer):
                return found
            served = found
        self.conversions.tally(turn.task.name).went_on(served.reason)
        answer = await self._inner.send(call)
        if turn.shadow is not None and turn.shadow.row is not None:
            answer = self._watched(answer, call, turn.shadow)
        return _told(answer, served)

    async def _asked(self, call: Call, turn: Turn, part: Part) -> Answer | Served:
        """The skill's answer, or why there is none to serve."""
        task, binding = part.bound.task, part.bound.binding.id
        served = Served("llm", task.workload, "other_request", binding)
        if part.row is None:
            return replace(served, binding=None)
        try:
            outcome = await part.bound.agent.arun(task.skill, **part.row)
            served = replace(served, confidence=_confidence(outcome))
            if outcome.served_by != "slm":
                return replace(served, reason=outcome.reason or "model_error")
            value = task.output.to_json(outcome.value)
            said = task.answer(value)
        except OutputError:
            return replace(served, reason="invalid_output")
        except Exception as error:
            _log.error("The skill %s failed, and a call went on: %s.", task.name, raised(error))
            return replace(served, reason="model_error")
        if said is None:
            return replace(served, reason="no_tool")
        self.conversions.tally(task.name).answered(saved=self._saved(part, outcome))
        if turn.shadow is not None:
            self._compare(turn.shadow, outcome, call)
        served = replace(served, by="slm", reason="", model=outcome.calls[-1].model)
        return _told(answer_with(said, call, usage=_usage(outcome)), served)

    def _saved(self, part: Part, outcome: Outcome[Any]) -> float | None:
        """What the LLM would have cost, about, in US dollars; ``None`` where that is not known.

        It would have read and written as much as for a recorded call on average, and of that
        written as much as the small model did.
        """
        recorded = part.bound.recorded
        if recorded is None:
            return None
        written = outcome.usage.completion_tokens
        tokens = round(recorded.tokens / recorded.size)
        found = self.cost(Usage(max(0, tokens - written), written)) if tokens else None
        return found if found is not None else recorded.cost_usd / recorded.size or None

    def _watched(self, answer: Answer, call: Call, shadow: Part) -> Answer:
        """An answer of the LLM's that is compared with a shadow's once it is whole."""
        recording = Recording(call, self._inner, room=self._room)
        recording.begin(answer.status, answer)

        async def noted() -> AsyncGenerator[bytes, None]:
            async for piece in answer.pieces:
                recording.add(piece)
                yield piece
            recording.end(complete=True)

        pieces = noted()

        async def close() -> None:
            try:
                await pieces.aclose()
                await answer.close()
            finally:
                recording.end(complete=recording.has_end)
                self._labeller.submit(self._label, recording, shadow)

        return replace(answer, pieces=pieces, close=close)

    def _label(self, recording: Recording, shadow: Part) -> None:
        """Have a shadow answer what the LLM answered, where that says what is right."""
        if recording.lost:
            return
        task = shadow.bound.task
        try:
            label = task.label(make_record(recording))
            value = None if label is None else task.output.parse_json(label)
        except Exception as error:
            _log.warning("An answer was not compared with a shadow's: %s.", raised(error))
            return
        finally:
            recording.release()
        if label is not None:
            served = Outcome(task.name, value, None, "llm", "", recording.seconds)
            self._compare(shadow, served, recording.call)

    def _compare(self, shadow: Part, served: Outcome[Any], call: Call) -> None:
        """Have a shadow answer what was answered, too."""
        if shadow.row is None:
            return
        skill = shadow.bound.task.skill
        self.conversions.tally(skill.name).shadowed()
        self.conversions.shadows.compare(
            shadow.bound,
            skill,
            skill.request(**shadow.row),
            served=replace(served, trace_id=call.marks.trace or call.id),
            options=self.conversions.options,
        )


def _told(answer: Answer, served: Served) -> Answer:
    """An answer whose headers, and record, say who gave it."""
    facts = {
        "served-by": served.by,
        "workload": served.workload,
        "binding": served.binding,
        "reason": served.reason,
        "confidence": None if served.confidence is None else f"{served.confidence:.6f}",
    }
    own = [(OWN_PREFIX + name.encode(), _line(text)) for name, text in facts.items() if text]
    # Those of a gateway behind this one would say it twice.
    names = {name for name, _ in own}
    kept = [pair for pair in answer.headers if pair[0] not in names]
    return replace(answer, headers=[*kept, *own], served=served)


def _line(text: str) -> bytes:
    """A text as a header has it, in one line."""
    plain = "".join(one if one.isprintable() else " " for one in text)
    return plain.strip().encode("utf-8", errors="replace")


def _confidence(outcome: Outcome[Any]) -> float | None:
    """In the small model's answer, calibrated; of one that was not accepted only if it is."""
    if outcome.served_by == "slm":
        return outcome.confidence
    return None if outcome.basis is None else outcome.basis.confidence.get("")


def _usage(outcome: Outcome[Any]) -> Usage:
    found = outcome.usage
    return Usage(found.prompt_tokens, found.completion_tokens, found.cached_tokens)
