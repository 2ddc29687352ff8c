"""A video of a face: the measures of every frame, and its blinks."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import FaceNotFoundError, ImageError
from ..faces.align import align_face, ffhq_transform, five_points, to_photo
from ..faces.detect import detect_boxes
from ..faces.find import find_faces
from ..faces.landmarks import find_points
from .measures import EYE, MEASURES, SIDES, measure_sides
from .photo import SIZE
from .plots import Line, line_plot
from .table import MAIN

SUFFIXES = {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm"}
LOST = 0.25  # movement of the face's centre between frames, in sides of the crop, that starts a new detection
CHECKED = (
    0.25  # seconds between two detections, without which landmarks would be found in an empty background, too
)
LONGEST_SIDE = 1280  # pixels; larger frames are scaled down
# Opening of an eye, as a fraction of its usual one in the video, at which a blink begins and is complete.
NARROW, CLOSED = 0.85, 0.75
MIN_SPAN = 0.08  # of a plot's vertical axis, in eye distances: 5 mm, about a blink
LONGEST_BLINK = 0.7  # seconds; lids that stay down longer count as closed


@dataclass(frozen=True)
class Blink:
    """A blink.

    Attributes:
        start, end: seconds.
        right, left: the least opening of the subject's eyes, of their usual one. The landmark network has seen few
            closed eyes: it finds half to three quarters of the usual opening where the lids meet.
    """

    start: float
    end: float
    right: float
    left: float


@dataclass(frozen=True)
class Curves:
    """Result of `measure_video`.

    Attributes:
        times: seconds, one per frame.
        values: {measure_side: N floats}, such as "brow_height_left" and "brow_height_difference"; NaN where no face is
            found.
        blinks: of Blink.
    """

    times: np.ndarray
    values: dict[str, np.ndarray]
    blinks: list[Blink]

    def rows(self, pupillary_distance: float | None = None) -> list[dict[str, Any]]:
        """Return one dict per frame, for a table; with the pupillary distance also lengths in millimetres."""
        lengths = {f"{m.key}_{part}" for m in MEASURES if m.unit == EYE for part in (*SIDES, "difference")}
        columns = {key: (each, 4) for key, each in self.values.items()}
        if pupillary_distance:
            columns |= {
                f"{key}_mm": (each * pupillary_distance, 2)
                for key, each in self.values.items()
                if key in lengths
            }
        blinking = np.zeros(len(self.times), int)
        for blink in self.blinks:
            blinking[(self.times >= blink.start) & (self.times <= blink.end)] = 1
        return [
            {"seconds": round(float(time), 4), "blink": int(blinking[i])}
            | {
                key: None if np.isnan(each[i]) else round(float(each[i]), digits)
                for key, (each, digits) in columns.items()
            }
            for i, time in enumerate(self.times)
        ]


def measure_video(path: Path) -> Curves:
    """Measure the largest face in every frame of a video.

    The face is detected in the first frame and then tracked: each frame is cropped by the landmarks of the previous
    one. A detection confirms the tracked face every CHECKED seconds and in the last frame; if it fails, the frames
    since the last detection do not count.

    Args:
        path: of a video that ffmpeg reads.

    Returns:
        Curves.

    Raises:
        ImageError: it cannot be read.
        FaceNotFoundError: no frame shows a face.
    """
    names = [f"{m.key}_{side}" for m in MEASURES if m.right for side in SIDES]
    names += [f"{m.key}_difference" for m in MEASURES]
    nothing = [np.nan] * len(names)
    found: list[list[float]] = []
    times, transform = [], None
    checked, sure = (
        0.0,
        0,
    )  # when the face was last detected, and the number of frames until then, with that one
    frame = None
    for time, frame in read_frames(path):
        due = transform is None or time - checked >= CHECKED
        if transform is not None and due and not _shows_face(frame, transform):
            found[sure:] = [nothing] * (len(found) - sure)
            transform = None
        points, transform = _follow(frame, transform)
        times.append(time)
        if points is None:
            found.append(nothing)
            continue
        sides = measure_sides(points)
        values = [getattr(sides[m.key], side) for m in MEASURES if m.right for side in SIDES]
        found.append(values + [sides[m.key].difference for m in MEASURES])
        if due:
            checked, sure = time, len(found)
    if frame is None:
        raise ImageError(f"{path} has no frames.")
    if transform is not None and not _shows_face(frame, transform):
        found[sure:] = [nothing] * (len(found) - sure)
    values = dict(zip(names, np.array(found, float).T))
    if np.isnan(values[names[0]]).all():
        raise FaceNotFoundError(f"No frame of {path} shows a face.")
    times = np.array(times)
    openings = [values[f"palpebral_fissure_{side}"] for side in SIDES]
    return Curves(times, values, find_blinks(times, *openings))


def read_frames(path: Path) -> Iterator[tuple[float, Image.Image]]:
    """Iterate over a video: seconds and RGB image of every frame.

    Frames come at the video's average rate, with repetitions where its own is lower, and with square pixels.

    Raises:
        ImageError: ffmpeg cannot read it.
    """
    import imageio_ffmpeg

    file = str(path.absolute())  # ffmpeg takes what precedes a colon in a relative path for a protocol
    reader = None
    try:
        try:
            header = imageio_ffmpeg.read_frames(file)
            fps = next(header)["fps"] or 25
            header.close()
            reader = imageio_ffmpeg.read_frames(
                file, output_params=["-r", str(fps), "-vf", "scale=trunc(iw*sar/2)*2:trunc(ih/2)*2,setsar=1"]
            )
            size = next(reader)["size"]
        except (OSError, RuntimeError, StopIteration) as error:
            raise ImageError(f"{path} is not a video that can be read.") from error
        for i, data in enumerate(reader):
            image = Image.frombuffer("RGB", size, data)
            if max(size) > LONGEST_SIDE:
                image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), reducing_gap=2)
            yield i / fps, image
    finally:
        if reader is not None:
            reader.close()


def _follow(frame, transform):
    """A frame's landmarks in an aligned crop, or None, and the transform with which to cut the next frame."""
    if transform is not None:
        with suppress(ImageError):  # the crop has left the frame
            points = find_points(align_face(frame, transform, SIZE))
            moved = np.linalg.norm(points[27:].mean(0) - (SIZE - 1) / 2) / SIZE
            if moved < LOST:
                return points, _next_transform(points, transform)
    try:
        _, (index,), transforms = find_faces(frame, "largest", SIZE)
    except FaceNotFoundError:
        return None, None
    points = find_points(align_face(frame, transforms[index], SIZE))
    return points, _next_transform(points, transforms[index])


