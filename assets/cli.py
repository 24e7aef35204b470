"""``drawloop``: thin doors to what Dagster and the pipeline do."""

import fcntl
import json
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import Any

import click

from assets.terminal import size as _size
from assets.terminal import table as _table
from pipeline.policies import MODELS
from pipeline.store import Store, StoreError
from pipeline.teachers import NoBackend
from pipeline.versions import VersionError, load, names

HOME = Path(__file__).parent.parent


def plain_errors(command: Callable[..., None]) -> Callable[..., None]:
    """What a user can mend is one line and exit code 2; our own faults keep their traceback."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        from pipeline.exporters.files import ExportError
        from pipeline.exporters.told import FamilyMismatch
        from pipeline.external import ExternalError
        from pipeline.failing import TooManyFailures
        from pipeline.models import GridMismatch
        from pipeline.problems import NotEnough
        from pipeline.skills import GoldError

        refused = (
            VersionError,
            StoreError,
            NoBackend,
            NotEnough,
            GoldError,
            ExternalError,
            ExportError,
            FamilyMismatch,
            GridMismatch,
            TooManyFailures,
            OSError,
        )
        try:
            command(*args, **kwargs)
        except refused as error:
            click.echo(f"drawloop: {error}", err=True)
            sys.exit(2)

    return wrapped


@click.group()
def main() -> None:
    """Data for models that think by drawing: list, plan, try, build, look, results, status, diff,
    export, prune."""


@main.command("list")
@plain_errors
def list_versions() -> None:
    """The dataset versions, and what each is made of."""
    refused = []
    for name in names():
        try:
            version = load(name)
        except VersionError as error:
            refused.append(str(error))
            continue
        asked = version.problems
        mix = ", ".join([*asked.tasks, *asked.sources, *asked.imports])
        click.echo(f"{name}: {sum(version.problems.splits.values()):,} problems ({mix})")
        click.echo(f"    {version.description}")
    if refused:
        raise VersionError("\n".join(refused))


@main.command()
@click.argument("version")
@click.option("--measure", default=0, metavar="N", help="Ask the real policies about N problems.")
@click.option("--json", "as_json", is_flag=True, help="For a script.")
@plain_errors
def plan(version: str, measure: int, as_json: bool) -> None:
    """What VERSION will take: problems, trajectories, tokens, pictures, storage. Runs nothing big.

    With --measure also tokens, time and cost as a few problems take them; a build does not ask for
    their turns again."""
    from assets.terminal import measured_table, planned_table
    from pipeline.measuring import measure as measured
    from pipeline.plan import plan as planned

    chosen = load(version)
    lines = list(planned(chosen))
    asked = list(measured(chosen, Store.at(), measure)) if measure > 0 else []
    if as_json:
        told = [asdict(line) for line in lines]
        both = {"planned": told, "measured": [asdict(line) for line in asked]}
        click.echo(json.dumps(both if measure > 0 else told, indent=1))
        return
    click.echo(f"{chosen.name}: {chosen.description}\n")
    _table(*planned_table(lines))
    total = sum(line.bytes for line in lines)
    click.echo(f"\nExports embed the pictures again: at most another {_size(total)}.")
    click.echo("Tokens and sizes are estimates from a few measured samples of each stage.")
    if chosen.trains:
        trained = ", ".join(model for model in MODELS if chosen.is_trained(model))
        click.echo(f"Trained here: {trained}. The time that takes is the trainers', and not told.")
    if measure > 0:
        click.echo("")
        _table(*measured_table(asked))
    if missing := sorted({line.policy for line in lines if not line.runnable}):
        click.echo(f"No backend here runs {', '.join(missing)}: this version can be planned only.")


@main.command("try")
@click.argument("version")
@click.option("-n", "count", default=5, show_default=True, help="Problems for each stage.")
@plain_errors
def try_version(version: str, count: int) -> None:
    """A few problems of VERSION through every stage, with pictures to look at."""
    from assets.trial import trial

    store = Store.at()
    for line in trial(load(version), store, count, store.desk / "try" / version):
        click.echo(line)


@main.command()
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


@main.command()
@click.argument("versions", nargs=-1, required=True)
@click.option("--sets", "only_sets", is_flag=True, help="Only the exports, and what they need.")
@click.option("--retry-failed", is_flag=True, help="Ask again for trajectories that failed.")
@click.option("--yes", is_flag=True, help="With --retry-failed: make anew without asking.")
@plain_errors
def build(versions: tuple[str, ...], only_sets: bool, retry_failed: bool, yes: bool) -> None:
    """Materializes all that one VERSION after another is made of: its sets, its models, and their
    evaluation. Trainers run as processes of their own.

    A trajectory that failed, its backend's fault, stays failed until --retry-failed asks again."""
    chosen = [load(name) for name in versions]
    if retry_failed:
        from assets.retry import retry

        for version in chosen:
            for line in retry(version, Store.at(), lambda what: yes or click.confirm(what)):
                click.echo(line)
    from assets.definitions import defs
    from assets.graph import NODES, needed, sets

    job = defs.resolve_job_def("all")
    quiet = {"loggers": {"console": {"config": {"log_level": "INFO"}}}}
    with _instance() as instance:
        for version in chosen:
            result = job.execute_in_process(
                partition_key=version.name,
                asset_selection=_keys(needed(sets(), version) if only_sets else NODES),
                instance=instance,
                run_config=quiet,
                raise_on_error=False,
            )
            if not result.success:
                click.echo(
                    f"drawloop: building {version.name} failed: {_failures(result)}", err=True
                )
                sys.exit(1)


