"""``hetagent serve --convert``: what is loaded before the port is opened, and what came of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hetagent.errors import InputError

if TYPE_CHECKING:
    from hetagent.gateway import Conversions, Upstream

__all__ = ["conversions_of", "load", "sum_up"]


def conversions_of(registry: Path | None, *, convert: bool, timeout: float) -> Conversions | None:
    """What follows the registry; ``None`` without ``--convert``.

    Raises:
        InputError: A registry is named that nothing would follow.
    """
    if not convert:
        if registry is not None:
            raise InputError(
                f"--registry {registry} is for --convert, which was not given.",
                hint="Add --convert to answer calls with the skills of the registry.",
            )
        return None
    from hetagent.gateway import Conversions
    from hetagent.registry import Registry

    return Conversions(Registry(registry), timeout=timeout)


def load(conversions: Conversions, upstreams: Sequence[Upstream], *, quiet: bool) -> list[Upstream]:
    """Load what serves now, say what that is, and put it in front of the upstreams."""
    from hetagent.gateway import ConvertedUpstream

    if not quiet:
        sys.stderr.write(f"Loading what {conversions.registry.folder} has converted.\n")
    conversions.load()
    if not quiet:
        for line in _loaded(conversions.status()):
            sys.stderr.write(f"  {line}\n")
    return [ConvertedUpstream(one, conversions) for one in upstreams]


def sum_up(status: Mapping[str, Any] | None) -> Iterator[str]:
    """What became of the calls of converted workloads, in a line for each skill.

    Args:
        status: As of `hetagent.gateway.conversions.Conversions.status`; ``None`` without any.
    """
    for name, one in (status or {}).get("skills", {}).items():
        reasons, shadowed, saved = one["reasons"], one["shadowed"], one["saved_usd"]
        why = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
        line = f"{name}: {one['slm']} calls answered by the small model, {one['llm']} by the LLM"
        line += f" ({why})" if why else ""
        line += f"; {shadowed} compared in shadow" if shadowed else ""
        line += f"; about ${saved:.4f} saved" if saved is not None else ""
        yield f"{line}."


def _loaded(status: Mapping[str, Any]) -> Iterator[str]:
    for name, one in status["skills"].items():
        if one["mode"] is None:
            continue
        serving = [text for text in (one["binding"], one["trial"]) if text is not None]
        yield f"{name}: {one['mode']}, {' and '.join(serving) or 'no binding'}"
    for binding, why in status["failures"].items():
        yield f"The binding {binding} cannot be used: {why}"
    if status["last_error"]:
        yield status["last_error"]
    if not (status["skills"] or status["failures"] or status["last_error"]):
        yield "Nothing is converted yet; what `hetagent convert` promotes is taken up then."
