"""`atdata import`: what one has as typed shards."""

from __future__ import annotations

import shlex
from typing import Any

import click

from atdata.cli.options import Number, Whole, file_names, json_option
from atdata.cli.output import facts, plural, say, say_json, size, table
from atdata.cli.ways import imported_type
from atdata.errors import UsageError
from atdata.files import disk_errors
from atdata.importers import Imported, Wanted, open_wanted, stem, type_name_of
from atdata.samples import fields_of
from atdata.shards.file_pattern import FilePattern


@click.command("import")
@click.argument(
    "path",
    shell_complete=file_names,
    help="A folder of images, a TIFF, CSV, JSON lines, Parquet, an .npz, an .h5ad, or shards.",
)
@click.option("--out", "-o", shell_complete=file_names, help="The shards to write: out/pics-%06d.tar, or a folder.")
@click.option("--type", "type_name", help="What to call the sample type; or module:Type, a type of yours.")
@click.option(
    "--layout",
    multiple=True,
    help="field=extension: a file for each field, as WebDataset has them; once for each field.",
)
@click.option("--maxcount", type=Whole(min=1), help="Most samples in a shard.")
@click.option("--maxsize", type=Number(min=1), help="Most bytes in a shard.")
@click.option("--manifest/--no-manifest", help="Write a manifest beside each shard.")
@click.option("--overwrite", is_flag=True, help="Replace the shards that are there.")
@click.option("--dry-run", is_flag=True, help="Show what would be written, and stop.")
@json_option
def import_(
    path: str,
    out: str | None,
    type_name: str | None,
    layout: tuple[str, ...],
    maxcount: int | None,
    maxsize: float | None,
    manifest: bool,
    overwrite: bool,
    dry_run: bool,
    json: bool,
) -> None:
    """Write what you have as typed shards on this machine: infers the sample type, and shows it. Needs no account."""
    if out is not None and not out.strip():
        raise UsageError("--out names no place", path="--out", actual=out, hint="Give a folder, or out/pics-%06d.tar.")
    files = dict(map(_assigned, layout)) or None
    imported = open_wanted(path, _wanted(path, type_name))
    if dry_run or out is None:
        _show(imported, json, {})
        if not json:
            say(
                "Nothing was written."
                + (
                    ""
                    if dry_run
                    else f" To write: atdata import {_typed(path)} -o {_typed(f'out/{stem(path)}-%06d.tar')}"
                )
            )
        return
    place = out if out.endswith(".tar") else f"{out.rstrip('/')}/{stem(path)}-%06d.tar"
    folder = FilePattern.of(place, limited=False).folder
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    written = imported.write(
        place, maxcount=maxcount, maxsize=maxsize, manifest=manifest, layout=files, overwrite=overwrite
    )
    datasets = written if isinstance(written, dict) else {"train": written}
    shards = [shard for dataset in datasets.values() for shard in dataset.shards]
    _show(imported, json, {"shards": [shard.url for shard in shards], "bytes": sum(s.size or 0 for s in shards)})
    if not json:
        say(f"✓ {plural(len(shards), 'shard')}, {size(sum(s.size or 0 for s in shards))}: {folder}", style="bold green")
        say(f"Look at them: atdata show {_typed(str(folder))}")
        say("Read them as what they are:")
        say()
        for part in imported.declaration.splitlines():
            say(f"    {part}")
        say()
        say(f'    atdata.load_dataset("{folder}", {imported.sample_type.__name__})')


def _wanted(path: str, named: str | None) -> Wanted:
    """The sample type that the command line names."""
    if named is None or ":" not in named:
        return Wanted(named or type_name_of(stem(path)))
    return Wanted.of(named.partition(":")[2], imported_type(named, "--type"), None)


def _typed(path: str) -> str:
    """A path as one types it in a shell."""
    return shlex.quote(f"./{path}" if path.startswith("-") else path)


def _assigned(text: str) -> tuple[str, str]:
    name, sign, extension = text.partition("=")
    if not sign:
        raise UsageError("a layout is malformed", path="--layout", expected="field=jpg|png", actual=text)
    return name, extension


def _show(imported: Imported, json: bool, written: dict[str, Any]) -> None:
    fields = {each.name: str(each.type) for each in fields_of(imported.sample_type)}
    if json:
        say_json(
            {
                "source": imported.kind,
                "type": imported.sample_type.__name__,
                "fields": fields,
                "samples": imported.count,
                "splits": dict(imported.splits),
                "notes": list(imported.notes),
                **written,
            }
        )
        return
    say(f"{imported.kind}: {plural(imported.count, 'sample')}", style="bold")
    table(["field", "type"], list(fields.items()))
    for note in imported.notes:
        say(f"note: {note}", style="yellow")
    splits = ", ".join(f"{name}: {plural(count, 'sample')}" for name, count in imported.splits.items())
    facts({"sample type": imported.sample_type.__name__, "splits": splits})
