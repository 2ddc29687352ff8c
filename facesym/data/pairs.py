"""Folders of pairs (`facesym prepare pairs`): a face, and the same person frontal and neutral.

A folder holds ``inputs/`` and ``targets/`` (WebP), ``pairs.csv`` (``input, target, set, file_name, subject, split,
kind, yaw, pitch, expression``: set, file name and subject of the photo that the input was made from; kind is real,
simulated, turned or expressive), ``points.npy`` (Nx2x68x2 float32: the landmarks of the input and of the target,
pixels) and ``places.npy`` (NxGRIDxGRIDx3 float16: the coordinates x and y in the input, in
pixels, of the target's pixels, and 1 where they are visible there; NaN where unknown).
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from ..errors import ImageError
from .excluded import is_excluded_file, is_excluded_name
from .faces import Samples, affine_jitter, colour_jitter, downscale_blur, to_tensor
from .metadata import hold_out, read_table

MADE = ("turned", "expressive")  # kinds whose target is synthesized
INNER = np.arange(17, 68)  # without the jaw, whose landmarks follow the outline of a turned head


def keeps_pose(row: dict[str, Any]) -> bool:
    """Whether an expressive photo's target has the photo's pose and background: nearly frontal photos keep them, the
    mesh brings the others to the front."""
    return abs(float(row["yaw"])) <= 5 and abs(float(row["pitch"] or 0)) <= 12


class Pairs:
    """All pairs of a folder, loaded into memory.

    Args:
        folder: of `facesym prepare pairs`.
        splits: the splits to load.
        limit: load only this number of pairs, the first ones.
        val_fraction: see `facesym.data.metadata.hold_out`.

    Attributes:
        inputs: NxSxSx3 uint8.
        targets: MxSxSx3 uint8.
        target_of: N integers, the index in ``targets`` of each input's target.
        points: Nx2x68x2 float32, landmarks of the input and of the target in pixels.
        coordinates: NxGxGx3 float16, see above.
        rows: N dicts, the rows of pairs.csv.
        note: a sentence on what was held out, see `facesym.data.metadata.hold_out`.

    Raises:
        ImageError: the folder does not hold pairs, or an image cannot be read.
    """

    def __init__(
        self,
        folder: str | Path,
        splits: Sequence[str] = ("train",),
        limit: int | None = None,
        val_fraction: float | str | None = None,
    ):
        folder = Path(folder)
        try:
            rows = read_table(
                folder / "pairs.csv", ("target", "set", "file_name", "subject", "split", "kind")
            )
            rows = [row | {"index": i} for i, row in enumerate(rows)]
            points, coordinates = (
                np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("points", "places")
            )
            if not len(rows) == len(points) == len(coordinates):
                raise ValueError("pairs.csv, points.npy and places.npy differ in length")
        except (ImageError, OSError, EOFError, ValueError) as error:
            raise ImageError(
                f"{folder} is not a folder of pairs (`facesym prepare pairs`): {error}"
            ) from error
        rows = [row for row in rows if not _is_excluded(folder, row)]
        self.note = hold_out([row for row in rows if row["split"] in ("train", "val")], val_fraction)
        self.rows: list[dict[str, Any]] = [row for row in rows if row["split"] in splits][:limit]
        if not self.rows:
            raise ImageError(
                f"{folder} has no pairs of split {'/'.join(splits)}: use another split or folder"
            )
        chosen = [row["index"] for row in self.rows]
        self.points, self.coordinates = np.array(points[chosen]), np.array(coordinates[chosen])
        names = list(dict.fromkeys(row["target"] for row in self.rows))
        number = {name: i for i, name in enumerate(names)}
        self.target_of = np.array([number[row["target"]] for row in self.rows])

        def decode(path):
            try:
                with Image.open(path) as image:
                    return np.asarray(image.convert("RGB"))
            except OSError as error:
                raise ImageError(
                    f"cannot read {path} ({error}): restore it, or prepare the pairs again"
                ) from error

        with ThreadPoolExecutor() as pool:
            self.inputs = np.stack(
                list(pool.map(lambda r: decode(folder / "inputs" / r["input"]), self.rows))
            )
            self.targets = np.stack(list(pool.map(lambda n: decode(folder / "targets" / n), names)))
        self.size = self.inputs.shape[1]
        if self.targets.shape[1] != self.size:
            raise ImageError(
                f"the inputs in {folder} have {self.size} pixels and the targets {self.targets.shape[1]}: prepare the "
                "pairs again"
            )

    def __len__(self):
        return len(self.rows)


def _is_excluded(folder, row):
    """Whether an image of a pair is excluded (`facesym.data.excluded`): by the name of the photo or of the
    target's photo, or by the content of either image."""
    target = row["target"].removeprefix(f"{row['kind']}-").removeprefix(f"{row['set']}-")
    files = (folder / "inputs" / row["input"], folder / "targets" / row["target"])
    return any(is_excluded_name(row["set"], name) for name in (row["file_name"], target)) or any(
        map(is_excluded_file, files)
    )


