"""Training samples of LSSL: faces with attributes and a target (train/lssl.py), and simulated frontal faces with the
turned photos they come from (train/realism.py)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import cv2
import numpy as np
import torch

from ..faces.geometry import flip_landmarks, resized_points
from ..models.lssl import GROUPS
from .attributes import POSES, UNKNOWN, expression_of, pose_of, relight
from .faces import FaceFolders, Samples, affine_jitter, colour_jitter, to_tensor
from .pairs import MADE, Pairs, keeps_pose
from .simulate import FaceMesh, frontalize

NAMES = list(GROUPS)
LEAST_STRENGTH = 0.5  # minimum strength of an expression that counts as a label
LOOKS = {"look": ("simulated", "photo")}  # attributes of mode (b)


class AttributeSamples(Samples):
    """Faces mirrored, jittered and relit, with their attributes and a target.

    Args:
        faces: FaceFolders; their targets differ from the source in one group.
        seed: seed of the order and the augmentation.
        pairs: Pairs or None. Their targets are other images of the person, which differ in one or two groups.
        pair_fraction: fraction of samples from ``pairs``.

    For the format of the samples, see `as_sample`.
    """

    def __init__(
        self, faces: FaceFolders, seed: int = 0, pairs: Pairs | None = None, pair_fraction: float = 0.5
    ):
        super().__init__(faces, seed)
        self.pairs, self.pair_fraction = pairs, pair_fraction if pairs else 0
        self.ways = pair_ways(pairs) if pairs else {}

    def sample(self, i: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        if rng.random() < self.pair_fraction:
            return self.pair(rng)
        image, points, row = self.faces.images[i], self.faces.landmarks[i], self.faces.rows[i]
        size, yaw = self.faces.size, float(row.get("yaw") or "nan")
        if rng.random() < 0.5:
            image, points, yaw = image[:, ::-1], flip_landmarks(points, size), -yaw
        (image,), (points,) = jitter(rng, [image], [points])
        lights, light = GROUPS["light"], draw_light(rng)
        own = [expression_of(row, GROUPS["expression"]), pose_of(yaw, GROUPS["pose"]), light]
        group = int(rng.choice([k for k, value in enumerate(own) if value != UNKNOWN]))
        target = int(rng.integers(len(GROUPS[NAMES[group]])))
        lit = relight(rng, image, lights[light])
        other = NAMES[group] == "light" and target != own[group]
        goal = relight(rng, image, lights[target]) if other else lit
        # The target is exact for another light and for the attribute that the face has; for another expression it is
        # used with a low weight, for another pose not at all.
        sure = NAMES[group] == "light" or target == own[group]
        kept = 1.0 if sure else {"expression": 0.2, "pose": 0.0}[NAMES[group]]
        return as_sample((lit, goal), (points, points), own, {group: target}, kept, sure, photo=True)

    def pair(self, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        """Return a sample from two images of a person in the same light, source and target. Needs ``pairs``."""
        pairs, size = self.pairs, self.faces.size
        assert pairs is not None
        kinds = list(self.ways)
        people = self.ways[kinds[rng.choice(len(kinds), p=_probabilities(kinds))]]
        ways = people[rng.integers(len(people))]
        shown = ways[rng.integers(len(ways))]
        images = [image.image(pairs) for image in shown]
        points = [resized_points(image.points(pairs), size / pairs.size) for image in shown]
        images = [
            x if len(x) == size else cv2.resize(x, (size, size), interpolation=cv2.INTER_AREA) for x in images
        ]
        own, goal = ([image.expression, image.pose] for image in shown)
        asked = {group for group in (0, 1) if own[group] != goal[group]}
        if not _same_pose(*shown):
            asked.add(1)
        if rng.random() < 0.5:
            images, points = [x[:, ::-1] for x in images], [flip_landmarks(p, size) for p in points]
            own[1], goal[1] = (len(POSES) - 1 - pose for pose in (own[1], goal[1]))  # from left to right
        images, points = jitter(rng, images, points)
        light, seed = draw_light(rng), rng.integers(2**32)
        images = [relight(np.random.default_rng(seed), x, GROUPS["light"][light]) for x in images]
        changed = {group: goal[group] for group in asked}
        strengths = [{0: image.strength} for image in shown]
        sample = as_sample(
            images, points, [*own, light], changed, 1.0, True, shown[0].photo, strengths=strengths
        )
        if min(image.strength for image in shown) < LEAST_STRENGTH:
            # D must not learn from weak expressions.
            sample["known"][: len(GROUPS["expression"])] = 0
        return sample


@dataclass
class Picture:
    """An image of a person in `Pairs`: row ``input`` of its inputs, or that row's target."""

    input: int
    is_target: bool
    expression: int
    pose: int
    yaw: float
    pitch: float
    photo: bool
    strength: float = 1.0  # of the expression, see `expression_strengths`

    def image(self, pairs: Pairs) -> np.ndarray:
        """Return the image, SxSx3 uint8."""
        return pairs.targets[pairs.target_of[self.input]] if self.is_target else pairs.inputs[self.input]

    def points(self, pairs: Pairs) -> np.ndarray:
        """Return the landmarks, 68x2 in pixels."""
        return pairs.points[self.input][int(self.is_target)]


