"""What every training script does by train/common.py's Run: several processes, resuming, refusing, reporting."""

import contextlib
import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fresh import run_python
from scripts import fingerprint, prepare, script_arguments, steps
from training import PATIENCE, ROOT, accelerate, arguments, ended, environment, run_script, stats, train

import facesym
from facesym import zoo
from facesym.models import SymmFCNet
from train.arguments import Parser, settle
from train.checkpoints import WRITTEN, Checkpoints, read
from train.optimise import lr_fraction, share_gradients
from train.reports import draw_grid, duration

SCRIPTS = [
    "symmfc",
    "symgan",
    "symmetrize",
    "lssl",
    "realism",
    "nfgan",
    "parsing",
    "occlusion",
    "mouth",
    "landmarks",
    "pose",
    "identity",
]
SYMMFC = ["--preset", "tiny", "--size", "64", "--phase-steps", "1", "1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("all")
    prepare(folder)
    return folder


@pytest.fixture(scope="module")
def two_processes(data, mesh_file, vgg16, tmp_path_factory):
    """Every script for three steps on two processes: the fingerprints of each."""
    out = tmp_path_factory.mktemp("two")
    settings = {"scripts": script_arguments(data, out, mesh_file, vgg16), "result": str(out / "rank")}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    program = str(ROOT / "tests" / "scripts.py")
    words = [program, json.dumps(settings, default=str)]
    code = f"import runpy, sys; sys.argv = {words}; runpy.run_path({program!r}, run_name='__main__')"

    def process(rank):
        told = environment() | shared | {"RANK": rank, "LOCAL_RANK": rank}
        told["PYTHONPATH"] = f"{ROOT / 'tests'}{os.pathsep}{ROOT}"
        (out / rank).mkdir()
        return run_python(code, told, out / rank, timeout=PATIENCE)

    with ThreadPoolExecutor(2) as both:
        done = list(both.map(process, "01"))
    assert [status for status, *_ in done] == [0, 0], [errors[-3000:] for *_, errors in done]
    return [json.loads((out / f"rank-{rank}.json").read_text()) for rank in "01"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_two_processes_end_with_equal_weights(two_processes, script):
    one, other = two_processes
    assert one[script] == other[script]


@pytest.mark.parametrize("script", SCRIPTS)
def test_eight_steps_are_four_and_four_more(data, mesh_file, vgg16, tmp_path, script):
    """Bit for bit: networks, optimisers, averages, and what was logged."""
    words = [
        *script_arguments(data, tmp_path, mesh_file, vgg16)[script],
        *steps(script, 8),
        "--save-every",
        "4",
    ]
    handler = signal.getsignal(signal.SIGINT)
    run_script(script, words)
    out = tmp_path / script
    assert signal.getsignal(signal.SIGINT) is handler
    # --overwrite deletes everything that a run writes.
    assert set(out.iterdir()) == {path for pattern in WRITTEN for path in out.glob(pattern)}
    last, whole = out / "checkpoints" / "step-0000008.pt", stats(out)
    wanted = fingerprint(read(last)[2:])
    last.unlink()
    torch.rand(3)  # what the process drew before makes no difference
    run_script(script, [*words, "--resume"])
    assert fingerprint(read(last)[2:]) == wanted

    def timeless(lines):
        return [{k: v for k, v in line.items() if k != "images_per_s"} for line in lines]

    assert timeless(stats(out)) == timeless(whole)
    validated = [line for line in whole if "val" in line or "val_psnr" in line]
    best = json.loads((out / "best" / "step.json").read_text())
    assert (out / "best" / "model.safetensors").exists() and best["step"] in [x["step"] for x in validated]
    if script != "symmfc":  # which logs the PSNR
        assert best["val"] == min(line["val"] for line in validated)


def test_a_truncated_checkpoint_is_passed_over(folders, tmp_path):
    words = [*SYMMFC, 4, "--save-every", 2]
    train("symmfc.py", folders, tmp_path, *words)
    newest = tmp_path / "checkpoints" / "step-0000006.pt"
    whole = newest.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:5000] + b"\0\0\0\0" + whole[5004:]):
        newest.write_bytes(damaged)
        text = train("symmfc.py", folders, tmp_path, *words, "--resume")
        assert "step-0000006.pt is damaged" in text and "resumed" in text and "at step 4" in text
        assert newest.read_bytes()[:2] == b"PK" and read(newest)[0]["step"] == 6
    for file in (tmp_path / "checkpoints").glob("*.pt"):
        file.write_bytes(b"")
    with pytest.raises(SystemExit, match=r"every checkpoint .* is damaged"):
        train("symmfc.py", folders, tmp_path, *words, "--resume")


