"""The package's layers: a module imports from layers above it in this list only, also within its functions."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

LAYERS = (
    "errors",
    "attributes device files hub logging ops packages threads",
    "card",
    "zoo",
    "onnx",
    "faces losses models",
    "video",
    "fit asymmetry identity metrics",
    "pipelines",
    "export space study",
    "data",
    "evaluation",
    "cli",
    "__main__",
)
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts.split()}
UPWARD = {("zoo", "models")}  # the registry loads the networks that it lists
ROOT = Path(__file__).parents[1]
FILES = [path.relative_to(ROOT) for path in sorted((ROOT / "facesym").rglob("*.py"))]


def imports(file, within_functions=True):
    """Yield the dotted name of each module and of each name that a file imports."""
    tree = ast.parse((ROOT / file).read_text())
    for node in ast.walk(tree) if within_functions else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = file.parts[: len(file.parts) - node.level] if node.level else ()
            module = ".".join([*above, *filter(None, [node.module])])
            yield from [module, *(f"{module}.{alias.name}" for alias in node.names)]


@pytest.mark.parametrize("file", FILES, ids=str)
def test_imports_point_down(file):
    part = file.parts[1].removesuffix(".py")
    if part == "__init__":
        return
    for name in imports(file):
        top, _, rest = name.partition(".")
        other = rest.split(".")[0]
        assert top not in ("train", "spaces", "tests"), name
        if top == "facesym" and other != part and (part, other) not in UPWARD and other in LEVEL:
            assert LEVEL[other] < LEVEL[part], f"{file} imports {name}"


@pytest.mark.parametrize("folder", ["facesym", "train", "spaces"])
def test_no_import_circle(folder):
    files = [path.relative_to(ROOT) for path in (ROOT / folder).rglob("*.py")]
    above = "spaces." if folder == "spaces" else ""  # its modules are imported by their own names
    names = {".".join(file.with_suffix("").parts).removesuffix(".__init__"): file for file in files}
    graph = {
        name: {above + other for other in imports(file, within_functions=False)} & names.keys() - {name}
        for name, file in names.items()
    }
    assert sum(map(len, graph.values())) > len(graph)
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_the_page_opens_before_torch_is_imported():
    code = "import sys; sys.path.insert(0, 'spaces'); import app; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_every_part_has_its_layer():
    assert {file.parts[1].removesuffix(".py") for file in FILES} - {"__init__"} <= LEVEL.keys()


def test_evaluation_tasks_do_not_import_each_other():
    from facesym.evaluation import TASKS

    tasks = {f"facesym.evaluation.{task}" for task in TASKS}
    for task in TASKS:
        assert not tasks & set(imports(Path(f"facesym/evaluation/{task}.py")))


def test_the_library_is_light_to_import():
    code = "import facesym, facesym.cli, sys; assert not {'torch', 'gradio'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_command_does_without_torch_s_compiler_which_can_still_be_imported(astronaut, saved, tmp_path):
    """Importing it takes longer than a photo."""
    astronaut.save(tmp_path / "photo.png")
    code = (
        "import sys, facesym.cli\n"
        "try: facesym.cli.main(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code\n"
        "assert 'diffusers' in sys.modules and 'torch._dynamo' not in sys.modules\n"
        "import torch._dynamo"
    )
    command = ["symmetrize", tmp_path / "photo.png", "--model", saved("SymmetrizerVAE")]
    subprocess.run([sys.executable, "-c", code, *map(str, command)], check=True, timeout=120)
