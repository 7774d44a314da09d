"""`doctor`: every fault is found with its remedy, and a machine without any has none."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections import namedtuple
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import write_data

from corolla.compare.run_table import list_runs
from corolla.config import Config, TrainConfig, to_dict
from corolla.data.tfrecord import write_tfrecord
from corolla.doctor import Finding, Report, doctor
from corolla.doctor.data import competition_files
from corolla.runs.folder import Run
from corolla.runs.writing import write_metrics

SECRET = "s3cret-never-to-be-shown"
Usage = namedtuple("Usage", "total used free")


def follow(fault: Finding) -> None:
    """Run the command that a remedy begins with."""
    command = re.split(r", then |: ", fault.remedy or "false")[0]
    python = f"{shlex.quote(sys.executable)} -c"
    subprocess.run(command.replace("python -c", python), shell=True, check=True)


SCORES = dict.fromkeys(("lr", "train_loss", "val_loss", "top1", "top5", "macro_f1"), 0.5)


class Machine:
    """A home, a data folder and runs, to plant faults in."""

    def __init__(self, root: Path) -> None:
        self.root, self.home, self.data, self.runs = root, root / "home", root / "data", root / "runs"
        (self.home / ".kaggle").mkdir(parents=True)
        self.environ = {"HOME": str(self.home), "KAGGLE_USERNAME": "ann", "KAGGLE_KEY": SECRET}

    def report(self) -> Report:
        return doctor(data=self.data, runs=self.runs, environ=self.environ)

    def the_fault(self) -> Finding:
        """The only one there is; it has a remedy."""
        (fault,) = self.report().faults
        assert fault.remedy
        return fault

    def notes(self) -> list[Finding]:
        return [finding for finding in self.report().findings if finding.state == "note"]

    def competition(self, size: int = 224) -> Path:
        """All files by the competition's names, each with as many records as its name says; they are empty."""
        records = self.data / f"tfrecords-jpeg-{size}x{size}"
        for name in competition_files(size):
            path = records / name
            write_tfrecord(path, [b""] * int(path.stem.rpartition("-")[2]))
        (self.data / "sample_submission.csv").write_text("id,label\n")
        return records

    def run(self, *, done: int = 1, epochs: int = 2) -> Path:
        folder = self.runs / "first run"
        folder.mkdir(parents=True)
        values = to_dict(Config(train=TrainConfig(epochs=epochs)), with_runtime=False)
        (folder / "config.json").write_text(json.dumps(values))
        (folder / "environment.json").write_text(json.dumps({"data": str(self.data)}))
        self.set_done(folder, done)
        return folder

    @staticmethod
    def set_done(folder: Path, epochs: int, names: Sequence[str] = ("last.pt", "best.pt", "metrics.jsonl")) -> None:
        """Have the files of a run tell of so many epochs."""
        rows = [{"epoch": n, "step": n, **SCORES} for n in range(1, epochs + 1)]
        config = json.loads((folder / "config.json").read_text())
        content = {"config": config, "progress": {"rows": rows, "step": epochs}, "model": torch.ones(1000)}
        for name in names:
            if name == "metrics.jsonl":
                write_metrics(Run(folder), rows)
            else:
                torch.save(content, folder / name)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv("COROLLA_KAGGLE_INPUT", str(tmp_path / "input"))
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE", raising=False)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, 10**12))
    return Machine(tmp_path)


@pytest.fixture
def with_data(machine: Machine) -> Machine:
    write_data(machine.data)
    return machine


@pytest.fixture
def with_competition(machine: Machine) -> Machine:
    machine.competition()
    return machine


