"""An outcome in plain words: what was answered, by whom, how surely, and why so."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import to_jsonable_python

from hetagent.errors import HetagentError
from hetagent.outcome import Call, Draft, Outcome, Reason

__all__ = ["ABSENT", "REASONS", "changes", "explain", "money"]

_SHOWN = 60
_LISTED = 6

REASONS: Mapping[Reason, str] = {
    "low_confidence": "The SLM's answer was not sure enough",
    "invalid_output": "The SLM's answer was not a valid value of the output type",
    "truncated": "The SLM's answer was cut off at its token limit",
    "model_error": "The SLM could not answer",
    "timeout": "The SLM gave no answer in time",
    "input_too_long": "The input is too long for the SLM",
    "invalid_input": "The input cannot be given to any model, so none was asked",
    "no_confidence": "The SLM gives no probabilities, so nothing tells how far to trust it",
    "policy": "The policy did not accept the SLM's answer",
    "drift": "Audits found that the certificate does not hold any more",
    "cancelled": "The run was cancelled before this input was finished",
    "budget": "The budget had no room to ask further",
}
"""Every reason, as the beginning of a sentence."""

ABSENT: Any = type("Absent", (), {"__repr__": lambda _: "nothing"})()
"""Stands for a field that one of two answers does not have."""


def explain(outcome: Outcome[Any]) -> str:
    """Say what was answered and why, as `hetagent.Outcome.explain` does."""
    lines = [_answer(outcome)]
    lines += _drafted(outcome)
    lines += [_reason(outcome), *_confidences(outcome), *_certificate(outcome)]
    lines += _llms(outcome)
    lines += _differences(outcome)
    lines += _error(outcome, "\n".join(lines))
    lines += [_cost(outcome)]
    return "\n".join(lines)


def changes(outcome: Outcome[Any]) -> dict[str, tuple[Any, Any]] | None:
    """Where a served answer differs from the SLM's draft.

    Returns:
        The draft's value and the served one, as JSON data, by path of each leaf that is not the
        same, with ``""`` for a bare value and `ABSENT` where one has none; ``None`` where there is
        no valid draft, or no LLM's answer, to compare.
    """
    draft = outcome.draft
    if outcome.served_by not in ("llm", "both") or draft is None or not _is_valid(outcome, draft):
        return None
    before = dict(_leaves(_json(draft.value)))
    after = dict(_leaves(_json(outcome.value)))
    pairs = {
        path: (before.get(path, ABSENT), after.get(path, ABSENT))
        for path in dict.fromkeys([*before, *after])
    }
    return {path: pair for path, pair in pairs.items() if not _same(*pair)}


def money(usd: float) -> str:
    """US dollars: to the cent, and to four digits where that is less than a dollar."""
    if usd >= 1:
        return f"${usd:,.2f}"
    if 0 < usd < 1e-6:
        return "less than $0.000001"
    digits = 3 - math.floor(math.log10(usd)) if usd > 0 else 2
    whole, _, cents = f"{usd:.{min(digits, 8)}f}".rstrip("0").partition(".")
    return f"${whole}.{cents:0<2}"


def _answer(outcome: Outcome[Any]) -> str:
    if outcome.served_by == "none":
        return f"{outcome.skill}: no answer was given."
    names = {"slm": _slm(outcome), "llm": _llm(outcome, outcome.rung)}
    names["both"] = f"{names['slm']} and {names['llm']} together"
    return f"{outcome.skill}: {names[outcome.served_by]} answered {_shown(outcome.value)}."


def _drafted(outcome: Outcome[Any]) -> list[str]:
    """What the SLM had said, where somebody else, or nobody, was served."""
    draft = outcome.draft
    if draft is None or outcome.served_by == "slm":
        return []
    if _is_valid(outcome, draft):
        return [f"{_capital(_slm(outcome))} had said {_shown(draft.value)}."]
    return [f"{_capital(_slm(outcome))} had written {_shown(draft.text)}."]


def _reason(outcome: Outcome[Any]) -> str:
    reason = outcome.reason
    if reason is None:
        return "It was sure enough." if outcome.least else "The policy accepted it."
    if reason == "policy" and not any(call.role == "slm" for call in outcome.calls):
        return "The SLM was not asked: there is none, or the policy passes this skill over it."
    if reason == "budget" and outcome.served_by != "none":
        return f"It was not accepted, but {_small(REASONS[reason])}, so it is served all the same."
    detail = _own_error(outcome)
    return f"{REASONS[reason]}: {detail}" if detail else f"{REASONS[reason]}."


def _own_error(outcome: Outcome[Any]) -> str:
    """What went wrong before any LLM was asked."""
    for call in outcome.calls:
        if call.role == "slm" and call.error is not None:
            return call.error.message
    unasked = not outcome.escalated and outcome.reason != "low_confidence"
    return outcome.error.message if unasked and outcome.error is not None else ""


def _confidences(outcome: Outcome[Any]) -> list[str]:
    """Each confidence that was compared, and with what."""
    if outcome.reason == "no_confidence":
        return []
    known = _known(outcome)
    kind = "Calibrated" if outcome.basis is not None else "Raw"
    compared = {path: least for path, least in outcome.least.items() if path in known}
    weak = [path for path in compared if _is_weak(outcome, path, known)]
    # Of an answer that was refused, what it was refused for; of another, all.
    told = weak or list(compared)
    lines = [
        _comparison(kind, path, known[path], compared[path], refused=path in weak)
        for path in told[:_LISTED]
    ]
    if rest := len(told) - _LISTED:
        lines += [f"So for {rest} more."] if rest > 0 else []
    if weak and len(compared) > len(weak):
        lines.append(f"{_count(len(compared) - len(weak), 'other')} reached what is asked.")
    if "" in weak:
        sure = [f"{path} {_number(known[path])}" for path in outcome.weak if path in known]
        lines += [f"Least sure: {', '.join(sure[:_LISTED])}."] if sure else []
    return lines


def _known(outcome: Outcome[Any]) -> dict[str, float]:
    """Confidences in the SLM's answer by path, as the policy saw them."""
    basis, draft = outcome.basis, outcome.draft
    raw: dict[str, float | None] = {}
    if draft is not None:
        raw = {"": draft.confidence, **draft.fields}
    elif outcome.reason is None:
        raw = {"": outcome.confidence}
        raw |= {path: one.confidence for path, one in outcome.fields.items()}
    if basis is None:
        return {path: value for path, value in raw.items() if value is not None}
    tops = {path: path.partition("[")[0] for path in raw}
    inner = {path: basis.confidence[top] for path, top in tops.items() if top in basis.confidence}
    return {**inner, **basis.confidence}


