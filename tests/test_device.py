"""Devices that are not there."""

import pytest
import torch

import facesym
from facesym.device import check_device

MISSING = ["gpu", "cuda:99", "meta", "", *(["cuda"] * (not torch.cuda.is_available()))]


@pytest.mark.parametrize("device", MISSING)
def test_a_missing_device_is_named_before_weights_are_read(device):
    with pytest.raises(facesym.DeviceError, match=f"device '{device}' does not exist.*use cpu"):
        facesym.load("no such model", device=device)


@pytest.mark.parametrize("device", ["cpu", "cpu:0", torch.device("cpu")])
def test_the_cpu_is_there(device):
    check_device(device)
