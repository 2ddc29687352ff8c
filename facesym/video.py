"""Write frames as a video, tagged as edited by AI."""

import os
import tempfile
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from .errors import ImageError
from .faces.colour import to_srgb
from .faces.save import description
from .files import write_atomic

FORMATS = (".gif", ".mp4")
MIN_FPS, MAX_FPS = 0.1, 100  # GIFs give the duration of a frame in hundredths of a second, with 16 bits


def save_video(frames: list[Image.Image], path: str | os.PathLike, task: str, fps: float = 12) -> None:
    """Write frames forwards and backwards, to play in a loop. The metadata tag the file as edited by AI.

    Args:
        frames: at least two images of one size; for MP4, width and height must be even.
        path: .gif or .mp4 (H.264), written atomically; its folder is created if it does not exist.
        task: name of the task, e.g. "rotate".
        fps: frames per second, from 0.1 to 100.

    Raises:
        ImageError: the file type is not supported, fps is out of range, there are too few frames, their sizes differ
            or are odd, the folder is not writable, or the disk is full.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in FORMATS:
        raise ImageError(f"Cannot write {path.name}: use one of {', '.join(FORMATS)}.")
    if not MIN_FPS <= fps <= MAX_FPS:
        raise ImageError(f"fps must be a number from {MIN_FPS} to {MAX_FPS}, not {fps!r}.")
    if len(frames) < 2:
        raise ImageError("A video needs at least two frames.")
    (width, height), *others = {frame.size for frame in frames}
    if others or (kind == ".mp4" and (width % 2 or height % 2)):
        raise ImageError("All frames must have the same size; for MP4, width and height must be even.")
    # Videos have no colour profile.
    frames = [to_srgb(frame.convert("RGB"), frame.info.get("icc_profile"))[1] for frame in frames]
    frames += frames[-2:0:-1]
    try:
        data = (_gif if kind == ".gif" else _mp4)(frames, description(task), fps)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"Cannot write {path}: {reason}. An existing file is unchanged.") from error
    write_atomic(path, data, ImageError)


def _gif(frames, about, fps):
    file = BytesIO()
    # Octree palettes look as good as those of median cut, which takes a second for every few frames.
    frames = [frame.quantize(method=Image.Quantize.FASTOCTREE) for frame in frames]
    # GIFs store hundredths of a second; frames of slightly different lengths keep the rate.
    ends = np.rint(np.arange(len(frames) + 1) * 100 / fps).astype(int)
    lengths = (10 * np.diff(ends)).tolist()
    frames[0].save(
        file, "GIF", save_all=True, append_images=frames[1:], duration=lengths, loop=0, comment=about
    )
    return file.getvalue()


def _mp4(frames, about, fps):
    import imageio_ffmpeg

    with tempfile.TemporaryDirectory() as folder:  # ffmpeg seeks back in the file at the end
        file = Path(folder) / "video.mp4"
        writer = imageio_ffmpeg.write_frames(
            str(file), frames[0].size, fps=fps, quality=8, macro_block_size=2,
            output_params=["-metadata", f"comment={about}", "-movflags", "+faststart"],
        )  # fmt: skip
        try:
            writer.send(None)
            for frame in frames:
                writer.send(np.ascontiguousarray(frame))
        finally:
            writer.close()
        if imageio_ffmpeg.count_frames_and_secs(str(file))[0] != len(frames):
            raise RuntimeError("ffmpeg wrote too few frames (is the disk for temporary files full?)")
        return file.read_bytes()