def test_a_folder_in_use_is_refused_or_cleared_on_request(folders, tmp_path):
    words = [*SYMMFC, 0]
    train("symmfc.py", folders, tmp_path, *words)
    (tmp_path / "mine.txt").write_text("not the run's")
    (tmp_path / "mouths-0123.npz").write_bytes(b"of the run before")
    with pytest.raises(SystemExit, match=r"--resume, choose another --out, or delete it with --overwrite"):
        train("symmfc.py", folders, tmp_path, *words)
    train("symmfc.py", folders, tmp_path, *SYMMFC, 1, "--overwrite")
    assert not (tmp_path / "mouths-0123.npz").exists()
    assert [path.name for path in Checkpoints(tmp_path / "checkpoints", 2).list()] == ["step-0000003.pt"]
    assert len(stats(tmp_path)) == 3 and (tmp_path / "mine.txt").exists()


def test_other_arguments_are_no_resumption(folders, tmp_path):
    train("symmfc.py", folders, tmp_path, *SYMMFC, 0)
    with pytest.raises(
        SystemExit, match=r"started with --ema 0.999, --preset tiny, not with --ema 0.9, --preset small"
    ):
        train("symmfc.py", folders, tmp_path, "--preset", "small", *SYMMFC[2:], 0, "--ema", 0.9, "--resume")
    text = train("symmfc.py", folders, tmp_path, *SYMMFC, 2, "--resume", "--log-every", 2)  # a longer run
    assert "at step 2" in text and "step 4/4" in text
    with pytest.raises(SystemExit, match="holds newer checkpoints"):
        train(
            "symmfc.py",
            folders,
            tmp_path,
            *SYMMFC,
            2,
            "--resume",
            tmp_path / "checkpoints" / "step-0000002.pt",
        )
    with pytest.raises(SystemExit, match="missing or damaged"):
        train("symmfc.py", folders, tmp_path, *SYMMFC, 2, "--resume", tmp_path / "none.pt")


@pytest.mark.parametrize(
    "script, options",
    [
        ("symmfc", ["--preset", "tiny", "--size", 64, "--ablation", "no-light"]),
        ("symmfc", ["--preset", "tiny", "--size", 64, "--copy-skip"]),
        ("nfgan", ["--no-copy"]),
        ("lssl", ["--preset", "paper"]),
        ("landmarks", ["--width", 8]),
    ],
)
def test_the_network_of_another_run_is_not_changed_by_options(folders, tmp_path, script, options):
    """It would be trained as it is, and the option ignored."""
    init = tmp_path / "init"
    SymmFCNet.preset("tiny", copy_skip=False).save_pretrained(init)
    with pytest.raises(SystemExit, match="--init"):
        train(f"{script}.py", folders, tmp_path / "run", *options, "--init", init)


def test_accumulated_gradients_are_never_cut_in_two(folders, tmp_path):
    """Two steps of two images move the weights as one step of four; checkpoints wait for the second."""
    words = ["--preset", "tiny", "--size", 64, "--seed", 3]
    train(
        "symmfc.py", folders, tmp_path, *words, "--phase-steps", 4, 0, 0, "--accumulate", 2, "--save-every", 1
    )
    names = [path.name for path in Checkpoints(tmp_path / "checkpoints", 2).list()]
    assert names == ["step-0000002.pt", "step-0000004.pt"]


@pytest.mark.parametrize("name", ["constant", "linear", "cosine", "constant-linear"])
def test_learning_rates(name):
    rates = [lr_fraction(name, step, 100, warm_up=5) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 6) and rates[5] == 1 and max(rates) == 1
    assert rates[-1] == (1 if name == "constant" else pytest.approx(0, abs=0.03))
    assert (rates[50] == 1) == (name.startswith("constant"))
    assert lr_fraction(name, 0, 8, warm_up=500) == 1  # a short run has no time to warm up


