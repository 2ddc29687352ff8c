"""train/benchmark.py and train/stages.py on tiny random networks."""

import json

import pytest
import torch

import facesym
from train import benchmark, stages
from train.peers import LaMa, StarGAN


@pytest.mark.parametrize("count", [300_000, 5_900_000, 12_000_000])
def test_the_yardstick_has_the_size_of_the_model(count):
    assert abs(benchmark.parameters(benchmark.unet_of_size(count)) / count - 1) < 0.05


def test_the_benchmark_times_both_networks(tiny_model, capsys):
    threads = torch.get_num_threads()
    try:
        benchmark.main(
            [
                "complete",
                "--model",
                str(tiny_model),
                "--size",
                "64",
                "--runs",
                "3",
                "--threads",
                "1",
                "--json",
            ]
        )
    finally:
        torch.set_num_threads(threads)
    report = json.loads(capsys.readouterr().out)
    model, texture, unet = report["rows"]
    assert texture["row"] == benchmark.TEXTURE and texture["median_ms"] > 0 == texture["parameters"]
    assert model["median_ms"] > 0 and unet["row"] == "plain U-Net" and report["settings"]["threads"] == 1
    assert abs(unet["parameters"] / model["parameters"] - 1) < 0.05


def test_symmetric_kernels_are_timed_beside_plain_ones(capsys):
    threads = torch.get_num_threads()
    try:
        benchmark.main(["layers", "--size", "64", "--runs", "1", "--threads", "1"])
    finally:
        torch.set_num_threads(threads)
    assert "| symmetric kernels | " in capsys.readouterr().out


def test_stages_add_up_and_nested_calls_count_once(tiny_model):
    clock = stages.Clock()
    with clock.stage("outer"), clock.stage("inner"):
        sum(range(300_000))
    assert clock.spent["inner"][0] > 10 * clock.spent["outer"][0] >= 0
    pipe = facesym.load(tiny_model)
    rows = stages.by_stage({"complete": pipe}, 0.1, 1)
    assert list(rows["complete"]) == [*stages.STAGES, "rest"] and rows["complete"]["detect"] > 1
    row = {"cpu_ms": 2.0, "p50_ms": 3.0, "p95_ms": 4.0}
    report = {
        "peers": {"LaMa": row | {"parameters": 27e6}},
        "tasks": {"complete": row},
        "stages": {"3 MP": rows},
    }
    assert "| complete |  | 2.0 | 3.0 | 4.0 | 1.00 | 1.00 | 0.25 |" in stages.table(report)


@pytest.mark.parametrize(("net", "millions", "channels"), [(LaMa, 27.0, 4), (StarGAN, 8.4, 8)])
def test_peers_have_the_published_sizes(net, millions, channels):
    net = net().eval()
    assert benchmark.parameters(net) / 1e6 == pytest.approx(millions, abs=0.06)
    with torch.inference_mode():
        assert net(torch.rand(1, channels, 64, 64)).shape == (1, 3, 64, 64)