@main.command("export")
@click.argument("version")
@click.option("--format", "form", required=True, help="A format of docs/exports.md, as trl-sft.")
@click.option("--set", "set_", required=True, help="skills, cold, reflective or rl.")
@click.option(
    "--to", "folder", required=True, type=click.Path(path_type=Path), help="A new folder."
)
@click.option("--family", default="", help="That the texts are to speak to; else the version's.")
@click.option(
    "--processor", default="", help="Of the target model, by path or name: counts tokens."
)
@click.option("--max-tokens", default=0, help="Longer rows are left out, and counted.")
@click.option("--overwrite", is_flag=True, help="Replaces an export that lies there.")
@click.option("--json", "as_json", is_flag=True, help="For a script: the report.")
@plain_errors
def export_version(
    version: str, folder: Path, overwrite: bool, as_json: bool, form: str, set_: str, **asked: Any
) -> None:
    """Writes a set of VERSION as a training framework loads it, outside the store."""
    from assets.exports import of, to_folder
    from assets.graph import address
    from pipeline.exporters.wanted import wanted as checked

    chosen, store = load(version), Store.at()
    wanted = checked(format=form, sets=[set_], **asked)
    place = address(of(set_), chosen)
    told = to_folder(chosen, set_, wanted, store, place, folder, overwrite=overwrite).told()
    if as_json:
        click.echo(json.dumps({**told, "folder": str(folder)}, indent=1))
        return
    omitted = ", ".join(f"{why} {count}" for why, count in told["omitted"].items())
    click.echo(f"{folder}: {told['written']} of {told['read']} rows, for {told['framework']}")
    click.echo(f"omitted: {omitted or 'none'}")
    click.echo(f"pictures {told['pictures']}, placeholders {told['placeholders']}")
    if told["longest"]:
        click.echo(f"longest row: {told['longest']} tokens, by {told['counted_by']}")


def _keys(assets: Iterable[str]) -> list[Any]:
    import dagster as dg

    return [dg.AssetKey(asset) for asset in assets]


def _failures(result: Any) -> str:
    """The steps that failed and why, without what Dagster wraps around it."""
    causes = []
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            error = error.cause or error if error else None
            said = error.message.strip() if error else "a check failed"
            causes.append(f"{event.step_key}: {said}")
    blocked = [
        f"{e.asset_key.to_user_string()}: check {e.check_name} failed: {e.metadata['finding'].text}"
        for e in result.get_asset_check_evaluations()
        if not e.passed
    ]
    return "; ".join([*causes, *blocked])


