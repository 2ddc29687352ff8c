"""The zoo against a Hub on loopback. Each client is a process: HF_ENDPOINT is read once, at import."""

import hashlib
import json
import os
import random
from pathlib import Path

import pytest
from fresh import run_python
from hub_server import HubServer

ROOT = Path(__file__).parent.parent
# More than huggingface_hub's chunk of 10 MB: it resumes after the last whole chunk.
WEIGHTS = random.Random(0).randbytes(12_000_000)
CONFIG = b'{"_class_name": "SymmFCNet"}'

ENTRY = {
    "id": "tiny",
    "task": "complete",
    "class": "SymmFCNet",
    "repo_id": "facesym/tiny",
    "revision": None,
    "sha256": hashlib.sha256(WEIGHTS).hexdigest(),
    "params": 3,
    "input_size": 64,
    "framing": "ffhq",
    "dtype": "float16",
    "license": "research use only",
    "training_data": ["scut"],
    "train_command": "accelerate launch train/symmfc.py",
    "paper": None,
    "metrics": [{"data": "scut test", "protocol": "centre hole", "values": {"psnr": 27.5}}],
    "default": True,
}


@pytest.fixture
def hub():
    with HubServer() as server:
        yield server


@pytest.fixture
def client(hub, tmp_path):
    """Run code in a process of its own, whose Hub is `hub`; `zoo` is imported, the zoo lies in tmp_path."""

    def run(code, **environment):
        start = f"""
import time; wait = time.sleep; time.sleep = lambda s: wait(min(s, 0.05))  # the pauses before retries
from pathlib import Path
from facesym import zoo, ZooError
zoo.ZOO_FILE, zoo.WEIGHTS = Path({str(tmp_path / "zoo.json")!r}), Path({str(tmp_path / "weights")!r})
def attempt(f, *args):
    try: print(f(*args))
    except ZooError as error: print("ZooError:", error)
"""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        status, printed, errors = run_python(
            start + code,
            {
                **clean,
                "PYTHONPATH": str(ROOT),
                "HF_ENDPOINT": hub.url,
                "HF_HOME": str(tmp_path / "hf"),
                "HF_HUB_DISABLE_XET": "1",  # the client would upload to Xet's own servers
                "HF_HUB_DISABLE_TELEMETRY": "1",
                "HF_TOKEN": "hf_test",
                "NO_PROXY": "127.0.0.1",
                **environment,
            },
            tmp_path,
        )
        assert status == 0, errors
        return printed

    return run


def publish(hub, tmp_path, weights=WEIGHTS, **fields):
    """A model on the Hub, and a zoo.json that pins it."""
    revision = hub.commit("facesym/tiny", {"config.json": CONFIG, "model.safetensors": weights})
    write_zoo(tmp_path, revision=revision, **fields)


def write_zoo(tmp_path, **fields):
    (tmp_path / "zoo.json").write_text(json.dumps([{**ENTRY, **fields}]))


def package(tmp_path, weights=WEIGHTS):
    folder = tmp_path / "weights" / "tiny"
    folder.mkdir(parents=True)
    (folder / "config.json").write_bytes(CONFIG)
    (folder / "model.safetensors").write_bytes(weights)


def test_download_then_offline(hub, client, tmp_path):
    publish(hub, tmp_path)
    folder = Path(client("attempt(zoo.path, 'tiny')").strip())
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert (folder / "config.json").read_bytes() == CONFIG
    assert all("/main/" not in path for _, path, _ in hub.requests)  # only ever the pinned commit
    hub.requests.clear()
    again = client("attempt(zoo.path, 'tiny'); attempt(zoo.verify, 'tiny')", HF_HUB_OFFLINE="1").split()
    assert again == [str(folder), "True"]
    assert hub.requests == []


def test_offline_without_cache(hub, client, tmp_path):
    publish(hub, tmp_path)
    message = client("attempt(zoo.path, 'tiny')", HF_HUB_OFFLINE="1")
    assert "ZooError" in message and "HF_HUB_OFFLINE" in message
    assert hub.requests == []


def test_no_network(hub, client, tmp_path):
    publish(hub, tmp_path)
    message = client("attempt(zoo.path, 'tiny')", HF_ENDPOINT="http://127.0.0.1:9")
    assert "ZooError" in message and "could not be reached" in message


