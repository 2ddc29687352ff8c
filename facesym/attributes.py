"""Names of the attributes that transfer changes, by group, and of the kinds of occlusions."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .errors import ImageError, did_you_mean

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


def choose(groups: Mapping[str, Sequence[str]], names: Iterable[str]) -> dict[str, str]:
    """Assign attributes to their groups.

    Args:
        groups: {group: attributes}.
        names: attributes, at most one of each group.

    Returns:
        {group: attribute}.

    Raises:
        ImageError: an attribute is unknown, or two belong to the same group.
    """
    chosen: dict[str, str] = {}
    names = list(names)
    for i, name in enumerate(names):
        group = next((group for group, known in groups.items() if name in known), None)
        if group is None:
            known = [each for each in groups.values() for each in each]
            both = " ".join(names[i : i + 2])  # the two words of "left 20", without quotes on a command line
            hint = did_you_mean(both if both in known else name, known)
            raise ImageError(f"There is no attribute {name!r}.{hint} Known: {list_attributes(groups)}.")
        if group in chosen:
            raise ImageError(f"Choose one {group}: {chosen[group]} or {name}.")
        chosen[group] = name
    return chosen


def list_attributes(groups: Mapping[str, Sequence[str]]) -> str:
    """List the attributes of each group for messages."""
    return "; ".join(f"{group}: {', '.join(names)}" for group, names in groups.items())


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
