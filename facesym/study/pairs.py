"""Movements: a photo at rest and one of a smile, closed eyes or raised brows of a subject, of one day if possible."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from .measures import MEASURES
from .series import REST

BACKWARDS = (
    0.02  # eye distances, about a millimetre: both sides this far against a movement look like swapped photos
)
DETECTABLE = {measure.key: measure.detectable for measure in MEASURES}
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
        rest_date: of the photo at rest.
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
    rest_date: str = ""
    flags: str = ""
    rest_photos: int = 1
    pupillary_distance: float | None = None

    @property
    def difference(self) -> float:
        """Return left minus right, in eye distances."""
        return self.left - self.right

    @property
    def ratio(self) -> float | None:
        """Return the smaller movement over the larger: 1 = equal, 0 = one side does not move, or moves the other way.

        It is None if the larger one is less than the smallest detectable change of the measure's difference.
        """
        small, large = sorted((self.right, self.left))
        return max(small, 0) / large if large >= DETECTABLE[self.measure] else None

    def row(self) -> dict[str, Any]:
        """Return the movement as a flat dict for a table, with the pupillary distance also in millimetres."""
        row = {
            "subject": self.subject, "date": self.date, "condition": self.condition, "rest": self.rest,
            "rest_date": self.rest_date, "rest_photos": self.rest_photos,
            "movement": self.movement, "measure": self.measure, "label": self.label,
            "right": round(self.right, 4), "left": round(self.left, 4), "difference": round(self.difference, 4),
            "ratio": None if self.ratio is None else round(self.ratio, 3), "ratio_note": "", "flags": self.flags,
        }  # fmt: skip
        if self.ratio is None:
            row["ratio_note"] = (
                f"the larger movement is less than {DETECTABLE[self.measure]:.4f} eye distances"
            )
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
        flags = _flags(rest, row)
        for label, key, sign in MOVEMENTS[row["condition"]]:
            right, left = _change(rest, row, key, sign)
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
                    rest["date"],
                    flags,
                    count,
                    row.get("pupillary_distance"),
                )
            )
    return found


def subjects_without_rest(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Count the photos of movements of subjects without a measured photo at rest, whose movements cannot be measured.

    Args:
        rows: of the study's table.

    Returns:
        {subject: number of photos}.
    """
    measured = [row for row in rows if "error" not in row]
    resting = {row["subject"] for row in measured if row["condition"] == REST}
    return Counter(
        row["subject"] for row in measured if row["condition"] in MOVEMENTS and row["subject"] not in resting
    )


def _choose_rest(resting, day):
    """Return the row of the photo at rest to compare with, and the number of those of its date."""
    days = sorted(row["date"] for row in resting)
    chosen = ([each for each in days if each <= day] or days[:1])[-1]
    own = [row for row in resting if row["date"] == chosen]
    return min(own, key=lambda row: (bool(row.get("flags")), bool(row.get("check")))), len(own)


def _change(rest, row, key, sign):
    """Return how far the right and the left side moved from rest, by one measure."""
    return [sign * (row[f"{key}_{side}"] - rest[f"{key}_{side}"]) for side in ("right", "left")]


def _flags(rest, row):
    """Join the flags of both photos, each with its condition, and say what speaks against the pair."""
    flags = [f"{each['condition']} ({each['flags']})" for each in (rest, row) if each.get("flags")]
    if rest.get("check"):
        flags.append(f"rest (check the {rest['check']})")
    _, *main = MOVEMENTS[row["condition"]][0]
    if max(_change(rest, row, *main)) < -BACKWARDS:
        flags.append("both sides moved in the opposite direction: were the photos swapped?")
    if rest["date"] != row["date"]:
        flags.insert(0, f"the photo at rest is of {rest['date'] or 'an unknown date'}")
    return ", ".join(flags)
