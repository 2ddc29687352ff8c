"""Movements: a photo at rest and one of a smile, closed eyes or raised brows of the same subject on the same day."""

from dataclasses import dataclass
from typing import Any

from .series import REST

# Measures of each movement: the label, the measure, and whether it grows (1) or shrinks (-1).
MOVEMENTS = {
    "smile": (
        ("Commissure excursion", "commissure_excursion", 1),
        ("Commissure lift", "commissure_height", 1),
    ),
    "eye closure": (("Lid closure", "palpebral_fissure", -1),),
    "brow raise": (("Brow lift", "brow_height", 1),),
}


@dataclass(frozen=True)
class Movement:
    """The movement of each side from rest.

    Attributes:
        subject, date, condition: see `facesym.study.series.About`.
        rest, movement: the photos.
        rest_photos: number of photos at rest of that day, of which ``rest`` is one.
        label: name of the movement.
        measure: key of the measure.
        right, left: how far the subject's sides moved, in eye distances; negative against the movement.
        flags: reasons why a photo's measures may be unreliable, in words; "" if there are none.
        pupillary_distance: of the subject, in millimetres, or None.
    """

    subject: str
    date: str
    condition: str
    rest: str
    movement: str
    label: str
    measure: str
    right: float
    left: float
    flags: str = ""
    rest_photos: int = 1
    pupillary_distance: float | None = None

    @property
    def difference(self) -> float:
        """Return left minus right, in eye distances."""
        return self.left - self.right

    @property
    def ratio(self) -> float | None:
        """Return the smaller movement over the larger: 1 = equal, 0 = one side does not move; None if neither moves."""
        small, large = sorted((self.right, self.left))
        return max(small, 0) / large if large > 0 else None

    def row(self) -> dict[str, Any]:
        """Return the movement as a flat dict for a table, with the pupillary distance also in millimetres."""
        row = {
            "subject": self.subject, "date": self.date, "condition": self.condition, "rest": self.rest,
            "rest_photos": self.rest_photos, "movement": self.movement, "measure": self.measure,
            "right": round(self.right, 4), "left": round(self.left, 4), "difference": round(self.difference, 4),
            "ratio": None if self.ratio is None else round(self.ratio, 3), "flags": self.flags,
        }  # fmt: skip
        if self.pupillary_distance:
            for name in ("right", "left", "difference"):
                row[f"{name}_mm"] = round(getattr(self, name) * self.pupillary_distance, 2)
        return row


def find_movements(rows: list[dict[str, Any]]) -> list[Movement]:
    """Pair each photo of a movement with a photo of its subject at rest: of the same date, otherwise the last earlier
    one, otherwise the first one. Of several photos of that date, the first without flags is taken.

    Args:
        rows: of the study's table.

    Returns:
        A list of Movement.
    """
    measured = [row for row in rows if "error" not in row]
    found = []
    for row in measured:
        resting = [
            other for other in measured if other["subject"] == row["subject"] and other["condition"] == REST
        ]
        if row["condition"] not in MOVEMENTS or not resting:
            continue
        rest, count = _choose_rest(resting, row["date"])
        for label, key, sign in MOVEMENTS[row["condition"]]:
            right, left = (
                sign * (row[f"{key}_{side}"] - rest[f"{key}_{side}"]) for side in ("right", "left")
            )
            found.append(
                Movement(
                    row["subject"],
                    row["date"],
                    row["condition"],
                    rest["photo"],
                    row["photo"],
                    label,
                    key,
                    right,
                    left,
                    _flags(rest, row),
                    count,
                    row.get("pupillary_distance"),
                )
            )
    return found


def _choose_rest(resting, day):
    """Return the row of the photo at rest to compare with, and the number of those of its date."""
    days = sorted(row["date"] for row in resting)
    chosen = ([each for each in days if each <= day] or days[:1])[-1]
    own = [row for row in resting if row["date"] == chosen]
    return min(own, key=lambda row: (bool(row.get("flags")), bool(row.get("check")))), len(own)


def _flags(*rows):
    """Join the flags of photos, each with its condition."""
    return ", ".join(f"{row['condition']} ({row['flags']})" for row in rows if row.get("flags"))
