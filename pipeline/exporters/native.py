"""The project's own rows, as they are: base pictures embedded, ops as data (docs/schema.md)."""

from dataclasses import replace

from pipeline.exporters import SETS, Format

NATIVE = Format(
    framework="drawloop",
    takes=SETS,
    container="parquet",
    pictures="embedded",
    schema=None,
    row=None,
    placeholders=lambda row: len(row["images"]),
    decoded=True,
    use="""\
`datasets.load_dataset(FOLDER)` decodes the input pictures. Observations are redrawn by
`pipeline.rollout.retrace` and `pipeline.canvas.picture`, to the same bytes. drawloop's own trainers read
the asset of which this is a copy.""",
)

ASSET = replace(  # the same rows where the store has them
    NATIVE,
    use="""\
`datasets.load_dataset(FOLDER)` decodes the input pictures. Observations are redrawn by
`pipeline.rollout.retrace` and `pipeline.canvas.picture`, to the same bytes. drawloop's own trainers read
this folder: `--data FOLDER`.""",
)
