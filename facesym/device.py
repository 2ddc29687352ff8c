"""Check the device and the type of weights that a user names."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from .errors import DeviceError

if TYPE_CHECKING:
    import torch


def check_device(device: str | torch.device) -> None:
    """Check that a device is available.

    Args:
        device: torch.device or its name: "cpu", "cuda", "cuda:1", "mps".

    Raises:
        DeviceError: no such name, this machine or this build of torch has no such device, or torch is not installed.
    """
    if str(device) == "cpu":
        return
    if find_spec("torch") is None:
        raise DeviceError(f'The device {str(device)!r} needs torch: pip install torch, or use device="cpu".')
    import torch

    try:
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError, ValueError, TypeError) as error:
        found = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        found += ["mps"] * torch.backends.mps.is_available()
        usable = " or ".join(f'device="{name}"' for name in ("cpu", *found))
        if str(device).partition(":")[0] == "cuda" and not torch.cuda.is_available():
            raise DeviceError(f"No usable NVIDIA GPU found: use {usable}.") from error
        raise DeviceError(f"The device {str(device)!r} is not available: use {usable}.") from error


def check_exported(device: str | torch.device, dtype: Any = None) -> None:
    """Check that exported networks can have a device and a type.

    Args:
        device: torch.device or its name.
        dtype: type of the weights, or None.

    Raises:
        DeviceError: the device is not the CPU, or there is a type.
    """
    if str(device) != "cpu" or dtype is not None:
        raise DeviceError('Exported networks run on the CPU and keep their type: use backend="torch".')


def check_dtype(dtype: Any) -> None:
    """Check that weights can have a type.

    Args:
        dtype: a floating point type of torch, or None.

    Raises:
        DeviceError: it is anything else.
    """
    if dtype is None:
        return
    import torch

    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise DeviceError(
            f"dtype must be a floating point type of torch, such as torch.bfloat16, not {dtype!r}."
        )
