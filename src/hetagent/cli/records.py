"""``hetagent records``: its commands, by name."""

from __future__ import annotations

import typer

from hetagent.cli import records_io, records_keep, records_read

__all__ = ["app"]

app = typer.Typer(
    name="records",
    help="The calls that were recorded: list, show, sum up, import, export, erase; their keys.",
    no_args_is_help=True,
)
app.command("init")(records_keep.init_store)
app.command("list")(records_read.list_records)
app.command("show")(records_read.show_record)
app.command("count")(records_read.count_records)
app.command("summary")(records_read.sum_up)
app.command("import", epilog=records_io.formats_epilog())(records_io.import_records)
app.command("export", epilog=records_io.exports_epilog())(records_io.export_records)
app.command("forget")(records_keep.forget_client)
app.command("retain")(records_keep.retain_records)
app.command("pseudonym")(records_keep.print_pseudonym)
app.command("keys")(records_keep.list_keys)
app.command("rotate-key")(records_keep.rotate_key)
app.command("new-key")(records_keep.print_new_key)
app.command("roles")(records_keep.print_roles)
