"""An observation of 448 × 448 px with three labelled boxes, beside the same drawn with Pillow.

Pillow gets its own work only: outlines of 4 px, and labels on rectangles of our size in a TrueType
font of our height, at places that it is told; we also choose where a label hides least.
"""

import io
from collections.abc import Callable, Iterator

import numpy as np
from measure import HEAD, Claim, seconds
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from pipeline import canvas
from pipeline.images import Pixels, decode, encode
from pipeline.types import Box, Mark, Point

CALLS = 50
TALL = 16  # px, of a label's letters
BOXES = {
    "red chair": ((40, 60), (200, 190)),
    "table": ((220, 80), (400, 240)),
    "window": ((100, 260), (330, 420)),
}


def claims() -> Iterator[Claim]:
    marks = [
        Mark(Box(1, (Point(*first), Point(*last)), label), base=1, step=0, lineage=n)
        for n, (label, (first, last)) in enumerate(BOXES.items())
    ]
    ramp = np.linspace(0, 255, 448).astype(np.uint8)
    pixels = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], np.uint8(128)), axis=2)
    stored, font = encode(np.ascontiguousarray(pixels)), ImageFont.load_default(TALL)
    given = decode(stored)

    for (what, asked), sides in {
        ("from pixels", "≥ 4 ×"): (
            lambda: canvas.draw(given.copy(), marks),
            lambda: np.asarray(_pillow(Pillow.fromarray(given), font)),
        ),
        ("from its PNG", "–"): (
            lambda: canvas.draw(decode(stored), marks),
            lambda: np.asarray(_pillow(Pillow.open(io.BytesIO(stored.png)), font)),
        ),
    }.items():
        ours, theirs = (took / CALLS * 1e6 for took in seconds(9, *map(_often, sides)))
        yield Claim(
            f"an observation {what}",
            f"{ours:,.0f} µs",
            f"{theirs:,.0f} µs, Pillow",
            f"{theirs / ours:.1f} × as fast",
            asked,
        )


def _often(draw: Callable[[], Pixels]) -> Callable[[], object]:
    def calls() -> None:
        for _ in range(CALLS):  # none is kept: what they lie in is used again, as in a pipeline
            draw()

    return calls


def _pillow(picture: Pillow.Image, font: ImageFont.FreeTypeFont) -> Pillow.Image:
    pen = ImageDraw.Draw(picture)
    for colour, ((x1, y1), (x2, y2)) in zip(canvas.PALETTE, BOXES.values(), strict=False):
        pen.rectangle((x1, y1, x2 - 1, y2 - 1), outline=colour, width=4)
    for colour, (label, ((x, y), _)) in zip(canvas.PALETTE, BOXES.items(), strict=False):
        wide = pen.textlength(label, font)
        pen.rectangle((x, y - TALL - 2, x + wide + 3, y - 1), fill=colour)
        pen.text((x + 2, y - TALL - 2), label, (255, 255, 255), font)
    return picture


if __name__ == "__main__":
    print(HEAD, *claims(), sep="\n")
