"""The commands that look at what was made: look, gallery, results, status, diff."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from assets.gallery import STAGES
from assets.terminal import as_json, plain_errors, size, table
from pipeline.store import Store, StoreError
from pipeline.versions import VersionError, load, names


@click.command()
@click.argument("version")
@click.argument("asset", type=click.Choice(["cold_set", "reflective_set"]))
@click.option("--reason", default="", help="A reason of drops, as `drawloop status` counts them.")
@click.option("-n", "count", default=5, show_default=True, help="Trajectories.")
@plain_errors
def look(version: str, asset: str, reason: str, count: int) -> None:
    """Some trajectories of a set of VERSION, with pictures: those kept, or dropped for a reason."""
    from assets.build import find
    from assets.look import look as looked_at

    chosen, store = load(version), Store.at()
    built = find(asset, chosen, store)
    if built is None:
        raise StoreError(f"{version} has no {asset} yet: drawloop build {version} --sets")
    for line in looked_at(built, reason, count, store.desk / "look" / version / (reason or "kept")):
        click.echo(line)


@click.command()
@click.argument("version")
@click.option("--to", "folder", type=click.Path(path_type=Path), help="Where; else in the data.")
@click.option(
    "--stage", "stages", multiple=True, type=click.Choice([*STAGES]), help="Only this; repeatable."
)
@click.option(
    "--beside", metavar="VERSION", help="Another version, to see what it makes of a problem."
)
@click.option("--limit", default=0, type=click.IntRange(0), help="Trajectories of a stage; 0: all.")
@as_json
@plain_errors
def gallery(
    version: str,
    folder: Path | None,
    stages: tuple[str, ...],
    beside: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """A page to look at every trajectory of VERSION with, and to accept or reject it by hand.

    Open its index.html in a browser; it needs no server. What is not built yet is left out.
    """
    from assets.exhibit import exhibit

    store = Store.at()
    place = store.desk / "galleries" / (f"{version}-beside-{beside}" if beside else version)
    chosen = [load(name) for name in (version, *([beside] if beside else []))]
    made = exhibit(chosen, store, stages or tuple(STAGES), limit, (folder or place).absolute())
    if as_json:
        click.echo(json.dumps({**asdict(made), "page": str(made.page)}, indent=1))
        return
    for missing in made.missing:
        click.echo(f"not built yet, and left out: {missing}", err=True)
    click.echo(f"{made.shown:,} trajectories: {made.page.as_uri()}")


@click.command()
@click.argument("version")
@click.option("--json", "as_json", is_flag=True, help="For a script: every row of the summary.")
@plain_errors
def results(version: str, as_json: bool) -> None:
    """How the models of VERSION do, where its evaluation is built: tables, and a plot."""
    from assets.build import find
    from assets.results import accuracies, by_part, every_model
    from pipeline.images import png

    chosen, store = load(version), Store.at()
    built = find("evaluation", chosen, store)
    if built is None:
        raise StoreError(f"{version} has no evaluation yet: drawloop build {version}")
    summary = list(built.rows("summary"))
    if as_json:
        click.echo(json.dumps(summary, indent=1))
        return
    asked = chosen.evaluation.samples
    click.echo(f"{version}: {asked} samples at temperature {chosen.evaluation.temperature:g}\n")
    for head, lines in (every_model(summary), by_part(summary)):
        if lines:
            table(head, lines)
            click.echo("")
    if every_model(summary)[1]:
        plot = store.desk / "results" / f"{version}.png"
        plot.parent.mkdir(parents=True, exist_ok=True)
        plot.write_bytes(png(accuracies(summary)))
        click.echo(f"Accuracy with 95 % intervals: {plot}")


@click.command()
@click.argument("versions", nargs=-1)
@click.option("--verify", is_flag=True, help="Compare the hash of every part, not only its size.")
@as_json
@plain_errors
def status(versions: tuple[str, ...], verify: bool, as_json: bool) -> None:
    """What is in the store of the given VERSIONS (all, if none is given), and where."""
    from assets.costs import spent
    from assets.report import sources
    from assets.status import state
    from assets.turns import told as turns_told

    store, refused = Store.at(), []
    told: dict[str, list[dict[str, Any]]] = {}
    for name in versions or names():
        try:
            told[name] = list(state(load(name), store, verify))
        except VersionError as error:
            refused.append(str(error))
    if as_json:
        click.echo(json.dumps([line for lines in told.values() for line in lines], indent=1))
    else:
        for name, lines in told.items():
            click.echo(f"{name}, in {store.root}:\n")
            head = ("asset", "rows in", "kept", "bytes", "where", "dropped by reason")
            table(head, [_status_row(line, store.root) for line in lines])
            for line in lines:
                if line.get("spent"):
                    click.echo(spent(line))
            click.echo("")
            for line in lines:
                if "imports" in line:
                    table(*sources(line))
                    click.echo("")
        if kept := turns_told(store):
            click.echo(f"turns kept: {kept}")
    if refused:
        raise VersionError("\n".join(refused))


def _status_row(facts: dict[str, Any], root: str) -> tuple[str, ...]:
    if facts["state"] != "complete":
        return (facts["asset"], "–", "–", "–", facts["state"], "")
    dropped = ", ".join(f"{reason} {count}" for reason, count in facts["dropped"].items())
    came_in = facts["kept"] + sum(facts["dropped"].values())
    where, held = facts["path"].removeprefix(root + "/"), size(facts["bytes"])
    return (facts["asset"], str(came_in), str(facts["kept"]), held, where, dropped)


@click.command("diff")
@click.argument("a")
@click.argument("b")
@click.option("--json", "as_json", is_flag=True, help="For a script: all of it.")
@plain_errors
def differ(a: str, b: str, as_json: bool) -> None:
    """What A and B differ in: settings, problems, kept and dropped by reason, distributions.

    Each is a version, a path to a version file, or a build: an asset's address, or how it starts, as
    `drawloop status` prints it.
    """
    from assets.diff import diff
    from assets.sections import sections
    from assets.sides import side

    store = Store.at()
    found = diff(side(a, store), side(b, store), store)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=1, ensure_ascii=False))
        return
    for section in sections(found):
        click.echo(section.title)
        if section.lines:
            click.echo("")
            table(section.head, section.lines)
        for note in section.notes:
            click.echo(note)
        click.echo("")