def _normalized(points, side):
    """Convert pixel coordinates (…x2) to a float32 tensor in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray((2 * points + 1) / side - 1, np.float32))


class PairSamples(Samples):
    """Training samples of NFGAN: pairs flipped so that the far side of the face is on the right, and jittered.

    Samples are dicts: "image", "target" and "guide" (another frontal neutral face), CxSxS in [-1, 1]; "coordinates",
    2xGxG in [-1, 1], and "weight", 1xGxG; "trust", 1xSxS in [0, 1], where the target counts; "goal" and "points", 51x2
    in [-1, 1], the landmarks of target and input without the jaw.

    Args:
        pairs: Pairs.
        size: side S of the images in pixels.
        channels: channels C of the images, 3 or 1 (grey).
        seed: seed of the stream.
        real_fraction, turned_fraction, expressive_fraction: fractions of the samples that are pairs of these kinds, if
            there are any; their sum must be less than 1. The rest is simulated.
        augment: False leaves the pairs unchanged, for validation.
    """

    def __init__(
        self,
        pairs: Pairs,
        size: int,
        channels: int = 3,
        seed: int = 0,
        real_fraction: float = 0.2,
        turned_fraction: float = 0.2,
        expressive_fraction: float = 0.3,
        augment: bool = True,
    ):
        of_kind: dict[str, list[int]] = {kind: [] for kind in ("simulated", "real", *MADE)}
        for i, row in enumerate(pairs.rows):
            of_kind[str(row["kind"])].append(i)
        fractions = {"real": real_fraction, "turned": turned_fraction, "expressive": expressive_fraction}
        simulated = of_kind["simulated"]
        rest = 1 - sum(fraction for kind, fraction in fractions.items() if of_kind[kind])
        rng = np.random.default_rng(seed)
        for kind, fraction in fractions.items():
            if of_kind[kind] and simulated:  # repeat or drop pairs to match the fraction
                count = round(fraction / rest * len(simulated))
                of_kind[kind] = np.resize(rng.permutation(of_kind[kind]), count).tolist()
        # The guiding set holds photos only; synthesized targets are used only if there are no photos.
        photos = [i for i, row in enumerate(pairs.rows) if row["kind"] not in MADE] or range(len(pairs))
        self.guides = np.unique(pairs.target_of[photos])
        self.pairs, self.size, self.channels, self.augment = pairs, size, channels, augment
        # Hair and background that the mesh synthesized are not targets; the framing determines where the face is.
        y, x = (np.mgrid[:size, :size] + 0.5) / size
        self.oval = np.clip((1 - np.hypot((x - 0.5) / 0.3, (y - 0.61) / 0.36)) / 0.15, 0, 1).astype(
            np.float32
        )
        super().__init__([i for kind in ("real", *MADE, "simulated") for i in of_kind[kind]], seed)

    def sample(self, i: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        return self.pair(self.faces[i], rng)

    def pair(self, i: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        """Return row ``i`` of the pairs as a sample."""
        pairs = self.pairs
        side, row = pairs.size, pairs.rows[i]
        image, target = pairs.inputs[i], pairs.targets[pairs.target_of[i]]
        (points, goal), coordinates = pairs.points[i], pairs.coordinates[i].astype(np.float32)
        known = not np.isnan(coordinates).any()
        seen = coordinates[..., 2] if known else np.zeros(coordinates.shape[:2], np.float32)
        coordinates = coordinates[..., :2] if known else np.zeros_like(coordinates[..., :2])
        # Turned faces are flipped by their yaw, others at random.
        yaw = float(row["yaw"])
        if yaw < -10 or (abs(yaw) <= 10 and rng.random() < 0.5):
            image, target = image[:, ::-1], target[:, ::-1]
            coordinates = coordinates[:, ::-1] * np.array([-1, 1], np.float32) + np.array(
                [side - 1, 0], np.float32
            )
            seen = seen[:, ::-1]
            # Not renumbered: landmarks are only compared with their counterparts.
            points, goal = (
                p * np.array([-1, 1], np.float32) + np.array([side - 1, 0], np.float32)
                for p in (points, goal)
            )
        guide = pairs.targets[self.guides[rng.integers(len(self.guides))]]
        if rng.random() < 0.5:
            guide = guide[:, ::-1]
        if self.augment:
            matrix = affine_jitter(rng, side, 2, 0.03, 0.01).astype(np.float32)
            image = cv2.warpAffine(
                image, matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
            )
            points, coordinates = (p @ matrix[:, :2].T + matrix[:, 2] for p in (points, coordinates))
            if rng.random() < 0.1:
                image = downscale_blur(rng, image, smallest=0.4)
            both = colour_jitter(rng, np.concatenate([image, target], 1), 0.15)  # the same change to both
            image, target = both[:, :side], both[:, side:]
            # Jittered too: otherwise the jitter alone would distinguish real from generated images.
            guide = colour_jitter(rng, guide, 0.15)
        return {
            "image": self._picture(image),
            "target": self._picture(target),
            "guide": self._picture(guide),
            "coordinates": _normalized(coordinates, side).permute(2, 0, 1),
            # Hidden pixels have coordinates too, with a lower weight.
            "weight": torch.from_numpy(0.2 * float(known) + 0.8 * np.ascontiguousarray(seen))[None].float(),
            "trust": torch.from_numpy(self.oval if row["kind"] in MADE else np.ones_like(self.oval))[None],
            "goal": _normalized(goal[INNER], side),
            "points": _normalized(points[INNER], side),
        }

    def _picture(self, image):
        if len(image) != self.size:
            image = cv2.resize(
                np.ascontiguousarray(image), (self.size, self.size), interpolation=cv2.INTER_AREA
            )
        x = to_tensor(image)
        return x if self.channels == 3 else x.mean(0, keepdim=True)
