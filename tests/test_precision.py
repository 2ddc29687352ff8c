"""``--precision auto``."""

import pytest
import torch

from train.precision import CANDIDATES, Precision


def test_the_fastest_precision_is_taken_and_said():
    said, formats = [], []
    chosen = Precision("auto", formats.append, lambda x: x, said.append)
    chosen.begin(1000, cycle=2)
    seconds = {CANDIDATES[0]: 1.0, CANDIDATES[1]: 0.5, CANDIDATES[2]: 9.0}
    used = []
    for _ in range(30):
        used.append(chosen.current)
        chosen.step_done(seconds[chosen.current], images=8)
    assert used.count(CANDIDATES[2]) == 2  # given up after one cycle
    assert chosen.current == CANDIDATES[1] and chosen.memory_format is formats[-1] is torch.channels_last
    assert said == [
        "images/s measured: fp32 contiguous 8.00, fp32 channels_last 16.00, bf16 channels_last 0.89; "
        "taking fp32 channels_last"
    ]
    resumed = Precision("auto", formats.append, lambda x: x, said.append)
    resumed.load_state_dict(chosen.state_dict())
    resumed.begin(1000, cycle=2)
    assert resumed.current == CANDIDATES[1]
    resumed = Precision("bf16", formats.append, lambda x: x, said.append)
    resumed.load_state_dict(chosen.state_dict())
    resumed.begin(1000, cycle=2)
    assert resumed.name == "bf16"


def test_a_short_run_is_not_measured_and_a_given_precision_is_kept():
    for asked, steps_, wanted in (
        ("auto", 20, CANDIDATES[0]),
        ("no", 1000, CANDIDATES[0]),
        ("bf16", 1000, CANDIDATES[2]),
    ):
        precision = Precision(asked, lambda _: None, lambda x: x, pytest.fail)
        precision.begin(steps_, cycle=1)
        for _ in range(50):
            precision.step_done(1.0, 8)
        assert precision.current == wanted
