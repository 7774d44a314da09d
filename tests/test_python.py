"""corolla from Python, as people type it: text, paths and results wherever a path is meant, settings as keywords."""

import inspect
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support import smallest_config, textured, write_data

import corolla
from corolla.compare.compare import Comparison
from corolla.config import Config
from corolla.config.experiments import load_config
from corolla.config.keywords import with_keywords
from corolla.errors import UserError
from corolla.paths import as_path, as_paths
from corolla.results import Result
from corolla.runs.folder import Run

SMALL: dict[str, Any] = {"model": {"name": "timm:test_efficientnet"}, "epochs": 1, "batch_size": 8, "device": "cpu"}
SMALL |= {"workers": 0}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_data(tmp_path_factory.mktemp("python") / "data"))


@pytest.fixture(scope="module")
def run(data: str) -> Run:
    """Return a run that was trained with nothing but text and keywords."""
    return corolla.train("resnet18", data=data, runs=f"{data}/../runs", run_name="one", lr=0.01, **SMALL)


def test_an_experiment_with_keywords_is_what_the_command_line_makes_of_options(run: Run) -> None:
    assert isinstance(run, Run)
    assert run.state == "done"
    train = run.config.train
    assert (run.config.model.name, train.epochs, train.batch_size) == ("timm:test_efficientnet", 1, 8)
    assert run.config.optim.lr == 0.01
    assert run.environment["experiment"] == "resnet18"


