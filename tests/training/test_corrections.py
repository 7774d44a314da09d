"""A run on corrected photos is the run on mended ones, and goes on with the corrections that it began with."""

import dataclasses
from pathlib import Path

import pytest
from state_bits import assert_same_bits
from support import changed, draw, smallest_config, stop_at, write_data

import corolla
from corolla.compare.readme_table import command_of
from corolla.config import Config
from corolla.data.corrections import COPY
from corolla.data.index import load_index
from corolla.data.tfrecord import encode_example, write_tfrecord
from corolla.ensemble.logit_adjustment import class_prior
from corolla.errors import UserError
from corolla.files import sha256
from corolla.runs.checkpoint import load_checkpoint
from corolla.runs.corrections import corrected_index, trained_index
from corolla.runs.folder import Run
from corolla.training.train import train

DROPPED, RELABELLED = (0, 7), {1: 3, 2: 3, 3: 0}


@pytest.fixture(scope="module")
def config(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """One epoch in which the classes' numbers of photos count."""
    small = smallest_config(tiny_data, tmp_path_factory.mktemp("corrections") / "runs")
    return changed(small, "train", epochs=1, share=0.8, balance=0.5, class_balance=0.9)


@pytest.fixture(scope="module")
def csv(config: Config) -> Path:
    """Corrections of five training photos."""
    rows = [f"{number:09x},drop" for number in DROPPED]
    rows += [f"{number:09x},label={label}" for number, label in RELABELLED.items()]
    path = config.runs.parent / "audit.csv"
    path.write_text("\n".join(["id,action", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def corrected(config: Config, csv: Path) -> Run:
    """A run that was stopped, and went on when the CSV was gone."""
    content = csv.read_bytes()
    begun = corolla.train(config, run_name="corrected", corrections=str(csv), on_step=stop_at(2))
    assert begun.state == "stopped"
    csv.unlink()
    run = corolla.train(config, run_name="corrected", corrections=str(csv))
    csv.write_bytes(content)
    return run


def mended(folder: Path) -> Path:
    """Write the data as they would be without these mistakes."""
    data = write_data(folder)
    numbers = [number for number in range(40) if number not in DROPPED]
    examples = [
        encode_example(image=draw(n % 5, n, 32), label=RELABELLED.get(n, n % 5), id=f"{n:09x}") for n in numbers
    ]
    inside = data / "tfrecords-jpeg-32x32" / "train"
    for path in inside.iterdir():
        path.unlink()
    write_tfrecord(inside / f"00-32x32-{len(examples)}.tfrec", examples)
    return data


def test_it_is_the_run_on_mended_photos(corrected: Run, config: Config, tmp_path: Path) -> None:
    data = mended(tmp_path / "data")
    plain = train(dataclasses.replace(config, data=data, runs=tmp_path / "runs"))
    assert corrected.metrics == plain.metrics
    assert_same_bits(load_checkpoint(corrected.last)["model"], load_checkpoint(plain.last)["model"])


def test_the_run_says_what_it_has_learned_from(corrected: Run, config: Config, csv: Path, tmp_path: Path) -> None:
    copy = corrected.folder / COPY
    assert copy.read_bytes() == csv.read_bytes()
    assert corrected.config.train.corrections_sha256 == sha256(csv)
    index = load_index(config.data)
    trained, whole = trained_index(corrected, index), corrected_index(corrected, index)
    assert corrected.environment["fingerprint"] == trained.fingerprint
    assert (len(trained.splits["train"]), len(whole.splits["train"])) == (30, 38)
    assert class_prior(whole).tolist() == pytest.approx([8 / 38, 7 / 38, 6 / 38, 9 / 38, 8 / 38])
    assert command_of(corrected).endswith(f"corrected/config.json --train.corrections {copy}")


def test_other_corrections_are_refused(corrected: Run, config: Config, csv: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(config, run_name="corrected")
    with pytest.raises(UserError, match="was begun with corrections of its training photos; give those again"):
        train(config)
    other = tmp_path / "other.csv"
    other.write_text(csv.read_text() + "\n")
    with pytest.raises(UserError, match=f"begun with other corrections than {other} holds; give those again"):
        train(changed(config, "train", corrections=other))
    begun = changed(dataclasses.replace(config, run_name="new"), "train", corrections_sha256=sha256(csv))
    with pytest.raises(UserError, match=r"with the SHA-256 .*: name it with --train.corrections"):
        train(begun)
    with pytest.raises(UserError, match=r"its SHA-256 is .*, not .* as asked for"):
        train(changed(begun, "train", corrections=other))
    with pytest.raises(UserError, match=r"none.csv: there is no such file"):
        train(changed(begun, "train", corrections=tmp_path / "none.csv"))
    assert not (config.runs / "new").exists()


def test_its_copy_suffices_and_is_checked(corrected: Run, config: Config) -> None:
    assert train(corrected).state == "done"
    longer = dataclasses.replace(changed(config, "train", epochs=2), resume=corrected.folder, run_name="longer")
    assert len(train(longer).metrics) == 2
    copy = config.runs / "longer" / COPY
    assert copy.read_bytes() == (corrected.folder / COPY).read_bytes()
    copy.write_text("id,action\n")
    with pytest.raises(UserError, match=r"longer/corrections.csv: was changed, its SHA-256 is"):
        train(copy.parent)
    copy.unlink()
    with pytest.raises(UserError, match="is missing, but the run's training photos were corrected by it"):
        train(copy.parent)


def test_a_run_without_corrections_keeps_none_and_takes_none(config: Config, csv: Path) -> None:
    config = dataclasses.replace(config, run_name="plain")
    run = train(config, on_step=stop_at(1))
    assert not (run.folder / COPY).exists()
    assert run.config.train.corrections_sha256 == ""
    with pytest.raises(UserError, match="plain: was begun without corrections; choose another --run-name"):
        train(changed(config, "train", corrections=csv))
