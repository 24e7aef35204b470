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
@click.option("--turns", is_flag=True, help="Also turns of policies that no version file names.")
@as_json
@plain_errors
def prune(yes: bool, turns: bool, as_json: bool) -> None:
    """Deletes what no version file leads to any more, and what killed runs left behind.

    Turns that were asked for and paid are kept, unless --turns says otherwise. With --json and
    without --yes it only tells.
    """
    from assets.prune import stale
    from assets.turns import forget, named, unled

    store = Store.at()
    found, held = list(stale(store)), unled(store) if turns else []
    if as_json:
        told = [{"path": path, "bytes": count} for path, count in found]
        told += [{"turns": named(one), "bytes": one.bytes} for one in held]
        click.echo(json.dumps(told, indent=1))
    elif not found and not held:
        click.echo("Nothing to prune.")
    if not (found or held) or (as_json and not yes):
        return
    if not as_json:
        for path, count in found:
            click.echo(f"{size(count):>10}  {path}")
        for one in held:
            click.echo(f"{size(one.bytes):>10}  {one.turns:,} turns of {named(one)}")
    total = size(sum(count for _, count in found) + sum(one.bytes for one in held))
    what = f"{len(found)} folders" + (f" and the turns of {len(held)} policies" if held else "")
    if yes or click.confirm(f"Delete these {what} ({total})?"):
        for path, _ in found:
            store.files.delete_dir(path)
        if held:
            forget(store, held)
        click.echo(f"Deleted {what}, {total}.", err=as_json)
