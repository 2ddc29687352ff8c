"""zoo.json (listing a model is what gets it tested), the zoo's functions, and strict loading."""

import argparse
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import safetensors.torch
import torch
import yaml
from nets import inputs, outputs

from facesym import ZooError, card, models, zoo
from facesym.cli import zoo as cli_zoo
from facesym.cli.options import UsageError
from facesym.files import CONFIG_NAME, WEIGHTS_NAME
from facesym.models import LandmarkNet
from facesym.models.base import Model

RELEASED = zoo.list_models()
MB = 1_000_000


# The released models


@pytest.mark.parametrize("entry", RELEASED, ids=[entry["id"] for entry in RELEASED])
def test_released_model(entry):
    assert entry["class"] in models.__all__
    assert all(entry[field] for field in ("task", "repo_id", "license", "training_data", "train_command"))
    folder = zoo.path(entry["id"])
    assert zoo.verify(entry["id"])
    file = folder / WEIGHTS_NAME
    assert file.stat().st_size <= 25 * MB
    stored = {
        tensor.dtype for tensor in safetensors.torch.load_file(file).values() if tensor.is_floating_point()
    }
    assert stored == {getattr(torch, entry["dtype"])}
    net = zoo.load(entry["id"])
    assert type(net).__name__ == entry["class"]
    assert net.num_parameters() == entry["params"]
    with torch.no_grad():
        assert all(tensor.isfinite().all() for tensor in outputs(net(**inputs(net, batch=1))))
    assert yaml.safe_load(card.model_card(entry, in_zoo=True).split("---")[1])["library_name"] == "facesym"


def test_the_zoo_as_a_whole():
    ids = [entry["id"] for entry in RELEASED]
    assert len(set(ids)) == len(ids)
    defaults = Counter(entry["task"] for entry in RELEASED if entry["default"])
    assert defaults == dict.fromkeys({entry["task"] for entry in RELEASED}, 1)
    assert sum(file.stat().st_size for file in zoo.WEIGHTS.rglob("*") if file.is_file()) <= 80 * MB
    assert {folder.name for folder in zoo.WEIGHTS.glob("*/")} <= set(ids)


# A zoo of our own, with a small network

FIELDS = {
    "task": "landmarks",
    "input_size": 64,
    "license": "CC-BY-4.0",
    "training_data": ["london"],
    "train_command": "accelerate launch train/landmarks.py",
    "paper": None,
    "metrics": {"protocol": "test split", "0-15": {"n": 10, "error_percent": 2.5}},
}


@pytest.fixture
def own_zoo(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "ZOO_FILE", tmp_path / "zoo.json")
    monkeypatch.setattr(zoo, "WEIGHTS", tmp_path / "weights")
    (tmp_path / "zoo.json").write_text("[]")
    return tmp_path


@pytest.fixture
def net():
    return LandmarkNet(width=8, input_size=64).eval()


@pytest.fixture
def registered(own_zoo, net):
    net.save_pretrained(own_zoo / "export", dtype=torch.float16)
    return zoo.register("small", own_zoo / "export", **FIELDS)


def run_cli(*arguments):
    parser = argparse.ArgumentParser()
    cli_zoo.add_parser(parser.add_subparsers())
    args = parser.parse_args(["zoo", *map(str, arguments)])
    return args.run(args)


def test_register(own_zoo, net, registered):
    assert zoo.list_models() == [registered] == json.loads((own_zoo / "zoo.json").read_text())
    assert registered["params"] == net.num_parameters()
    assert registered["dtype"] == "float16"
    assert registered["class"] == "LandmarkNet"
    assert registered["repo_id"] == "facesym/small"
    assert registered["revision"] is None
    assert registered["default"] is True
    assert registered["metrics"][0]["values"] == {"0-15": {"n": 10, "error_percent": 2.5}}
    assert zoo.path("small") == own_zoo / "weights" / "small"


def test_register_again_with_the_same_and_with_other_weights(own_zoo, registered):
    zoo.set_revision("small", "1" * 40)
    same = zoo.register("small", own_zoo / "export", license="mit")
    assert same == {**registered, "revision": "1" * 40, "license": "mit"}
    LandmarkNet(width=8, input_size=64).save_pretrained(own_zoo / "export")
    other = zoo.register("small", own_zoo / "export")
    assert other["sha256"] != registered["sha256"]
    assert (other["revision"], other["metrics"], other["dtype"]) == (
        None,
        [],
        "float32",
    )  # were another file's
    assert zoo.list_models() == [other]


def test_one_default_per_task(own_zoo, registered):
    second = zoo.register("second", own_zoo / "export", **FIELDS)
    assert not second["default"]
    zoo.register("second", own_zoo / "export", default=True)
    assert {entry["id"]: entry["default"] for entry in zoo.list_models()} == {"small": False, "second": True}


def test_register_refuses_an_incomplete_entry(own_zoo, net):
    net.save_pretrained(own_zoo / "export")
    with pytest.raises(ZooError, match="lacks input_size, license"):
        zoo.register("small", own_zoo / "export", task="landmarks")
    assert zoo.list_models() == []
    assert not (own_zoo / "weights" / "small").exists()