def _is_weak(outcome: Outcome[Any], path: str, known: Mapping[str, float]) -> bool:
    """Whether a confidence was refused.

    A calibrated one may be refused at the very threshold: it is a score that is compared, and
    several scores may have one confidence.
    """
    if outcome.reason is None:
        return False
    least = outcome.least[path]
    if least is None or known[path] < least or len(outcome.least) == 1:
        return True
    return any(path in (weak, weak.partition("[")[0]) for weak in outcome.weak)


def _comparison(
    kind: str, path: str, confidence: float, least: float | None, *, refused: bool
) -> str:
    place = f"in {path}" if path else "in the whole value"
    if least is None:
        return f"{kind} confidence {place}: {_number(confidence)}; none is accepted there."
    if refused and confidence >= least:
        return (
            f"{kind} confidence {place}: {_number(confidence)}; of answers as sure as this, only "
            "those with a higher score are accepted."
        )
    return (
        f"{kind} confidence {place}: {_number(confidence, least)}; "
        f"{_number(least, confidence)} or more is accepted."
    )


def _certificate(outcome: Outcome[Any]) -> list[str]:
    basis = outcome.basis
    if basis is None:
        return []
    lines = [
        f"By certificate {basis.certificate}: at most {100 * basis.max_error:.4g}% of what is "
        "accepted is wrong."
    ]
    if basis.gains:
        gains = [f"{_llm(outcome, i)} {money(gain)}" for i, gain in enumerate(basis.gains)]
        lines.append(f"Expected gain of asking: {', '.join(gains)}.")
    return lines


def _llms(outcome: Outcome[Any]) -> list[str]:
    """What became of each LLM that was asked, or that none was."""
    lines = []
    for rung in dict.fromkeys(call.rung for call in outcome.calls if call.role == "llm"):
        calls = [call for call in outcome.calls if call.role == "llm" and call.rung == rung]
        name, failed = _capital(_llm(outcome, rung)), [one for one in calls if one.error]
        if rung == outcome.rung and outcome.served_by in ("llm", "both"):
            if outcome.confidence is not None and outcome.served_by == "llm":
                lines.append(f"{name} put a raw confidence of {outcome.confidence:.3f} on it.")
        elif len(failed) == len(calls) and failed[-1].error is not None:
            lines.append(f"{name} gave no answer: {failed[-1].error.message}")
        else:
            lines.append(f"{name} was asked, and its answer by itself was not accepted.")
    if not lines and outcome.served_by == "none" and outcome.reason not in _UNASKED:
        lines.append("No LLM was asked.")
    return lines


