"""The commands and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hetagent.cli import convert, curate, select, tune, watch
from hetagent.cli.bundle import bundle_skills
from hetagent.cli.calibrate import EPILOG, calibrate
from hetagent.cli.models import app as models_app
from hetagent.cli.options import (
    AdapterOption,
    EscalateOption,
    JsonOption,
    LlmOption,
    RecordsOption,
    SlmOption,
    ValueOption,
)
from hetagent.cli.records import app as records_app
from hetagent.cli.redaction import KeepTextOption, PatternOption, RedactionOption, redact, told
from hetagent.cli.registry import app as registry_app
from hetagent.cli.registry import rollback
from hetagent.cli.workloads import app as workloads_app

__all__ = ["app"]

app = typer.Typer(
    name="hetagent",
    help="Typed skills on small language models, with an LLM only where they are not sure.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(models_app, name="models")
app.add_typer(workloads_app, name="workloads")
app.add_typer(records_app, name="records")
app.add_typer(registry_app, name="registry")


@app.callback(invoke_without_command=True)
def version_option(
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Typed skills on small language models, with an LLM only where they are not sure."""
    if version:
        from hetagent import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.command()
def run(
    skill: Annotated[
        str, typer.Argument(help="Where it is, as MODULE:NAME; with --registry also its name.")
    ],
    *,
    text: Annotated[
        str | None, typer.Option("--input", help="One input: text, or JSON for other types.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="JSON lines, one input a line; - for stdin.")
    ] = None,
    slm: SlmOption = None,
    adapter: AdapterOption = None,
    llm: LlmOption = None,
    threshold: Annotated[
        float | None, typer.Option(help="Confidence below which to escalate; default: 0.9.")
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(help="Accept what this certificate vouches for; see hetagent calibrate."),
    ] = None,
    registry: Annotated[
        Path | None,
        typer.Option("--registry", help="Run what this registry or bundle is switched to."),
    ] = None,
    value_of_correct_usd: ValueOption = None,
    escalate: EscalateOption = "whole",
    timeout: Annotated[
        float | None, typer.Option(help="Seconds a model call may take, its turn's wait included.")
    ] = None,
    log: Annotated[
        Path | None, typer.Option("--log", help="Append outcomes, without texts, to this file.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say in words why each answer is what it is.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a skill on one input, or on each line of a file."""
    from hetagent.cli.run import run_skill

    code = run_skill(
        skill,
        text=text,
        file=file,
        slm=slm,
        adapters=adapter,
        llm=llm,
        threshold=threshold,
        certificate=certificate,
        registry=registry,
        value_of_correct_usd=value_of_correct_usd,
        escalate=escalate,
        timeout=timeout,
        log=log,
        explain=explain,
        as_json=as_json,
    )
    raise typer.Exit(code)


app.command(epilog=EPILOG)(calibrate)
app.command(epilog=select.EPILOG)(select.select)
app.command(epilog=tune.EPILOG)(tune.tune)
app.command("bundle")(bundle_skills)
app.command("convert", epilog=convert.EPILOG)(convert.convert_workload)
app.command("watch", epilog=watch.EPILOG)(watch.watch_skills)
app.command("curate", epilog=curate.EPILOG)(curate.curate_records)
app.command()(redact)
app.command()(rollback)


@app.command()
def report(
    *,
    certificate: Annotated[
        list[Path] | None, typer.Option("--certificate", help="A certificate, or a folder of them.")
    ] = None,
    log: Annotated[
        list[Path] | None, typer.Option("--log", help="A log, as Orchestrator(log=...) writes it.")
    ] = None,
    audits: Annotated[
        list[Path] | None, typer.Option("--audits", help="The state of audits, as JSON.")
    ] = None,
    workloads: Annotated[
        Path | None,
        typer.Option("--workloads", help="A folder, as hetagent workloads --save writes it."),
    ] = None,
    records: RecordsOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The page; report.html unless told.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write one HTML page: what certificates promise, what came of it, and what calls repeat.

    Workloads are those found before in a store of records, or those of a file of them. With
    nothing given they are those of the default store.
    """
    from hetagent.cli.report import run_report

    run_report(
        certificates=certificate or [],
        logs=log or [],
        audits=audits or [],
        workloads=workloads,
        records=records,
        out=out,
        as_json=as_json,
    )


@app.command()
def demo(
    *,
    certify: Annotated[
        bool, typer.Option("--certify", help="Certify a skill, check it, and see it refused.")
    ] = False,
    slm: SlmOption = None,
    llm: LlmOption = None,
    no_llm: Annotated[bool, typer.Option("--no-llm", help="Run the small model alone.")] = False,
    file: Annotated[
        Path | None, typer.Option("--input", help="Your own messages: text or JSON lines.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first messages.", min=1)] = None,
    threshold: Annotated[float | None, typer.Option(help="One threshold for all skills.")] = None,
    escalate: EscalateOption = "whole",
    as_json: JsonOption = False,
) -> None:
    """Three skills over the messages a restaurant gets: who served what, how surely, how fast.

    With --certify: what a certificate promises for another skill, a check of it on messages kept
    apart, and another mix of messages under which it is refused. It takes --slm and --json.
    """
    from hetagent.cli.certify import run_certify
    from hetagent.cli.demo import run_demo

    if certify:
        others = {
            "--llm": llm, "--no-llm": no_llm or None, "--input": file, "--limit": limit,
            "--threshold": threshold,
        }  # fmt: skip
        given = [name for name, value in others.items() if value is not None]
        run_certify(slm=slm, others=given, as_json=as_json)
        return
    run_demo(
        slm=slm,
        llm=llm,
        no_llm=no_llm,
        file=file,
        limit=limit,
        threshold=threshold,
        escalate=escalate,
        as_json=as_json,
    )


@app.command()
def doctor(
    *,
    model: Annotated[
        str | None, typer.Option("--model", help="Decode with this model; default: the small one.")
    ] = None,
    gpu_layers: Annotated[int, typer.Option(help="Layers to try on the GPU; -1 for all.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Say whether models run on this machine, and what to do where they do not."""
    from hetagent.cli.doctor import run_doctor

    healthy = run_doctor(model, gpu_layers=gpu_layers, as_json=as_json)
    raise typer.Exit(0 if healthy else 1)


@app.command()
def serve(
    *,
    upstream: Annotated[
        str | None, typer.Option(help="An OpenAI-compatible API, e.g. https://api.openai.com/v1.")
    ] = None,
    azure: Annotated[str | None, typer.Option(help="An Azure OpenAI endpoint.")] = None,
    anthropic: Annotated[
        str | None, typer.Option(help="Anthropic's API, https://api.anthropic.com, or one like it.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="A local or LiteLLM model, by its name or as ALIAS=NAME; *=NAME for all."
        ),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(
            help="Tokens of prompt and answer that a local model holds; default: 4096.", min=1
        ),
    ] = None,
    own_keys: Annotated[
        bool,
        typer.Option("--own-keys", help="Send this environment's API keys, not the callers'."),
    ] = False,
    price: Annotated[
        str | None, typer.Option(help="US dollars for a million tokens: PROMPT,COMPLETION.")
    ] = None,
    trainable: Annotated[
        Literal["trainable", "no-train", "unknown"] | None,
        typer.Option(help="Whether the answers may train another model; default: by its licence."),
    ] = None,
    records: Annotated[
        str | None, typer.Option(help="Where records go: a file, or a postgresql:// address.")
    ] = None,
    record: Annotated[bool, typer.Option(help="Whether calls are recorded.")] = True,
    redaction: RedactionOption = None,
    keep_text: KeepTextOption = None,
    pattern: PatternOption = None,
    workloads: Annotated[
        str | None,
        typer.Option(
            help="Assign calls as they are recorded to the workloads in this folder, or to those "
            "found in the store: --workloads store."
        ),
    ] = None,
    convert: Annotated[
        bool,
        typer.Option(
            "--convert", help="Answer calls of converted workloads with their small models."
        ),
    ] = False,
    registry: Annotated[
        Path | None,
        typer.Option(
            help="For --convert, its folder; default: $HETAGENT_REGISTRY, else your own.",
            show_default=False,
        ),
    ] = None,
    slm_timeout: Annotated[
        float,
        typer.Option(help="Seconds a small model may take before a call goes on.", min=0.001),
    ] = 10,
    keys: Annotated[
        Path | None, typer.Option(help="The gateway's own keys; without, everyone is let in.")
    ] = None,
    new_key: Annotated[
        str | None, typer.Option(metavar="NAME", help="Make a key, add it to --keys, and stop.")
    ] = None,
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The same.", min=1, max=65535)] = 8765,
    open_to_all: Annotated[
        bool, typer.Option("--open", help="Listen beyond this machine without keys.")
    ] = False,
    body_mb: Annotated[float, typer.Option(help="The largest request, in MiB.", min=0.001)] = 64,
    timeout: Annotated[
        float, typer.Option(help="Seconds an upstream may be silent.", min=0.001)
    ] = 600,
    as_json: JsonOption = False,
) -> None:
    """Serve an endpoint that an agent is pointed at by its base URL, and record what it asks.

    Requests and answers go through unchanged, streams as they come. What cannot be recorded is
    counted, and costs no call. With --convert, workloads that `hetagent convert` has promoted are
    answered by their small models where these are sure.
    """
    from hetagent.cli.serve import make_key, run_serve
    from hetagent.cli.serve_converted import conversions_of

    if new_key is not None:
        make_key(keys, new_key, as_json=as_json)
        return
    given = (("openai", upstream), ("azure", azure), ("anthropic", anthropic))
    run_serve(
        http=[(api, url) for api, url in given if url],  # type: ignore[misc]
        models=model or [],
        context=context,
        own_keys=own_keys,
        price=price,
        trainable=trainable,
        records=records,
        record=record,
        redaction=told(redaction, keep=keep_text, patterns=pattern),
        workloads=workloads,
        conversions=conversions_of(registry, convert=convert, timeout=slm_timeout),
        keys=keys,
        host=host,
        port=port,
        open_to_all=open_to_all,
        body_mb=body_mb,
        timeout=timeout,
        as_json=as_json,
    )