@pytest.mark.parametrize("name", ["small", "landmarks"])
def test_load_by_id_and_by_task(registered, net, name):
    again = zoo.load(name)
    assert type(again) is LandmarkNet and not again.training
    assert again.dtype == torch.float32
    assert zoo.load(name, dtype=torch.bfloat16).dtype == torch.bfloat16
    image = torch.rand(1, 3, 64, 64)
    assert (again(image) - net(image)).abs().max() < 0.01  # float16 on the way


def test_load_a_folder(own_zoo, registered):
    assert type(zoo.load(own_zoo / "export")) is LandmarkNet
    assert type(zoo.load(str(own_zoo / "export"))) is LandmarkNet


@pytest.mark.parametrize("name", ["small", "landmarks"])
def test_every_call_takes_ids_and_tasks(own_zoo, registered, name):
    assert zoo.get(name) == registered
    assert zoo.path(name) == own_zoo / "weights" / "small"
    assert zoo.verify(name)
    assert type(Model.from_pretrained(name)) is type(LandmarkNet.from_pretrained(name)) is LandmarkNet


def test_path_takes_what_load_takes(own_zoo, registered):
    assert zoo.path(own_zoo / "export") == zoo.path(str(own_zoo), subfolder="export") == own_zoo / "export"
    with pytest.raises(ZooError, match="neither a folder nor a Hub repository"):
        zoo.path(own_zoo / "nothing")
    with pytest.raises(TypeError, match="no option 'revison'; the Hub options are subfolder, revision"):
        zoo.path("small", revison="main")


def test_list_is_a_deprecated_alias(registered):
    with pytest.warns(DeprecationWarning, match="list_models"):
        assert zoo.list() == [registered]


@pytest.mark.parametrize("call", [zoo.get, zoo.path, zoo.verify, zoo.load, LandmarkNet.from_pretrained])
def test_unknown_model(registered, call):
    with pytest.raises(ZooError, match=r"no model 'smal'. Did you mean \"small\"\? Known: .*small"):
        call("smal")


def test_a_name_too_long_for_a_folder(registered):
    with pytest.raises(ZooError, match="no model 'aaa"):
        zoo.load("a" * 300)


@pytest.mark.parametrize("call", [zoo.path, zoo.verify, zoo.load])
def test_altered_weights(own_zoo, registered, call):
    file = own_zoo / "weights" / "small" / WEIGHTS_NAME
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(ZooError, match="sha256 differs"):
        call("small")
    assert run_cli("verify") == 1


@pytest.mark.parametrize("call", [zoo.path, zoo.verify, zoo.load])
def test_missing_weights(own_zoo, registered, call):
    (own_zoo / "weights" / "small" / WEIGHTS_NAME).unlink()
    with pytest.raises(ZooError, match=r"not been published|not on this machine"):
        call("small")
    assert run_cli("verify") == 0  # nothing here is wrong
    assert run_cli("verify", "small") == 1


def test_a_git_lfs_pointer_is_named(own_zoo, registered):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (own_zoo / "weights" / "small" / WEIGHTS_NAME).write_text(pointer)
    with pytest.raises(ZooError, match=r"Git LFS pointer.*git lfs pull"):
        zoo.load("small")


@pytest.mark.parametrize("text", ["{", "{}", "[{}]", '[{"id": "small"}]'])
def test_damaged_zoo_json(own_zoo, text):
    (own_zoo / "zoo.json").write_text(text)
    with pytest.raises(ZooError, match=r"zoo"):
        zoo.list_models()


def test_cli(own_zoo, registered, capsys):
    assert run_cli("list") == 0
    assert "small" in (listed := capsys.readouterr().out) and "package" in listed
    assert run_cli("verify") == 0
    assert "verified" in capsys.readouterr().out
    assert run_cli("pull", "small", "nothing") == 1
    printed = capsys.readouterr()
    assert str(own_zoo / "weights" / "small") in printed.out and "no model 'nothing'" in printed.err


def test_push_dry_run(own_zoo, registered):
    folder = own_zoo / "look"
    assert run_cli("push", "small", "--dry-run", "-o", folder) == 0
    assert sorted(file.name for file in folder.iterdir()) == ["README.md", CONFIG_NAME, WEIGHTS_NAME]
    header, card = (folder / "README.md").read_text().split("---\n", 2)[1:]
    header = yaml.safe_load(header)
    assert header["license"] == "cc-by-4.0"
    assert "landmarks" in header["tags"]
    results = header["model-index"][0]["results"][0]["metrics"]
    assert {item["name"]: item["value"] for item in results} == {"error_percent (0-15)": 2.5}
    for text in ("## Limits", "meant to show adults", "labelled", "London Set", "2.5", registered["sha256"]):
        assert text in card
    assert type(zoo.load(folder)) is LandmarkNet
    with pytest.raises(UsageError, match="-o FOLDER"):
        run_cli("push", "small", "--dry-run")


