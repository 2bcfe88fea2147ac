"""``hetagent demo --certify``: prints a promise, a check of it, and when it is refused."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from hetagent.cli.options import model_named
from hetagent.errors import InputError
from hetagent.models.catalog import DEFAULT_SLM

if TYPE_CHECKING:
    from rich.console import Console

    from hetagent.calibrate.certificate import Certificate
    from hetagent.demo.certify import Checked, Watched
    from hetagent.demo.report import Message

__all__ = ["run_certify"]

_LEGIBLE = 50


def run_certify(*, slm: str | None, others: Sequence[str], as_json: bool) -> None:
    """Certify, check and watch the skill `tone`, and print each as soon as it is known.

    Args:
        slm: The small model.
        others: Options that were given and do not go with this.
        as_json: Whether to print JSON, all of it at the end.

    Raises:
        InputError: There are such options.
        MissingExtraError: scikit-learn is not installed.
        HetagentError: The model cannot be used.
    """
    from hetagent.calibrate.fitting import require_installed
    from hetagent.demo.certify import bundled_parts, certify, check, watch
    from hetagent.orchestrator import Orchestrator

    if others:
        raise InputError(
            f"{', '.join(others)} cannot be given together with --certify.",
            hint="It runs the small model alone, on bundled messages; --slm and --json may be.",
        )
    require_installed()
    began = time.perf_counter()
    model = model_named(slm or DEFAULT_SLM)
    agent = Orchestrator(model)
    parts = bundled_parts()
    page = _Page(model.name, shown=not as_json)
    certificate = certify(agent, parts["calibrate"])
    page.promise(certificate, parts["calibrate"])
    apart = check(agent, certificate, parts["apart"])
    page.check(certificate, apart)
    shifted = watch(agent, certificate, parts["shifted"], apart=apart)
    page.refusal(certificate, shifted, parts["shifted"])
    seconds = time.perf_counter() - began
    page.end(seconds)
    if as_json:
        facts = {
            "date": date.today().isoformat(),
            "machine": _machine(),
            "slm": model.name,
            "seconds": seconds,
            "certificate": {"id": certificate.id, **certificate.to_dict()},
            "apart": apart.to_dict(certificate.max_error),
            "shifted": shifted.to_dict(certificate.max_error),
        }
        sys.stdout.write(json.dumps(facts, ensure_ascii=False) + "\n")


def _machine() -> dict[str, Any]:
    from hetagent.machine import cpu

    return cpu()


class _Page:
    """The one screen that is printed, step by step; nothing where it is not shown."""

    def __init__(self, slm: str, *, shown: bool) -> None:
        from rich.console import Console

        self._console: Console = Console(highlight=False, quiet=not shown)
        self._console.print(
            f"The skill [bold]tone[/] says whether a message to a restaurant is negative or "
            f"positive. It runs on {slm}, and no LLM is asked here."
        )

    def promise(self, certificate: Certificate, messages: Sequence[Message]) -> None:
        """What the calibration proved."""
        from hetagent.cli.certificate import counts, parts_table, refusals

        self._title("1  A promise", counts(certificate))
        shown = {label: _short(messages, label) for label in ("negative", "positive")}
        examples = "; ".join(f"{label}: “{text}”" for label, text in shown.items())
        self._console.print(f"{examples}\n", style="dim", markup=False)
        self._console.print(parts_table(certificate))
        for sentence in refusals(certificate) or [certificate.guarantee]:
            self._console.print(sentence)

    def check(self, certificate: Certificate, found: Checked) -> None:
        """Whether it holds on messages of the same kind."""
        messages = len(found.outcomes)
        self._title("2  A check", f"{messages} messages of the same kind that were kept apart.")
        self._console.print(
            f"The small model's answer was accepted for {len(found.accepted)} of them "
            f"({found.coverage:.0%}): as many LLM calls spared. Were all accepted, "
            f"{found.error_rate_of_all:.0%} would be wrong."
        )
        if found.error_rate is None:
            return
        low, high = found.interval
        allowed = certificate.max_error
        self._console.print(
            f"Wrong among the accepted: [bold]{found.errors}, which is {found.error_rate:.1%}[/]; "
            f"the true rate is between {low:.1%} and {high:.1%} (exact interval, 95%). "
            f"{_verdict(low, high, allowed)}"
        )
        self._console.print(
            f"[dim]What {len(found.accepted)} answers can show: a true rate of "
            f"{found.noticeable(allowed):.0%} or more would mostly be seen to be above "
            f"{allowed:.0%}, one nearer to it would not. The promise rests on the calibration, "
            "not on this check.[/]"
        )

    def refusal(
        self, certificate: Certificate, found: Watched, messages: Sequence[Message]
    ) -> None:
        """That it is not kept for another mix of messages, and how that is noticed."""
        from hetagent.demo.certify import ORDERS

        checked = found.checked
        self._title(
            "3  Another mix of messages",
            f"{len(checked.outcomes)} of a week after a bad review: ironic, polite complaints.",
        )
        if checked.error_rate is not None:
            wrong = [messages[i] for i in checked.accepted if not checked.right[i]]
            if mistaken := _short(wrong, "negative"):
                text = f"accepted as positive: “{mistaken}”"
                self._console.print(text, style="dim", markup=False)
            self._console.print(
                f"Accepted by the same certificate: {len(checked.accepted)}, and "
                f"[red]{checked.errors} of these are wrong: {checked.error_rate:.0%}[/], not at "
                f"most {certificate.max_error:.0%}. A promise holds for messages like those it "
                "was made with."
            )
        self._console.print(
            "So accepted answers are audited, all of them here and a share in practice, and each "
            "verdict is tested."
        )
        if found.drift_at is None:
            self._console.print("No drift was found: too few were wrong, or too few accepted.")
            return
        self._console.print(
            f"[bold]Drift is raised after {found.drift_at} audits[/], of which "
            f"{found.served_errors} found an error. [bold]The certificate is refused:[/] of the "
            f"{found.fallen_back} messages that were left {_none(found.accepted_after)} accepted "
            "without the LLM."
        )
        self._console.print(
            f"[dim]Such an alarm is false in at most {1 - certificate.confidence:.0%} of cases, "
            "however long one watches; for the messages of step 2, in random orders, "
            f"{found.false_alarms} times in {ORDERS}.[/]"
        )

    def end(self, seconds: float) -> None:
        """How long it took."""
        self._console.print(
            f"\n[dim]{seconds:.0f} seconds. For a skill of your own: "
            "hetagent calibrate MODULE:SKILL LABELLED.jsonl --out FILE[/]"
        )

    def _title(self, title: str, text: str) -> None:
        self._console.print(f"\n[bold]{title}[/]  {text}")


def _short(messages: Sequence[Message], label: str) -> str:
    """A message with this label that is short, and not the shortest; nothing where none is."""
    texts = [one.text for one in messages if one.labels["tone"] == label]
    return min(texts, key=lambda text: abs(len(text) - _LEGIBLE), default="")


def _none(count: int) -> str:
    return "none is" if count == 0 else f"{count} are"


def _verdict(low: float, high: float, allowed: float) -> str:
    if low > allowed:
        return f"[red]The {allowed:.0%} that are promised are below it: this speaks against it.[/]"
    if high <= allowed:
        return f"[green]All of it is within the {allowed:.0%} that are promised.[/]"
    return f"[green]The {allowed:.0%} that are promised are within it.[/]"
