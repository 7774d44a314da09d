"""The training that is proposed next fits the photos and the machine, and says how long it takes."""

import shlex
from pathlib import Path

import pytest

from corolla.commands import hints
from corolla.commands.hints import next_training


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Two cores with bf16 and no card."""
    monkeypatch.setattr(hints, "visible_card", lambda: None)
    monkeypatch.setattr(hints, "num_cores", lambda: 2)
    monkeypatch.setattr(hints, "_has_bf16", lambda: True)
    return monkeypatch


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
