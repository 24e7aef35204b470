"""``drawloop``: thin doors to what Dagster and the pipeline do."""

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import click

from assets.instance import instance
from assets.looking import differ, gallery, look, results, status
from assets.terminal import as_json, plain_errors, size, table
from assets.upkeep import doctor, prune
from pipeline.policies import MODELS
from pipeline.store import Store
from pipeline.versions import VersionError, load, names


@click.group()
def main() -> None:
    """Data for models that think by drawing: list, plan, try, build, backfill, look, gallery, results,
    status, diff, export, doctor, prune."""


for command in (look, gallery, results, status, differ, doctor, prune):
    main.add_command(command)


@main.command("list")
@as_json
@plain_errors
def list_versions(as_json: bool) -> None:
    """The dataset versions, and what each is made of."""
    told, refused = [], []
    for name in names():
        try:
            version = load(name)
        except VersionError as error:
            refused.append(str(error))
            continue
        mix = [*version.problems.tasks, *version.problems.sources, *version.problems.imports]
        count = sum(version.problems.splits.values())
        told.append(
            {"name": name, "description": version.description, "problems": count, "mix": mix}
        )
        if not as_json:
            click.echo(f"{name}: {count:,} problems ({', '.join(mix)})")
            click.echo(f"    {version.description}")
    if as_json:
        click.echo(json.dumps(told, indent=1, ensure_ascii=False))
    if refused:
        raise VersionError("\n".join(refused))


@main.command()
@click.argument("version")
@click.option("--measure", default=0, metavar="N", help="Ask the real policies about N problems.")
@as_json
@plain_errors
def plan(version: str, measure: int, as_json: bool) -> None:
    """What VERSION will take: problems, trajectories, tokens, pictures, storage. Runs nothing big.

    With --measure also tokens, time and cost as a few problems take them; a build does not ask for
    their turns again."""
    from assets.costs import measured_table, planned_table
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
    table(*planned_table(lines))
    total = sum(line.bytes for line in lines)
    click.echo(f"\nExports embed the pictures again: at most another {size(total)}.")
    click.echo("Tokens and sizes are estimates from a few measured samples of each stage.")
    if chosen.trains:
        trained = ", ".join(model for model in MODELS if chosen.is_trained(model))
        click.echo(f"Trained here: {trained}. The time that takes is the trainers', and not told.")
    if measure > 0:
        click.echo("")
        table(*measured_table(asked))
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
        from assets.bodies import SAMPLED
        from assets.retry import retry

        for version, asset in product(chosen, SAMPLED):
            for line in retry(asset, version, Store.at(), lambda what: yes or click.confirm(what)):
                click.echo(line)
    from assets.definitions import defs
    from assets.graph import NODES, needed, sets

    job = defs.resolve_job_def("all")
    quiet = {"loggers": {"console": {"config": {"log_level": "INFO"}}}}
    with instance() as opened:
        for version in chosen:
            result = job.execute_in_process(
                partition_key=version.name,
                asset_selection=_keys(needed(sets(), version) if only_sets else NODES),
                instance=opened,
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
@as_json
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


@main.command()
@click.argument("versions", nargs=-1, required=True)
@click.option("--job", default="sets", show_default=True, type=click.Choice(["sets", "all"]))
@as_json
@plain_errors
def backfill(versions: tuple[str, ...], job: str, as_json: bool) -> None:
    """One run a VERSION, side by side, by Dagster's own backfill, and waits for all of them.

    Exit code 1 if a run did not end well. Runs go on if this command is interrupted.
    """
    chosen = dict.fromkeys(load(name).name for name in versions)
    from assets.backfill import Outcome
    from assets.backfill import backfill as filled

    def told(outcome: Outcome) -> None:
        if not as_json:
            cause = f": {outcome.cause}" if outcome.cause else ""
            click.echo(f"{outcome.version}: {outcome.state} (run {outcome.run[:8]}){cause}")

    ended = filled([*chosen], job, told)
    if as_json:
        click.echo(json.dumps([asdict(outcome) for outcome in ended], indent=1))
    if not all(outcome.good for outcome in ended):
        sys.exit(1)


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