def test_cards_describe_every_task_and_dataset_of_the_zoo():
    for entry in zoo.list_models():
        assert entry["task"] in card._TASKS and set(entry["training_data"]) <= set(card._SETS)
        assert {f"- {name}: {card._SETS[name]}" for name in entry["training_data"]} <= set(
            card.model_card(entry, in_zoo=True).splitlines()
        )


def test_the_cards_in_the_docs_are_current():
    folder = Path(__file__).parents[1] / "docs" / "cards"
    cards = {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    current = {entry["id"]: card.model_card(entry, in_zoo=True) for entry in zoo.list_models()}
    assert cards == current, "run `python docs/make_cards.py`"


def test_a_card_describes_only_data_that_facesym_knows():
    entry = zoo.get("nfgan-128")
    text = card.model_card(entry, in_zoo=True)
    for claim in ("minors have been\nexcluded", "London Set", "few real pairs", "datasets do not represent"):
        assert claim in text
    for data in ([], ["mine"], ["lfw", "mine"]):
        text = card.model_card(entry | {"training_data": data}, in_zoo=True)
        assert "minors have" not in text and "is responsible" in text
    own = {key: value for key, value in entry.items() if key != "limits"}
    lines = card.model_card(own).splitlines()  # its folders happen to have the names of datasets
    assert {f"- {name}" for name in entry["training_data"]} <= set(lines)
    claims = ("minors", "for research", "few real pairs", "do not represent", *card._SETS.values())
    assert not [line for line in lines for claim in claims if claim in line and "Use the model" not in line]


def test_a_model_of_one_s_own_takes_nothing_from_a_model_of_the_same_name(own_zoo, registered):
    zoo.register("small", own_zoo / "weights" / "small", **FIELDS, limits="Trained on adults only.")
    data = {key: value for key, value in FIELDS.items() if key not in ("metrics", "paper")}
    own = zoo.describe("small", own_zoo / "export", **data, paper=None, repo_id="someone/small")
    assert "limits" not in own and own["metrics"] == []
    assert zoo.describe("small", own_zoo / "export")["limits"] == "Trained on adults only."


def test_a_card_lists_the_model_s_own_results_only():
    entry = next(entry for entry in RELEASED if entry["id"] == "symmfc-256")
    rows = entry["metrics"][0]["values"]
    header = yaml.safe_load(card.model_card(entry).split("---\n")[1])
    results = header["model-index"][0]["results"][0]["metrics"]
    assert "Telea" in rows and {item["name"]: item["value"] for item in results} == rows["symmfc-256"]


def test_listing_needs_no_torch():
    code = "import sys; from facesym import zoo; zoo.list_models(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# Saving and strict loading


def test_loading_leaves_the_random_numbers_alone(net, tmp_path):
    net.save_pretrained(tmp_path)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    LandmarkNet.from_pretrained(tmp_path)
    assert torch.equal(torch.rand(3), expected)


def _edit_config(**values):
    def change(folder):
        config = json.loads((folder / CONFIG_NAME).read_text())
        (folder / CONFIG_NAME).write_text(json.dumps({**config, **values}))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / WEIGHTS_NAME).write_bytes((f / WEIGHTS_NAME).read_bytes()[:-100]), "damaged"),
        (lambda f: (f / WEIGHTS_NAME).write_bytes(b""), "damaged"),
        (lambda f: (f / WEIGHTS_NAME).unlink(), "model.safetensors is missing"),
        (
            lambda f: torch.save({}, (f / WEIGHTS_NAME).rename(f / "model.bin")),
            "model.safetensors is missing",
        ),
        (lambda f: (f / CONFIG_NAME).unlink(), "config.json is missing"),
        (lambda f: (f / CONFIG_NAME).write_text("{"), "not a model's config"),
        (lambda f: (f / CONFIG_NAME).write_text("[]"), "not a model's config"),
        (lambda f: (f / CONFIG_NAME).write_text("[" * 100_000), "not a model's config"),
        (_edit_config(width=10**6), "out of range"),
        (_edit_config(width=10**4), "does not fit LandmarkNet"),  # refused before the memory is taken
        (_edit_config(width="wide"), "does not describe a valid LandmarkNet"),
    ],
)
def test_strict_loading(net, tmp_path, change, message):
    net.save_pretrained(tmp_path)
    change(tmp_path)
    with pytest.raises(ZooError, match=message):
        LandmarkNet.from_pretrained(tmp_path)


def test_a_class_that_is_not_ours(net, tmp_path):
    net.save_pretrained(tmp_path)
    _edit_config(_class_name="UNet2DModel")(tmp_path)
    with pytest.raises(ZooError, match=r"not a class of facesym\.models"):
        Model.from_pretrained(tmp_path)


def test_a_failed_save_keeps_the_earlier_file(net, tmp_path, monkeypatch):
    net.save_pretrained(tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with torch.no_grad():
        net.heat.bias[0] = 1e6  # too large for float16
    with pytest.raises(ZooError, match=r"heat\.bias has values that are not finite"):
        net.save_pretrained(tmp_path, dtype=torch.float16)

    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ZooError, match="No space left on device"):
        net.save_pretrained(tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