_UNASKED: tuple[Reason, ...] = ("invalid_input", "cancelled")


def _differences(outcome: Outcome[Any]) -> list[str]:
    """What the LLM changed of the draft, field by field."""
    changed = changes(outcome)
    if changed is None:
        return []
    if not changed:
        return ["The LLM said the same as the SLM."]
    if "" in changed:
        return ["The LLM said otherwise than the SLM."]
    told = [
        f"{path} from {_shown(before)} to {_shown(after)}"
        for path, (before, after) in list(changed.items())[:_LISTED]
    ]
    more = f", and {len(changed) - _LISTED} more" if len(changed) > _LISTED else ""
    same = [path for path, _ in _leaves(_json(outcome.value)) if path not in changed]
    lines = [f"The LLM changed {'; '.join(told)}{more}."]
    if outcome.served_by == "both":
        same = [path for path in same if _by_llm(outcome, path)]
        lines += [f"It gave the same {', '.join(same[:_LISTED])}."] if same else []
    elif same:
        lines.append(f"It left {_count(len(same), 'other field')} as the SLM had it.")
    return lines


def _by_llm(outcome: Outcome[Any], path: str) -> bool:
    found = outcome.fields.get(path)
    return found is not None and found.served_by == "llm"


def _error(outcome: Outcome[Any], said: str) -> list[str]:
    """The last error where it was not told yet, and what to do about one that cost the answer."""
    error = outcome.error
    if error is None:
        return []
    lines = [f"Last error: {_named(error)}"] if error.message not in said else []
    if outcome.served_by == "none" and error.hint:
        lines.append(f"What to do: {error.hint}")
    return lines


def _cost(outcome: Outcome[Any]) -> str:
    if not outcome.calls:
        return f"No model was called. Trace {outcome.trace_id}."
    usd = outcome.cost_usd
    price = "What it cost is not known" if usd is None else f"It cost {money(usd)}"
    if usd == 0:
        price = "It cost nothing"
    calls = "; ".join(_call(call) for call in outcome.calls)
    return f"{price}, and took {_duration(outcome.seconds)} ({calls}). Trace {outcome.trace_id}."


def _call(call: Call) -> str:
    tries = f" in {call.attempts} tries" if call.attempts > 1 else ""
    role = "the SLM" if call.role == "slm" else "the LLM"
    return f"{role} {call.model} {_duration(call.seconds.get('total', 0.0))}{tries}"


def _slm(outcome: Outcome[Any]) -> str:
    return _model(outcome, "slm", None)


def _llm(outcome: Outcome[Any], rung: int | None) -> str:
    return _model(outcome, "llm", rung)


def _model(outcome: Outcome[Any], role: str, rung: int | None) -> str:
    names = [one.model for one in outcome.calls if one.role == role and one.rung == rung]
    number = f" {rung + 1}" if rung and not names else ""
    return f"the {role.upper()}{number} {names[-1] if names else ''}".rstrip()


def _is_valid(outcome: Outcome[Any], draft: Draft) -> bool:
    """Whether a draft is a value: ``None`` may be one, or stand for none."""
    return draft.value is not None or bool(outcome.evidence) or draft.text == "null"


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each leaf of JSON data by path, an empty list or record being one."""
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from _leaves(part, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for index, part in enumerate(value):
            yield from _leaves(part, f"{path}[{index}]")
    else:
        yield path, value


def _same(before: Any, after: Any) -> bool:
    """Equal, and of one kind: true is not 1."""
    return before == after and isinstance(before, bool) == isinstance(after, bool)


def _json(value: Any) -> Any:
    return to_jsonable_python(value, fallback=lambda one: getattr(one, "__name__", str(one)))


def _shown(value: Any) -> str:
    if value is ABSENT:
        return "nothing"
    text = json.dumps(_json(value), ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _number(value: float, other: float | None = None) -> str:
    """Three digits after the point, and more where two numbers would look the same."""
    if other is None or value == other:
        return f"{value:.3f}"
    digits = 3
    while digits < 12 and f"{value:.{digits}f}" == f"{other:.{digits}f}":
        digits += 1
    return f"{value:.{digits}f}"


def _duration(seconds: float) -> str:
    if seconds < 0.001:
        return "less than 1 ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"


def _named(error: HetagentError) -> str:
    return f"{type(error).__name__}: {error.message}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _small(text: str) -> str:
    return text[:1].lower() + text[1:]
