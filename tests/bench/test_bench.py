"""The measurements and reports of a bench; no test asks how fast anything is."""

import json
from pathlib import Path

import pytest
import torch

from corolla.bench.pairs import Comparison, Spread, take_turns
from corolla.cli import run_command
from corolla.errors import UserError


@pytest.fixture(autouse=True)
def tiny_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text('base = "resnet18"\n[model]\nwidth = 0.125\n')


def test_the_ratio_is_that_of_neighbours() -> None:
    """A machine that slows down halfway changes both rates, and no ratio."""
    comparison = Comparison("ours", "theirs", (100, 100, 50, 50), (200, 200, 100, 100))
    assert comparison.ratio == Spread(0.5, 0.5, 0.5)
    assert comparison.as_dict()["ratio"]["median"] == 0.5


def test_turns_alternate_and_the_first_of_both_is_not_counted() -> None:
    order: list[str] = []

    def work(name: str, rate: float) -> float:
        order.append(name)
        return rate + len(order)

    comparison = take_turns(("a", lambda: work("a", 10)), ("b", lambda: work("b", 20)), pairs=2)
    assert order == ["a", "b"] * 3
    assert comparison.ours_per_s == (13, 15)
    assert comparison.reference_per_s == (24, 26)


@pytest.mark.parametrize(
    ("what", "stages"),
    [
        (["data"], ["read", "decode", "draw", "augment", "collate", "transfer"]),
        (["data", "--cache", "decoded", "--workers", "0"], ["read", "augment"]),
        (
            ["train", "tiny.toml", "--batch-size", "8"],
            ["wait for data", "normalise", "forward", "backward", "optimizer"],
        ),
        (["predict", "tiny.toml"], ["decode", "views", "forward"]),
    ],
)
def test_a_bench_says_and_writes_what_it_measured(
    what: list[str],
    stages: list[str],
    tiny_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("corolla.bench.data.LEAST_IMAGES", 40)
    monkeypatch.setattr("corolla.bench.train.TURN_S", 0.01)
    path = tmp_path / "bench.json"
    words = ["bench", *what, "--data", str(tiny_data), "--pairs", "2", "--device", "cpu", "--index", str(tmp_path)]
    assert run_command([*words, "--json", str(path)]) == 0
    printed = capsys.readouterr().out
    written = json.loads(path.read_text())
    assert f"wrote {path}" in printed
    for comparison in written["comparisons"]:
        assert len(comparison["ours_per_s"]) == len(comparison["reference_per_s"]) == 2
        assert min(comparison["ours_per_s"] + comparison["reference_per_s"]) > 0
        assert comparison["ratio"]["low"] <= comparison["ratio"]["median"] <= comparison["ratio"]["high"]
        assert comparison["reference"] in printed
    for stage in stages:
        assert any(name.startswith(stage) for name in written["stages_us"]), stage
    assert all(microseconds >= 0 for microseconds in written["stages_us"].values())


@pytest.mark.slow
def test_processes_are_measured_together_and_apart(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bench.json"
    words = ["--gpus", "2", "--data", str(tiny_data), "--pairs", "1", "--batch-size", "8", "--device", "cpu"]
    assert run_command(["bench", "train", "tiny.toml", *words, "--json", str(path)]) == 0
    printed, written = capsys.readouterr().out, json.loads(path.read_text())
    assert "processes 2, input 32 px, batch 2 x 8" in printed
    assert "ms for 0.7 MB (all-reduce)" in printed
    assert [c["reference"] for c in written["comparisons"]] == ["each by itself"]
    assert written["sum_ms"] > 0
    Path("data").mkdir()
    with pytest.raises(UserError, match="no TFRecords in data"):  # as one of the processes says it
        run_command(["bench", "train", "tiny.toml", "--gpus", "2", "--device", "cpu"])


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["train", "--gpus", "1"], "--gpus 1: several are measured, 2 at least"),
        (["train", "--gpus", "99", "--device", "cuda:0"], "--gpus 99: "),
        (["data", "--gpus", "2"], "--gpus has no effect with data, which measures one process"),
    ],
)
def test_processes_that_can_not_be_measured(
    words: list[str], error: str, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corolla.device.choose_device", torch.device)
    monkeypatch.setattr("corolla.bench.processes.choose_device", torch.device)
    with pytest.raises(UserError, match=error):
        run_command(["bench", *words, "--data", str(tiny_data)])


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
@pytest.mark.parametrize("what", ["train", "predict"])
def test_both_sides_compute_in_the_same_precision(
    what: str, precision: str, dtype: torch.dtype, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each convolution gives it; in fp32 CUDA may not round to TF32 on one side alone either."""
    monkeypatch.setattr("corolla.bench.train.TURN_S", 0.01)
    with Path("tiny.toml").open("a") as file:
        file.write(f'[train]\nprecision = "{precision}"\n')
    seen: set[tuple[torch.dtype, bool]] = set()
    forward = torch.nn.Conv2d.forward

    def record(module: torch.nn.Conv2d, images: torch.Tensor) -> torch.Tensor:
        result = forward(module, images)
        if len(images) > 1:  # not the trial of whether the network takes that size
            seen.add((result.dtype, torch.backends.cudnn.allow_tf32))
        return result

    monkeypatch.setattr(torch.nn.Conv2d, "forward", record)
    words = ["--data", str(tiny_data), "--pairs", "1", "--device", "cpu", "--cache-dir", str(tmp_path)]
    assert run_command(["bench", what, "tiny.toml", *words, "--workers", "0"]) == 0
    assert seen == {(dtype, precision != "fp32")}


@pytest.mark.slow
def test_scaling_has_its_tables(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corolla.bench.data.LEAST_IMAGES", 40)
    monkeypatch.setattr("corolla.bench.train.TURN_S", 0.01)
    words = ["bench", "scaling", "tiny.toml", "--data", str(tiny_data), "--pairs", "1", "--batch-size", "8"]
    assert run_command([*words, "--index", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for text in ("measured / predicted", "64 GPU", "  128 ", "512 px", "100,000 classes", "simulated, 8 GPUs"):
        assert text in printed


@pytest.mark.parametrize("words", [["data", "resnet18"], ["train", "--pairs", "0"], ["data", "--batch-size", "1"]])
def test_what_cannot_be_measured_is_one_line(words: list[str], tiny_data: Path) -> None:
    with pytest.raises(UserError) as caught:
        run_command(["bench", *words, "--data", str(tiny_data)])
    assert len(str(caught.value).splitlines()) == 1
