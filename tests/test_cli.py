"""The command, as a user types it: its arguments, and one photo."""

import importlib
import inspect
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import facesym
from facesym.cli import main, make_parser
from facesym.faces.load import load_image
from facesym.faces.save import is_own_result
from facesym.pipelines.rotate import MAX_FRAMES

ASYMMETRY = {"overall": 0.0112, "appearance": 0.294, "yaw": -1.767}


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return stop.value.code


@pytest.fixture
def photo(astronaut, tmp_path):
    astronaut.save(tmp_path / "photo.jpg")
    return tmp_path / "photo.jpg"


@pytest.fixture
def mask(eye_hole, tmp_path):
    Image.fromarray(eye_hole).save(tmp_path / "mask.png")
    return tmp_path / "mask.png"


@pytest.fixture
def calls(monkeypatch):
    """Pipelines that find two faces in each photo and give it back; their calls, {"task": ..., keyword: ...}."""
    calls = []

    def load(name, device):
        module = importlib.import_module(f"facesym.pipelines.{name}")
        signature = inspect.signature(getattr(module, f"{name.title()}Pipeline").__call__)

        def pipe(photo, *inputs, **options):
            signature.bind(pipe, photo, *inputs, **options)  # what the real one would refuse, this one does
            image = load_image(photo)
            calls.append({"task": name, "size": image.size, **options})
            return SimpleNamespace(
                images=[image] if options.get("paste", name in ("complete", "symmetrize")) else [image] * 2,
                faces=[SimpleNamespace(box=(0, 0, 9, 9), score=0.9)] * 2, identity=[0.9] * 2, seconds=0.1,
                notes=["It was scaled down."], mask_fraction=0.1, covered=[{}], asymmetry=[ASYMMETRY],
                fit=[{"psnr": 30}] * 2,
                frames=[[image, image]] * 2, yaw=[0, 0], walk=[[image, image]] * 2, grid=[{"happy": image}] * 2,
                crop=[image] * 2, heatmap=[np.zeros(image.size)] * 2,
                composites=[{"left": image, "original": image}] * 2,
            )  # fmt: skip

        pipe.task = name
        return pipe

    monkeypatch.setattr(facesym, "load", load)
    return calls


@pytest.fixture
def no_model(monkeypatch):
    """A machine on which loading a model fails the test."""
    monkeypatch.setattr(facesym, "load", lambda *_, **__: pytest.fail("the model was loaded"))


