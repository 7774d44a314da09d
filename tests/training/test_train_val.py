"""A run on the photos of train and val: no score is claimed for it, and its last weights count."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from state_bits import assert_same_bits
from support import changed, draw, smallest_config, stop_at, write_data

import corolla
from corolla.cli import run_command
from corolla.compare.data_efficiency import data_efficiency
from corolla.compare.notebook_figures import learning_curves
from corolla.compare.readme_table import results_table
from corolla.compare.run_table import list_runs
from corolla.config import Config
from corolla.data.corrections import COPY
from corolla.data.index import load_index
from corolla.data.statistics import data_statistics
from corolla.data.tfrecord import encode_example, write_tfrecord
from corolla.doctor.runs import run_findings
from corolla.errors import DONE, UserError
from corolla.evaluation.predictions import Predictions
from corolla.runs.checkpoint import load_checkpoint
from corolla.runs.corrections import trained_index
from corolla.runs.folder import SCORES, Run


@pytest.fixture(scope="module")
def config(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """One epoch on both."""
    small = smallest_config(tiny_data, tmp_path_factory.mktemp("both") / "runs")
    return changed(small, "train", epochs=1, on="train+val", balance=0.5)


@pytest.fixture(scope="module")
def both(config: Config) -> Run:
    """A run that was stopped, and went on."""
    assert corolla.train(config, run_name="both", on_step=stop_at(3)).state == "stopped"
    return corolla.train(config, run_name="both")


@pytest.fixture(scope="module")
def plain(config: Config) -> Run:
    return corolla.train(changed(config, "train", on="train"), run_name="plain")


def test_it_learns_from_all_labelled_photos_and_has_no_scores_and_no_best(both: Run, tiny_data: Path) -> None:
    (row,) = both.metrics
    assert [row[name] for name in SCORES] == [None] * 4
    assert row["step"] == (40 + 16) // 8
    assert not both.best.exists()
    content, index = load_checkpoint(both.last), load_index(tiny_data)
    assert content["preprocessing"]["mean"] == pytest.approx(data_statistics(index, ("train", "val")).color.mean)
    assert "val" not in content["fingerprint"]
    assert "there is no score" in both.summary
    assert "macro F1 on val" not in both._repr_html_()
    assert list(both.to_pandas()["macro_f1"]) == [None]
    assert [each for each in run_findings(both.folder.parent) if each.state == "fault"] == []


def test_tables_and_curves_take_it(both: Run, plain: Run) -> None:
    table = list_runs(both.folder.parent).set_index("name")
    assert np.isnan(table.loc["both", "best F1"])
    assert table.loc["plain", "best F1"] == plain.metrics[0]["macro_f1"]
    assert "none, learned from val" in results_table([both.folder, plain.folder])
    scores, losses = learning_curves([both, plain]).axes
    assert [len(axes.lines) for axes in (scores, losses)] == [1, 3 + 2]  # two lines name what is solid and dashed
    toml = both.folder.parent / "both.toml"
    toml.write_text('base = "scratch_best"\n[train]\non = "train+val"\n')
    with pytest.raises(UserError, match=r"both.toml: learns from val as well \(train.on\)"):
        data_efficiency([str(toml)], [0.5])


def test_a_stopped_one_ends_as_an_undisturbed_one(both: Run, config: Config) -> None:
    straight = corolla.train(config, run_name="straight")
    first, second = load_checkpoint(both.last), load_checkpoint(straight.last)
    assert both.metrics == straight.metrics
    assert_same_bits(first["model"], second["model"])


def test_it_is_the_run_on_data_whose_train_holds_both(both: Run, config: Config, tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    folder = data / "tfrecords-jpeg-32x32"
    for number, path in enumerate(sorted((folder / "val").iterdir())):
        size, count = path.stem.split("-")[1:]
        path.rename(folder / "train" / f"{90 + number}-{size}-{count}.tfrec")
    others = [
        encode_example(image=draw(label, 3000 + label, 32), label=label, id=f"other{label}") for label in range(5)
    ]
    write_tfrecord(folder / "val" / "00-32x32-5.tfrec", others)
    plain = changed(dataclasses.replace(config, data=data), "train", on="train")
    there = corolla.train(plain, run_name="joined")
    assert there.metrics[0]["train_loss"] == both.metrics[0]["train_loss"]


def test_predictions_are_of_its_last_weights(both: Run) -> None:
    made = corolla.predict(both)
    assert made.path.name == "test-none-last.npz"
    assert corolla.predict(both, checkpoint="last").made is False


def test_three_commands_from_photos_to_a_checked_submission(
    config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    toml = tmp_path / "small.toml"
    toml.write_text(
        '[model]\nname = "timm:test_efficientnet"\n[optim]\nschedule = "cosine"\n[train]\nepochs = 1\nbatch_size = 8\n'
    )
    own = ["--runs", str(tmp_path), "--run-name", "all", "--device", "cpu", "--pipeline.workers", "0"]
    trained = ["train", str(toml), "--data", str(config.data), *own, "--train.on", "train+val"]
    run, out = tmp_path / "all", tmp_path / "first.csv"
    caplog.set_level("INFO")
    assert run_command(trained) == DONE
    assert "best.pt" not in capsys.readouterr().out
    assert run_command(["predict", str(run), "--device", "cpu", "--workers", "0"]) == DONE
    assert "macro F1" not in capsys.readouterr().out
    assert f"{run}: has learned from train and val, so no score has chosen a best.pt: its last.pt counts" in caplog.text
    assert run_command(["ensemble", str(run), "--out", str(out)]) == DONE
    described = json.loads(out.with_suffix(".json").read_text())
    assert described["val_macro_f1"] is None
    assert described["runs"][0]["checkpoint"] == "last"
    test = load_index(config.data).splits["test"]
    assert [line.split(",")[0] for line in out.read_text().split()[1:]] == sorted(test.id.tolist())


def test_whatever_would_score_it_on_val_is_refused(both: Run, plain: Run) -> None:
    with pytest.raises(UserError, match=r"both: has learned from val \(--train.on train\+val\)"):
        corolla.predict(both, split="val")
    for refused in (
        lambda: corolla.compare([both, plain]),
        lambda: corolla.report(both),
        lambda: corolla.ensemble([both, plain], method="weighted"),
        lambda: corolla.ensemble([both, plain], method="mean", adjust=True),
    ):
        for run in (both, plain):
            corolla.predict(run)
        with pytest.raises(UserError, match="both: has learned from val"):
            refused()


def test_in_an_ensemble_with_a_run_that_has_val_no_score_is_claimed(both: Run, plain: Run) -> None:
    for run in (both, plain):
        corolla.predict(run)
    assert corolla.predict(plain, split="val").macro_f1 is not None
    joined = corolla.ensemble([both, plain])
    assert joined.on_val is None
    found = Predictions.load(both.predictions("test", "none", "last"))
    assert np.array_equal(np.sort(found.ids), joined.ids)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"optim": {"schedule": "plateau"}}, "plateau looks at the val loss, and with --train.on train.val there is"),
        (
            {"stop_early": 2},
            "--train.stop-early 2 looks at scores on val, and with --train.on train.val there are none",
        ),
        ({"select_by": "val_loss"}, "--train.select-by has no effect with --train.on train.val, which leaves nothing"),
        ({"select_by": "macro_f1"}, "--train.select-by has no effect with --train.on train.val, which leaves nothing"),
    ],
)
def test_settings_that_look_at_val_are_refused(config: Config, settings: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError, match=line):
        corolla.train(config, run_name="refused", **settings)
    assert not (config.runs / "refused").exists()


def test_a_run_that_has_begun_on_train_is_not_gone_on_with_on_both(plain: Run, config: Config) -> None:
    with pytest.raises(UserError, match=r'plain: holds a run of another config \(train.on is "train", now'):
        corolla.train(config, run_name="plain")


@pytest.mark.parametrize("how", ["teacher", "weights", "init_from"])
def test_who_learns_from_it_is_not_validated_on_what_it_knows(both: Run, plain: Run, config: Config, how: str) -> None:
    source: dict[str, Any] | None = {
        "teacher": {"teacher": str(both.folder)},
        "weights": {"model": {"weights": str(both.folder)}},
    }.get(how)
    settings: dict[str, Any] = source or {"init_from": both.folder}
    plain_config = changed(config, "train", on="train")
    with pytest.raises(UserError, match="has learned from photos that this run is to be validated on"):
        corolla.train(plain_config, run_name=f"from-{how}", **settings)
    assert corolla.train(config, run_name=f"both-{how}", **settings).state == "done"


def test_corrections_reach_the_photos_of_val_as_well(config: Config, tmp_path: Path, tiny_data: Path) -> None:
    val = load_index(tiny_data).splits["val"]
    csv = tmp_path / "audit.csv"
    csv.write_text(f"id,split,action\n{val.id[0]},val,drop\n{val.id[1]},val,label={(val.label[1] + 1) % 5}\n")
    run = corolla.train(config, run_name="corrected", corrections=csv)
    assert (run.folder / COPY).is_file()
    train = trained_index(run, load_index(tiny_data)).splits["train"]
    assert val.id[0] not in train.id
    assert train.label[train.id == val.id[1]] == (val.label[1] + 1) % 5
