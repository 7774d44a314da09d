"""The training that is proposed next fits the photos and the machine, and says how long it takes."""

import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from corolla.commands import hints
from corolla.commands.ensemble import _next


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Two cores with bf16 and no card."""
    monkeypatch.setattr(hints, "visible_card", lambda: None)
    monkeypatch.setattr(hints, "num_cores", lambda: 2)
    monkeypatch.setattr(hints, "_has_bf16", lambda: True)
    return monkeypatch


def next_training(data: Path, size: int, num_train: int, **options: Any) -> str:
    """Return what is proposed for so many training photos."""
    return hints.next_training(data, size, {"train": num_train, "val": 9}, **options)


def test_without_a_card_it_is_transfer_and_says_its_minutes(machine: pytest.MonkeyPatch) -> None:
    about, command = next_training(Path("photos"), 224, 1020).splitlines()
    assert command == "next: corolla train transfer_best --data photos --size 224"
    assert about == (
        "about 4 minutes on this CPU (`corolla bench cost transfer_best --data photos --size 224` measures it):"
    )
    machine.setattr(hints, "_has_bf16", lambda: False)
    assert next_training(Path("photos"), 224, 1020).startswith("about 13 minutes")
    assert next_training(Path("photos"), 224, 12753).startswith("about 3 hours")


def test_few_photos_are_shown_several_times_an_epoch(machine: pytest.MonkeyPatch) -> None:
    about, command = next_training(Path("mine"), 224, 44).splitlines()
    assert command == "next: corolla train transfer_best --data mine --size 224 --train.repeat 12"
    assert about == "about 2 minutes on this CPU (by its cores):"
    assert "repeat" not in next_training(Path("mine"), 224, 512)
    machine.setattr(hints, "visible_card", lambda: "Tesla T4")
    assert next_training(Path("mine"), 224, 44) == command


def test_small_photos_are_enlarged(machine: pytest.MonkeyPatch) -> None:
    assert "--data d --size 64 --input-size 128" in next_training(Path("d"), 64, 600).splitlines()[1]
    assert "--input-size" not in next_training(Path("d"), 128, 600)


@pytest.mark.parametrize(("photos", "experiment"), [(900, "transfer_best"), (12753, "resnet50_pretrained")])
def test_a_card_trains_the_larger_network_where_there_are_photos_for_it(
    photos: int, experiment: str, machine: pytest.MonkeyPatch
) -> None:
    machine.setattr(hints, "visible_card", lambda: "Tesla T4")
    said = next_training(Path("data"), 224, photos)
    assert f"next: corolla train {experiment} --data data --size 224" in said
    assert "minutes" not in said  # nobody has measured that card


def test_an_experiment_that_was_spoken_of_stays(machine: pytest.MonkeyPatch) -> None:
    assert next_training(Path("my data"), 224, 10, experiment="plain34") == (
        f"next: corolla train plain34 --data {shlex.quote('my data')} --size 224"
    )


def test_what_was_given_before_is_in_it(machine: pytest.MonkeyPatch) -> None:
    said = next_training(Path("d"), 64, 600, input_size=96, cache_dir=Path("a b"), options=["--train.seed", 3])
    given = "--data d --size 64 --input-size 96 --cache-dir 'a b'"
    assert said.splitlines()[1] == f"next: corolla train transfer_best {given} --train.seed 3"
    assert f"`corolla bench cost transfer_best {given}` measures it" in said
    assert "--size 64 --input-size 64" in next_training(Path("d"), 64, 600, input_size=64)


@pytest.mark.parametrize("counts", [{"test": 9}, {"train": 9, "val": 0}, {"val": 9}])
def test_data_without_train_or_val_are_not_sent_to_training(counts: dict[str, int]) -> None:
    said = hints.next_training(Path("d"), 64, counts)
    assert said.startswith("training needs photos of train and val; here are none of ")
    assert "next:" not in said


@pytest.mark.parametrize(
    ("competition", "made", "proposed"),
    [
        (
            "tpu-getting-started",
            {"runs": [{"run": "a"}], "folders": ["runs/a"]},
            "next: corolla submit out.csv --notebook",
        ),
        ("tpu-getting-started", {"members": [{"file": "theirs.csv"}]}, "next: corolla submit out.csv"),
        ("others", {"runs": [{"run": "a"}], "folders": ["runs/a"]}, "next: corolla submit out.csv"),
        (None, {}, "to submit it to a competition: corolla submit out.csv --competition SLUG"),
    ],
)
def test_an_ensemble_goes_on_as_a_notebook_where_only_these_are_taken(
    competition: str | None, made: dict[str, Any], proposed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("out.csv").write_text("id,label\na,1\n")
    sha256 = hashlib.sha256(Path("out.csv").read_bytes()).hexdigest()
    Path("out.json").write_text(json.dumps({"csv_sha256": sha256, **made}))
    if competition:
        Path("competition.json").write_text(json.dumps({"competition": competition, "files": {}}))
    assert _next(Path("out.csv"), Path("sample_submission.csv")) == proposed
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    assert _next(Path("out.csv"), Path("sample_submission.csv")).startswith("to submit it: save a version of this note")