@pytest.mark.parametrize(
    ("command", "files"),
    [
        ("complete --mask mask.png", "photo-complete.png"),
        (
            "symmetrize --extras -o o.png",
            "o-extras/0-heatmap.png o-extras/0-left.png o-extras/0-original.png "
            "o-extras/1-heatmap.png o-extras/1-left.png o-extras/1-original.png o.png",
        ),
        ("rotate", "photo-rotate-faces/1.mp4 photo-rotate.mp4"),
        ("rotate -o turning.gif", "turning-faces/1.gif turning.gif"),
        ("rotate --yaw 5 -o out.webp", "out-faces/1.webp out.webp"),
        ("rotate --yaw 5 --paste", "photo-rotate.png"),
        ("normalize --walk 2 -o o.png", "o-faces/1-walk.mp4 o-faces/1.png o-walk.mp4 o.png"),
        (
            "transfer --to happy --grid -o out.jpg",
            "out-faces/1-grid/happy.jpg out-faces/1.jpg out-grid/happy.jpg out.jpg",
        ),
    ],
)
def test_every_face_has_its_files(command, files, photo, mask, calls, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(*command.split(), "--faces", "all", photo) == 0
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    written -= {"photo.jpg", "mask.png"}
    assert sorted(written) == files.split()
    printed = {os.path.basename(line) for line in capsys.readouterr().out.splitlines()}
    assert {file.split("/")[0] for file in written} <= printed
    for file in written:
        if not file.endswith(".mp4"):
            with Image.open(tmp_path / file) as image:
                unedited = file.endswith(("heatmap.png", "original.png"))
                assert ("edited with AI" in str(image.info)) != unedited
            assert is_own_result(tmp_path / file)


# --- arguments


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("complete none.jpg --mask mask.png", 1, "There is no file none.jpg"),
        ("complete photo.jpg --mask none.png", 1, "There is no file none.png"),
        ("complete bad.jpg --mask mask.png", 1, "bad.jpg"),
        ("complete photo.jpg --mask small.png", 1, "64x64 pixels and the photo 512x512"),
        ("complete photo.jpg --mask mask.png -o done.txt", 1, "must end in .png"),
        ("complete photo.jpg --mask mask.png -o folder", 1, "folder is a folder"),
        ("rotate photo.jpg -o folder", 1, "such as folder/photo.mp4"),
        ("rotate photo.jpg -o done.png", 1, "must end in .gif, .mp4"),
        ("rotate photo.jpg --yaw 1 2 3", 2, "one or two numbers, not 3"),
        ("rotate photo.jpg --paste", 2, "needs a single --yaw"),
        ("transfer photo.jpg --pose frontal --paste", 2, "a turned head does not fit"),
        ("complete photo.jpg", 2, "or let --mask auto find"),
        ("", 2, "facesym complete photo.jpg --mask mask.png"),  # an example of the help
        ("complete --mask mask.png", 2, "IMAGE_OR_FOLDER is missing"),
        ("rotate", 2, "IMAGE_OR_FOLDER is missing"),
        ("transfer --to happy", 2, "IMAGE_OR_FOLDER is missing"),
        (f"symmetrize {'a' * 300}.jpg", 1, "File name too long"),
        (f"symmetrize photo.jpg -o {'a' * 300}.png", 1, "File name too long"),
        ("complete photo.jpg --mask mask.png --mouth", 2, "unrecognized arguments: --mouth"),
        ("symmetrize photo.jpg --model symmfc-256", 1, "is a model of `facesym complete`"),
        ("symmetrize photo.jpg --model symetrize-256", 1, 'Did you mean "symmetrize-256"'),
        ("symmetrize photo.jpg --device gpu", 1, "device 'gpu' is not available: use --device cpu"),
        ("symmetrize photo.jpg --device cuda:99", 1, "No usable NVIDIA GPU found: use --device cpu"),
        ("symmetrize photo.jpg --faces ²", 2, "'²' is not largest, all, or a number from 0"),
        ("symmetrize photo.jpg --faces -1", 2, "'-1' is not largest, all, or a number from 0"),
        ("transfer photo.jpg --to grumpy", 1, "There is no attribute 'grumpy'"),
        ("transfer photo.jpg --to happy neutral", 1, "Choose one expression: happy or neutral"),
        ("transfer photo.jpg --to hapy", 1, "no attribute 'hapy'. Did you mean \"happy\"?"),
        ("transfer photo.jpg --to left 20", 1, 'Did you mean "left 20"?'),
        ("transfer photo.jpg --pose left", 1, 'has no such pose. Did you mean "left '),
        ("symetrize photo.jpg", 2, "no command 'symetrize'. Did you mean \"symmetrize\"?"),
        ("--verson", 2, 'unrecognized arguments: --verson. Did you mean "--version"?'),
        ("symmetrize folder -o one.png", 1, "name a folder with -o, not one.png"),
        ("rotate folder -o one.mp4", 1, "name a folder with -o, not one.mp4"),
        ("transfer photo.jpg --light happy", 1, "no such light"),
        ("transfer photo.jpg", 2, "--to ATTRIBUTE"),
        ("transfer photo.jpg --to happy --strength 2", 2, "'2' is not a number from 0 to 1.5"),
        ("transfer photo.jpg --to happy --strength nan", 2, "'nan' is not a number"),
        ("rotate photo.jpg --yaw 100", 2, "'100' is not a number from -90 to 90"),
        ("rotate photo.jpg --frames 1", 2, "at least two"),
        (f"rotate photo.jpg --frames {MAX_FRAMES + 1}", 2, f"from 1 to {MAX_FRAMES}"),
        ("normalize photo.jpg --walk 1", 2, "'1' is not a whole number from 2 to 100"),
    ],
)
def test_wrong_arguments_are_named_before_the_model_loads(
    command, code, message, photo, mask, no_model, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.jpg").write_text("broken")
    (tmp_path / "folder").mkdir()
    Image.new("L", (64, 64), "white").save("small.png")
    assert run(*command.split()) == code
    error = capsys.readouterr().err
    assert message in error
    assert code == 2 or (error.startswith("facesym: ") and error.count("\n") == 1)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("transfer --to happy photo.jpg", {"to": ["happy"]}),
        ("transfer --to happy --strength 0.5 photo.jpg", {"to": ["happy"], "strength": 0.5}),
        ("transfer --to happy dark photo.jpg --json", {"to": ["happy", "dark"]}),
        ("transfer photo.jpg --to happy --light dark", {"to": ["happy", "dark"]}),
        ("rotate --yaw -20 20 photo.jpg", {"yaw": [-20, 20]}),
        ("rotate --yaw 5 photo.jpg", {"yaw": 5}),
        ("rotate photo.jpg", {"yaw": [-20, 20]}),
        ("normalize --faces 1 photo.jpg", {"faces": 1}),
    ],
)
def test_no_option_takes_the_photo(command, expected, photo, calls, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*command.split()) == 0
    (call,) = calls
    assert call["size"] == (512, 512) and expected.items() <= call.items()


