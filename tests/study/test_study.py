"""Studies: what is missing is trained, what is there is taken, and the record makes the tables again."""

import json
import lzma
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen
from typing import Any

import pandas as pd
import pytest
import torch
from support import corolla_process, one_thread, same_content, write_data

from corolla.cli import run_command
from corolla.errors import UserError
from corolla.runs.folder import Run
from corolla.study import measure as measuring
from corolla.study.plan import StudyOptions
from corolla.study.records import FILE, Records
from corolla.study.status import study_commands, study_status
from corolla.study.study import StudyResult, study, study_table
from corolla.study.work import Made

STUDY = """
question = "Does smoothing pay, and a teacher?"
base = "lite0_scratch"
seeds = [0]
views = ["none", "flip"]
table = ["macro_f1", "top5", "val_loss"]

[settings]
model.name = "timm:test_efficientnet"
augment.area = [0.8, 1.0]
augment.flip = false
optim.lr = 0.005
optim.schedule = "constant"
optim.warmup_epochs = 0
train.epochs = 1
train.batch_size = 8
train.precision = "fp32"

[[variant]]
name = "taught"
train.teacher = "@plain"

[[variant]]
name = "plain"
train.label_smoothing = 0.0

[[vote]]
name = "both"
of = ["plain", "taught"]
"""
TABLES = ("table.md", "table.csv", "differences.csv", "scores.csv", "curves.csv")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "smooth.toml"
    path.write_text(STUDY)
    return path


def run_study(file: Path, data: Path, **options: Any) -> StudyResult:
    return study(file, data=data, device="cpu", workers=0, runs=file.parent / "runs", **options)


def of(runs: Path) -> list[Run]:
    return [Run(path.parent) for path in runs.glob("*/config.json")]


def trained(runs: Path) -> dict[str, int]:
    """Return how often training has started in each run's folder."""
    return {run.name: len(run.environment["started"]) for run in of(runs)}


def test_a_study_trains_what_is_missing_and_nothing_again(file: Path, tiny_data: Path) -> None:
    result = run_study(file, tiny_data)
    assert result.folder == Path("comparisons/smooth")
    table = pd.read_csv(result.folder / "table.csv")
    assert list(table["row"]) == ["taught", "plain", "both"]
    assert list(table["against"])[1:] == ["taught", "taught"]
    assert set(table["top-5"].dropna()) == {1}  # of five classes
    runs = trained(file.parent / "runs")
    assert len(runs) == 2
    assert set(runs.values()) == {1}
    assert "one seed, no claim" in " ".join(result.results.sentences)
    assert "Does smoothing pay" in (result.folder / "study.html").read_text()
    before = {name: (result.folder / name).read_bytes() for name in TABLES}

    # Other names, another study, other places of the teacher: the same runs.
    for folder in (file.parent / "runs").glob("*-seed0-*"):
        folder.rename(folder.with_name(f"renamed-{folder.name}"))
    moved = shutil.copytree(tiny_data, file.parent / "moved")
    file.with_name("other.toml").write_text(STUDY.replace("taught", "learned").replace('views = ["none", "flip"]', ""))
    again, other = run_study(file, moved), run_study(file.with_name("other.toml"), tiny_data)
    assert trained(file.parent / "runs") == {f"renamed-{name}": 1 for name in runs}
    assert {name: (again.folder / name).read_bytes() for name in TABLES} == before
    assert [row.name for row in other.results.rows] == ["learned", "plain", "both"]

    status = study_status(file, options_for(file, tiny_data))
    assert {run.state for run in status.runs} == {"done"}
    assert study_commands(file, options_for(file, tiny_data)) == []


def test_a_setting_without_a_value_is_not_that_of_any_run(file: Path, tiny_data: Path) -> None:
    rows = '[[variant]]\nname = "half"\naugment.crop_fraction = 0.5\n[[variant]]\nname = "as usual"\n'
    file.write_text(STUDY.partition("[[variant]]")[0] + rows)
    run_study(file, tiny_data)
    assert len(trained(file.parent / "runs")) == 2
    assert {run.config.augment.crop_fraction for run in of(file.parent / "runs")} == {None, 0.5}


