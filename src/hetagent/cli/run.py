"""``hetagent run``: a skill of the user's own, on one input or on a file."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast

from hetagent.certified import Certified
from hetagent.cli.options import INTERRUPTED, model_named
from hetagent.errors import CertificateError, InputError, RegistryError, SkillError
from hetagent.models.catalog import DEFAULT_SLM
from hetagent.orchestrator import Orchestrator
from hetagent.outcome import Outcome
from hetagent.policy import Policy, Threshold
from hetagent.skill import Skill

__all__ = ["find_function", "find_skill", "json_lines", "run_skill"]

_THRESHOLD = 0.9


def run_skill(
    reference: str,
    *,
    text: str | None,
    file: Path | None,
    slm: str | None,
    adapters: Sequence[Path] | None,
    llm: str | None,
    threshold: float | None,
    certificate: Path | None,
    registry: Path | None,
    value_of_correct_usd: float | None,
    escalate: Literal["whole", "fields"],
    timeout: float | None,
    log: Path | None,
    explain: bool,
    as_json: bool,
) -> int:
    """Run a skill and print its outcomes; returns the exit code, 1 where an input got no value.

    Raises:
        SkillError: There is no such skill.
        InputError: There is no input, a line is not JSON, or options do not go together.
        RegistryError: Nothing in the registry serves the skill.
        CertificateError: The certificate cannot be read, or is of another skill.
        StaleCertificate: It was made for another model, prompt or type.
    """
    if registry is not None:
        _check_alone(
            {"--slm": slm, "--adapter": adapters or None, "--threshold": threshold,
             "--certificate": certificate, "--value-of-correct-usd": value_of_correct_usd}
        )  # fmt: skip
    found = _registered(reference, registry) if registry is not None else find_skill(reference)
    if (text is None) == (file is None):
        raise InputError(
            "Nothing to run on." if text is None else "Both --input and --file were given.",
            hint="Give --input TEXT, or --file ROWS.jsonl with one JSON value a line.",
        )
    rows = [_one_input(found, text)] if text is not None else [row for _, row in json_lines(file)]
    policy = _policy(found, threshold, certificate, escalate, value=value_of_correct_usd)
    agent = Orchestrator(
        found.model or model_named(slm or DEFAULT_SLM, adapters=adapters)
        if registry is None
        else None,
        registry=registry,
        llm=model_named(llm) if llm else None,
        policy=policy,
        escalate=escalate,
        timeout=timeout,
        log=log,
    )
    outcomes = agent.map(found, rows)
    if as_json:
        for outcome in outcomes:
            facts = outcome.to_dict() | ({"explanation": outcome.explain()} if explain else {})
            sys.stdout.write(json.dumps(facts, ensure_ascii=False) + "\n")
    elif explain:
        sys.stdout.write("\n\n".join(outcome.explain() for outcome in outcomes) + "\n")
    else:
        _print(rows, outcomes)
    if any(outcome.reason == "cancelled" for outcome in outcomes):
        return INTERRUPTED
    return int(any(outcome.served_by == "none" for outcome in outcomes))


def find_skill(reference: str) -> Skill[Any, Any]:
    """Import a skill named ``module:name``; modules of the current folder are found too.

    Raises:
        SkillError: There is none.
    """
    module, name, found = _imported(reference, "skill")
    if not isinstance(found, Skill):
        skills = sorted(key for key, value in vars(module).items() if isinstance(value, Skill))
        raise SkillError(
            f"{module.__name__} has no skill {name!r}.",
            hint=f"It has {', '.join(skills)}." if skills else "It has none: put @skill on one.",
        )
    return found


def _registered(reference: str, registry: Path) -> Skill[Any, Any]:
    """A skill that something in a registry serves: declared in code, or known by its name alone."""
    from hetagent.registry import Registry

    known = Registry(registry)
    if ":" not in reference:
        from hetagent.learn.bundle import skill_of

        return skill_of(known, reference)
    found = find_skill(reference)
    if known.state(found.name) is None:
        raise RegistryError(
            f"There is no skill {found.name!r} in {known.folder}.",
            hint="`hetagent registry` lists the skills it knows.",
        )
    return found


def _check_alone(others: Mapping[str, object]) -> None:
    """Refuse options for what the registry already says."""
    if given := [name for name, value in others.items() if value is not None]:
        raise InputError(
            f"--registry was given, and {', '.join(given)}.",
            hint="A binding has a model and thresholds of its own: leave one of them out.",
        )


def find_function(reference: str) -> Callable[..., Any]:
    """Import a function named ``module:name``, as `find_skill` does a skill.

    Raises:
        SkillError: There is none.
    """
    module, name, found = _imported(reference, "function")
    if not callable(found):
        raise SkillError(
            f"{module.__name__} has no function {name!r}.", hint="Write MODULE:NAME of one."
        )
    return cast(Callable[..., Any], found)


def _imported(reference: str, what: str) -> tuple[ModuleType, str, Any]:
    """A module, a name in it, and what has that name there; ``None`` where nothing has."""
    module_name, _, name = reference.partition(":")
    if not module_name or not name:
        raise SkillError(
            f"{reference!r} names no {what}.", hint="Write MODULE:NAME, e.g. inbox:intent."
        )
    path = Path(module_name)
    if path.suffix == ".py" and path.is_file():
        sys.path.insert(0, str(path.resolve().parent))
        module_name = path.stem
    else:
        sys.path.insert(0, "")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name.split(".", maxsplit=1)[0]:
            raise
        raise SkillError(
            f"There is no module {module_name!r} here.",
            hint="Run from the folder that holds it, or install it.",
        ) from error
    return module, name, getattr(module, name, None)


def _policy(
    found: Skill[Any, Any],
    threshold: float | None,
    certificate: Path | None,
    escalate: Literal["whole", "fields"],
    *,
    value: float | None,
) -> Policy:
    if certificate is None:
        if value is not None:
            raise InputError(
                "--value-of-correct-usd was given without a certificate.",
                hint="Make one with the same value: hetagent calibrate --ask-llm, and name it with "
                "--certificate.",
            )
        return Threshold(_THRESHOLD if threshold is None else threshold)
    if threshold is not None:
        raise InputError(
            "Both --threshold and --certificate were given.",
            hint="A certificate has thresholds of its own: leave --threshold out.",
        )
    # Whoever has single fields asked for wants single fields judged.
    policy = Certified(certificate, accept=escalate, value_of_correct_usd=value)
    if policy.certificate(found.name) is None:
        raise CertificateError(
            f"{certificate} certifies {', '.join(policy.certificates)}, not {found.name}.",
            hint="Make one for it: hetagent calibrate MODULE:NAME LABELLED.jsonl --out FILE.",
        )
    return policy


def _one_input(found: Skill[Any, Any], text: str) -> Any:
    """Text for a skill of one text; anything else is given as JSON."""
    if len(found.parameters) == 1 and found.takes_text:
        return text
    return _parse(text, "--input")


def json_lines(file: Path | None) -> Iterator[tuple[str, Any]]:
    """The place and value of each line of a file that is not empty; ``-`` is standard input.

    Raises:
        InputError: It cannot be read, or a line is not JSON.
    """
    if file is None:
        return
    try:
        with nullcontext(sys.stdin) if str(file) == "-" else file.open(encoding="utf-8") as source:
            lines = source.readlines()
    except (OSError, UnicodeError) as error:
        raise InputError(f"{file} cannot be read: {error}.", hint="Check the path.") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            place = f"line {number} of {file}"
            yield place, _parse(line, place)


def _parse(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(
            f"{place} is not JSON: {error}.",
            hint='Quote text as JSON does, e.g. "a table for two".',
        ) from error


def _print(rows: list[Any], outcomes: list[Outcome[Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from hetagent.cli.style import confidence_text, seconds_text, served_text, value_text

    table = Table(box=None, pad_edge=False)
    for name in ("input", "value", "confidence", "served by", "time"):
        table.add_column(name, justify="right" if name in ("confidence", "time") else "left")
    for row, outcome in zip(rows, outcomes, strict=True):
        shown = row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)
        table.add_row(
            Text(shown),
            value_text(outcome),
            confidence_text(outcome.confidence),
            served_text(outcome),
            seconds_text(outcome.seconds),
        )
    Console().print(table)