def pair_ways(pairs: Pairs) -> dict[tuple[str, str], list]:
    """Group the pairs of images of each person by kind.

    A kind is (source, change). The source is "real" if both images are photos, "to photo" if only the target is, and
    "to made" if the target is not; the change is an expression, or "pose".

    Images with a common target are of one person. Photos whose targets the mesh brings to the front are excluded, as
    are images with unnamed attributes. A pose is requested only if it is within 8 degrees of the named one. Heads are
    not turned away from the front to studio photos, whose bare background would be learned as a halo.

    Returns:
        {kind: [per person: [(source Picture, target Picture)]]}, without empty lists.
    """
    expressions, poses = list(GROUPS["expression"]), list(GROUPS["pose"])
    people: dict[int, list[Picture]] = {}
    strengths = expression_strengths(pairs)
    for i, row in enumerate(pairs.rows):
        yaw = float(row["yaw"] or "nan")
        expression, pose = _PAIRS.get(row["expression"], UNKNOWN), pose_of(yaw, poses)
        expressive = row["kind"] == "expressive"
        if row["kind"] == "turned" or (expressive and not keeps_pose(row)):
            continue
        if UNKNOWN in (expression, pose):
            continue
        pitch = float(row["pitch"] or 0)
        at = (yaw, pitch) if expressive else (0.0, 0.0)
        target = Picture(i, True, expressions.index("neutral"), poses.index("frontal"), *at, not expressive)
        person = people.setdefault(int(pairs.target_of[i]), [target])
        photo = row["kind"] in ("real", "expressive")
        person.append(Picture(i, False, expression, pose, yaw, pitch, photo, strengths[i]))
    ways: dict[tuple[str, str], dict[int, list]] = {}
    for number, person in people.items():
        for a, b in permutations(person, 2):
            same = _same_pose(a, b)
            near = abs(b.yaw - POSES[poses[b.pose]]) <= 8 and abs(b.pitch) <= 8
            if b.photo and not same and poses[b.pose] != "frontal":
                continue
            if (same and a.expression != b.expression) or (not same and near):
                kind = "to made" if not b.photo else "real" if a.photo else "to photo"
                kind = (kind, expressions[b.expression] if same else "pose")
                ways.setdefault(kind, {}).setdefault(number, []).append((a, b))
    return {kind: list(found.values()) for kind, found in ways.items()}


