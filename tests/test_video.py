"""Videos: which frames are taken, what is refused and why, and that little is held in memory."""

import io
import os
import random
import signal
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline import images, video
from pipeline.images import BadPicture, PictureError, Pixels
from pipeline.video import frames

KINDS = (
    ("clip.mp4", "mp4v"), ("clip.mov", "MJPG"), ("clip.avi", "XVID"), ("clip.webm", "VP80"),
    ("clip.mkv", "mp4v"),
)  # fmt: skip
RATE = 10  # frames a second


def shade(number: int) -> int:
    """What tells a frame: slow enough that coding keeps it apart from its neighbours."""
    return 8 + 5 * number


def filmed(
    place: Path, length: int, codec: str = "mp4v", size: tuple[int, int] = (64, 48)
) -> bytes:
    """A video whose n-th frame is grey of `shade` n, with a red bar along its top."""
    writer = cv2.VideoWriter(str(place), cv2.VideoWriter_fourcc(*codec), RATE, size)
    assert writer.isOpened()
    for number in range(length):
        picture = np.full((size[1], size[0], 3), shade(number % 48), np.uint8)
        picture[: size[1] // 3] = (0, 0, 255)
        writer.write(picture)
    writer.release()
    return place.read_bytes()


def numbers(taken: list[Pixels]) -> list[int]:
    """Which frames they are, by their shade, of which coding takes up to three levels."""
    return [round((float(frame[24:].mean()) + 1.5 - shade(0)) / 5) for frame in taken]


def refused(source: Path | bytes, count: int = 16) -> PictureError:
    with pytest.raises(PictureError) as caught:
        list(frames(source, count))
    return caught.value


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """An MP4 of 40 frames."""
    filmed(tmp_path / "clip.mp4", 40)
    return tmp_path / "clip.mp4"


# Taken -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "codec"), KINDS)
def test_sixteen_frames_are_taken_evenly_in_every_container(
    name: str, codec: str, tmp_path: Path
) -> None:
    data = filmed(tmp_path / name, 48, codec)
    taken = list(frames(data))
    assert numbers(taken) == [1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 34, 37, 40, 43, 46]
    for frame in taken:
        assert frame.shape == (48, 64, 3)
        assert frame.dtype == np.uint8
        assert np.abs(frame[4:10].reshape(-1, 3).mean(axis=0) - (255, 0, 0)).max() < 40, "not RGB"
    assert all(np.array_equal(*two) for two in zip(taken, frames(tmp_path / name), strict=True))


@pytest.mark.parametrize(
    ("length", "count"), [(16, 16), (17, 16), (40, 16), (41, 7), (5, 1), (9, 9)]
)
def test_frames_are_the_middles_of_equal_stretches(length: int, count: int, tmp_path: Path) -> None:
    taken = numbers(list(frames(filmed(tmp_path / "clip.avi", length, "MJPG"), count)))
    assert len(taken) == count
    for n, number in enumerate(taken):
        assert n * length / count <= number + 0.5 <= (n + 1) * length / count
    assert taken == sorted(set(taken))


def test_a_name_says_nothing_about_what_a_file_is(clip: Path, tmp_path: Path) -> None:
    odd = tmp_path / "picture %03d.jpg"  # FFmpeg would take it for a row of pictures
    odd.write_bytes(clip.read_bytes())
    assert numbers(list(frames(odd))) == numbers(list(frames(clip)))


@pytest.mark.parametrize(
    ("matrix", "turn"),
    [
        ((0, 1, -1, 0), lambda frame: np.rot90(frame, -1)),
        ((-1, 0, 0, -1), lambda frame: np.rot90(frame, 2)),
        ((0, -1, 1, 0), lambda frame: np.rot90(frame, 1)),
    ],
    ids=["clockwise", "upside down", "counterclockwise"],
)
def test_a_video_that_was_filmed_on_its_side_comes_out_upright(
    matrix: tuple[int, ...], turn: Callable[[Pixels], Pixels], clip: Path
) -> None:
    data = bytearray(clip.read_bytes())
    at = data.index(b"tkhd") + 44
    a, b, c, d = (part * 65536 for part in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    for turned, plain in zip(frames(bytes(data)), frames(clip), strict=True):
        assert np.array_equal(turned, turn(plain))


def test_frames_are_pictures_to_be_fitted_and_encoded(clip: Path) -> None:
    made = [images.encode(images.fit(frame, 28, 16 * 28 * 28)) for frame in frames(clip)]
    assert {image.size for image in made} == {(56, 56)}
    assert len({image.sha256 for image in made}) == 16


# Refused -----------------------------------------------------------------------------------------


def test_a_video_that_is_not_there_is_refused_as_missing(tmp_path: Path) -> None:
    error = refused(tmp_path / "holiday.mp4")
    assert error.reason == BadPicture.MISSING
    assert "holiday.mp4" in str(error)
    assert refused(tmp_path).reason == BadPicture.MISSING
    assert refused(Path("http://localhost/clip.mp4")).reason == BadPicture.MISSING


@pytest.mark.skipif(os.name != "posix", reason="named pipes")
def test_a_named_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    assert refused(tmp_path / "pipe.mp4").reason == BadPicture.MISSING


def test_zero_bytes_are_refused_as_empty(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").touch()
    assert refused(tmp_path / "clip.mp4").reason == BadPicture.EMPTY
    assert refused(b"").reason == BadPicture.EMPTY


@pytest.mark.parametrize(
    "data",
    [
        b"Dear Sir or Madam,\n",
        b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile clip.mp4\n",
        b"RIFF\x40\0\0\0WAVEfmt ",
        cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1].tobytes(),
    ],
    ids=["text", "playlist", "list", "sound", "picture"],
)
def test_what_is_no_video_or_names_other_files_is_refused_as_not_a_video(
    data: bytes, clip: Path
) -> None:
    (clip.parent / "list.mp4").write_bytes(data)
    for source in (data, clip.parent / "list.mp4"):
        assert refused(source).reason == BadPicture.NOT_A_VIDEO


def test_fewer_frames_than_are_asked_for_are_refused_as_too_short(tmp_path: Path) -> None:
    data = filmed(tmp_path / "clip.avi", 15, "MJPG")
    error = refused(data)
    assert error.reason == BadPicture.TOO_SHORT
    assert "15 frames, 16 are asked for" in str(error)
    assert len(list(frames(data, 15))) == 15


@pytest.mark.parametrize(("name", "codec"), KINDS)
def test_a_video_that_ends_early_is_refused_as_truncated(
    name: str, codec: str, tmp_path: Path
) -> None:
    data = filmed(tmp_path / name, 48, codec)
    for left in (0.1, 0.6):
        assert refused(data[: int(left * len(data))], 1).reason == BadPicture.TRUNCATED


def test_the_frames_of_a_cut_video_are_counted(tmp_path: Path) -> None:
    data = filmed(tmp_path / "clip.avi", 48, "MJPG")
    assert "of 48 frames decode" in str(refused(data[: len(data) // 2]))


@pytest.mark.parametrize("spoilt", [0.2, 0.6, 0.9])
def test_a_video_whose_frames_are_spoilt_to_the_end_is_refused(spoilt: float, clip: Path) -> None:
    data = bytearray(clip.read_bytes())
    start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    start += int(spoilt * (end - start))
    data[start:end] = bytes(end - start)
    assert refused(bytes(data)).reason == BadPicture.TRUNCATED


def test_a_header_that_promises_more_frames_than_there_are_is_refused(tmp_path: Path) -> None:
    data = bytearray(filmed(tmp_path / "clip.avi", 40, "MJPG"))
    at = data.index(b"strh") + 8 + 32  # the stream's length
    assert struct.unpack_from("<I", data, at) == (40,)
    struct.pack_into("<I", data, at, 400)
    error = refused(bytes(data))
    assert error.reason == BadPicture.TRUNCATED
    assert "of 400 frames" in str(error)


def test_a_file_over_the_cap_is_refused_unread(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = clip.stat().st_size
    monkeypatch.setattr(video, "MAX_BYTES", size)
    assert len(list(frames(clip))) == 16
    monkeypatch.setattr(video, "MAX_BYTES", size - 1)
    assert refused(clip).reason == refused(clip.read_bytes()).reason == BadPicture.TOO_LARGE


def test_larger_frames_than_the_cap_are_refused(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "MAX_AREA", 64 * 48)
    assert len(list(frames(clip))) == 16
    monkeypatch.setattr(video, "MAX_AREA", 64 * 48 - 1)
    error = refused(clip)
    assert error.reason == BadPicture.TOO_LARGE
    assert "64×48 px" in str(error)


def test_frames_are_of_the_size_that_the_header_says_whatever_they_say(tmp_path: Path) -> None:
    data = filmed(tmp_path / "clip.webm", 20, "VP80")
    huge = data.replace(struct.pack("<HH", 64, 48), struct.pack("<HH", 2000, 2000), 1)
    assert huge != data
    assert {frame.shape for frame in frames(huge)} == {(48, 64, 3)}


def test_a_decoder_that_wants_too_much_memory_is_refused(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hungry = "from pipeline import video; video._decode = lambda *_: bytes(2**40); video.main()"
    decoder(monkeypatch, hungry)
    assert refused(clip).reason == BadPicture.TRUNCATED


def test_more_frames_than_the_cap_are_refused(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "MAX_FRAMES", 40)
    assert len(list(frames(clip))) == 16
    monkeypatch.setattr(video, "MAX_FRAMES", 39)
    assert refused(clip).reason == BadPicture.TOO_LONG


def test_a_video_outside_its_folder_is_refused(clip: Path) -> None:
    album = clip.parent / "album"
    album.mkdir()
    (album / "link.mp4").symlink_to(clip)
    for name in ("link.mp4", "../clip.mp4", str(clip)):
        with pytest.raises(PictureError) as caught:
            list(frames(images.within(album, name)))
        assert caught.value.reason == BadPicture.OUTSIDE


@pytest.mark.parametrize(("name", "codec"), KINDS)
def test_broken_bytes_in_a_video_raise_nothing_but_a_picture_error(
    name: str, codec: str, tmp_path: Path
) -> None:
    data = filmed(tmp_path / name, 20, codec)
    rng = random.Random(name + codec)
    for hits in (1, 8, 40):
        broken = bytearray(data)
        for _ in range(hits):
            broken[rng.randrange(rng.choice((300, len(data))))] = rng.choice((0, 255, 7, 128))
        try:
            assert len(list(frames(bytes(broken)))) == 16
        except PictureError:
            assert hits > 0


def decoder(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Another decoder, in a line of Python."""
    monkeypatch.setattr(video, "DECODER", (sys.executable, "-c", f"import os, sys; {code}"))


@pytest.mark.parametrize(
    ("number", "reason"),
    [(signal.SIGSEGV, BadPicture.TRUNCATED), (signal.SIGXCPU, BadPicture.TOO_LONG)],
)
def test_a_video_that_kills_its_decoder_or_keeps_it_for_ever_is_refused(
    number: int, reason: BadPicture, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder(monkeypatch, f"os.kill(os.getpid(), {number})")
    assert refused(clip).reason == reason
    half = (
        'sys.stdout.buffer.write(b\'{"width": 9, "height": 9}\\n\' + bytes(99)); sys.stdout.flush()'
    )
    decoder(monkeypatch, f"{half}; os.kill(os.getpid(), {number})")
    assert refused(clip).reason == reason


def test_a_decoder_that_fails_of_itself_is_no_fault_of_the_video(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder(monkeypatch, "import no_such_module")
    with pytest.raises(RuntimeError, match="the decoder ended with 1"):
        list(frames(clip))


# In little memory --------------------------------------------------------------------------------


def test_no_more_than_a_frame_or_two_is_held(tmp_path: Path) -> None:
    data = filmed(tmp_path / "clip.avi", 60, "MJPG", (640, 480))
    tracemalloc.start()
    for frame in frames(data):
        assert frame.nbytes == 640 * 480 * 3
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * 640 * 480 * 3


MEASURED = """
import resource, sys
from pathlib import Path
from pipeline.video import frames
for _ in frames(Path(sys.argv[1])):
    pass
for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
    print(resource.getrusage(who).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss in kB")
def test_a_long_video_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    peaks = []
    for length in (20, 600):
        filmed(tmp_path / "clip.avi", length, "MJPG", (320, 240))
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, tmp_path / "clip.avi"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        peaks.append([int(line) for line in done.stdout.split()])
    for short, long in zip(*peaks, strict=True):
        assert long - short < 10_000, "600 frames are 138 MB"


def children() -> set[str]:
    """Processes that this one has started and not yet waited for; other tests may have some, too."""
    found = set()
    for place in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # gone meanwhile
            if place.read_text().rpartition(")")[2].split()[1] == str(os.getpid()):
                found.add(place.parent.name)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_neither_a_file_nor_a_process_is_left_when_frames_are_done_with(clip: Path) -> None:
    before, held = children(), len(list(Path("/proc/self/fd").iterdir()))
    taken = frames(clip)
    next(taken)
    assert len(children() - before) == 1
    del taken
    refused(clip, 41)
    refused(clip.read_bytes(), 41)
    assert children() <= before
    assert len(list(Path("/proc/self/fd").iterdir())) == held


def test_bytes_and_their_file_are_the_same_video(clip: Path) -> None:
    data = io.BytesIO(clip.read_bytes()).getvalue()
    assert all(np.array_equal(*two) for two in zip(frames(data), frames(clip), strict=True))