def _shows_face(frame, transform):
    """Whether a face is detected where the tracked one is: in the middle of its crop."""
    try:
        crop = align_face(frame, transform, SIZE)
    except ImageError:  # the crop has left the frame
        return False
    boxes = [face.box for face in detect_boxes(crop)]
    return any(x0 < SIZE / 2 < x1 and y0 < SIZE / 2 < y1 for x0, y0, x1, y1 in boxes)


def _next_transform(points, transform):
    try:
        return ffhq_transform(to_photo(five_points(points), transform), SIZE)
    except ImageError:
        return None


def find_blinks(times: np.ndarray, right: np.ndarray, left: np.ndarray) -> list[Blink]:
    """Find where an eye closes and opens again.

    Args:
        times: N, seconds.
        right, left: N, the openings of the eyes; NaN where there is no face.

    Returns:
        A list of Blink.
    """
    if np.isnan(right).all():
        return []
    usual = [np.nanpercentile(each, 75) for each in (right, left)]
    openness = np.stack([right / max(usual[0], 1e-6), left / max(usual[1], 1e-6)])
    least = np.nan_to_num(np.nanmin(np.where(np.isnan(openness), 9, openness), 0), nan=9)
    low = np.concatenate([[False], least < NARROW, [False]])
    starts, ends = np.flatnonzero(~low[:-1] & low[1:]), np.flatnonzero(low[:-1] & ~low[1:]) - 1
    return [
        Blink(float(times[a]), float(times[b]), *(float(each[a : b + 1].min()) for each in openness))
        for a, b in zip(starts, ends)
        if least[a : b + 1].min() < CLOSED and times[b] - times[a] <= LONGEST_BLINK
    ]


def video_page(name: str, curves: Any, pupillary_distance: float | None = None) -> dict[str, Any]:
    """What the report shows of a video: a dict of "name", "about", "plots" and "blinks"."""
    factor, unit = pupillary_distance or 100, "mm" if pupillary_distance else "% of eye distance"
    seconds = curves.times.tolist()
    marks = [(blink.start, blink.end) for blink in curves.blinks]
    plots = []
    for measure in MEASURES:
        if measure.key not in (*MAIN, "commissure_excursion"):
            continue
        lines = [
            Line(side, seconds, (factor * curves.values[f"{measure.key}_{side}"]).tolist()) for side in SIDES
        ]
        svg = line_plot(lines, "seconds", unit, marks=marks, dots=False, span=factor * MIN_SPAN)
        plots.append({"title": measure.label, "svg": svg})
    seen = int((~np.isnan(next(iter(curves.values.values())))).sum())
    count = len(curves.blinks)
    return {
        "name": Path(name).as_posix(),
        "about": f"{len(seconds)} frames, {seconds[-1]:.1f} seconds; a face in {seen}; "
        f"{count} blink{'s' * (count != 1)}{', shaded' * bool(count)}",
        "plots": plots,
        "blinks": curves.blinks,
    }
