"""Data that means harm: each file is refused with its name, or costs its own row and no other."""

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from pipeline.imports import SourceError
from pipeline.sources import tables
from tests.sources.conftest import ORIGIN, asked, folder_of, lines, made, picture, reasons


def plain(name: Any = "0.png", **more: Any) -> dict[str, Any]:
    return {"picture": name, "question": f"How many in {name}?"[:80], "answer": "1", **more}


def png_of(width: int, height: int, data: bytes) -> bytes:
    """A PNG with a header that says what it is told to say."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def saved(mode: str, kind: str, size: tuple[int, int] = (60, 40), **more: Any) -> bytes:
    file = io.BytesIO()
    Pillow.new(mode, size).save(file, kind, **more)
    return file.getvalue()


BOX = {"box": [1, 2, 30, 40], "label": "x"}
BOMB = png_of(30_000, 30_000, zlib.compress(bytes(10**6)))
PICTURES: dict[str, tuple[bytes, str]] = {
    "bomb.png": (BOMB, "picture_too_large"),
    "cut.png": (saved("RGB", "PNG")[:60], "picture_truncated"),
    "lying.png": (png_of(5000, 5000, zlib.compress(b"\0" * 100)), "picture_truncated"),
    "empty.png": (b"", "picture_empty"),
    "page.png": (b"<svg onload=alert(1)>", "picture_not_a_picture"),
    "code.png": (b"%!PS\n(x) show", "picture_not_a_picture"),
    "strip.png": (saved("RGB", "PNG", (5000, 3)), "picture_too_narrow"),
    "dot.png": (saved("RGB", "PNG", (1, 1)), ""),
    "inks.jpg": (saved("CMYK", "JPEG"), ""),
    "grey.png": (saved("I;16", "PNG"), ""),
    "clear.png": (saved("RGBA", "PNG"), ""),
    "moving.gif": (
        saved("P", "GIF", save_all=True, append_images=[Pillow.new("P", (60, 40), 9)]), "",
    ),
}  # fmt: skip


def test_every_hostile_picture_is_shown_or_refused_with_its_reason(folder: Path) -> None:
    for name, (data, _) in PICTURES.items():
        (folder / name).write_bytes(data)
    lines(folder / "annotations.jsonl", map(plain, PICTURES))
    kept, dropped = made(folder_of())
    names = list(PICTURES)
    found = {names[int(id_[-6:]) - 1]: reason for id_, reason in dropped.items()}
    assert found == {name: reason for name, (_, reason) in PICTURES.items() if reason}
    problems = [p for ps in kept.values() for p in ps]
    assert len(problems) == sum(not reason for _, reason in PICTURES.values())
    for problem in problems:
        assert all(side % 28 == 0 and side > 0 for side in problem.images[0].size)


def test_paths_and_links_that_lead_out_are_refused(folder: Path) -> None:
    picture(folder / "0.png", 0)
    picture(folder.parent / "secret.png", 1)
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    (folder / "up").symlink_to(folder.parent)
    (folder / "round.png").symlink_to(folder / "round.png")
    os.mkfifo(folder / "pipe.png")
    paths = [
        "../secret.png", str(folder.parent / "secret.png"), "link.png", "up/secret.png", "round.png",
        "pipe.png", ".", "x" * 5000, "a\0b", "file:///etc/passwd", "~/x.png",
    ]  # fmt: skip
    lines(folder / "annotations.jsonl", map(plain, paths))
    outside, missing = "picture_outside", "picture_missing"
    assert reasons(folder_of()) == [*[outside] * 4, *[missing] * 7]


def test_what_lies_behind_a_link_does_not_decide_the_address(folder: Path) -> None:
    picture(folder / "0.png", 0)
    lines(folder / "annotations.jsonl", [plain()])
    before = folder_of().problems.imports["mine"].sha256
    picture(folder.parent / "secret.png", 1)
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    os.mkfifo(folder / "pipe.png")
    assert folder_of().problems.imports["mine"].sha256 == before


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"[" * 100_000 + b"]" * 100_000, "not_json"),
        (b'{"picture": "0.png", "question": "a?", "answer": NaN}', "not_json"),
        (b'{"picture": "0.png", "question": "a?", "answer": -Infinity}', "not_json"),
        (b'{"picture": "0.png", "question": "a?", "answer": ' + b"9" * 5000 + b"}", "not_json"),
        (b'{"picture": "0.png", "question": "a?", "answer": 1', "not_json"),
        (b"\xff\xfe\x00garbage", "not_json"),
        ('{"picture": "0.png", "question": "Käse?", "answer": "1"}'.encode("latin-1"), "not_json"),
        (b'["a", "b"]', "not_an_object"),
        (b"17", "not_an_object"),
        (b'{"picture": "0.png", "question": "\\ud800?", "answer": "1"}', "not_text"),
        (b'{"picture": "\\ud800.png", "question": "a?", "answer": "1"}', "picture_missing"),
        (b'{"picture": "0.png", "question": "", "answer": "1"}', "no_question"),
        (b'{"picture": "0.png", "question": ["a"], "answer": "1"}', "not_text"),
        (b'{"picture": "0.png", "question": "a?", "answer": null}', "no_answer"),
        (b'{"picture": "0.png", "question": "a?", "answer": "many"}', "answer_is_no_number"),
        (b'{"picture": "0.png", "question": "a?", "answer": 1e999}', "answer_is_no_number"),
        (b'{"picture": null, "question": "a?", "answer": "1"}', "no_picture"),
        (b'{"picture": 7, "question": "a?", "answer": "1"}', "not_a_path_or_bytes"),
        (json.dumps(plain(["0.png"] * 65)).encode(), "too_many_pictures"),
        (json.dumps(plain(question="a" * 30_000)).encode(), "text_too_long"),
        (json.dumps(plain(options=["yes", " YES. "], answer="A")).encode(), "bad_options"),
        (json.dumps(plain(options=["yes"], answer="A")).encode(), "bad_options"),
        (json.dumps(plain(options={"a": "yes"}, answer="A")).encode(), "bad_options"),
        (json.dumps(plain(options=["yes", "no"], answer="perhaps")).encode(), "answer_is_no_option"),
        (json.dumps(plain(marks="boxes")).encode(), "bad_marks"),
        (json.dumps(plain(marks=[{"box": [1, 2, 30, 40]}])).encode(), "bad_marks"),
        (json.dumps(plain(marks=[{"box": [1, 2, 30], "label": "x"}])).encode(), "bad_marks"),
        (json.dumps(plain(marks=[{"box": [1, 2, 1, 40], "label": "x"}])).encode(), "bad_marks"),
        (json.dumps(plain(marks=[{"box": [1, 2, True, 40], "label": "x"}])).encode(), "bad_marks"),
        (json.dumps(plain(marks=[{"box": [1, 2, 1e300, 4], "label": "x"}])).encode(), "bad_marks"),
        (json.dumps(plain(marks=[{"line": [900, 900, 990, 990], "label": "x"}])).encode(), "bad_marks"),
        (json.dumps(plain(marks=[{**BOX, "picture": 2}])).encode(), "bad_marks"),
        (json.dumps(plain(marks=[BOX] * 2)).encode(), "gold_fails"),
        (json.dumps(plain(thought="a </think> b", marks=[BOX])).encode(), "gold_fails"),
    ],
    ids=range(34),
)  # fmt: skip
def test_a_bad_line_costs_itself_alone(folder: Path, line: bytes, reason: str) -> None:
    picture(folder / "0.png", 0)
    good = json.dumps(plain()).encode()
    (folder / "annotations.jsonl").write_bytes(
        b"\n".join([good, line, b"", good[:-1] + b', "x": 1}'])
    )
    kept, dropped = made(folder_of())
    assert list(dropped.values()) == [reason, "duplicate"]
    assert sum(map(len, kept.values())) == 1


def test_a_line_without_an_end_is_skipped_in_little_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MAX_LINE", 4096)
    picture(folder / "0.png", 0)
    good = json.dumps(plain())
    (folder / "annotations.jsonl").write_text(f'{{"x": "{"y" * 50_000}"}}\n{good}\n')
    assert reasons(folder_of()) == ["line_too_long"]


def test_a_mark_of_byte_order_is_no_part_of_the_first_line(folder: Path) -> None:
    picture(folder / "0.png", 0)
    (folder / "annotations.jsonl").write_text("﻿" + json.dumps(plain()) + "\n", encoding="utf-8")
    assert reasons(folder_of()) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'0.png,"never closed,1\n', ["not_csv"]),
        (b"0.png,a?\n", ["not_csv"]),
        (b"0.png,a?,1,2,3\n", ["not_csv"]),
        (b"0.png,K\xe4se?,1\n", ["not_text"]),
        (b"0.png,\"=cmd|'/c calc'!A1\",1\n", []),
        (b'0.png,"a ""quoted"" one?",1\r\n', []),
        (b"0.png,a\0b?,1\n", []),
        (b"0.png," + b"a" * 2**21 + b",1\n", ["not_csv"]),
    ],
    ids=range(8),
)
def test_csv_of_any_kind_costs_its_own_row(folder: Path, text: bytes, reason: list[str]) -> None:
    picture(folder / "0.png", 0)
    (folder / "annotations.csv").write_bytes(b"picture,question,answer\n" + text)
    assert reasons(folder_of(annotations="annotations.csv")) == reason


def test_a_csv_in_another_encoding_is_refused_by_its_header(folder: Path) -> None:
    (folder / "annotations.csv").write_text("picture,question,answer\n", encoding="utf-16")
    with pytest.raises(SourceError, match="no column"):
        made(folder_of(annotations="annotations.csv"))


@pytest.mark.parametrize(
    ("text", "count", "reason"),
    [
        ("[{}, {}, {]", 2, "not_json"),
        ("[{}, {}", 2, "not_json"),
        ("[{}, " + "[" * 100_000, 1, "not_json"),
        ('[{}, 1, "a"]', 1, "not_an_object"),
        ('[{"x": "' + "y" * 3_000_000 + '"}, 7]', 1, "not_an_object"),
    ],
    ids=range(5),
)
def test_a_broken_json_list_gives_what_it_has(
    tmp_path: Path, text: str, count: int, reason: str
) -> None:
    (tmp_path / "rows.json").write_text(text)
    found = list(tables.table(tmp_path / "rows.json"))
    assert sum(isinstance(row, tables.Found) for row in found) == count
    assert {row.verdict.reason for row in found if isinstance(row, tables.Bad)} == {reason}


def test_a_json_object_is_no_list(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text('{"a": 1}')
    with pytest.raises(SourceError, match="no JSON list"):
        list(tables.table(tmp_path / "rows.json"))


def test_a_json_list_is_read_element_by_element_whatever_lies_on_the_borders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"n": n, "text": 'ä\\"]},' * (n % 7), "more": [n] * (n % 5)} for n in range(300)]
    (tmp_path / "rows.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    for step in (1, 7, 64):
        monkeypatch.setattr(tables, "STEP", step)
        found = list(tables.table(tmp_path / "rows.json"))
        assert [row.row for row in found if isinstance(row, tables.Found)] == rows


def test_a_video_that_is_none_costs_its_row(folder: Path) -> None:
    (folder / "v.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(500))
    (folder / "w.mp4").write_bytes(b"no video")
    rows = [{"video": name, "question": "a?", "answer": 1} for name in ("v.mp4", "w.mp4", "u.mp4")]
    lines(folder / "annotations.jsonl", rows)
    found = reasons(folder_of(columns={"video": "video"}))
    assert found[0] in ("picture_truncated", "picture_not_a_video")
    assert found[1:] == ["picture_not_a_video", "picture_missing"]


def test_a_video_comes_in_as_sixteen_even_frames(folder: Path) -> None:
    import cv2

    writer = cv2.VideoWriter(str(folder / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (168, 112))
    for n in range(48):
        writer.write(np.full((112, 168, 3), n * 5, np.uint8))
    writer.release()
    lines(folder / "annotations.jsonl", [{"video": "v.avi", "question": "a?", "answer": 1}])
    kept, dropped = made(folder_of(columns={"video": "video"}))
    ((problem,),) = kept.values()
    assert not dropped
    assert (problem.modality, len(problem.images)) == ("video", 16)


MEASURE = """
import resource, sys
from pipeline.problems import sample
from pipeline.versions import load
n = sum(verdict.keep for _, _, verdict in sample(load(sys.argv[1])))
print(n, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_a_folder_of_100_000_pictures_is_read_in_flat_memory(folder: Path) -> None:
    """The peak of reading 100,000 pictures is under 1.5 times that of 5,000 of them."""
    rng, rows = np.random.default_rng(0), []
    for n in range(100_000):
        name = f"{n // 1000:03d}/{n:06d}.bmp"
        (folder / name).parent.mkdir(exist_ok=True)
        Pillow.fromarray(rng.integers(0, 255, (28, 28, 3), np.uint8)).save(folder / name)
        rows.append(plain(name))
    peaks = {}
    for count in (5_000, 100_000):
        lines(folder / f"{count}.jsonl", rows[:count])
        one = {"kind": "folder", "path": "mine", "annotations": f"{count}.jsonl", **ORIGIN}
        splits = dict.fromkeys(("skills", "cold", "reflective", "rl", "evaluation"), count)
        text = asked({"mine": one}, splits).model_dump_json(
            exclude={"name", "decisions"}, exclude_unset=True
        )
        (folder.parent / f"of-{count}.yaml").write_text(text)
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, f"of-{count}"],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        kept, peaks[count] = map(int, done.stdout.split())
        assert kept == count
    assert peaks[100_000] < 1.5 * peaks[5_000], peaks
