"""Options that several commands share, and what they name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from hetagent.errors import ModelError
from hetagent.models.base import Model

__all__ = [
    "INTERRUPTED",
    "AdapterOption",
    "EscalateOption",
    "JsonOption",
    "LlmOption",
    "RecordsOption",
    "SlmOption",
    "StoreOption",
    "ValueOption",
    "model_named",
]

INTERRUPTED = 130
"""Exit code of an interrupted command, as shells have it for SIGINT."""

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SlmOption = Annotated[
    str | None, typer.Option("--slm", help="The small model: catalogue name, .gguf or .npz path.")
]
AdapterOption = Annotated[
    list[Path] | None,
    typer.Option("--adapter", help="LoRA weights over the small model, as hetagent tune writes."),
]
LlmOption = Annotated[
    str | None,
    typer.Option(
        "--llm", help="The LLM: catalogue name, .gguf path, or LiteLLM name like openai/gpt-5-mini."
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        help="A file or postgresql:// address; default: $HETAGENT_RECORDS, else the user's own.",
        show_default=False,
    ),
]
RecordsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--records",
        help="A store, a log that can be imported, or a Parquet export with text; several times "
        "if need be. Default: $HETAGENT_RECORDS, else the user's own store.",
        show_default=False,
    ),
]
EscalateOption = Annotated[
    Literal["whole", "fields"], typer.Option(help="Ask the LLM for all, or for weak fields only.")
]
ValueOption = Annotated[
    float | None,
    typer.Option(
        "--value-of-correct-usd",
        help="What a right answer is worth, in US dollars: escalate where that pays.",
    ),
]


def model_named(
    reference: str, *, context: int | None = None, adapters: Sequence[Path] | None = None
) -> Model:
    """The model that an option names: a local one where it can be, else one of LiteLLM's.

    Args:
        reference: What the option says.
        context: Tokens of prompt and answer together that a local model holds; its default unless
            told.
        adapters: LoRA weights over a local model.

    Raises:
        ModelError: There is no such model, or it is none that takes adapters.
    """
    from hetagent.models.litellm import LiteLLM
    from hetagent.models.llamacpp import DEFAULT_CONTEXT, LlamaCpp

    # LiteLLM names have a provider before a slash; so do files on the hub, which end in .gguf.
    local = (
        "/" not in reference
        or re.search(r"\.gguf(@\w+)?$", reference) is not None
        or reference.startswith("hf://")
    )
    if reference.endswith(".npz") and not adapters:
        from hetagent.learn.select.classifier import Classifier

        return Classifier.load(reference)
    # A command is a new process each time, which need not evaluate the same prompts anew.
    if local:
        return LlamaCpp(
            reference,
            context=context or DEFAULT_CONTEXT,
            store_prefixes=True,
            adapters=adapters or (),
        )
    if adapters:
        raise ModelError(
            f"{reference} is no local model, and takes no adapter.",
            hint="Name a catalogue name or a .gguf path.",
        )
    return LiteLLM(reference)
