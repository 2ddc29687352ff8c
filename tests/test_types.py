"""What editors and type checkers see of the package: annotations, lazy names, README's example."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import facesym

ROOT = Path(__file__).parents[1]


def unannotated(body, public=True):
    """Yield the public functions of a module's or class's body that lack an annotation."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from unannotated(node.body, public and not node.name.startswith("_"))
        elif isinstance(node, ast.FunctionDef) and public:
            if node.name.startswith("_") and node.name not in ("__init__", "__call__"):
                continue
            rest = [each for each in (node.args.vararg, node.args.kwarg) if each]
            names = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, *rest]
            complete = all(each.annotation or each.arg in ("self", "cls") for each in names)
            if not complete or not (node.returns or node.name == "__init__"):
                yield f"{node.name}, line {node.lineno}"


@pytest.mark.parametrize(
    "file", sorted((ROOT / "facesym").rglob("*.py")), ids=lambda file: str(file.relative_to(ROOT))
)
def test_public_functions_are_annotated(file):
    assert list(unannotated(ast.parse(file.read_text()).body)) == []


@pytest.mark.parametrize("name", ["facesym", "facesym.models", "facesym.pipelines"])
def test_lazy_names_are_there_and_known_to_type_checkers(name):
    module = importlib.import_module(name)
    tree = ast.parse(Path(module.__file__).read_text())
    blocks = [
        node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
    ]
    shown = {
        alias.name for block in blocks for node in ast.walk(block) for alias in getattr(node, "names", [])
    }
    for public in module.__all__:
        assert getattr(module, public) is not None and public in dir(module)
        assert public in shown or public in vars(module)


def test_the_package_says_that_it_is_typed():
    assert (Path(facesym.__file__).parent / "py.typed").exists()


def test_readme_s_example_passes_pyright_and_a_wrong_name_does_not(tmp_path):
    [block] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names = ("loads", "models.Net", "pipelines.Pipe", "zoo.gett")
    wrong = [f"facesym.{name}  # pyright: ignore" for name in names]
    rule = "# pyright: reportUnnecessaryTypeIgnoreComment=true"  # an error where a wrong name is none
    (tmp_path / "example.py").write_text("\n".join([rule, block, *wrong]))
    (tmp_path / "pyrightconfig.json").write_text(f'{{"extraPaths": ["{ROOT}"], "pythonVersion": "3.11"}}')
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "-p", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