def test_an_error_is_a_line_of_json_too(no_model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("symmetrize", "none.jpg", "--json") == 1
    told = capsys.readouterr()
    assert json.loads(told.out) == {"image": "none.jpg", "error": "There is no file none.jpg."}
    assert told.err == "facesym: There is no file none.jpg.\n"


def test_notes_are_told(photo, calls, capsys):
    assert run("symmetrize", photo) == 0
    captured = capsys.readouterr()
    assert captured.err == "facesym: It was scaled down.\n"
    _, numbers, units = captured.out.splitlines()
    assert numbers == "overall 1.1 %, appearance 0.29, yaw -1.8°"
    assert units.startswith("% of the distance between the outer eye corners; appearance: ")


@pytest.mark.parametrize("command", ["complete", "symmetrize", "rotate", "normalize", "transfer"])
def test_nothing_is_overwritten_unless_asked_for(command, photo, mask, calls, tmp_path, capsys):
    options = {"complete": ["--mask", mask], "transfer": ["--to", "happy"], "rotate": ["--yaw", "5"]}
    command = [command, photo, *options.get(command, [])]
    before, other = photo.read_bytes(), tmp_path / "other.png"
    other.write_text("precious")
    assert run(*command, "-o", photo) == 1
    assert "is the photo itself" in capsys.readouterr().err
    assert run(*command, "-o", other) == 1
    assert "exists" in capsys.readouterr().err
    assert not calls and photo.read_bytes() == before and other.read_text() == "precious"
    assert run(*command, "-o", other, "--overwrite") == 0
    assert Image.open(other).size == (512, 512)
    assert run(*command, "-o", photo, "--overwrite") == 0


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (["symmetrize", "--extras"], "out-extras/0-left.png"),
        (["symmetrize", "--faces", "all"], "out-faces/1.png"),
        (["transfer", "--grid"], "out-grid/happy.png"),
        (["normalize", "--walk", 3], "out-walk.mp4"),
        (["rotate", "--faces", "all"], "out-faces/1.mp4"),
    ],
)
def test_no_extra_is_overwritten(command, extra, photo, no_model, tmp_path, capsys):
    (tmp_path / extra).parent.mkdir(exist_ok=True)
    (tmp_path / extra).write_text("precious")
    suffix = ".mp4" if command[0] == "rotate" else ".png"
    assert run(*command, photo, "-o", tmp_path / f"out{suffix}") == 1
    assert "exists" in capsys.readouterr().err


def test_turned_heads_that_are_made_symmetric_apart_have_files(photo, calls, tmp_path, monkeypatch, capsys):
    load = facesym.load

    def two_images(*names, **options):
        pipe = load(*names, **options)

        def call(*photos, **options):
            result = pipe(*photos, **options)
            return SimpleNamespace(**vars(result) | {"images": result.images * 2})

        call.task = pipe.task
        return call

    monkeypatch.setattr(facesym, "load", two_images)
    assert run("symmetrize", photo, "--faces", "all", "-o", tmp_path / "out.png") == 0
    assert (tmp_path / "out-faces/1.png").exists() and "out-faces" in capsys.readouterr().out


def test_errors_of_the_system_without_a_file(monkeypatch, capsys):
    def fail(args):
        raise OSError("cannot find the home folder")

    monkeypatch.setattr("facesym.cli.zoo._list", fail, raising=False)
    assert run("zoo", "list") == 1
    assert capsys.readouterr().err == "facesym: cannot find the home folder\n"


