"""Checkpoints and predictions with flipped bits, and run folders that were restored in part."""

import dataclasses
import hashlib
import json
import os
import pickle
import random
import re
import shutil
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from support import changed, same_content, smallest_config

from corolla.compare.compare import compare
from corolla.compare.run_table import list_runs
from corolla.errors import UserError
from corolla.evaluation.predict import predict
from corolla.evaluation.predictions import Predictions
from corolla.files import write_atomically
from corolla.runs.best_epoch import best_fault
from corolla.runs.checkpoint import load_checkpoint, load_unchanged, load_with_digest
from corolla.runs.folder import CheckpointName, Run
from corolla.runs.without_torch import read_without_tensors
from corolla.training.train import train

FLIPS = 40


@pytest.fixture(scope="module")
def stages(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A finished run of 3 epochs, and its last.pt as it was after the first one."""
    folder = tmp_path_factory.mktemp("stages")
    config = changed(smallest_config(tiny_data, folder), "train", epochs=3)
    kept = folder / "after-1.pt"

    def keep(state: object, batch: object, lr: object, loss: object) -> None:
        if not kept.exists() and (folder / "run/last.pt").exists():
            shutil.copy(folder / "run/last.pt", kept)

    return train(dataclasses.replace(config, run_name="run"), on_step=keep), kept


@pytest.fixture
def run(stages: tuple[Run, Path], tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(stages[0].folder, tmp_path / "runs" / "run")))


def again(run: Run, data: Path) -> Run:
    """Train with the command that made the run."""
    return train(dataclasses.replace(run.config, data=data, runs=run.folder.parent, run_name=run.name, device="cpu"))


def flipped(path: Path, seed: int) -> None:
    rng, content = random.Random(seed), bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["last.pt", "best.pt"])
def test_no_flipped_bit_loads_as_another_checkpoint(name: str, run: Run, tmp_path: Path) -> None:
    whole = shutil.copy(run.folder / name, tmp_path / "whole.pt")
    refused = 0
    for seed in range(FLIPS):
        path = run.folder / name
        shutil.copy(whole, path)
        flipped(path, seed)
        try:
            load_checkpoint(path)
        except UserError:
            refused += 1
        else:
            assert same_content(path, Path(whole)), seed
    assert refused > 0.9 * FLIPS


def test_zeroes_in_the_middle_are_refused_and_the_whole_one_is_named(run: Run, tiny_data: Path) -> None:
    content = run.last.read_bytes()
    middle = len(content) // 2
    for path, other, checkpoint in ((run.last, "best.pt", "last"), (run.best, "last.pt", "best")):
        content = path.read_bytes()
        path.write_bytes(content[:middle] + bytes(4096) + content[middle + 4096 :])
        wanted = rf"{path.name}: is damaged \(.*has another checksum\); whole beside it: {other}, "
        with pytest.raises(UserError, match=wanted):
            predict(run.folder, split="val", checkpoint=checkpoint, data=tiny_data, device="cpu", workers=0)
        path.write_bytes(content)


def test_a_run_does_not_go_on_from_a_damaged_checkpoint(stages: tuple[Run, Path], run: Run, tiny_data: Path) -> None:
    shutil.copy(stages[1], run.last)
    content = bytearray(run.last.read_bytes())
    content[len(content) // 2] ^= 1
    run.last.write_bytes(content)
    before = {path: path.read_bytes() for path in run.folder.iterdir() if path.is_file()}
    with pytest.raises(UserError, match=r"last\.pt: is damaged .*; whole beside it: best\.pt"):
        again(run, tiny_data)
    assert {path: path.read_bytes() for path in run.folder.iterdir() if path.is_file()} == before


def test_a_finished_run_whose_progress_is_damaged_is_not_called_finished(run: Run, tiny_data: Path) -> None:
    content = bytearray(run.last.read_bytes())
    content[content.index(b"val_loss")] ^= 1
    run.last.write_bytes(content)
    with pytest.raises(UserError, match=r"last\.pt: not a readable checkpoint \(Bad CRC-32.*best\.pt"):
        again(run, tiny_data)
    (row,) = list_runs(run.folder.parent).to_dict("records")
    assert (row["state"], row["epochs"]) == ("damaged", 3)
    with pytest.raises(UserError, match=r"last\.pt: is damaged"):
        compare([run.folder], data=tiny_data, device="cpu", workers=0)


def test_no_flipped_bit_gives_other_predictions(run: Run, tiny_data: Path) -> None:
    result = predict(run.folder, split="val", data=tiny_data, device="cpu", workers=0)
    whole, refused = result.path.read_bytes(), 0
    for seed in range(3 * FLIPS):
        result.path.write_bytes(whole)
        flipped(result.path, seed)
        try:
            found = Predictions.load(result.path)
        except UserError:
            refused += 1
            continue
        np.testing.assert_array_equal(found.probabilities, result.predictions.probabilities)
        assert found.ids.tolist() == result.predictions.ids.tolist()
        assert (found.checkpoint, found.fingerprint) == (result.predictions.checkpoint, result.predictions.fingerprint)
        assert found.class_names == result.predictions.class_names
    assert refused > FLIPS


def test_a_checkpoint_that_is_older_than_metrics_jsonl_counts(
    stages: tuple[Run, Path], run: Run, tiny_data: Path, tmp_path: Path
) -> None:
    """A cloud drive or a backup may bring back last.pt alone."""
    told = run.copied_metrics
    shutil.copy(stages[1], run.last)
    assert run.metrics == told[:1]
    assert run.state == "stopped"
    (row,) = list_runs(run.folder.parent).to_dict("records")
    assert (row["state"], row["epochs"], row["last F1"]) == ("stopped", 1, told[0]["macro_f1"])
    comparison = compare([run.folder], data=tiny_data, device="cpu", workers=0)
    assert comparison.members[0].rows == told[:1]
    assert comparison.members[0].scores.macro_f1 == pytest.approx(told[0]["macro_f1"])
    assert "is not finished (1 of 3 epochs)" in " ".join(comparison.verdict)
    done = again(run, tiny_data)
    assert (done.state, done.metrics, done.copied_metrics) == ("done", told, told)
    assert same_content(done.last, stages[0].last)


@pytest.mark.parametrize("content", [None, "", "fewer", "other", "{"])
def test_a_finished_run_has_its_metrics_made_again(content: str | None, run: Run, tiny_data: Path) -> None:
    path = run.folder / "metrics.jsonl"
    text = path.read_text()
    if content is None:
        path.unlink()
    elif content == "fewer":
        path.write_text(text.splitlines(keepends=True)[0])
    elif content == "other":
        path.write_text(re.sub(r'"macro_f1": [\d.]+', '"macro_f1": 0.99', text))
    else:
        path.write_text(content)
    assert run.state == "done"
    assert run.metrics == [json.loads(line) for line in text.splitlines()]
    again(run, tiny_data)
    assert path.read_text() == text


def test_a_best_checkpoint_that_is_not_the_best_epochs_is_told_by_predict(
    run: Run, tiny_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def told(checkpoint: CheckpointName) -> list[str]:
        caplog.clear()
        predict(run.folder, split="val", checkpoint=checkpoint, data=tiny_data, device="cpu", workers=0)
        return caplog.messages

    assert told("best") == []
    content = torch.load(run.best, weights_only=True)
    content["progress"]["rows"][-1]["macro_f1"] += 0.01
    torch.save(content, run.best)
    (line,) = told("best")
    assert line.startswith(f"{run.folder}: best.pt is of an epoch ")
    assert "\n" not in line
    assert told("last") == []


def test_a_run_that_has_lost_its_last_checkpoint_does_not_begin_anew(run: Run, tiny_data: Path) -> None:
    best = run.best.read_bytes()
    run.last.unlink()
    with pytest.raises(
        UserError, match=r"tells of 3 epochs, but last\.pt is missing: put it back; cp .*best\.pt .*last"
    ):
        again(run, tiny_data)
    assert run.best.read_bytes() == best
    assert not run.last.exists()


def test_checkpoints_of_another_run_are_told(run: Run) -> None:
    assert best_fault(run) is None
    for path in (run.last, run.best):
        content = torch.load(path, weights_only=True)
        content["config"]["train"]["seed"] += 1
        content["config"]["train"]["epochs"] += 1  # as of a run that goes on in a copy
        torch.save(content, path)
    assert best_fault(run) == "last.pt is another run's, whose train.seed config.json does not tell"


def test_bytes_before_a_checkpoint_are_refused_and_the_whole_one_is_named(run: Run) -> None:
    run.last.write_bytes(b"x" * 30 + run.last.read_bytes())
    with pytest.raises(UserError, match=r"other bytes stand before its first part\); whole beside it: best\.pt"):
        load_checkpoint(run.last)


def test_what_is_read_without_torch_is_what_torch_reads(run: Run) -> None:
    content, known = load_checkpoint(run.last), read_without_tensors(run.last)
    for key in ("progress", "config", "class_names", "fingerprint", "preprocessing"):
        assert known[key] == content[key]
    assert list(known["model"]) == list(content["model"])
    assert all(value is None for value in known["model"].values())


class Planted:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch planted",)


def foreign(path: Path, kind: str) -> None:
    if kind == "text":
        path.write_text("version https://git-lfs.github.com/spec/v1\n")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "zeros":
        path.write_bytes(bytes(5000))
    elif kind == "code":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("archive/data.pkl", pickle.dumps({"progress": {"rows": [Planted()]}}))
    elif kind == "weights":
        torch.save({"model": torch.ones(3)}, path)
    elif kind == "no pickle":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("archive/data.pkl", b"\x80\x02}q\x00(X\xff")
    else:
        torch.save(torch.ones(3), path)


REASONS = {
    "text": "it is a Git LFS pointer, which git lfs pull replaces",
    "empty": "it is empty",
    "zeros": "it begins with zeros",
}


@pytest.mark.parametrize("kind", ["text", "empty", "zeros", "code", "weights", "no pickle", "tensor"])
def test_other_files_by_the_name_of_a_checkpoint(
    kind: str, run: Run, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    foreign(run.last, kind)
    for act in (lambda: again(run, tiny_data), lambda: load_checkpoint(run.last)):
        with pytest.raises(UserError, match=r"last\.pt: not a (readable )?checkpoint") as caught:
            act()
        assert "\n" not in str(caught.value)
        assert REASONS.get(kind, "") in str(caught.value)
        assert "whole beside it: best.pt, a copy of which can take its place" in str(caught.value)
        assert "weights_only" not in str(caught.value), "no advice to run its code"
    assert not (tmp_path / "planted").exists()
    assert list_runs(run.folder.parent)["state"].tolist() == ["damaged"]


def test_a_checkpoint_and_its_digest_are_of_one_file(run: Run, stages: tuple[Run, Path]) -> None:
    """Also while the run goes on, whose checkpoint is another one from one moment to the next."""
    contents = [run.last.read_bytes(), stages[1].read_bytes()]
    epochs = {hashlib.sha256(content).hexdigest(): num for content, num in zip(contents, (3, 1), strict=True)}
    stop = threading.Event()

    def replace_it_again_and_again() -> None:
        while not stop.is_set():
            for content in contents:
                write_atomically(run.last, content)
                time.sleep(0.1)

    with ThreadPoolExecutor(1) as pool:
        replacing_it = pool.submit(replace_it_again_and_again)
        try:
            found = [load_with_digest(run.last) for _ in range(20)]
        finally:
            stop.set()
        replacing_it.result()
    assert all(len(content["progress"]["rows"]) == epochs[digest] for content, digest in found)
    other = hashlib.sha256(contents[0]).hexdigest()
    with pytest.raises(UserError, match=r"last.pt: was replaced by a later checkpoint in the meantime; give the"):
        load_unchanged(run.last, other)