def expression_strengths(pairs: Pairs) -> list[float]:
    """Measure the strength of each input's expression: N floats, 1 at the upper quartile of its kind; 1 for neutral.

    y holds the strength instead of a one: otherwise the network would learn the mean of all smiles, which is weak and
    has closed lips. The strength is the increase of the opening of the lips over the target's, relative to the distance
    of the eyes (which a turn shortens as well); for a smile, averaged with the increase of the mouth's width.
    """
    wide, parted = (_shown_by(pairs.points, *ends) for ends in ((48, 54), (62, 66)))
    wider, farther = wide[:, 0] / np.maximum(wide[:, 1], 1e-6) - 1, parted[:, 0] - parted[:, 1]
    strengths = np.ones(len(pairs.rows))
    for name, measures in {"happy": (wider, farther), "surprised": (farther,)}.items():
        kind = np.array([_PAIRS.get(r["expression"]) == GROUPS["expression"].index(name) for r in pairs.rows])
        if kind.any():
            full = [max(np.percentile(measure[kind], 75), 1e-3) for measure in measures]
            strength = np.mean([measure[kind] / most for measure, most in zip(measures, full)], 0)
            strengths[kind] = np.clip(strength, 0.2, 1.6)
    return strengths.tolist()


def _shown_by(points, a, b):
    """Return the distance of landmarks a and b in eye distances: …x68x2 to …."""
    eyes = points[..., 42:48, :].mean(-2) - points[..., 36:42, :].mean(-2)
    return np.linalg.norm(points[..., a, :] - points[..., b, :], axis=-1) / np.linalg.norm(eyes, axis=-1)


def _same_pose(a, b):
    return a.pose == b.pose and abs(a.yaw - b.yaw) <= 5 and abs(a.pitch - b.pitch) <= 8


def _probabilities(kinds):
    """Return the probability of drawing each kind, raised for real pairs and for changes of the expression alone, which
    are rare in the data."""
    sources = {"real": 0.2, "to photo": 0.4, "to made": 0.4}
    changes = {"pose": 0.3, "neutral": 0.25, "happy": 0.25, "surprised": 0.2}
    weights = np.array([sources[source] * changes[change] for source, change in kinds])
    return weights / weights.sum()


# pairs.csv's names of expressions.
_PAIRS = {
    name: GROUPS["expression"].index(own)
    for name, own in {"neutral": "neutral", "smiling": "happy", "surprised": "surprised"}.items()
}