def test_the_package_comes_first(hub, client, tmp_path):
    publish(hub, tmp_path)
    package(tmp_path)
    assert client("attempt(zoo.path, 'tiny')").strip() == str(tmp_path / "weights" / "tiny")
    assert hub.requests == []


def test_wrong_checksum_on_the_hub(hub, client, tmp_path):
    publish(hub, tmp_path, weights=b"x" * 1000)
    assert "sha256 differs" in client("attempt(zoo.path, 'tiny')")


def test_pull_replaces_an_altered_file(hub, client, tmp_path):
    publish(hub, tmp_path)
    folder = Path(client("attempt(zoo.pull, 'tiny')").strip())
    (folder / "model.safetensors").resolve().write_bytes(b"altered")
    messages = client("attempt(zoo.verify, 'tiny'); attempt(zoo.path, 'tiny')").splitlines()
    assert len(messages) == 2 and all("sha256 differs" in message for message in messages)
    assert client("attempt(zoo.pull, 'tiny'); attempt(zoo.verify, 'tiny')").split() == [str(folder), "True"]


def test_cut_connection_is_resumed(hub, client, tmp_path):
    publish(hub, tmp_path)
    hub.cut_after["model.safetensors"] = 11_000_000
    folder = Path(client("attempt(zoo.path, 'tiny')").strip())
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    ranges = [
        range for method, path, range in hub.requests if method == "GET" and path.endswith("safetensors")
    ]
    assert len(ranges) == 2
    assert ranges[0] is None and ranges[1].startswith("bytes=10")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"repo_id": "facesym/nowhere"}, "no repository facesym/nowhere"),
        ({"revision": "1" * 40}, "no revision"),
        ({"revision": None}, "not been published"),
    ],
)
def test_not_on_the_hub(hub, client, tmp_path, fields, message):
    publish(hub, tmp_path)
    write_zoo(tmp_path, **{"revision": "main", **fields})
    assert message in client("attempt(zoo.path, 'tiny')")


def test_a_repository_without_a_model(hub, client, tmp_path):
    write_zoo(tmp_path, revision=hub.commit("facesym/tiny", {"README.md": b"hello"}))
    assert "no file config.json" in client("attempt(zoo.path, 'tiny')")


def test_full_disk(hub, client, tmp_path):
    publish(hub, tmp_path)
    message = client("""
import errno
from huggingface_hub import file_download
def full(*args, **kwargs): raise OSError(errno.ENOSPC, "No space left on device")
file_download.http_get = full
attempt(zoo.path, 'tiny')""")
    assert "disk is full" in message and "HF_HOME" in message


def test_push_then_pull_elsewhere(hub, client, tmp_path):
    write_zoo(tmp_path)
    package(tmp_path)
    printed = client("""
import argparse
from facesym.cli import zoo as cli_zoo
parser = argparse.ArgumentParser(); cli_zoo.add_parser(parser.add_subparsers())
args = parser.parse_args(["zoo", "push", "tiny"]); assert args.run(args) == 0""")
    [(revision, files)] = hub.repos["facesym/tiny"]
    assert revision in printed
    assert json.loads((tmp_path / "zoo.json").read_text()) == [{**ENTRY, "revision": revision}]
    assert files["model.safetensors"] == WEIGHTS and files["config.json"] == CONFIG
    card = files["README.md"].decode()
    assert card.startswith("---\n") and "27.5" in card

    (tmp_path / "weights").rename(tmp_path / "moved")  # as on a machine without the packaged weights
    folder = Path(client("attempt(zoo.path, 'tiny')").strip())
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


def test_push_refused_or_altered(hub, client, tmp_path):
    write_zoo(tmp_path)
    package(tmp_path)
    hub.writable = False
    code = "from facesym.cli import zoo as cli_zoo; attempt(cli_zoo.push, 'tiny')"
    assert "hf auth login" in client(code)
    assert "HF_HUB_OFFLINE" in client(code, HF_HUB_OFFLINE="1")
    hub.writable = True
    (tmp_path / "weights" / "tiny" / "model.safetensors").write_bytes(b"altered")
    assert "sha256 differs" in client(code)
    assert hub.repos == {}
    assert json.loads((tmp_path / "zoo.json").read_text()) == [ENTRY]


