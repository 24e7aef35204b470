"""The code location: every node of the graph as a Dagster asset, partitioned by dataset version."""

from inspect import cleandoc
from typing import Any

import dagster as dg

from assets.bodies import SAMPLED
from assets.build import Built, build
from assets.checks import Check, checks_of
from assets.graph import NODES, Node, code_version, sets
from assets.launch import piped
from assets.report import metadata
from assets.retry import retry
from pipeline.store import Store
from pipeline.versions import Version, load, names

VERSIONS = dg.StaticPartitionsDefinition(names())
KINDS = {
    "model": {"pytorch"},
    "export": {"parquet", "huggingface"},
    "rl_export": {"parquet", "huggingface"},
    "framework_exports": {"parquet", "json"},
    "gallery": {"html"},
}


# Of an asset of trajectories, in its run configuration: the UI's launchpad shows it.
RETRY = {
    "retry_failed": dg.Field(
        bool,
        default_value=False,
        description="Ask again for trajectories that failed, their backend's fault. If the asset is "
        "there without them and fewer fail now, the run's log lists what would be made anew.",
    ),
    "make_anew": dg.Field(
        bool,
        default_value=False,
        description="With retry_failed: delete what it lists, and make this asset anew. That is all "
        "that was made from it, in any version, models that were trained on it included.",
    ),
}


def promise(check: Check) -> str:
    """What a check holds, as Markdown: what is indented would be shown as code."""
    return cleandoc(check.__doc__ or "")


def result(check: Check, built: Built) -> dg.AssetCheckResult:
    """What a check found; it says of which version, as Dagster shows the latest of them all."""
    finding = check(built)
    return dg.AssetCheckResult(
        check_name=check.__name__,
        passed=finding.passed,
        metadata={"version": built.version.name, "finding": finding.said},
    )


def about(name: str, node: Node) -> str:
    """What a newcomer reads on an asset's page: what it is, where its numbers are, where it lies."""
    read = ", ".join(f"`{asset}`" for asset in node.inputs) or "the version file alone"
    promised = "\n".join(
        f"- `{check.__name__}`: {promise(check).splitlines()[0]}" for check in checks_of(name)
    )
    return f"""{node.about}

A partition is a dataset version, `versions/NAME.yaml`. Choose one: the page then shows rows in,
rows kept, what was dropped and why, pictures, and the folder in which its files lie.

**Made of** {read}{" (of these, what the version names)" if node.chosen else ""}.

**Promises**, checked whenever it is made; what depends on it is not made if one fails:

{promised}
"""


def asset_of(name: str, node: Node) -> dg.AssetsDefinition:
    """A node as an asset with blocking checks; its data version is the hash of its contents."""
    specs = [
        dg.AssetCheckSpec(check.__name__, asset=name, blocking=True, description=promise(check))
        for check in checks_of(name)
    ]

    @dg.asset(
        name=name,
        partitions_def=VERSIONS,
        deps=[*node.inputs],
        group_name=node.group,
        description=about(name, node),
        kinds=KINDS.get(node.tables, {"parquet"}),
        code_version=code_version(name),
        check_specs=specs,
        config_schema=RETRY if name in SAMPLED else {},
    )
    def materialize(
        context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster reads it
        launch, version, store = piped(context, pipes), load(context.partition_key), Store.at()
        if name in SAMPLED:
            ask_again(context, name, version, store)
        built = build(name, version, store, launch)
        context.log.info(f"{name} of {built.version.name} is at {built.path}")
        results = [result(check, built) for check in checks_of(name)]
        return dg.MaterializeResult(
            metadata=metadata(built),
            data_version=dg.DataVersion(built.manifest.data_version),
            check_results=results,
        )

    return materialize


def ask_again(
    context: dg.AssetExecutionContext, asset: str, version: Version, store: Store
) -> None:
    """What the run configuration says of trajectories that failed."""
    said = context.op_execution_context.op_config

    def sure(what: str) -> bool:
        context.log.info(f"{what} {'Yes.' if said['make_anew'] else 'No: make_anew is off.'}")
        return bool(said["make_anew"])

    if said["retry_failed"]:
        for line in retry(asset, version, store, sure):
            context.log.info(line)


def jobs() -> list[Any]:
    """``sets``: the exports, with all that they need; ``all``: the rest of the graph, too."""
    asked = {
        "sets": (
            dg.AssetSelection.assets(*sets()).upstream(),
            "The three sets of a dataset version and their exports, with all that they need.",
        ),
        "all": (
            dg.AssetSelection.all(),
            "Everything of a dataset version: its sets, its models, their evaluation, the gallery.",
        ),
    }
    return [
        dg.define_asset_job(name, selection=selection, description=description)
        for name, (selection, description) in asked.items()
    ]


defs = dg.Definitions(
    assets=[asset_of(name, node) for name, node in NODES.items()],
    jobs=jobs(),
    resources={"pipes": dg.PipesSubprocessClient()},  # another client runs trainers elsewhere
    executor=dg.in_process_executor,  # assets pass rows through the store and use processes themselves
)
