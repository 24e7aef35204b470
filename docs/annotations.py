"""Draws every annotated object over its photograph, a colour for each split: annotations.webp."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from pipeline import canvas, figures
from pipeline.geometry import Corners, iou
from pipeline.images import Pixels, resize
from pipeline.sources import coins, objects
from pipeline.types import SPLITS, Box, Mark, Point, Size

PLACE = Path(__file__).parent / "annotations.webp"
SIDE, ACROSS = 560, 3  # px of the longer side of a photograph; photographs beside each other
CAPTION = 24  # px

Named = tuple[str, str, Corners]  # split, name, box


def main() -> None:
    tiles = [tile("coins: no known copyright restrictions", *of_coins())]
    for photograph in dict.fromkeys(region.photograph for region in objects.regions()):
        named = of_objects(photograph)
        caption = f"{photograph.name}: {photograph.licence}"
        tiles.append(tile(caption, objects.pixels_of(photograph), named))
    PLACE.write_bytes(figures.webp(sheet([*tiles, legend()]), quality=72))
    print(f"{PLACE}: {PLACE.stat().st_size // 1000} kB")


def of_coins() -> tuple[Pixels, list[Named]]:
    pixels, boxes = coins.photograph()
    owners = [
        next(split for split, region in coins.REGIONS.items() if iou(box, region) > 0)
        for box in boxes
    ]
    return pixels, [(owner, "", box) for owner, box in zip(owners, boxes, strict=True)]


def of_objects(photograph: objects.Photograph) -> list[Named]:
    return [
        (region.split, "" if photograph.noun else name.format(left="left", right="right"), box)
        for region in objects.regions()
        if region.photograph == photograph
        for name, box in zip(region.names, region.boxes, strict=True)
    ]


def tile(caption: str, pixels: Pixels, named: Iterable[Named]) -> Pixels:
    """The photograph with its boxes, named if they have a name of their own, and its caption."""
    scale = SIDE / max(pixels.shape[:2])
    size = Size(round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
    shown = resize(pixels, size).copy()
    marks = []
    for split, name, box in named:
        first, last = (Point(round(x * scale), round(y * scale)) for x, y in box)
        mark = Mark(Box(1, (first, last), name), base=1, step=0, lineage=SPLITS.index(split))
        if name:
            marks.append(mark)
        else:
            cv2.rectangle(shown, first, (last.x - 1, last.y - 1), colour(split), 2)
    return captioned(canvas.draw(shown, marks), caption)


def colour(split: str) -> tuple[int, int, int]:
    return canvas.PALETTE[SPLITS.index(split)]


def captioned(pixels: Pixels, caption: str) -> Pixels:
    tall, wide = pixels.shape[:2]
    paper = np.full((tall + CAPTION, SIDE, 3), 255, np.uint8)
    paper[:tall, :wide] = pixels
    place = (4, tall + CAPTION - 7)
    cv2.putText(paper, caption, place, figures.INK, figures.FONT, 15, figures.WEIGHT)
    return paper


def legend() -> Pixels:
    paper = np.full((CAPTION * (len(SPLITS) + 1), SIDE, 3), 255, np.uint8)
    for n, split in enumerate(SPLITS):
        place = (4, CAPTION * (n + 1) - 7)
        cv2.putText(paper, split, place, colour(split), figures.FONT, 17, 700)
    return paper


def sheet(tiles: list[Pixels]) -> Pixels:
    """Tiles in columns, each one below the column that is shortest so far."""
    columns: list[list[Pixels]] = [[] for _ in range(ACROSS)]
    for picture in sorted(tiles, key=len, reverse=True):
        min(columns, key=lambda column: sum(map(len, column))).append(picture)
    stacked = [np.vstack(column) for column in columns]
    tall = max(map(len, stacked))
    gap = 8
    padded = [
        np.pad(column, ((0, tall - len(column)), (0, gap), (0, 0)), constant_values=255)
        for column in stacked
    ]
    return np.hstack(padded)


if __name__ == "__main__":
    main()