def test_a_file_names_its_run_and_settings_may_be_sections(data: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('base = "resnet18"\n[train]\nepochs = 1\n')
    run = corolla.train(str(file), data=Path(data), runs=str(tmp_path / "runs"), **SMALL)
    assert run.name == "mine-seed0"


@pytest.mark.parametrize("as_what", ["text", "Path", "Run"])
def test_a_run_may_be_given_as_text_a_path_or_itself(run: Run, as_what: str) -> None:
    given = {"text": str(run.folder), "Path": run.folder, "Run": run}[as_what]
    assert corolla.open_run(given).folder.samefile(run.folder)
    found = corolla.predict(given, split="val", device="cpu", workers=0)
    assert list(found.to_pandas()) == ["id", "label", "name", "probability", "truth"]
    assert corolla.ensemble(given, split="val").runs == corolla.ensemble([given], split="val").runs


def test_every_name_of_all_is_there_and_takes_text(run: Run, data: str, tmp_path: Path) -> None:
    corolla.predict(run, split="test", device="cpu", workers=0, data=data)
    out = str(tmp_path / "new")
    truth = pd.read_csv(f"{data}/sample_submission.csv")
    truth.to_csv(tmp_path / "truth.csv", index=False)
    calls: dict[str, Any] = {
        "__version__": lambda: None,
        "find_experiment": lambda: corolla.find_experiment("transfer_best"),
        "synthesize": lambda: corolla.synthesize(out, size=32, share=0.001),
        "check": lambda: corolla.check(out, progress=False),
        "stats": lambda: corolla.stats(data, splits=["train"], cache_dir=str(tmp_path / "cache")),
        "show": lambda: corolla.show(data, out=str(tmp_path / "sheet.png")),
        "train": lambda: run,
        "find_lr": lambda: outcome_of(corolla.find_lr, "resnet18", data=str(tmp_path / "none")),
        "open_run": lambda: corolla.open_run(str(run.folder)),
        "load_index": lambda: corolla.load_index(data),
        "mounted_data": lambda: corolla.mounted_data("no-such-competition"),
        "macro_f1": lambda: corolla.macro_f1(np.array([0, 1]), np.array([0, 1])),
        "to_screen": lambda: None,
        "build_model": lambda: corolla.build_model(run.config.model, 5, 32),
        "multiply_adds": lambda: corolla.multiply_adds(corolla.build_model(run.config.model, 5, 32), 32),
        "num_parameters": lambda: corolla.num_parameters(corolla.build_model(run.config.model, 5, 32)),
        "figures": lambda: corolla.figures.learning_curves([run]),
        "tables": lambda: corolla.tables.pair_table,
        "predict": lambda: corolla.predict(str(run.folder), split="val", device="cpu", workers=0),
        "report": lambda: corolla.report(str(run.folder), out=str(tmp_path / "run.html"), device="cpu", workers=0),
        "ensemble": lambda: corolla.ensemble([str(run.folder)], data=data),
        "lesion": lambda: outcome_of(corolla.lesion, run, device="cpu", workers=0),
        "gradients": lambda: corolla.gradients(
            str(run.folder), batches=1, batch_size=4, data=data, device="cpu", workers=0
        ),
        "compare": lambda: corolla.compare([str(run.folder)], device="cpu", workers=0, num_resamples=20),
        "cv": lambda: outcome_of(corolla.cv, "resnet18", 1),
        "study": lambda: outcome_of(corolla.study, str(tmp_path / "none.toml"), data=data),
        "study_status": lambda: outcome_of(corolla.study_status, str(tmp_path / "none.toml")),
        "study_table": lambda: outcome_of(corolla.study_table, str(tmp_path / "none.toml"), folder=out),
        "submission_from_runs": lambda: corolla.submission_from_runs([run], str(tmp_path / "a.csv"), data=data),
        "score": lambda: corolla.score(str(tmp_path / "a.csv"), str(tmp_path / "truth.csv")),
        "audit": lambda: corolla.audit(data, runs=str(run.folder), cache_dir=str(tmp_path), progress=False),
        "import_photos": lambda: outcome_of(corolla.import_photos, str(tmp_path / "none"), str(tmp_path / "out")),
        "import_checkpoint": lambda: corolla.import_checkpoint(
            f"{data}/../runs/one/best.pt", str(tmp_path / "imported"), model="timm:test_efficientnet", data=data
        ),
        "export": lambda: corolla.export(str(run.folder), to="timm", out=str(tmp_path / "network.safetensors")),
        "download": lambda: outcome_of(corolla.download, "no slug", to=str(tmp_path / "down")),
        "submit": lambda: outcome_of(corolla.submit, str(tmp_path / "none.csv"), "a try", ledger=out + "/l.csv"),
        "submit_notebook": lambda: outcome_of(corolla.submit_notebook, str(tmp_path / "none"), "a try"),
    }
    assert set(calls) == set(corolla.__all__)
    for name, call in calls.items():
        assert getattr(corolla, name) is not None
        result = call()
        if isinstance(result, Result):
            assert repr(result).startswith(f"<{type(result).__name__}: ")
            assert "\n" not in repr(result)
            assert isinstance(result.to_pandas(), pd.DataFrame)
            assert result._repr_html_().startswith("<p>")


def outcome_of(function: Any, *arguments: Any, **keywords: Any) -> str:
    """Return the line of a refusal: text was taken, and what it names is not there."""
    with pytest.raises(UserError) as refusal:
        function(*arguments, **keywords)
    return str(refusal.value)


def test_help_and_signatures_show_what_a_function_takes() -> None:
    assert {"split", "tta", "batch_size", "photos"} <= inspect.signature(corolla.predict).parameters.keys()
    assert {"num_resamples", "checkpoint"} <= inspect.signature(corolla.compare).parameters.keys()
    assert "changes" not in inspect.signature(corolla.compare).parameters
    assert "folds:" in (inspect.getdoc(corolla.audit) or "")
    assert pickle.loads(pickle.dumps((corolla.train, corolla.audit))) == (corolla.train, corolla.audit)
    with pytest.raises(TypeError, match=r"export\(\) missing 1 required positional argument: 'to'"):
        ODD.export("runs/one")


def test_an_experiment_is_compared_by_its_name(run: Run) -> None:
    named = corolla.compare("one", runs=run.folder.parent, device="cpu", workers=0, num_resamples=20)
    assert [member.run for member in named.members] == [run]


def test_dir_shows_the_stages_and_nothing_imports_torch() -> None:
    program = "import corolla, sys; assert dir(corolla) == sorted(corolla.__all__); "
    program += "assert {'train', 'audit', '__version__'} <= set(dir(corolla)); "
    program += "print(corolla.__version__, repr(corolla.audit)[:7], 'torch' in sys.modules, 'pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    version, *rest = done.stdout.split()
    assert version[0].isdigit()
    assert rest == ["<module", "False", "False"]


def test_a_run_shows_itself(run: Run) -> None:
    assert repr(run).startswith(f"<Run: {run.folder}, done, 1 of 1 epochs, macro F1 on val 0.")
    assert "<svg" in run._repr_html_()
    assert "<table>" in run._repr_html_()
    assert list(run.to_pandas()["epoch"]) == [1]
    nothing = Run(run.folder / "none")
    assert "none" in repr(nothing)
    assert "none" in nothing._repr_html_()


def test_a_comparison_shows_its_verdict_and_its_table(run: Run) -> None:
    comparison = corolla.compare(run, device="cpu", workers=0, num_resamples=20)
    assert isinstance(comparison, Comparison)
    assert "alone: macro F1" in repr(comparison)
    assert list(comparison.to_pandas()["seeds"]) == [1]


@pytest.mark.parametrize(
    ("keywords", "key", "value"),
    [
        ({"epochs": 3}, "epochs", 3),
        ({"train.epochs": 3}, "epochs", 3),
        ({"train": {"epochs": 3}}, "epochs", 3),
        ({"epochs": np.int64(3)}, "epochs", 3),
        ({"ema": np.float64(0.5)}, "ema", 0.5),
        ({"channels_last": np.bool_(False)}, "channels_last", False),
    ],
)
def test_a_setting_by_its_name_its_key_or_its_section(keywords: dict[str, Any], key: str, value: Any) -> None:
    config, given = with_keywords(Config(), keywords)
    assert getattr(config.train, key) == value
    assert given == {f"train.{key}"}


@pytest.mark.parametrize(
    ("keywords", "line"),
    [
        ({"epoch": 3}, "unknown setting epoch; nearest: epochs"),
        ({"name": "resnet18"}, "name: is it model.name or optim.name? Give model={'name': 'resnet18'}, say"),
        ({"train": 3}, "train is a section: give its fields as a dict, such as epochs=3, or train={'epochs': 3}"),
        ({"epochs": "many"}, 'settings: train.epochs = "many": '),
        ({"epochs": 3, "train": {"epochs": 4}}, "train.epochs is given twice, once as train: leave one of the two out"),
        ({"train": {"epoch": 4}}, "settings: unknown key train.epoch; the nearest valid one is train.epochs"),
    ],
)
def test_what_is_no_setting_is_one_line(keywords: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError) as refusal:
        with_keywords(Config(), keywords)
    assert str(refusal.value).startswith(line)
    assert "\n" not in str(refusal.value)


def test_the_settings_of_a_run_may_be_other_runs_and_home(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    config, _ = with_keywords(Config(), {"init_from": run, "data": "~/photos", "cache_dir": Path("~/cache")})
    assert config.init_from == run.folder
    assert (str(config.data), str(config.cache_dir)) == ("/home/someone/photos", "/home/someone/cache")


def test_a_setting_that_has_no_effect_is_refused_as_on_the_command_line(data: str, tmp_path: Path) -> None:
    config = smallest_config(Path(data), tmp_path)
    with pytest.raises(UserError, match=r"mix.share"):
        corolla.train(config, mix_share=0.5)


def test_text_is_one_path_and_not_its_letters() -> None:
    assert as_paths("runs/a") == [Path("runs/a")] == as_paths(["runs/a"]) == as_paths(Path("runs/a"))
    assert as_path(None) is None
    assert os.fspath(Run(Path("runs/a"))) == "runs/a"


def test_a_config_from_python_is_that_of_the_file(run: Run) -> None:
    assert load_config(run.folder / "config.json").train.epochs == run.config.train.epochs


@pytest.mark.parametrize(
    ("keywords", "line"),
    [
        ({"epochs": np.array([3, 4])}, "settings: train.epochs = [3, 4]: "),
        ({"data": b"photos"}, "settings: data = b'photos': bytes is no type of a setting; "),
        ({"epochs": {3}}, "settings: train.epochs = {3}: set is no type of a setting; "),
    ],
)
def test_a_value_of_a_foreign_type_is_named_by_its_type(keywords: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError) as refusal:
        with_keywords(Config(), keywords)
    assert str(refusal.value).startswith(line)


def test_odd_arguments_of_python_are_a_line_or_what_they_mean(run: Run, data: str, tmp_path: Path) -> None:
    assert corolla.stats(data, splits="train", cache_dir=tmp_path).splits == ("train",)
    assert as_path("~no-such-user/photos") == Path("~no-such-user/photos")
    assert "best or last" in outcome_of(corolla.predict, run, checkpoint="lst", device="cpu", workers=0)
    assert "at least 1" in outcome_of(corolla.compare, run, num_resamples=0)


ODD: Any = corolla
"""The package as people call it who don't look at types."""


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: ODD.open_run(5), "5: a path is expected, as text, a Path or a result, not int"),
        (lambda: ODD.predict(b"runs/one"), "b'runs/one': a path is expected, as text, a Path or a result, not bytes"),
        (lambda: ODD.ensemble([None]), "None: a path is expected, as text, a Path or a result"),
        (lambda: ODD.open_run("x" * 5000), "x: no run is in this folder"),
        (lambda: ODD.compare(pd.DataFrame([[1, 2]] * 99).values), "folders array([1, 2]): a path is expected"),
        (lambda: ODD.score("a.csv", pd.DataFrame([[1, 2]] * 99)), "...: a path is expected"),
        (lambda: ODD.check(None), "data None: a path is expected, as text, a Path or a result"),
        (lambda: ODD.synthesize("new", size="32"), "size '32': a whole number is expected, not str"),
        (lambda: ODD.synthesize("new", size=32.5), "size 32.5: a whole number is expected, not float"),
        (lambda: ODD.synthesize("new", size=True), "size True: a whole number is expected, not bool"),
        (lambda: ODD.check("data", progress=None), "progress None: True or False is expected"),
        (lambda: ODD.stats("data", splits=["train", 3]), "splits 3: text is expected, not int"),
        (
            lambda: ODD.ensemble("runs/one", method="median"),
            "method 'median': vote, mean, weighted, greedy or geometric",
        ),
        (lambda: ODD.import_photos("a", "b", crop="centre"), "crop 'centre': center or stretch is expected"),
        (lambda: ODD.import_photos([], "b"), "name a folder of photos"),
        (lambda: ODD.predict("runs/one", batch_size="8"), "--batch-size '8': a whole number is expected, not str"),
        (lambda: ODD.predict("runs/one", bad_images="skip"), "--bad-images 'skip': stop or grey is expected"),
        (lambda: ODD.predict("runs/one", "val"), "options 'val': PredictOptions is expected, not str"),
        (lambda: ODD.predict("runs/one", splt="val"), "unknown argument splt; nearest: split"),
        (lambda: ODD.ensemble("runs/one", methd="vote"), "unknown argument methd; nearest: method"),
        (lambda: ODD.compare("runs/one", split="test"), "split 'test': runs are compared on val alone"),
        (lambda: ODD.build_model("resnet18", 5, 32), "config 'resnet18': ModelConfig is expected, not str"),
        (lambda: ODD.macro_f1([0, 1], [0]), "macro F1: a class for each photo is expected"),
        (lambda: ODD.synthesize("new", share="all"), "share 'all': a number is expected"),
    ],
)
def test_what_is_no_path_or_number_is_one_line(call: Any, line: str) -> None:
    with pytest.raises(UserError) as refusal:
        call()
    assert line in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_numbers_may_be_those_of_numpy(tmp_path: Path) -> None:
    made = ODD.synthesize(tmp_path / "new", size=np.int64(32), share=np.float32(0.001), seed=np.int32(1))
    assert corolla.synthesize(tmp_path / "new", size=32, share=float(np.float32(0.001)), seed=1).reused
    assert not made.reused


