"""Names of the attributes that transfer changes, by group, and of the kinds of occlusions."""

from collections.abc import Mapping
from typing import Any

GROUPS = {
    "expression": ("neutral", "happy", "surprised"),
    "pose": ("left 45", "left 20", "frontal", "right 20", "right 45"),  # where the nose points, in the image
    "light": ("normal", "weak", "dark", "side"),
}
# In the order of OcclusionNet's channels. "object": a hand, a microphone, anything held in front of a face; "damage":
# scratches, folds, tears and stains of old prints.
OCCLUSIONS = ("glasses", "sunglasses", "mask", "object", "hair", "damage")


def groups_of(config: Any) -> dict[str, tuple[str, ...]]:
    """Return the attributes of a network by group, in the order of its input y: {group: attributes}.

    Args:
        config: config of an AttributeGenerator.
    """
    return {group: tuple(names) for group, names in config.groups}


def encode(config: Any, wanted: Mapping[str, str]) -> list[float]:
    """Encode attributes as y, a list of A numbers.

    Args:
        config: config of an AttributeGenerator.
        wanted: {group: attribute}; other groups keep the input's attribute.

    Raises:
        KeyError: a group or attribute is unknown.
    """
    groups = groups_of(config)
    unknown = [name for group, name in wanted.items() if name not in groups.get(group, ())]
    if unknown:
        raise KeyError(f"no such attribute: {', '.join(map(str, unknown))}")
    factors: dict[str, float] = dict(config.emphasis)
    return [
        float(factors.get(name, factors.get(group, 1))) if wanted.get(group) == name else 0.0
        for group, names in groups.items()
        for name in names
    ]
