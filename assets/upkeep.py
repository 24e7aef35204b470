"""The commands that keep a place in order: doctor, prune."""

import json
import sys
from dataclasses import asdict

import click

from assets.terminal import as_json, plain_errors, size
from pipeline.store import Store


@click.command()
@as_json
@plain_errors
def doctor(as_json: bool) -> None:
    """Whether this machine is ready, and what to do where it is not. Exit code 1 if it is not."""
    from assets.doctor import OK, PROBLEM, examine

    found = list(examine())
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in found], indent=1))
    else:
        for finding in found:
            click.echo(f"{finding.state:<8} {finding.what}: {finding.seen}")
            if finding.state != OK and finding.remedy:
                click.echo(f"         → {finding.remedy}")
    if any(finding.state == PROBLEM for finding in found):
        sys.exit(1)


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