def test_a_network_by_repository(hub, client, tmp_path):
    """A Model goes up with push_to_hub, with a card, and comes back with zoo.load("owner/name") and from_pretrained."""
    write_zoo(tmp_path)
    client("""
import torch
from facesym.models import LandmarkNet
from facesym.models.base import Model
net = LandmarkNet(width=8).eval()
revision = net.push_to_hub("someone/net", dtype=torch.float16)
image = torch.rand(1, 3, 128, 128) * 2 - 1
for again in (zoo.load("someone/net"), LandmarkNet.from_pretrained("someone/net", revision=revision)):
    assert again.dtype == torch.float32 and not again.training
    assert (again(image) - net(image)).abs().max() < 0.01
try: Model.from_pretrained("someone/else")
except ZooError as error: assert "no repository someone/else" in str(error)
else: raise AssertionError""")
    card = hub.repos["someone/net"][-1][1]["README.md"].decode()
    assert "LandmarkNet" in card and 'zoo.load("someone/net")' in card and "labelled" in card


def test_a_card_of_one_s_own_stays(hub, client, tmp_path):
    write_zoo(tmp_path)
    hub.commit("someone/net", {"README.md": b"mine"})
    client("from facesym.models import LandmarkNet; LandmarkNet(width=8).push_to_hub('someone/net')")
    files = hub.repos["someone/net"][-1][1]
    assert files["README.md"] == b"mine" and "model.safetensors" in files


# Pipelines


@pytest.fixture(scope="module")
def two_models(tmp_path_factory):
    """The files of two random SymmFCNets: config.json and model.safetensors of each."""
    import torch

    from facesym.models import SymmFCNet

    models = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        folder = tmp_path_factory.mktemp("model")
        SymmFCNet.preset("tiny", input_size=64).save_pretrained(folder)
        models.append({file.name: file.read_bytes() for file in folder.iterdir()})
    return models


MARK = """
import facesym
def mark(name, **hub): return float(facesym.load(name, **hub).net.masknet.out.weight.sum())
"""


def test_pipelines_pinned_cached_and_offline(hub, client, tmp_path, two_models):
    write_zoo(tmp_path)
    first, second = (hub.commit("someone/net", files) for files in two_models)
    printed = client(
        MARK
        + f"""
old, new = mark("someone/net", revision="{first}"), mark("someone/net")
assert old != new == mark("someone/net", revision="{second}")
assert mark("someone/net", revision="{first}", local_files_only=True) == old
attempt(lambda: mark("someone/net", cache_dir={str(tmp_path / "empty")!r}, local_files_only=True))
print(old, new)
"""
    )
    assert f"not in the local cache ({tmp_path / 'empty'})" in printed
    hub.requests.clear()
    offline = client(
        MARK
        + f"""
attempt(mark, "someone/other")
print(mark("someone/net", revision="{first}"), mark("someone/net"))
""",
        HF_HUB_OFFLINE="1",
    )
    assert "HF_HUB_OFFLINE is set" in offline and hub.requests == []
    assert offline.split()[-2:] == printed.split()[-2:]


def test_pipelines_private_in_a_subfolder_and_forced(hub, client, tmp_path, two_models):
    write_zoo(tmp_path)
    hub.commit("someone/net", {f"small/{name}": data for name, data in two_models[0].items()})
    hub.private["someone/net"] = "hf_mine"
    printed = client(
        MARK
        + f"""
for token in (None, False, "hf_wrong"):
    try: mark("someone/net", subfolder="small", token=token)
    except ZooError as error: print(error)
own = dict(subfolder="small", token="hf_mine", cache_dir={str(tmp_path / "cache")!r})
value = mark("someone/net", **own)
for file in Path({str(tmp_path / "cache")!r}).rglob("model.safetensors"): file.resolve().write_bytes(b"altered")
try: mark("someone/net", **own)
except ZooError as error: print(error)
assert mark("someone/net", force_download=True, **own) == value
assert facesym.zoo.load("someone/net", **own).config.input_size == 64
assert facesym.models.SymmFCNet.from_pretrained("someone/net", **own).config.input_size == 64
"""
    )
    assert printed.count("private: check the name, or `hf auth login`") == 3 and "damaged" in printed
    assert not (tmp_path / "hf" / "hub").exists()  # the cache is where it was asked to be


def test_a_mirror_stands_for_the_hub(hub, client, tmp_path, two_models):
    write_zoo(tmp_path)
    with HubServer() as mirror:
        revision = mirror.commit("someone/net", two_models[0])
        client(MARK + f"mark('someone/net', revision='{revision}')", HF_ENDPOINT=mirror.url)
        assert any("someone/net" in path for _, path, _ in mirror.requests)
    assert hub.requests == []