def test_the_rate_falls_when_the_validation_figure_stops_improving(folders, tmp_path, monkeypatch):
    monkeypatch.setattr("train.landmarks.errors", lambda net, faces, device: np.ones(len(faces)))
    options = ["--width", 8, "--steps", 8, "--sample-every", 1, "--lr", 0.01]
    train("landmarks.py", folders, tmp_path, *options, "--lr-scheduler", "plateau")
    rates = [line["lr"] for line in stats(tmp_path)]
    assert rates[0] == 0.01 and rates[-1] == pytest.approx(0.001)


def test_a_run_without_a_validation_figure_refuses_the_plateau(folders, data, tmp_path):
    plateau = ["--lr-scheduler", "plateau", "--size", 64, "--steps", 1]
    with pytest.raises(SystemExit, match="plateau needs a validation figure: use --encoder, or another"):
        train("symgan.py", folders, tmp_path / "gan", *plateau)
    labels = tmp_path / "labels"
    shutil.copytree(data / "labels", labels)
    (labels / "metadata.csv").write_text((labels / "metadata.csv").read_text().replace(",val", ",test"))
    with pytest.raises(SystemExit, match="plateau needs a validation figure: use --labels with images"):
        train("parsing.py", folders, tmp_path / "parsing", *plateau, "--labels", labels)


def test_a_parameter_moves_if_any_process_has_its_gradient():
    p, q, r = (torch.nn.Parameter(torch.zeros(2)) for _ in range(3))
    p.grad = torch.ones(2)
    other = torch.tensor([0.0, 1, 0, 0, 0, 4, 4, 0, 0])  # of another process, which has q's alone
    share_gradients([p, q, r], lambda mine: (mine + other) / 2)
    assert p.grad.tolist() == [0.5, 0.5] and q.grad.tolist() == [2, 2] and r.grad is None


def test_grids_have_titles_and_times_have_units():
    grid = np.asarray(
        draw_grid({"input": torch.zeros(2, 3, 32, 32), "a long title": torch.ones(2, 1, 32, 32)})
    )
    assert grid.shape == (2 * 32 + 16, 64, 3)
    assert (grid[:16, :32] < 128).any() and (grid[:16, 32:] < 128).any()
    assert (grid[16:, 32:] == 255).all() and (grid[16:, :32] == 128).all()
    assert [duration(s) for s in (4.4, 59, 600, 7200)] == ["4 s", "59 s", "10 min", "2.0 h"]


def test_the_parts_of_a_step_are_profiled(folders, vgg16, tmp_path):
    text = train("symmfc.py", folders, tmp_path, *SYMMFC, 100, "--perceptual", vgg16, "--profile", 2)
    shares = {
        line[:24].strip(): float(line[25:31].strip(" %")) for line in text.splitlines() if "ms a step" in line
    }
    parts = {"loader", "forward", "backward", "optimiser", "average", "perceptual backbone", "discriminators"}
    assert parts <= set(shares) and sum(shares.values()) == pytest.approx(100, abs=0.5)
    assert "images/s over 2 steps" in text and not (tmp_path / "checkpoints").exists()


def test_a_model_is_exported_with_a_card_of_what_was_run(folders, tmp_path, monkeypatch):
    """To a folder, and to the Hub; the zoo stays as it is."""
    pushed = []
    monkeypatch.setattr("train.export.push", lambda folder, repo: pushed.append((folder, repo)))
    before = zoo.ZOO_FILE.read_bytes()
    words = [*SYMMFC, 0, "--lr", "0.0007", "--export", tmp_path / "mine", "--push-to-hub", "someone/faces"]
    train("symmfc.py", folders, tmp_path / "run", *words)
    assert zoo.ZOO_FILE.read_bytes() == before and not (zoo.WEIGHTS / "mine").exists()
    assert pushed == [(tmp_path / "run" / "model", "someone/faces")]
    card = (tmp_path / "mine" / "README.md").read_text()
    assert "symmfc.py" in card and "--lr 0.0007" in card and 'facesym.load("someone/faces")' in card
    assert "facesym does not know this data" in card
    assert facesym.load(str(tmp_path / "mine")).__class__.__name__ == "CompletePipeline"