def test_a_result_may_be_given_where_its_path_is_meant(run: Run, data: str) -> None:
    of_val = corolla.predict(run, split="val", device="cpu", workers=0, data=data)
    assert os.fspath(of_val) == str(of_val.path)
    assert of_val.macro_f1 == pytest.approx(run.metrics[-1]["macro_f1"])
    assert f"macro F1 {of_val.macro_f1:.4f}" in repr(of_val)


@pytest.mark.slow
def test_a_script_without_a_main_guard_is_told_and_does_not_wait_for_ever(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("import corolla\ncorolla.synthesize('new', size=64, share=0.01, processes=2)\n")
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert "if __name__ ==" in done.stderr.splitlines()[-1]
    assert done.stderr.count("Traceback") == 1


def test_a_folder_of_runs_and_a_checkpoint_are_told_from_a_run(run: Run) -> None:
    assert outcome_of(corolla.open_run, run.folder.parent).endswith(f"name one of them: {run.folder}")
    assert outcome_of(corolla.open_run, run.best).endswith(f"is named by its folder, such as {run.folder}")


def test_a_submission_and_an_import_show_themselves(run: Run, data: str, tmp_path: Path) -> None:
    corolla.predict(run, split="test", device="cpu", workers=0, data=data)
    submission = corolla.submission_from_runs(run, tmp_path / "a.csv", data=data)
    assert repr(submission).startswith(f"<Submission: {tmp_path / 'a.csv'}, vote of one: 11 photos")
    assert len(submission.to_pandas()) == 11
    assert os.fspath(submission) == str(tmp_path / "a.csv")
    for number in range(16):
        folder = tmp_path / "photos" / ("rose", "tulip")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(textured(number, 40)).save(folder / f"{number}.png")
    imported = corolla.import_photos(tmp_path / "photos", tmp_path / "data", size=32, progress=False)
    assert "photos of 2 classes at 32 px" in repr(imported)
    assert sum(imported.to_pandas()["photos"]) == 16