def test_weights_count_by_their_content_and_a_run_of_another_command_is_taken(file: Path, tiny_data: Path) -> None:
    head = STUDY.partition("[[variant]]")[0]
    file.write_text(head + '[[variant]]\nname = "first"\n[[variant]]\nname = "tuned"\nmodel.weights = "@first"\n')
    run_study(file, tiny_data, only=("first",))
    (first,) = of(file.parent / "runs")
    by_hand = [str(first.folder / "config.json"), "--model.weights", str(first.folder), "--run-name", "by-hand"]
    places = ["--data", str(tiny_data), "--runs", str(first.folder.parent), "--device", "cpu"]
    assert run_command(["train", *by_hand, *places, "--pipeline.workers", "0"]) == 0
    first.folder.rename(first.folder.with_name("moved"))
    run_study(file, tiny_data)
    assert trained(file.parent / "runs") == {"moved": 1, "by-hand": 1}


def test_the_record_makes_the_same_tables_without_runs_and_photos(file: Path, tiny_data: Path) -> None:
    result = run_study(file, tiny_data)
    before = {name: (result.folder / name).read_bytes() for name in (*TABLES, "scores.png", "curves.png")}
    shutil.rmtree(file.parent / "runs")
    shipped = file.with_suffix("") / FILE
    shipped.parent.mkdir()
    shutil.copy(result.folder / FILE, shipped)
    shutil.rmtree(result.folder)
    again = study_table(file)
    assert {name: (again.folder / name).read_bytes() for name in before} == before
    assert len(again.to_pandas()) == 3

    # A row whose settings have changed since is not run; what was run is not said of it.
    file.write_text(STUDY.replace("label_smoothing = 0.0", "label_smoothing = 0.2"))
    changed = study_table(file, folder=file.parent / "changed")
    assert [row.seeds for row in changed.results.rows] == [[0], [], []]  # nor is a vote in which it had a say
    assert "| plain | not run |" in (changed.folder / "table.md").read_text()


def test_seeds_are_added_to_those_that_are_there(file: Path, tiny_data: Path) -> None:
    run_study(file, tiny_data, only=("plain",))
    shutil.rmtree(file.parent / "runs")
    result = run_study(file, tiny_data, seeds=(1,), only=("plain",))
    assert [row.seeds for row in result.results.rows] == [[], [0, 1], []]


def test_the_size_may_be_told_by_the_command(file: Path, tiny_data: Path) -> None:
    size = int(next(tiny_data.glob("tfrecords-jpeg-*")).name.rpartition("x")[2])
    result = run_study(file, tiny_data, size=size, only=("plain",))
    assert [row.seeds for row in result.results.rows] == [[], [0], []]


def test_studies_of_full_size_have_a_folder_and_a_record_of_their_own(file: Path, tiny_data: Path) -> None:
    file.write_text(STUDY + "[full]\ntrain.batch_size = 4\n")
    result = run_study(file, tiny_data, full=True, only=("plain",))
    assert result.folder == Path("comparisons/smooth-full")
    assert Records.load(result.folder / FILE).full
    assert [row.seeds for row in result.results.rows] == [[], [0], []]
    (command, *_) = study_commands(file, StudyOptions(data=tiny_data, full=True, runs=file.parent / "runs"))
    assert "--full" in command


def test_a_run_that_fails_keeps_no_other_from_being_made(file: Path, tiny_data: Path) -> None:
    file.write_text(STUDY.replace("train.label_smoothing = 0.0", "optim.lr = 1e12") + WORSE)
    result = run_study(file, tiny_data)
    assert set(result.failed) == {"plain, seed 0", "taught, seed 0"}
    assert "learns from plain, which has failed" in result.failed["taught, seed 0"]
    assert [row.seeds for row in result.results.rows] == [[], [], [0], []]
    assert run_command(["study", "run", str(file), *words(file, tiny_data)]) == 1


def test_what_cannot_be_is_said_before_anything_is_trained(file: Path, tiny_data: Path) -> None:
    file.write_text(STUDY + '[[variant]]\nname = "odd"\nmodel.weights = "nowhere.pt"\n')
    with pytest.raises(UserError, match=r"--model\.weights nowhere\.pt: there is no checkpoint"):
        run_study(file, tiny_data)
    assert not (file.parent / "runs").exists()
    with pytest.raises(UserError, match=r"records\.json\.xz: there is no such record; corolla study run makes one"):
        study_table(file)