def test_a_recipe_enters_its_model_into_the_zoo(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "ZOO_FILE", tmp_path / "zoo.json")
    monkeypatch.setattr(zoo, "WEIGHTS", tmp_path / "weights")
    (tmp_path / "zoo.json").write_text("[]")
    train("symmfc.py", folders, tmp_path / "run", *SYMMFC, 0, "--zoo", "symmfc-tiny")
    entry = zoo.get("symmfc-tiny")
    assert entry["train_command"] == "train/recipes/symmfc-tiny.sh" and entry["default"]
    assert (tmp_path / "weights" / "symmfc-tiny" / "model.safetensors").exists()


def test_accelerates_settings_count_where_the_script_is_told_nothing(monkeypatch):
    def told(**given):
        counts = dict.fromkeys(("batch", "log_every", "sample_every", "save_every", "keep"), 1)
        args = settle(SimpleNamespace(**{"accumulate": None, "precision": "auto"} | counts | given))
        return args.accumulate, args.precision

    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")  # its default, too
    assert told() == (1, "auto")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    assert told() == (4, "bf16") and told(accumulate=2, precision="no") == (2, "no")
    with pytest.raises(SystemExit, match="--save-every must be at least 1"):
        told(save_every=0)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(SystemExit, match="fp16 is not supported"):
        told()


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_says_what_each_option_is_and_its_default(script, monkeypatch):
    parsers = []

    def parse_args(parser):
        parsers.append(parser)
        raise SystemExit

    monkeypatch.setattr(Parser, "parse_args", parse_args)
    run_script(script, [])
    (parser,) = parsers
    assert [action.option_strings for action in parser._actions if not action.help] == []
    text = parser.format_help()
    assert "(default: 0.999)" in text and "(default: None)" not in text and "(default: [])" not in text


def test_a_usage_error_under_accelerate_is_one_line(folders, tmp_path):
    words = arguments(folders[:1], tmp_path, "--preset", "huge")
    done = accelerate("symmfc.py", words, "--cpu")
    assert done.returncode != 0 and done.stdout == ""
    errors = [
        line
        for line in done.stderr.splitlines()
        if "accelerate launch" not in line and not line.startswith("\t")
    ]
    assert len([line for line in errors if "argument --preset: invalid choice: 'huge'" in line]) == 1
    assert "Traceback" not in done.stderr and "CalledProcessError" not in done.stderr


def test_ctrl_c_under_accelerate_saves_all_processes_and_says_so(folders, tmp_path):
    words = arguments(folders[:1], tmp_path, *SYMMFC, 100000, "--workers", 1)
    command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [*command, str(ROOT / "train" / "symmfc.py"), *words], environment())
    text = b""
    with contextlib.suppress(OSError):  # at the end of the terminal
        while part := os.read(terminal, 4096):
            if b"step 2/" in text + part and b"step 2/" not in text:
                os.write(terminal, b"\x03")
            text += part
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    text = text.decode()
    assert "2 process(es) on cpu" in text and "continue with --resume" in text and "Traceback" not in text
    assert text.count("continue with --resume") == 1
    (checkpoint,) = Checkpoints(tmp_path / "checkpoints", 2).list()
    assert f"stopped at step {read(checkpoint)[0]['step']};" in text


def test_a_second_ctrl_c_ends_at_once(folders, tmp_path):
    words = arguments(folders[:1], tmp_path, *SYMMFC, 100000)
    command = [sys.executable, str(ROOT / "train" / "symmfc.py"), *words]
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )
    with ended(child):
        for line in child.stdout:
            if line.startswith("step 2/"):
                child.send_signal(signal.SIGINT)
            if line.startswith("stopping"):
                child.send_signal(signal.SIGINT)
                break
        _, errors = child.communicate(timeout=PATIENCE)
    assert child.returncode in (0, 130) and "Traceback" not in errors