def test_what_would_be_published_overwrites_nothing(tmp_path, capsys):
    (tmp_path / "README.md").write_text("mine")
    command = ["zoo", "push", "landmarks-68", "--dry-run", "-o", tmp_path]
    assert run(*command) == 1
    assert "README.md exists" in capsys.readouterr().err and len(list(tmp_path.iterdir())) == 1
    assert run(*command, "--overwrite") == 0
    assert (tmp_path / "README.md").read_text().startswith("---")
    assert run(*command[:-2]) == 2


# --- help, streams


def parsers():
    """Every command's words and parser."""

    def walk(parser, words):
        yield words, parser
        for action in parser._actions:
            if isinstance(action.choices, dict):
                for name, each in action.choices.items():
                    yield from walk(each, [*words, name])

    return [
        (words, p) for words, p in walk(make_parser(), []) if words[:1] not in (["evaluate"], ["prepare"])
    ]


@pytest.mark.parametrize(
    ("words", "parser"), parsers(), ids=lambda x: " ".join(x) if isinstance(x, list) else ""
)
def test_help_explains_and_gives_an_example(words, parser, capsys):
    assert run(*words, "--help") == 0
    told = capsys.readouterr().out
    assert " ".join(["usage: facesym", *words]) in told
    assert " ".join(["  facesym", *words]) in told.partition("examples:")[2]
    assert all(action.help for action in parser._actions)


def test_help_lists_every_command(capsys):
    assert run("--help") == 0
    told = capsys.readouterr().out
    for command in (
        "complete",
        "symmetrize",
        "rotate",
        "normalize",
        "transfer",
        "zoo",
        "evaluate",
        "prepare",
    ):
        assert f"\n  {command} " in told


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["evaluate", "complete"], "--largest-mask"),
        (["evaluate"], "complete"),
        (["prepare", "faces"], "--min-sharp"),
        (["prepare"], "pairs"),
    ],
)
def test_evaluate_and_prepare_are_handed_over(command, told, capsys):
    assert run(*command, "--help") == 0
    help = capsys.readouterr().out
    assert help.startswith(f"usage: facesym {' '.join(command)} ") and told in help


def test_an_error_of_prepare_is_one_line(tmp_path, capsys):
    assert run("prepare", "faces", tmp_path / "none", tmp_path / "out") == 1
    assert capsys.readouterr().err.startswith("facesym: ")


def start(*arguments, **environment):
    """The command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "facesym", *map(str, arguments)],
        env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_a_closed_pipe_ends_the_command_quietly():
    for command, codes in ((["zoo", "list"], [141]), (["--help"], [0, 141])):  # argparse may ignore it
        process = start(*command)
        process.stdout.close()
        assert process.wait(60) in codes
        assert process.stderr.read() == b""


def test_names_that_the_terminal_cannot_show(tmp_path, astronaut):
    astronaut.save(tmp_path / "Гагарин.jpg")
    (tmp_path / "плохой.jpg").write_text("broken")
    for encoding in ("cp1252", "ascii"):
        out, error = start("symmetrize", tmp_path / "плохой.jpg", PYTHONIOENCODING=encoding).communicate(
            timeout=60
        )
        assert b"Traceback" not in error and b"\\u043f\\u043b" in error and not out
    code = (
        "import facesym, facesym.cli, sys; from types import SimpleNamespace as N; from PIL import Image\n"
        "def pipe(*_, **__):\n"
        "    return N(images=[Image.new('RGB', (9, 9))], faces=[], identity=None, seconds=0, notes=[], asymmetry=[])\n"
        "pipe.task = 'symmetrize'; facesym.load = lambda *_, **__: pipe; facesym.cli.main(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "symmetrize", tmp_path / "Гагарин.jpg"],
        env=os.environ | {"PYTHONIOENCODING": "cp1252"}, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"") and b"\\u0413\\u0430" in done.stdout
    assert (tmp_path / "Гагарин-symmetrize.png").exists()


def test_an_interrupt_is_one_line(photo, monkeypatch, capsys):
    def load(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(facesym, "load", load)
    assert run("symmetrize", photo) == 130
    assert capsys.readouterr().err == "facesym: stopped\n"
