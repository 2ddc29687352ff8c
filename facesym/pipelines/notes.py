"""Notes for the user that several tasks share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..identity import SAME_PERSON

if TYPE_CHECKING:
    from .base import FaceJob

SMALL = 32  # pixels: eyes and teeth of a face narrower than this are a blur
FACE = 0.55  # width of a face, relative to its aligned crop
UNLIKE = "may no longer look like the same person"


def others_note(count: int) -> str:
    """Return a note on the faces that ``faces="largest"`` left unchanged.

    Args:
        count: number of these faces, at least 1.
    """
    faces, them = ("other faces were", "them") if count > 1 else ("other face was", "it")
    return f'{count} {faces} found and not changed: use faces="all" to change {them} too.'


def small_note(face: FaceJob) -> list[str]:
    """Return a list with a note if a face has too few pixels; empty otherwise."""
    if face.transform is None:
        return []
    width = FACE * face.crop.width / math.hypot(*face.transform[:, 0])
    if width >= SMALL:
        return []
    return [
        f"The face is only about {width:.0f} pixels wide: expect a blurred result, or use a larger photo."
    ]


def turn_limit(asked: Sequence[float], given: Sequence[float], farthest: float) -> str | None:
    """Return why a head was not turned as far as requested; None if it was.

    Args:
        asked: one yaw, or the first and last yaw of a series, in degrees.
        given: those of the result.
        farthest: maximum yaw of the model in degrees.
    """
    limits = [after for before, after in zip(asked, given) if abs(after - before) > 1]
    if not limits:
        return None
    if all(abs(limit) > farthest - 0.5 for limit in limits):
        return f"the model turns heads no further than {farthest:.0f}°"
    return "further than that it no longer looks like the same person"


def limit_note(asked: Sequence[float], given: Sequence[float], limit: str) -> str:
    """Return a note on a head that was not turned as far as requested.

    Args:
        asked, given: see `turn_limit`.
        limit: what it returned.
    """
    old, new = (" to ".join(f"{yaw:.0f}°" for yaw in yaws) for yaws in (asked, given))
    return f"Turned {'from' if len(given) > 1 else 'to'} {new} instead of {old}: {limit}."


def mask_notes(mask: np.ndarray, beyond: np.ndarray, others: np.ndarray) -> list[str]:
    """Return notes on the parts of a mask that the network does not fill.

    Args:
        mask: HxW bool, True = missing, not empty.
        beyond: HxW bool, the part outside the crops of all faces.
        others: HxW bool, the part that belongs to faces that are not completed.
    """
    notes = []
    if beyond.any():
        notes.append(
            f"{_share(beyond, mask)} of the mask lies outside the aligned crop of the face: it was filled "
            "from the mirror image or smoothly, without the network."
        )
    if others.any():
        notes.append(
            f"{_share(others, mask)} of the mask is closer to another face and was not filled: use "
            'faces="all" to fill it too.'
        )
    return notes


def _share(part, mask):
    """Return the fraction of a mask (HxW bool) that a part of it is, as text."""
    fraction = part.sum() / mask.sum()
    return "Less than 1%" if fraction < 0.01 else f"{fraction:.0%}"


def with_likeness(notes: list[str], identity: list[float] | None) -> list[str]:
    """Add a note if a face of a result may no longer look like the same person, unless the notes say so already.

    Args:
        notes: the notes of a result.
        identity: its cosine similarities to the photo, or None.

    Returns:
        The notes, with at most one more.
    """
    least = min(identity or [1.0])
    if least >= SAME_PERSON or any(UNLIKE in note for note in notes):
        return notes
    return [*notes, f"The result {UNLIKE} (likeness {max(least, 0):.0%})."]