def test_a_clean_machine_has_no_fault(machine: Machine, tiny_data: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    before = set(sys.modules)
    machine.data = tiny_data
    assert machine.report().faults == []
    assert machine.notes() == []
    texts = "\n".join(machine.report().lines())
    assert f"{tiny_data}, 32 px: train 40, val 16, test 11 images" in texts
    assert "legacy key: KAGGLE_USERNAME and KAGGLE_KEY in the environment" in texts
    assert not {name for name in set(sys.modules) - before if name.split(".")[0] in ("kaggle", "kagglesdk")}


def test_no_credentials_matter_less_where_data_is(with_data: Machine):
    with_data.environ = {"HOME": str(with_data.home)}
    (note,) = with_data.notes()
    assert (note.area, note.state) == ("credentials", "note")
    assert "https://www.kaggle.com/settings" in (note.remedy or "")
    with_data.data = with_data.root / "elsewhere"
    assert with_data.the_fault().area == "credentials"


def test_a_bad_kaggle_json(with_data: Machine):
    path = with_data.home / ".kaggle" / "kaggle.json"
    path.write_text(f'{{"username": "ann", "key": "{SECRET}')
    path.chmod(0o600)
    fault = with_data.the_fault()
    assert f"{path}: is not valid JSON" in fault.text
    assert f"rm {path}" in (fault.remedy or "")


def test_a_world_readable_kaggle_json(with_data: Machine):
    path = with_data.home / ".kaggle" / "kaggle.json"
    path.write_text(json.dumps({"username": "ann", "key": SECRET}))
    path.chmod(0o644)
    assert with_data.the_fault().remedy == f"chmod 600 {path}"


def test_a_kaggle_json_elsewhere_that_others_can_read(with_data: Machine):
    path = with_data.root / "my  config" / "kaggle.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"username": "ann", "key": SECRET}))
    path.chmod(0o640)
    with_data.environ |= {"KAGGLE_CONFIG_DIR": str(path.parent)}
    fault = with_data.the_fault()
    assert fault.text == f"{path}: other users of this machine can read it"
    assert f"fix: chmod 600 '{path}'" in "\n".join(with_data.report().lines())
    follow(fault)
    assert with_data.report().faults == []


def test_a_token_that_shadows_a_key(with_data: Machine):
    path = with_data.home / ".kaggle" / "access_token"
    path.write_text(SECRET)
    path.chmod(0o600)
    report = with_data.report()
    (note,) = [finding for finding in report.findings if "stale" in finding.text]
    assert note.state == "note", "only Kaggle knows whether it is stale"
    assert f"rm {path}" in (note.remedy or "")


def test_kaggle_token(with_data: Machine):
    with_data.environ["KAGGLE_TOKEN"] = SECRET
    assert with_data.the_fault().remedy == "unset KAGGLE_TOKEN"


@pytest.mark.parametrize("kept", [0, 5, 700, -1])
def test_a_cut_tfrecord(with_data: Machine, kept: int):
    path = with_data.data / "tfrecords-jpeg-32x32" / "val" / "00-32x32-8.tfrec"
    path.write_bytes(path.read_bytes()[:kept])
    fault = with_data.the_fault()
    assert fault.text.startswith(str(path))
    assert fault.remedy == f"corolla check {with_data.data} --size 32"


def test_a_tfrecord_cut_between_two_records(with_data: Machine):
    folder = with_data.data / "tfrecords-jpeg-32x32" / "val"
    (folder / "00-32x32-8.tfrec").rename(folder / "00-32x32-9.tfrec")
    assert "holds 8 records, its name says 9" in with_data.the_fault().text


def test_a_slow_disk_is_looked_at_in_part(with_data: Machine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("corolla.doctor.data.QUICK_S", -1.0)
    assert with_data.report().faults == []
    assert with_data.notes()[0].remedy == f"corolla check {with_data.data} --size 32"
    path = with_data.data / "tfrecords-jpeg-32x32" / "val" / "00-32x32-8.tfrec"
    path.write_bytes(b"no TFRecord at all")
    assert with_data.the_fault().text.startswith(f"{path}:0 record 0")


def test_all_of_the_competition_is_there(with_competition: Machine):
    assert with_competition.report().faults == []
    counts = "224 px: train 12753, val 3712, test 7382 images"
    assert any(counts in finding.text for finding in with_competition.report().findings)


def test_a_missing_file(with_competition: Machine):
    (with_competition.data / "tfrecords-jpeg-224x224" / "train" / "15-224x224-783.tfrec").unlink()
    fault = with_competition.the_fault()
    assert "1 of 48 files are missing, train/15-224x224-783.tfrec first" in fault.text
    assert fault.remedy == f"corolla download --size 224 --to {with_competition.data}"


def test_missing_files_of_a_mount_come_back_otherwise(with_competition: Machine):
    mount = with_competition.root / "input" / "tpu-getting-started"
    mount.parent.mkdir()
    with_competition.data.rename(mount)
    assert with_competition.report().faults == []
    (mount / "tfrecords-jpeg-224x224" / "train" / "15-224x224-783.tfrec").unlink()
    assert "restart the session" in (with_competition.the_fault().remedy or "")


def test_the_competitions_missing_sample_submission(with_competition: Machine):
    (with_competition.data / "sample_submission.csv").unlink()
    fault = with_competition.the_fault()
    assert "sample_submission.csv is missing" in fault.text
    assert fault.remedy == f"corolla download --size 224 --to {with_competition.data}"


@pytest.mark.parametrize("content", [None, ""])
def test_the_missing_sample_submission_of_other_data(with_data: Machine, content: str | None):
    path = with_data.data / "sample_submission.csv"
    path.unlink()
    if content is not None:
        path.write_text(content)
    fault = with_data.the_fault()
    assert fault.text == f"{path} is {'missing' if content is None else 'empty'}"
    assert str(path) in (fault.remedy or "")


def test_data_in_a_sub_folder_and_a_download_left_behind(with_data: Machine):
    with_data.data.rename(with_data.root / "moved")
    with_data.data.mkdir()
    (with_data.root / "moved").rename(with_data.data / "tiny")
    staging = with_data.data / ".corolla-download"
    staging.mkdir()
    (staging / "lock").touch()
    assert with_data.notes() == []
    (staging / "tfrecords-jpeg-331x331--train--00-331x331-798.tfrec").mkdir()
    (staging / "tfrecords-jpeg-331x331--train--00-331x331-798.tfrec" / "part").touch()
    (note,) = with_data.notes()
    assert note.remedy == f"corolla download --size 331 --to {with_data.data}"
    assert any(f"{with_data.data / 'tiny'}, 32 px" in finding.text for finding in with_data.report().findings)


def test_a_damaged_config_comes_back_from_the_checkpoint(with_data: Machine):
    folder = with_data.run()
    path, config = folder / "config.json", json.loads((folder / "config.json").read_text())
    path.write_text(path.read_text()[:-20])
    fault = with_data.the_fault()
    assert str(path) in fault.text
    follow(fault)
    assert json.loads(path.read_text()) == config
    assert with_data.report().faults == []


@pytest.mark.parametrize("size", [0, 500])
@pytest.mark.parametrize("name", ["last.pt", "best.pt"])
def test_a_damaged_checkpoint(with_data: Machine, name: str, size: int):
    path = with_data.run() / name
    path.write_bytes(path.read_bytes()[:size])
    fault = with_data.the_fault()
    assert fault.text == f"damaged run: {path} is empty or cut"
    follow(fault)
    assert with_data.report().faults == []


@pytest.mark.parametrize("name", ["last.pt", "best.pt", "metrics.jsonl", "environment.json"])
def test_a_file_that_can_not_be_read_is_not_written_over(with_data: Machine, name: str):
    path = with_data.run() / name
    path.unlink()
    path.mkdir()  # the superuser may read whatever a mode forbids, but no folder
    fault = with_data.the_fault()
    assert fault.text == f"damaged run: {path} can't be read (Is a directory)"
    assert (fault.remedy or "").startswith(f"ls -l '{path}'")


@pytest.mark.parametrize("name", ["-rf", "two  blanks", "it's $HOME"])
def test_remedies_of_runs_can_be_pasted_whatever_the_folders_name(
    name: str, with_data: Machine, monkeypatch: pytest.MonkeyPatch
):
    """They are copied from the line that is shown, in the folder from which the runs were looked at."""
    monkeypatch.chdir(with_data.root)
    with_data.runs = Path(name)
    folder = with_data.run()
    for path in (folder / "last.pt", folder / "metrics.jsonl"):
        path.write_bytes(b"\xff")
        (line,) = [line for line in with_data.report().lines() if "fix: " in line]
        follow(Finding("runs", "fault", "", line.split("fix: ")[1]))
        assert with_data.report().faults == []


def test_a_run_that_can_go_on_is_named_so_that_no_word_is_an_option(
    with_data: Machine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(with_data.root)
    with_data.runs = Path("-runs")
    with_data.run().rename("-runs/-first")
    (note,) = with_data.notes()
    words = shlex.split(note.remedy or "")
    assert words[:3] == ["corolla", "train", "./-runs/-first/config.json"]
    assert words[-3:] == ["--runs", "./-runs", "--run-name=-first"]


def test_a_run_of_which_nothing_is_left(with_data: Machine):
    folder = with_data.run()
    for name in ("last.pt", "best.pt", "config.json"):
        (folder / name).write_bytes(b"")
    faults = with_data.report().faults
    assert len(faults) == 3
    follow(faults[0])
    assert not folder.exists()
    assert with_data.report().faults == []


@pytest.mark.parametrize("name", ["metrics.jsonl", "environment.json"])
def test_other_damage_to_a_run(with_data: Machine, name: str):
    path = with_data.run() / name
    path.write_text("{")
    fault = with_data.the_fault()
    assert str(path) in fault.text
    assert (fault.remedy or "").startswith(f"mv '{path}'")


def test_a_stopped_run_can_go_on_and_a_finished_one_is_let_alone(with_data: Machine):
    folder = with_data.run(done=1, epochs=2)
    (note,) = with_data.notes()
    assert "1 of 2 epochs" in note.text
    options = f"--data {with_data.data} --runs {with_data.runs} --run-name 'first run'"
    assert note.remedy == f"corolla train '{folder / 'config.json'}' {options}"
    with_data.set_done(folder, 2)
    assert with_data.notes() == []


def test_a_checkpoint_that_is_older_than_its_metrics_counts(with_data: Machine):
    folder = with_data.run(done=2, epochs=2)
    with_data.set_done(folder, 1, ["last.pt"])
    (note,) = with_data.notes()
    assert "1 of 2 epochs are done" in note.text
    assert "metrics.jsonl tells of 2: last.pt is an older one, and counts" in note.text
    assert (note.remedy or "").startswith("corolla train")


def test_metrics_that_are_not_the_checkpoints_are_told(with_data: Machine):
    folder = with_data.run(done=2, epochs=2)
    with_data.set_done(folder, 1, ["metrics.jsonl"])
    (note,) = with_data.notes()
    assert "metrics.jsonl is not that of last.pt" in note.text


def test_a_best_checkpoint_of_another_time_is_told(with_data: Machine):
    folder = with_data.run(done=2, epochs=2)
    with_data.set_done(folder, 3, ["best.pt"])
    (note,) = with_data.notes()
    assert note.text.startswith(f"{folder}: best.pt is of an epoch 3 that last.pt (2 epochs) does not tell of; ")
    assert "--checkpoint last" in (note.remedy or "")
    with_data.set_done(folder, 1, ["last.pt", "metrics.jsonl"])
    (note,) = with_data.notes()
    assert "1 of 2 epochs are done" in note.text
    assert "best.pt is of an epoch 3 that last.pt (1 epochs) does not tell of" in note.text


@pytest.mark.parametrize("left", [[".lock"], [".lock", ".last.pt.0123abcd.12.0123abcd.tmp"], []])
def test_a_folder_of_a_run_that_was_killed_at_once_is_no_fault(left: list[str], with_data: Machine):
    folder = with_data.run()
    for name in left:
        (with_data.runs / "killed").mkdir(exist_ok=True)
        (with_data.runs / "killed" / name).touch()
    assert with_data.report().faults == []
    assert next(finding.text for finding in with_data.report().findings if finding.area == "runs") == (
        f"1 in {with_data.runs}"
    )
    assert list_runs(with_data.runs)["name"].tolist() == [folder.name]


@pytest.mark.parametrize("name", ["last.pt", "best.pt"])
def test_a_flipped_bit_in_a_checkpoint(with_data: Machine, name: str):
    path = with_data.run() / name
    content = bytearray(path.read_bytes())
    content[content.index(np.float32(1).tobytes() * 8) + 5] ^= 4
    path.write_bytes(content)
    fault = with_data.the_fault()
    assert re.fullmatch(
        rf"damaged run: {re.escape(str(path))} is damaged \(\w+/data/0 has another checksum\)", fault.text
    )
    follow(fault)
    assert with_data.report().faults == []


@pytest.mark.parametrize(("free", "state"), [(0.5e9, "fault"), (2e9, "note"), (5e9, "ok")])
def test_too_little_disk(with_data: Machine, monkeypatch: pytest.MonkeyPatch, free: float, state: str):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, free))
    disks = [finding for finding in with_data.report().findings if finding.area == "disk"]
    assert {finding.state for finding in disks} == {state}
    assert all(("df -h" in (finding.remedy or "")) == (state != "ok") for finding in disks)


def test_a_system_that_does_not_tell_its_memory(with_data: Machine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(os, "sysconf")
    assert with_data.report().faults == []


def test_little_shared_memory(with_data: Machine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: Usage(64 << 20 if str(path) == "/dev/shm" else 10**12, 0, 10**12)
    )
    assert "--pipeline.workers 0" in (with_data.notes()[0].remedy or "")


def test_what_the_kaggle_client_lacks(with_data: Machine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "six" else object())
    fault = with_data.the_fault()
    assert "six not installed" in fault.text
    assert (fault.remedy or "").startswith("pip install")


def test_torch_that_does_not_load(with_data: Machine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    fault = with_data.the_fault()
    assert fault.area == "torch"
    assert (fault.remedy or "").startswith("pip install")


def test_several_gpus(with_data: Machine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert "--device cuda:1" in (with_data.notes()[0].remedy or "")


def test_a_session_on_kaggle_without_the_data(with_data: Machine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    fault = with_data.the_fault()
    assert fault.area == "Kaggle session"
    assert "Add Input" in (fault.remedy or "")


def test_no_secret_is_shown(with_data: Machine):
    for name in ("access_token", "access_token.txt", "kaggle.json", "credentials.json"):
        entries = {"username": "ann", "key": SECRET, "refresh_token": SECRET, "token": SECRET}
        (with_data.home / ".kaggle" / name).write_text(json.dumps(entries))
    names = ("KAGGLE_TOKEN", "KAGGLE_API_TOKEN", "KAGGLE_API_ENVIRONMENT", "VERBOSE")
    with_data.environ |= dict.fromkeys(names, SECRET)
    assert SECRET not in "\n".join(with_data.report().lines())


@given(
    st.lists(
        st.builds(
            Finding,
            st.sampled_from(["data", "Kaggle session"]),
            st.sampled_from(["ok", "note", "fault"]),
            st.text(min_size=1),
            st.none() | st.just("fix it"),
        )
    )
)
def test_the_table_is_aligned(findings: list[Finding]):
    report = Report(findings)
    lines = report.lines()
    assert len(lines) == len(findings) + sum(finding.remedy is not None for finding in findings)
    width = max((len(finding.area) for finding in findings), default=0)
    for line in lines:
        assert re.match(rf"(ok   |note |fault|     )  .{{{width}}}  ", line)
        assert len(line.splitlines()) == 1