def test_damaged_records_are_named(file: Path, tiny_data: Path) -> None:
    path = file.parent / FILE
    path.write_bytes(b"no archive")
    with pytest.raises(UserError, match="not a readable record of a study"):
        Records.load(path)


def test_the_command(file: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = words(file, tiny_data)
    assert run_command(["study", "commands", str(file), *options]) == 0
    commands = capsys.readouterr().out.splitlines()
    assert [line.split(" --data")[0] for line in commands] == [
        f"corolla study run {file} --only plain --seeds 0",
        f"corolla study run {file} --only taught --seeds 0",
    ]
    for line in commands:
        assert run_command([*line.split()[1:], "--device", "cpu"]) == 0
    capsys.readouterr()
    assert run_command(["study", "status", str(file), *options]) == 0
    assert "smooth: 2 done of 2 runs" in capsys.readouterr().out
    assert run_command(["study", "table", str(file)]) == 0
    assert "against taught: macro F1" in capsys.readouterr().out
    other = file.with_name("other.toml")
    other.write_text(file.read_text().replace("[0]", "[0, 1]"))
    assert run_command(["study", "commands", str(file), str(other), *options]) == 0
    commands = capsys.readouterr().out.splitlines()  # none of the first one, which is done
    assert [line.split(" --data")[0] for line in commands] == [
        f"corolla study run {other} --only plain --seeds 1",
        f"corolla study run {other} --only taught --seeds 1",
    ]
    assert run_command(["study", "run", str(file), str(other), "--only", "plain", *options]) == 0
    assert run_command(["study", "table", str(file), str(other)]) == 0
    assert capsys.readouterr().out.count("\nwrote ") == 4  # run and table, of each
    assert all((file.parent / "comparisons" / name / "table.md").is_file() for name in ("smooth", "other"))
    for given in (["--folder", "x"], ["--records", "x"]):
        with pytest.raises(UserError, match=f"{given[0]} has no effect with several studies"):
            run_command(["study", "table", str(file), str(other), *given])
    with pytest.raises(UserError, match="name a study file"):
        run_command(["study", "table"])
    with pytest.raises(UserError, match="their results have one folder, smooth: rename one"):
        run_command(["study", "table", str(file), str(file)])
    before = trained(file.parent / "runs")  # the other file is read before anything of the first one is trained
    file.write_text(file.read_text().replace("[0]", "[2]"))
    other.write_text(other.read_text().replace("plain", "bare"))
    with pytest.raises(UserError, match=r"other\.toml: unknown row plain"):
        run_command(["study", "run", str(file), str(other), "--only", "plain", *options])
    assert trained(file.parent / "runs") == before
    with pytest.raises(UserError, match="--records has no effect with run"):
        run_command(["study", "run", str(file), "--records", "x"])


@pytest.mark.slow
def test_a_study_that_is_killed_goes_on_as_if_never_killed(file: Path, tiny_data: Path) -> None:
    file.write_text(STUDY.replace("train.epochs = 1", "train.epochs = 3"))
    with one_thread():
        undisturbed = run_study(file, tiny_data, folder=file.parent / "undisturbed")
    shutil.move(file.parent / "runs", file.parent / "kept")
    for number in range(5):
        with corolla_process(["corolla", "study", "run", str(file), *words(file, tiny_data)]) as process:
            wait_for_epochs(file.parent / "runs", number + 1, process)
            process.kill()
    with one_thread():
        result = run_study(file, tiny_data)
    assert {name: (result.folder / name).read_bytes() for name in TABLES} == {
        name: (undisturbed.folder / name).read_bytes() for name in TABLES
    }
    assert sum(trained(file.parent / "runs").values()) >= 2 + 2  # killed while they were trained
    # The names differ: a teacher is one by its bytes, and its checkpoint tells how long it took.
    kept, again = ({run.config.train.teacher == "": run for run in of(file.parent / name)} for name in ("kept", "runs"))
    assert same_content(kept[True].last, again[True].last)
    networks = [torch.load(runs[False].last, weights_only=True)["model"] for runs in (kept, again)]
    assert all(torch.equal(networks[0][name], networks[1][name]) for name in networks[0])


@pytest.mark.slow
def test_workers_share_a_study(file: Path, tiny_data: Path) -> None:
    """Three at once, one of them killed: everything is trained, nothing is trained twice."""
    file.write_text(STUDY.replace("seeds = [0]", "seeds = [0, 1, 2]").replace("train.epochs = 1", "train.epochs = 3"))
    command = ["corolla", "study", "run", str(file), *words(file, tiny_data)]
    with corolla_process(command) as first, corolla_process(command) as second, corolla_process(command) as third:
        wait_for_epochs(file.parent / "runs", 2, first)
        third.kill()
        assert first.wait(300) == second.wait(300) == 0
    runs = trained(file.parent / "runs")
    assert len(runs) == 6
    assert sum(runs.values()) <= 7  # the one that was killed was begun twice
    assert {len(Run(file.parent / "runs" / name).metrics) for name in runs} == {3}
    assert len(pd.read_csv(file.parent / "comparisons" / "smooth" / "scores.csv")) == 3 * 3 * 2


@pytest.mark.slow
def test_a_signal_stops_a_study_with_its_run_saved(file: Path, tiny_data: Path) -> None:
    file.write_text(STUDY.replace("train.epochs = 1", "train.epochs = 200"))
    with corolla_process(["corolla", "study", "run", str(file), *words(file, tiny_data)]) as process:
        wait_for_epochs(file.parent / "runs", 2, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 75
    status = study_status(file, options_for(file, tiny_data))
    assert [run.state for run in status.runs] == ["stopped", "waits"]
    assert "for the rest" in status.summary


WORSE = """
[[variant]]
name = "smooth"
train.label_smoothing = 0.1
"""


def words(file: Path, data: Path) -> list[str]:
    """Return the options that every command of these tests has."""
    return ["--data", str(data), "--device", "cpu", "--workers", "0", "--runs", str(file.parent / "runs")]


def options_for(file: Path, data: Path) -> StudyOptions:
    return StudyOptions(data=data, device="cpu", workers=0, runs=file.parent / "runs")


def wait_for_epochs(runs: Path, number: int, process: "Popen[str]") -> None:
    """Wait until so many epochs are finished, in all."""
    deadline = time.monotonic() + 120
    while sum(len(path.read_text().splitlines()) for path in runs.glob("*/metrics.jsonl")) < number:
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_ray_makes_the_runs_as_tasks(file: Path, tiny_data: Path) -> None:
    """On a cluster of its own with two cores, beside a worker without Ray; the tables are those of one process."""
    file.write_text(STUDY.replace("seeds = [0]", "seeds = [0, 1]"))
    here = run_study(file, tiny_data, folder=file.parent / "here")
    shutil.move(file.parent / "runs", file.parent / "kept")
    command = ["corolla", "study", "run", str(file), *words(file, tiny_data)]
    with corolla_process([*command, "--on", "ray"]) as on_ray, corolla_process(command) as beside:
        output, _ = on_ray.communicate(timeout=300)
        assert on_ray.returncode == 0, output
        assert beside.wait(300) == 0
    runs = trained(file.parent / "runs")
    assert len(runs) == 4
    assert set(runs.values()) == {1}
    result = file.parent / "comparisons" / "smooth"
    for name in TABLES:
        assert (result / name).read_bytes() == (here.folder / name).read_bytes()


@pytest.mark.slow
def test_lesions_and_gradients_are_in_the_record(file: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = STUDY.partition("[[variant]]")[0].replace('name = "timm:test_efficientnet"', 'name = "resnet20"')
    settings = settings.replace("lite0_scratch", "resnet18").replace("epochs = 1", "epochs = 1\nmodel.width = 0.25")
    plain = '[[variant]]\nname = "plain"\nmodel.name = "plain20"\n[[variant]]\nname = "residual"\n'
    file.write_text(settings.replace("question", 'measure = ["lesions", "gradients"]\nquestion') + plain)
    result = run_study(file, tiny_data)
    lesions, gradients = (pd.read_csv(result.folder / f"{name}.csv") for name in ("lesions", "gradients"))
    assert set(lesions["run"]) == set(gradients["run"]) == {"plain", "residual"}
    assert {"whole", "one", "random", "order"} <= set(lesions["kind"])
    names = ("lesions.csv", "gradients.csv", "lesions.png", "gradients.png")
    before = {name: (result.folder / name).read_bytes() for name in names}
    again = study_table(file, folder=file.parent / "again")
    assert {name: (again.folder / name).read_bytes() for name in names} == before
    asked: list[int] = []

    def counting(name: str, made: Made, options: StudyOptions) -> object:
        asked.append(made.planned.seed)
        return measure(name, made, options)

    measure = measuring._measure
    monkeypatch.setattr(measuring, "_measure", counting)
    assert set(run_study(file, tiny_data).results.records.measured) == {"lesions", "gradients"}
    assert asked == [], "what was measured is not measured again"
    found = run_study(file, tiny_data, seeds=(1,))
    assert asked == [1] * 4, "of two runs, lesions and gradients"
    for each in found.results.records.measured.values():
        assert {(row["run"], row["seed"]) for row in each.rows} == {
            (n, s) for n in ("plain", "residual") for s in (0, 1)
        }
    assert "residual, 2 seeds: " in "".join(found.results.sentences)
    both = pd.read_csv(result.folder / "lesions.csv")
    assert both.query("seed == 0").reset_index(drop=True).equals(lesions)


def test_the_size_of_the_command_is_no_setting_of_the_record(file: Path, tiny_data: Path) -> None:
    """Photos of several sizes need --size; the table is made without it, and no sizes are mixed in one table."""
    both = file.parent / "both"
    shutil.copytree(tiny_data, both)
    result = run_study(file, both, size=32)
    assert [row.seeds for row in result.results.rows] == [[0], [0], [0]]
    assert [row.seeds for row in study_table(file).results.rows] == [[0], [0], [0]]
    write_data(file.parent / "larger", size=40)
    shutil.rmtree(file.parent / "runs")
    shutil.move(file.parent / "larger" / "tfrecords-jpeg-40x40", both)
    other = run_study(file, both, size=40, seeds=(1,), only=("plain",))
    assert [row.seeds for row in other.results.rows] == [[], [1], []]
    assert len(list(result.folder.glob(f"*-{FILE}"))) == 1  # the record of the other size is kept


def test_seeds_that_have_learned_from_other_photos_are_not_in_one_row(file: Path, tiny_data: Path) -> None:
    run_study(file, tiny_data, only=("plain",))
    shutil.rmtree(file.parent / "runs")
    result = run_study(file, write_data(file.parent / "more", train=45), seeds=(1,), only=("plain",))
    assert [row.seeds for row in result.results.rows] == [[], [1], []]
    (kept,) = result.folder.glob(f"*-{FILE}")
    assert [row.seeds for row in study_table(file, records=kept).results.rows] == [[], [0], []]


def test_rows_that_have_learned_from_other_photos_are_not_in_one_table(file: Path, tiny_data: Path) -> None:
    run_study(file, tiny_data)
    shutil.rmtree(file.parent / "runs")
    result = run_study(file, write_data(file.parent / "more", train=45), only=("plain",))
    assert [row.seeds for row in result.results.rows] == [[], [0], []]


def test_votes_of_other_rows_are_not_shown(file: Path, tiny_data: Path) -> None:
    run_study(file, tiny_data)
    more = '[[variant]]\nname = "third"\noptim.lr = 0.01\n[[vote]]'
    file.write_text(STUDY.replace("[[vote]]", more).replace('["plain", "taught"]', '["plain", "third"]'))
    assert [row.seeds for row in study_table(file).results.rows] == [[0], [0], [], []]


def edited(record: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    values = json.loads(lzma.decompress(record.read_bytes()))
    edit(values)
    path = record.with_name("edited.json.xz")
    path.write_bytes(lzma.compress(json.dumps(values).encode()))
    return path


MEASURED = {"keys": [], "rows": [{"a": 1}]}


def test_edited_records_are_a_line(file: Path, tiny_data: Path) -> None:
    record = run_study(file, tiny_data).folder / FILE

    def refusal(edit: Callable[[dict[str, Any]], object]) -> str:
        path = edited(record, edit)
        with pytest.raises(UserError) as caught:
            study_table(file, records=path, folder=file.parent / "out")
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "labels: there are no photos" in refusal(
        lambda values: (
            values.update(labels=[]),
            [run["predicted"].update({views: [] for views in run["predicted"]}) for run in values["runs"]],
        )
    )
    assert "a class that is none of the 5" in refusal(lambda values: values["labels"].__setitem__(0, 10**12))
    assert "a class that is none of the 5" in refusal(
        lambda values: values["runs"][0]["predicted"]["flip"].__setitem__(0, -1)
    )
    assert "classes: 0 is no number of classes" in refusal(lambda values: values.update(classes=0))
    assert "epochs_factor: -1 is none" in refusal(lambda values: values.update(epochs_factor=-1))
    assert "epochs_factor: nan is none" in refusal(lambda values: values.update(epochs_factor=float("nan")))
    assert "format: 0 is none" in refusal(lambda values: values.update(format=0))
    assert "seed 0: is there twice" in refusal(lambda values: values["runs"].append(values["runs"][0]))
    assert "seed -1: is no seed" in refusal(lambda values: values["runs"][0].update(seed=-1))
    assert "epochs[0].macro_f1: a number is expected" in refusal(
        lambda values: values["runs"][0]["epochs"][0].update(macro_f1="a")
    )
    assert "measured: ../x is none of lesions and gradients" in refusal(
        lambda values: values.update(measured={"../x": MEASURED})
    )
    assert "measured.lesions.rows[0]: run is missing" in refusal(
        lambda values: values.update(measured={"lesions": MEASURED})
    )
    assert "has no run of" in refusal(lambda values: [run.update(row=f"my {run['row']}") for run in values["runs"]])
    assert not (file.parent / "out").exists()


def test_a_place_that_takes_no_results_is_told_before_anything_is_trained(file: Path, tiny_data: Path) -> None:
    folder = file.parent / "comparisons" / "smooth"
    folder.mkdir(parents=True)
    (folder / FILE).write_bytes(b"no archive")
    with pytest.raises(UserError, match=r"not a readable record .*; put a whole one in its place, or move it away"):
        run_study(file, tiny_data)
    (file.parent / "a-file").write_text("")
    with pytest.raises(OSError, match="a-file"):
        run_study(file, tiny_data, folder=file.parent / "a-file")
    assert not (file.parent / "runs").exists()


def test_what_cannot_be_measured_keeps_no_table_from_being_written(file: Path, tiny_data: Path) -> None:
    file.write_text(STUDY.replace("question", 'measure = ["lesions", "gradients"]\nquestion'))
    result = run_study(file, tiny_data)
    assert "no residual blocks that can be cut" in result.failed["lesions"]
    assert result.failed["lesions"].startswith("plain, seed 0: ")
    assert set(result.results.records.measured) == {"gradients"}
    assert (result.folder / "table.md").is_file()


def test_rows_of_the_same_settings_are_each_measured(file: Path, tiny_data: Path) -> None:
    rows = '[[variant]]\nname = "a"\n[[variant]]\nname = "b"\n'
    file.write_text(STUDY.partition("[[variant]]")[0].replace("question", 'measure = ["gradients"]\nquestion') + rows)
    result = run_study(file, tiny_data)
    counts = pd.read_csv(result.folder / "gradients.csv")["run"].value_counts().to_dict()
    assert counts["a"] == counts["b"]
    file.write_text(file.read_text().replace('"b"', '"c"'))
    assert set(pd.read_csv(run_study(file, tiny_data).folder / "gradients.csv")["run"]) == {"a", "c"}


def test_photos_that_were_changed_in_between_are_seen(file: Path, tiny_data: Path) -> None:
    """By one process, too, as a notebook is."""
    data = file.parent / "data"
    shutil.copytree(tiny_data, data)
    run_study(file, data, only=("plain",))
    shutil.rmtree(data)
    write_data(data, train=41)
    assert [run.state for run in study_status(file, options_for(file, data)).runs] == ["missing", "waits"]


def test_status_ends_with_the_command_that_makes_its_runs(
    file: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [*words(file, tiny_data), "--epochs-factor", "2"]
    assert run_command(["study", "status", str(file), *options]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"next: corolla study run {file} ")
    assert set(options) < set(last.split()) | {"2", "2.0"}
