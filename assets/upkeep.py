"""The commands that keep a place in order: doctor, prune."""

import json

import click

from assets.terminal import as_json, plain_errors, size
from pipeline.store import Store


@click.command()
@click.option("--yes", is_flag=True, help="Delete without asking.")
@as_json
@plain_errors
def prune(yes: bool, as_json: bool) -> None:
    """Deletes what no version file leads to any more, and what killed runs left behind.

    With --json and without --yes it only tells.
    """
    from assets.prune import stale

    store = Store.at()
    found = list(stale(store))
    if as_json:
        click.echo(json.dumps([{"path": path, "bytes": count} for path, count in found], indent=1))
    elif not found:
        click.echo("Nothing to prune.")
    if not found or (as_json and not yes):
        return
    for path, count in found if not as_json else ():
        click.echo(f"{size(count):>10}  {path}")
    total = size(sum(count for _, count in found))
    if yes or click.confirm(f"Delete these {len(found)} folders ({total})?"):
        for path, _ in found:
            store.files.delete_dir(path)
        click.echo(f"Deleted {len(found)} folders, {total}.", err=as_json)
