"""Results as JSON, CSV and Markdown, and for zoo.json."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

ALONE = ", network alone"  # ends the row of a model without what its pipeline adds


def save_results(out: Path, settings: dict[str, Any], results: Any) -> None:
    """Write ``results.json``: the settings and the results of a task."""
    text = json.dumps({"settings": settings, "results": results}, indent=1)
    (out / "results.json").write_text(text + "\n")


def save_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a list of dicts as CSV; keys that a row lacks stay empty."""
    fields = list(dict.fromkeys(key for row in rows for key in row))
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, fields, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def mean_row(name: str, values: dict[str, np.ndarray]) -> dict[str, Any]:
    """Average measures over images to a row of a table.

    Args:
        name: heading of the row.
        values: {measure: an array with one value per image}. A measure without finite values is left out.
    """
    return {"row": name} | {
        key: finite_mean(value) for key, value in values.items() if np.isfinite(value).any()
    }


def finite_mean(values: np.ndarray) -> float:
    """Average an array without infinite values (the PSNR of an unchanged image) and NaN; NaN if there are no others."""
    finite = np.asarray(values)[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def zoo_metrics(data: str, protocol: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return an entry of ``metrics`` in zoo.json (see `facesym.zoo.FIELDS`).

    Args:
        data: what was measured on.
        protocol: how.
        rows: dicts; "row" is a row's name. Their floats are kept, rounded to three decimals; ints are counts.
    """
    return {"data": data, "protocol": protocol, "values": {row["row"]: _numbers(row) for row in rows}}


def _numbers(row):
    """Return the floats of a row; those of a dict in it are named after both keys."""
    numbers = {}
    for key, value in row.items():
        if isinstance(value, dict):
            numbers |= {f"{key}_{each}": number for each, number in _numbers(value).items()}
        elif isinstance(value, float):
            numbers[key] = round(value, 3)
    return numbers


def markdown(rows: Sequence[dict[str, Any]], columns: dict[str, str]) -> str:
    """Format a table in Markdown.

    Args:
        rows: dicts; "row" is a line's heading.
        columns: {heading: format}, e.g. {"PSNR": "{psnr:.2f}"}. A cell is empty if its row lacks a key; empty columns
            are left out.
    """
    cells = {heading: [_cell(form, row) for row in rows] for heading, form in columns.items()}
    cells = {heading: column for heading, column in cells.items() if any(column)}
    lines = ["| | " + " | ".join(cells) + " |", "|---" * (len(cells) + 1) + "|"]
    for i, row in enumerate(rows):
        lines.append(f"| {row['row']} | " + " | ".join(column[i] for column in cells.values()) + " |")
    return "\n".join(lines)


def _cell(form, row):
    try:
        return form.format_map(row)
    except KeyError:
        return ""
