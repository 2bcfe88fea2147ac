"""``hetagent calibrate``: certifies a skill of the user's own on labelled examples."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hetagent.cli.options import AdapterOption, JsonOption, LlmOption, SlmOption, ValueOption
from hetagent.errors import InputError, SkillError
from hetagent.models.catalog import DEFAULT_SLM

if TYPE_CHECKING:
    from hetagent.calibrate.certificate import Certificate
    from hetagent.skill import Skill

__all__ = ["EPILOG", "calibrate", "labelled"]

EPILOG = (
    'A line of the file is {"input": ..., "label": ...} or [input, label]. The input is a row as '
    "hetagent run takes it; the label is a value that the skill could answer, or an object of some "
    "fields of a record. The examples must be drawn like the inputs to come, and none of them may "
    "be among the skill's own examples. Exit codes: 0 the whole value or at least one field is "
    "certified; 1 nothing could be; 2 it could not be measured; 130 interrupted."
)
"""What the help ends with."""

_SHAPE = 'Write a JSON object a line: {"input": "a table for two", "label": "book"}.'


def calibrate(
    skill: Annotated[str, typer.Argument(help="Where the skill is, as MODULE:NAME.")],
    file: Annotated[Path, typer.Argument(help="Labelled JSON lines; - for stdin.")],
    *,
    max_error: Annotated[
        float, typer.Option("--max-error", help="Error rate to keep among accepted answers.")
    ] = 0.05,
    confidence: Annotated[
        float, typer.Option("--confidence", help="How surely it is to be kept.")
    ] = 0.95,
    slm: SlmOption = None,
    adapter: AdapterOption = None,
    llm: LlmOption = None,
    ask_llm: Annotated[
        bool,
        typer.Option(
            "--ask-llm", help="Have --llm answer every example too: how often is it right?"
        ),
    ] = False,
    value_of_correct_usd: ValueOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the certificate to this .json file.")
    ] = None,
    fit_share: Annotated[
        float | None,
        typer.Option(
            "--fit-share",
            help="Share of the examples that fits; others certify. [a quarter or less]",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the split.")] = 0,
    correct: Annotated[
        str | None,
        typer.Option(
            "--correct", help="Judges answer and label, as MODULE:FUNCTION; default: equality."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find out on labelled examples when the small model may be trusted, and certify it.

    It prints the certificate, or why nothing can be promised and how many labels would do. Run by
    it with: hetagent run MODULE:NAME --certificate FILE
    """
    from hetagent.calibrate.fitting import require_installed
    from hetagent.cli.options import model_named
    from hetagent.cli.run import find_function, find_skill
    from hetagent.orchestrator import Orchestrator

    require_installed()
    found = find_skill(skill)
    judge = find_function(correct) if correct else None
    _check_asked(llm, ask_llm=ask_llm, value=value_of_correct_usd)
    _check_folder(out)
    examples = labelled(found, file)
    agent = Orchestrator(
        found.model or model_named(slm or DEFAULT_SLM, adapters=adapter),
        llm=model_named(llm) if llm else None,
    )
    certificate = agent.calibrate(
        found,
        examples,
        max_error=max_error,
        confidence=confidence,
        correct=judge,
        fit_share=fit_share,
        seed=seed,
        ask_llm=ask_llm,
        value_of_correct_usd=value_of_correct_usd,
    )
    if out is not None:
        certificate.save(out)
    if as_json:
        # A certificate may have more keys, so that this can be kept as one too.
        facts = {"id": certificate.id, "coverage": certificate.coverage, **certificate.to_dict()}
        sys.stdout.write(json.dumps(facts, ensure_ascii=False) + "\n")
    else:
        _print(certificate, out)
    certified = any(part.threshold is not None for part in certificate.parts.values())
    raise typer.Exit(0 if certified else 1)


def labelled(skill: Skill[Any, Any], file: Path) -> list[tuple[Any, Any]]:
    """Pairs of input and label, each tried on the skill before any model runs.

    Raises:
        InputError: A line does not fit; the message names it.
    """
    from hetagent.calibrate.correctness import label_of
    from hetagent.cli.run import json_lines

    found = []
    for place, row in json_lines(file):
        if isinstance(row, dict) and {"input", "label"} <= row.keys():
            given, label = row["input"], row["label"]
        elif isinstance(row, list) and len(row) == 2:
            given, label = row
        else:
            raise InputError(f"{place} has no input and label.", hint=_SHAPE)
        try:
            args, kwargs = skill.bind_row(given)
            skill.request(*args, **kwargs)
            label_of(skill.output, label)
        except (InputError, SkillError) as error:
            raise InputError(
                f"{place} does not fit {skill.name}: {error.message}", hint=error.hint or _SHAPE
            ) from error
        found.append((given, label))
    if not found:
        raise InputError(f"{file} has no examples.", hint=_SHAPE)
    return found


def _check_asked(llm: str | None, *, ask_llm: bool, value: float | None) -> None:
    """Refuse options that do nothing without another one.

    Raises:
        InputError: There are such.
    """
    if ask_llm and llm is None:
        raise InputError("--ask-llm has no LLM to ask.", hint="Name it: --llm openai/gpt-5-mini.")
    for name, given in (("--llm", llm), ("--value-of-correct-usd", value)):
        if given is not None and not ask_llm:
            raise InputError(
                f"{name} was given, but no LLM is asked.",
                hint="Give --llm and --ask-llm; the LLM then answers every example, at its price.",
            )


def _check_folder(out: Path | None) -> None:
    """Refuse before the work what could not be written after it."""
    if out is not None and not out.absolute().parent.is_dir():
        raise InputError(
            f"There is no folder {out.absolute().parent}.", hint="Make it, or name another --out."
        )


def _print(certificate: Certificate, out: Path | None) -> None:
    from rich.console import Console

    from hetagent.cli.certificate import counts, parts_table, refusals

    console = Console(highlight=False)
    console.print(f"{certificate.skill}: {counts(certificate)}", markup=False)
    console.print(parts_table(certificate))
    for sentence in refusals(certificate):
        console.print(sentence, markup=False)
    if len(refusals(certificate)) < len(certificate.parts):
        console.print(certificate.guarantee, markup=False)
    if certificate.escalation is not None:
        console.print(certificate.escalation.explain(), markup=False)
    if out is None:
        console.print("Nothing was written: --out FILE keeps the certificate.", style="dim")
    else:
        console.print(f"Written to {out} as {certificate.id}.", markup=False)
