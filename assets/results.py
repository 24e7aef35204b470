"""How models do, as tables and pictures: the course of a training, and an evaluation's summary."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from pipeline import figures
from pipeline.images import Pixels
from pipeline.rows import Row

# Training ----------------------------------------------------------------------------------------

CURVES = {
    "sft": ("loss", "validation_loss"),
    "grpo": ("reward", "draw", "strict", "turns"),
}
LAST = {
    "sft": (*CURVES["sft"], "grad_norm", "tokens"),
    "grpo": (*CURVES["grpo"], "solved", "paper", "tokens", "entropy", "zero_variance", "grad_norm"),
}
MEAN = 5  # steps over which the last numbers are averaged


def last_numbers(kind: str, metrics: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(name, mean of its last values) of a training's metrics, a line each update; kind sft or grpo."""
    return [
        (name, f"{fmean(y for _, y in points[-MEAN:]):.4g}")
        for name in LAST[kind]
        if (points := _points(metrics, name))
    ]


def curves(kind: str, metrics: Sequence[Mapping[str, Any]]) -> Pixels | None:
    """What a training is watched by, over its steps; None where nothing was measured."""
    series = {name: points for name in CURVES[kind] if (points := _points(metrics, name))}
    return figures.curves(series) if series else None


def _points(metrics: Sequence[Mapping[str, Any]], name: str) -> list[tuple[float, float]]:
    """(step, value) of the lines that have a number of that name."""
    return [(line["step"], line[name]) for line in metrics if line.get(name) is not None]


# Evaluation --------------------------------------------------------------------------------------


def is_whole(row: Row) -> bool:
    """Whether a row of the summary is a model on the whole evaluation split."""
    return (row["split"], row["by"]) == ("evaluation", "all")


def every_model(summary: Sequence[Row]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and lines of the table of every model on the whole evaluation split."""
    head = (
        "model", "accuracy", "greedy", "pass@1", "pass@k", "S_draw", "strict", "turns", "boxes",
        "lines",
    )  # fmt: skip
    numbers = ("greedy", "pass_at_1", "pass_at_k", "draw", "strict", "turns", "boxes", "lines")
    lines = [
        (_short(row["model"]), _accuracy(row), *(_number(row[name]) for name in numbers))
        for row in summary
        if is_whole(row)
    ]
    return head, lines


def by_part(summary: Sequence[Row]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Accuracy, a line for each part of the evaluation and each unseen split, a column a model."""
    names = list(dict.fromkeys(row["model"] for row in summary))
    parts: dict[str, dict[str, str]] = {}
    for row in summary:
        if (row["by"] == "all") == (row["split"] == "evaluation"):
            continue
        part = row["split"] if row["by"] == "all" else f"{row['by']} {row['value']}"
        parts.setdefault(part, {})[row["model"]] = _number(row["accuracy"])
    lines = [(part, *(told.get(name, "–") for name in names)) for part, told in parts.items()]
    return ("", *map(_short, names)), lines


def accuracies(summary: Sequence[Row]) -> Pixels:
    """A bar with its interval for each model, on the whole evaluation split."""
    return figures.shares(
        [
            (_short(row["model"]), row["accuracy"], row["accuracy_low"], row["accuracy_high"])
            for row in summary
            if is_whole(row)
        ]
    )


def _short(model: str) -> str:
    return model.removesuffix("_model")


def _accuracy(row: Row) -> str:
    low, high = _number(row["accuracy_low"]), _number(row["accuracy_high"])
    return f"{_number(row['accuracy'])} [{low}, {high}]"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
