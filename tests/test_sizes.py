"""Files and functions stay short enough to be read."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("facesym", "train", "spaces", "docs", "tests")
FILES = sorted(path.relative_to(ROOT) for part in PARTS for path in (ROOT / part).rglob("*.py"))


def length(function):
    """Lines of a function without those of its docstring."""
    first, last = function.body[0], function.end_lineno - function.lineno + 1
    return last - (first.end_lineno - first.lineno + 1 if ast.get_docstring(function) is not None else 0)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_no_file_over_400_lines_and_no_function_over_60(file):
    text = (ROOT / file).read_text()
    assert len(text.splitlines()) <= 400
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    long = [node.name for node in ast.walk(ast.parse(text)) if isinstance(node, kinds) and length(node) > 60]
    assert not long
