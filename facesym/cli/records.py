"""Records of the results in a folder: the inputs, model and options that made each one.

`OUT/.facesym/` holds one small JSON file per result, written atomically. Processes never share a file, however many
work on a folder, and the cost of adding a result does not grow with the folder. At the end of a run, the tables and
the list of errors are written from these records.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import ImageError
from ..files import checksum, remove_unchanged, save_table, write_atomic

FOLDER = ".facesym"
ERRORS = "errors.json"


class Records:
    """The records of an output folder.

    A record is a dict with "task"; "source", the input folder relative to the output folder; "photo", the path relative
    to the input folder; "made_by", everything that
    determines the result; "files", {path relative to the output folder: SHA-256}; and "numbers", or "error" for a photo
    that failed. While a photo is being processed, its record has neither.

    Args:
        out: output folder.
        source: input folder.
        task: name of the task.
        table: key of a list in the numbers, with one dict per face, to write as <table>.csv and <table>.json; or None.

    Raises:
        ImageError: the folder holds results of another task.
    """

    def __init__(self, out: Path, source: Path, task: str, table: str | None = None) -> None:
        self.out, self.task, self.table = out, task, table
        try:  # a relative path stays the same if both folders are moved
            self.source = Path(os.path.relpath(source.resolve(), out.resolve())).as_posix()
        except ValueError:  # on different drives
            self.source = source.resolve().as_posix()
        self.folder = out / FOLDER
        other = next(self.all(), {}).get("task", task)
        if other != task:
            raise ImageError(
                f"{out} holds results of `facesym {other}`: choose another folder with -o for this task."
            )

    def check_reports(self) -> None:
        """Check that the reports overwrite nothing.

        Raises:
            ImageError: the folder has such files but no records, or holds results of another folder of photos.
        """
        other = None
        for record in self.all():  # after --overwrite, some may be of another folder
            if record.get("source", self.source) == self.source:
                break
            other = record["source"]
        else:
            if other:
                raise ImageError(
                    f"{self.out} holds results of the photos in {self.out / other}: choose another folder with -o, or "
                    "replace them with --overwrite."
                )
        names = [ERRORS, *(f"{self.table}{suffix}" for suffix in (".csv", ".json") if self.table)]
        found = [self.out / name for name in names if (self.out / name).exists()]
        if found and not self.folder.exists():
            raise ImageError(
                f"{found[0]} exists: choose another folder with -o, or replace it with --overwrite."
            )

    def all(self) -> Iterator[dict[str, Any]]:
        """Iterate over the records in arbitrary order."""
        for path in self.folder.glob("*.json"):
            record = _read(path)
            if record:
                yield record

    def of(self, output: Path) -> dict[str, Any]:
        """Return the record of a result, empty if there is none."""
        return _read(self._path(output)) or {}

    def is_current(self, output: Path, made_by: dict[str, Any]) -> bool:
        """Whether a result exists with all its files and was made in the same way."""
        record = self.of(output)
        return record.get("made_by") == made_by and all(
            (self.out / name).exists() for name in record["files"]
        )

    def check_files(self, output: Path, paths: list[Path]) -> None:
        """Check that existing files were written by this command and not changed since.

        Args:
            output: path of the result.
            paths: files and folders that will be written.

        Raises:
            ImageError: a file is of other origin or was changed.
        """
        record = self.of(output)
        if record.get("unfinished"):
            return
        for path in paths:
            for file in path.rglob("*") if path.is_dir() else [path]:
                known = record.get("files", {}).get(file.relative_to(self.out).as_posix())
                if file.is_file() and (known is None or known != checksum(file)):
                    raise ImageError(
                        f"{file} exists and was not made by this command, or was changed since: choose another "
                        "folder with -o, or replace it with --overwrite."
                    )

    def begin(self, output: Path, photo: str) -> None:
        """Mark a photo as in progress, so that files left by a crash are recognised as ours."""
        self._write(output, photo, {"files": self.of(output).get("files", {}), "unfinished": True})

    def fail(self, output: Path, photo: str, error: str) -> None:
        """Record why a photo has no result; partial files stay marked as ours."""
        record = {"files": {}, "unfinished": False} | self.of(output)
        self._write(output, photo, {key: record[key] for key in ("files", "unfinished")} | {"error": error})

    def finish(
        self, output: Path, photo: str, made_by: dict[str, Any], files: list[Path], numbers: dict[str, Any]
    ) -> None:
        """Record a result and remove files of an earlier one that it did not replace."""
        record = self.of(output)
        names = {path.relative_to(self.out).as_posix(): checksum(path) for path in files}
        earlier = record.get("files", {})
        remove_unchanged(self.out, {name: earlier[name] for name in earlier.keys() - names.keys()})
        self._write(output, photo, {"made_by": made_by, "files": names, "numbers": numbers})

    def write_reports(self, outputs: Mapping[str, Path]) -> None:
        """Write errors.json, if there are errors, and the table; records of other photos are omitted.

        Another process may finish at the same time, so the records are checked again after writing: the last process
        to write has seen all records.

        Args:
            outputs: {name of a photo of this run: path of its result}.
        """
        before = None
        while (stamps := self._stamps()) != before:
            before = stamps
            records = [record for _, output in sorted(outputs.items()) if (record := self.of(output))]
            errors = {record["photo"]: record["error"] for record in records if "error" in record}
            if errors:
                write_atomic(self.out / ERRORS, (json.dumps(errors, indent=2) + "\n").encode())
            elif records:
                (self.out / ERRORS).unlink(missing_ok=True)  # errors of an earlier run that are resolved now
            if self.table:
                self._write_table(records, self.table)

    def _write_table(self, records, table):
        rows = [
            {"photo": record["photo"], "face": i, **row}
            for record in records
            for i, row in enumerate(record.get("numbers", {}).get(table, []))
        ]
        if rows:
            save_table(rows, self.out / table)
        elif records:
            for suffix in (".csv", ".json"):  # of photos that are gone
                (self.out / f"{table}{suffix}").unlink(missing_ok=True)

    def _path(self, output):
        # A digest, because a name of 255 bytes leaves no room for another suffix.
        name = os.fsencode(output.relative_to(self.out).as_posix())
        return self.folder / f"{hashlib.sha256(name).hexdigest()[:32]}.json"

    def _write(self, output, photo, fields):
        record = {"task": self.task, "source": self.source, "photo": photo, **fields}
        write_atomic(self._path(output), json.dumps(record).encode())

    def _stamps(self):
        return {path.name: path.stat().st_mtime_ns for path in self.folder.glob("*.json")}


def _read(path):
    """Read a record; return None if it is missing or damaged."""
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and {"task", "photo", "files"} <= record.keys() else None