def jitter(
    rng: np.random.Generator, images: Sequence[np.ndarray], points: Sequence[np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Jitter the geometry and colour of images (SxSx3 uint8) and their landmarks, all in the same way."""
    size = len(images[0])
    matrix = affine_jitter(rng, size, degrees=4, scale=0.04, shift=0.015)
    moved = [
        cv2.warpAffine(
            np.ascontiguousarray(image),
            matrix,
            (size, size),
            flags=cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REFLECT,
        )
        for image in images
    ]
    wide = colour_jitter(rng, np.concatenate(moved, 1), 0.1)
    return np.split(wide, len(images), 1), [p @ matrix[:, :2].T + matrix[:, 2] for p in points]


def draw_light(rng: np.random.Generator) -> int:
    """Draw the index of a light; half of the draws are normal light."""
    return 0 if rng.random() < 0.5 else int(rng.integers(1, len(GROUPS["light"])))


def as_sample(
    images: Sequence[np.ndarray],
    points: Sequence[np.ndarray],
    own: Sequence[int],
    changed: dict[int, int],
    kept: float,
    still: bool,
    photo: bool,
    groups: Mapping[str, Sequence[str]] = GROUPS,
    strengths: Sequence[dict[int, float]] = ({}, {}),
) -> dict[str, torch.Tensor]:
    """Convert a training sample to tensors.

    Args:
        images: source and target, SxSx3 in [0, 255].
        points: landmarks of source and target, 68x2 in pixels.
        own: the source's attributes: per group an index, or UNKNOWN.
        changed: {index of a group: index of an attribute}, the requested attributes.
        kept: weight of the target image: 1 if it is exact, 0 if there is none.
        still: whether the target's landmarks are exact.
        photo: whether the source is a photo, not simulated.
        groups: {group: attributes}.
        strengths: for source and target, {index of a group: the value in "back" or "y" instead of one}.

    Returns:
        A dict: "image" and "goal" (the target), 3xSxS in [-1, 1]; their landmarks "points" and "goal_points", 68x2 in
        pixels; vectors of length A: "own" (the source's attributes), "known" (which of them are labelled), "y" (the
        requested attributes, other groups zero), "back" (those that restore the source) and "wanted" (the target's
        attributes); and the numbers "kept", "still" and "photo".
    """
    source = dict(enumerate(own))
    known = [np.full(len(names), source[k] != UNKNOWN) for k, names in enumerate(groups.values())]
    return {
        "image": to_tensor(images[0]),
        "goal": to_tensor(images[1]),
        "points": torch.from_numpy(np.asarray(points[0], np.float32)),
        "goal_points": torch.from_numpy(np.asarray(points[1], np.float32)),
        "y": one_hot(changed, groups, strengths[1]),
        "back": one_hot({group: source[group] for group in changed}, groups, strengths[0]),
        "own": one_hot(source, groups),
        "wanted": one_hot(source | changed, groups),
        "known": torch.from_numpy(np.concatenate(known).astype(np.float32)),
        "kept": torch.tensor(float(kept)),
        "still": torch.tensor(float(still)),
        "photo": torch.tensor(float(photo)),
    }


def group_offsets(groups: Mapping[str, Sequence[str]] = GROUPS) -> np.ndarray:
    """Return the index in y at which each group begins, and the length of y."""
    return np.concatenate([[0], np.cumsum([len(names) for names in groups.values()])])


def one_hot(
    chosen: dict[int, int],
    groups: Mapping[str, Sequence[str]] = GROUPS,
    strengths: dict[int, float] | None = None,
) -> torch.Tensor:
    """Encode attributes as y (A numbers).

    Args:
        chosen: {index of a group: index of an attribute, or UNKNOWN}.
        groups: {group: attributes}.
        strengths: {index of a group: the value instead of one}.
    """
    start = group_offsets(groups)
    y = torch.zeros(int(start[-1]))
    for group, index in chosen.items():
        if index != UNKNOWN:
            y[start[group] + index] = (strengths or {}).get(group, 1)
    return y


class RealismSamples(Samples):
    """Training samples of mode (b): from a face brought to the front by a mesh to a photo, or the other way round.

    The turned photo is the condition map ("side" and "goal_side", 3xSxS in [0, 1]).

    Args:
        pairs: Pairs. Turned photos without a frontal one, and expressive ones, have no target; the simulated face
            replaces it with a low weight.
        mesh: facesym.data.simulate.FaceMesh.
        size: side S of the images in pixels.
        seed: seed of the order and the augmentation.
    """

    def __init__(self, pairs: Pairs, mesh: FaceMesh, size: int, seed: int = 0):
        turned = [i for i, row in enumerate(pairs.rows) if abs(float(row["yaw"] or 0)) >= 10]
        super().__init__(turned, seed)
        self.pairs, self.mesh, self.size = pairs, mesh, size

    def sample(self, i: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        i = self.faces[i]
        pairs, row = self.pairs, self.pairs.rows[i]
        photo, (points, goal_points) = pairs.inputs[i], pairs.points[i]
        simulated, moved = frontalize(photo, points, self.mesh)
        known = row["kind"] not in MADE and row["expression"] == "neutral"
        goal = pairs.targets[pairs.target_of[i]]
        images, points = [photo, simulated, goal], [points, moved, goal_points]
        if pairs.size != self.size:
            images = [cv2.resize(x, (self.size,) * 2, interpolation=cv2.INTER_AREA) for x in images]
            points = [resized_points(p, self.size / pairs.size) for p in points]
        if rng.random() < 0.5:
            images, points = [x[:, ::-1] for x in images], [flip_landmarks(p, self.size) for p in points]
        (side, simulated, goal), (_, moved, goal_points) = jitter(rng, images, points)
        ends, marks, look = (simulated, goal), (moved, goal_points), 0
        if not known:
            ends, marks = (simulated, simulated), (moved, moved)
        elif rng.random() < 0.3:  # D must see photos, and G the way back
            ends, marks, look = ends[::-1], marks[::-1], 1
        sample = as_sample(ends, marks, [look], {0: 1 - look}, 1.0 if known else 0.2, True, look == 1, LOOKS)
        side = (to_tensor(side) + 1) / 2
        return sample | {"side": side, "goal_side": side}
