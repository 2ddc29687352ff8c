"""Devices that are not there."""

import sys

import pytest
import torch

import facesym
from facesym.cli import main
from facesym.device import check_device
from facesym.models import LightCNN

MISSING = ["gpu", "cuda:99", "meta", "", *(["cuda"] * (not torch.cuda.is_available()))]


@pytest.mark.parametrize("device", MISSING)
def test_a_missing_device_is_named_before_weights_are_read(device):
    told = f"device '{device}' is not available"
    if device.startswith("cuda") and not torch.cuda.is_available():
        told = "No usable NVIDIA GPU found"
    with pytest.raises(facesym.DeviceError, match=f'{told}: use device="cpu"'):
        facesym.load("no such model", device=device)


def test_a_command_without_torch_says_that_a_device_needs_it(astronaut, tmp_path, monkeypatch, capsys):
    astronaut.save(tmp_path / "photo.png")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SystemExit, match="1"):
        main(["symmetrize", str(tmp_path / "photo.png"), "--device", "cuda"])
    told = "facesym: The device 'cuda' needs torch: pip install torch, or use --device cpu.\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize("device", ["cpu", "cpu:0", torch.device("cpu")])
def test_the_cpu_is_there(device):
    check_device(device)


@pytest.mark.parametrize("dtype", ["bfloat16", torch.int8, float])
def test_weights_have_a_floating_point_type(dtype, tiny_model):
    for load in (facesym.load, LightCNN.from_pretrained):
        with pytest.raises(facesym.DeviceError, match=r"floating point.*torch\.bfloat16"):
            load("no such model", dtype=dtype)
    with pytest.raises(facesym.DeviceError, match=r"floating point.*torch\.bfloat16"):
        facesym.load(tiny_model).to("cpu", dtype)