def _instance() -> Any:
    """Dagster's instance in DAGSTER_HOME, or else in this project's folder, so that the UI shows runs.

    Opened by one process at a time: two that make its tables at once fail on each other's.
    """
    import dagster as dg

    home = Path(os.environ.setdefault("DAGSTER_HOME", str(HOME)))
    with (home / ".drawloop.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        instance = dg.DagsterInstance.get()
        instance.get_asset_keys()  # makes the tables of the event log, too
    return instance


@main.command()
@click.argument("version")
@click.option("--json", "as_json", is_flag=True, help="For a script: every row of the summary.")
@plain_errors
def results(version: str, as_json: bool) -> None:
    """How the models of VERSION do, where its evaluation is built: tables, and a plot."""
    from assets.build import find
    from assets.report import accuracies, by_part
    from assets.report import results as every_model
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
            _table(head, lines)
            click.echo("")
    if every_model(summary)[1]:
        plot = store.desk / "results" / f"{version}.png"
        plot.parent.mkdir(parents=True, exist_ok=True)
        plot.write_bytes(png(accuracies(summary)))
        click.echo(f"Accuracy with 95 % intervals: {plot}")


@main.command()
@click.argument("versions", nargs=-1)
@click.option("--verify", is_flag=True, help="Compare the hash of every part, not only its size.")
@click.option("--json", "as_json", is_flag=True, help="For a script.")
@plain_errors
def status(versions: tuple[str, ...], verify: bool, as_json: bool) -> None:
    """What is in the store of the given VERSIONS (all, if none is given), and where."""
    from assets.report import sources
    from assets.status import state
    from assets.terminal import spent
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
            _table(head, [_status_row(line, store.root) for line in lines])
            for line in lines:
                if line.get("spent"):
                    click.echo(spent(line))
            click.echo("")
            for line in lines:
                if "imports" in line:
                    _table(*sources(line))
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
    where, size = facts["path"].removeprefix(root + "/"), _size(facts["bytes"])
    return (facts["asset"], str(came_in), str(facts["kept"]), size, where, dropped)


@main.command("diff")
@click.argument("a")
@click.argument("b")
@click.option("--json", "as_json", is_flag=True, help="For a script: all of it.")
@plain_errors
def differ(a: str, b: str, as_json: bool) -> None:
    """What A and B differ in: settings, problems, kept and dropped by reason, distributions.

    Each is a version, a path to a version file, or a build: an asset's address, or how it starts, as
    `drawloop status` prints it.
    """
    from assets.diff import diff, side
    from assets.sections import sections

    store = Store.at()
    found = diff(side(a, store), side(b, store), store)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=1, ensure_ascii=False))
        return
    for section in sections(found):
        click.echo(section.title)
        if section.lines:
            click.echo("")
            _table(section.head, section.lines)
        for note in section.notes:
            click.echo(note)
        click.echo("")


@main.command()
@click.option("--yes", is_flag=True, help="Delete without asking.")
@click.option("--turns", is_flag=True, help="Also turns of policies that no version file names.")
@plain_errors
def prune(yes: bool, turns: bool) -> None:
    """Deletes what no version file leads to any more, and what killed runs left behind.

    Turns that were asked for and paid are kept, unless --turns says otherwise."""
    from assets.prune import stale
    from assets.turns import forget, named, unled

    store = Store.at()
    found, held = list(stale(store)), unled(store) if turns else []
    if not found and not held:
        click.echo("Nothing to prune.")
        return
    for path, size in found:
        click.echo(f"{_size(size):>10}  {path}")
    for one in held:
        click.echo(f"{_size(one.bytes):>10}  {one.turns:,} turns of {named(one)}")
    total = _size(sum(size for _, size in found) + sum(one.bytes for one in held))
    what = f"{len(found)} folders" + (f" and the turns of {len(held)} policies" if held else "")
    if yes or click.confirm(f"Delete these {what} ({total})?"):
        for path, _ in found:
            store.files.delete_dir(path)
        if held:
            forget(store, held)
        click.echo(f"Deleted {what}, {total}.")
