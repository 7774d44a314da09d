"""The command line as a user meets it: help, mistakes, exit statuses, and a whole session."""

import dataclasses
import inspect
import os
import pickle
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import break_first_jpeg, changed, smallest_config, write_data

import corolla as corolla_package
from corolla import cli, commands
from corolla.compare.readme_table import BEGIN, END
from corolla.config import keys
from corolla.config.experiments import EXPERIMENTS
from corolla.errors import UserError
from corolla.runs.folder import Run
from corolla.training.train import train

STAGES = ["download", "synth", "import", "check", "audit", "stats", "show", "train", "import-checkpoint", "runs"]
STAGES += ["predict", "report", "compare", "lesion", "gradients", "study", "cv", "table", "ensemble", "score", "pack"]
STAGES += ["submit", "submissions", "leaderboard", "export", "doctor", "bench"]
SETTINGS = """
size = 32
[model]
name = "timm:test_efficientnet"
[augment]
crop = "random-resized"
area = [0.8, 1.0]
flip = false
[optim]
lr = 0.02
schedule = "constant"
[train]
epochs = 2
batch_size = 8
[pipeline]
workers = 0
"""


@pytest.fixture(autouse=True)
def a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Defaults such as runs/ are relative; and help stands in one column."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture(scope="module")
def trained(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = smallest_config(tiny_data, tmp_path_factory.mktemp("runs"))
    return train(changed(config, "train", epochs=1))


def corolla(*words: object) -> int:
    """The exit status of `corolla WORDS`, run in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["corolla", *map(str, words)])
        try:
            return cli.main()
        except SystemExit as stop:
            return stop.code if isinstance(stop.code, int) else 1


def next_command(output: str) -> list[str]:
    """The words after `next: corolla`."""
    (line,) = [line for line in output.splitlines() if line.startswith("next: corolla ")]
    return shlex.split(line.removeprefix("next: corolla "))


def plain(text: str) -> str:
    """Without the boxes and line breaks of the help."""
    return " ".join(re.sub("[─-╿]", " ", text).split())


def test_the_stages_are_listed_in_the_order_of_the_pipeline(capsys: pytest.CaptureFixture[str]) -> None:
    outputs = []
    for words in ([], ["--help"], ["-h"]):
        assert corolla(*words) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1] == outputs[2]
    assert re.findall(r"^  ([\w-]+) +\S.{20}", outputs[0], re.MULTILINE) == STAGES


def test_listing_them_imports_no_stage() -> None:
    """Nothing that takes its time is imported: torch, but also pandas, pydantic and tyro."""
    code = (
        "import sys; from corolla.cli import run_command; run_command([])\n"
        "sys.exit(bool({'torch', 'numpy', 'pandas', 'pydantic', 'tyro', 'corolla.config'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def function_of(stage: str) -> Callable[..., int]:
    module = commands.load(stage)
    return getattr(module, module.__name__.rpartition(".")[2])


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_listed_is_what_a_stage_says_of_itself(stage: str) -> None:
    assert commands.summaries()[stage] == (function_of(stage).__doc__ or "").splitlines()[0]


def test_a_new_file_is_a_new_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adding a stage touches its package and one file of commands/."""
    for path in Path(commands.__file__).parent.glob("*.py"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "draw_lots.py").write_text('def draw_lots() -> int:\n    """Draw lots."""\n    return 0\n')
    monkeypatch.setattr(commands, "files", lambda _: tmp_path)
    assert list(commands.summaries()) == [*STAGES, "draw-lots"]
    assert commands.summaries()["draw-lots"] == "Draw lots."


def test_stages_are_found_in_a_zip_too(tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "packed"), "zip", Path(cli.__file__).parents[1], "corolla")
    code = (
        "import sys; sys.path.insert(0, 'packed.zip'); from corolla import commands\n"
        "assert 'packed.zip' in commands.__file__\n"
        "commands.load('show'); commands.load('import'); print(*commands.summaries())"
    )
    listed = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True).stdout
    assert listed.split() == STAGES


@pytest.mark.parametrize("name", ["compare", "ensemble", "show"])
def test_a_stage_that_is_a_package_is_pickled_as_a_function_is(name: str) -> None:
    stage = getattr(corolla_package, name)
    assert pickle.loads(pickle.dumps(stage)) is stage


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("show data --epochs 3", "--epochs has no effect without --augment: leave it out"),
        ("show data --input-size 24", "--input-size has no effect without --augment or --tta: leave it out"),
        ("show data --split test --tta flip", "--split has no effect with test-time views: leave it out"),
        ("show data --split val --augment resnet18", "--split has no effect with --augment: leave it out"),
        ("show data --per-class 2 --augment resnet18", "--per-class has no effect with --augment: leave it out"),
        ("show data --augment resnet18 --tta flip --epochs 2", "--epochs has no effect with test-time views"),
        ("compare a b --seeds 1 2", "--seeds has no effect without --fractions: leave it out"),
        ("compare a b --epochs 2", "--epochs has no effect without --fractions: leave it out"),
        ("compare a --fractions 0.5 1 --tta flip", "--tta has no effect with --fractions: leave it out"),
        ("compare a --fractions 0.5 1 --checkpoint best", "--checkpoint has no effect with --fractions: leave it out"),
        ("submit a.csv --tta flip", "--tta has no effect without --notebook: leave it out"),
        ("submit a.csv --method mean", "--method has no effect without --notebook: leave it out"),
        ("predict a --tta ten-crop_size40 --view-size 48", "--view-size 48: --tta ten-crop_size40 says 40 already"),
        (
            "predict a --tta flip_logits --average probabilities",
            "--average probabilities: --tta flip_logits says",
        ),
        ("predict a --tta flip_fraction0.5 --crop-fraction 1", "--crop-fraction 1.0: --tta flip_fraction0.5 says 0.5"),
    ],
)
def test_an_option_that_can_not_act_is_refused(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert corolla(*words.split()) == 2
    assert capsys.readouterr().err.startswith(said)


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert corolla("--version") == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", capsys.readouterr().out)


def options_of(stage: str) -> list[str]:
    if stage == "train":
        return [name.replace("_", "-") for name in keys()]
    names: list[str] = []
    for name, parameter in inspect.signature(function_of(stage)).parameters.items():
        nested = dataclasses.is_dataclass(parameter.default)
        names += [f.name for f in dataclasses.fields(parameter.default)] if nested else [name]  # pyright: ignore[reportArgumentType]
    return [name.rstrip("_").replace("_", "-") for name in names]  # Python has `for` for itself


@pytest.mark.parametrize("stage", STAGES)
def test_every_option_has_a_help_text(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert corolla(stage, "--help-all") == 0
    text = capsys.readouterr().out
    said = re.split(r"^  (?=\S)", text, flags=re.MULTILINE)
    entries = {words[0].rstrip(","): " ".join(words[1:]) for words in (entry.split() for entry in said[1:])}
    for option in options_of(stage):
        found = next((entries[name] for name in entries if name == f"--{option}"), None)
        if found is None:  # positional
            found = " ".join(entries[name] for name in entries if not name.startswith("-"))
        assert re.search(r"\b[a-z]{2,}\b", re.sub(r"--\S+|\{.*?\}", "", found)), option  # not only N or {A,B}
    assert "PATH" not in text
    assert "{None}" not in text
    assert "(default: None)" not in text


@pytest.mark.parametrize("stage", STAGES)
def test_the_help_flows_with_the_terminal(
    stage: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = []
    for columns in ("80", "120"):
        monkeypatch.setenv("COLUMNS", columns)
        assert corolla(stage, "--help-all") == 0
        texts.append(capsys.readouterr().out)
        assert all(len(line) <= int(columns) for line in texts[-1].splitlines())
        assert texts[-1].startswith("usage: corolla")
    assert plain(texts[0]) == plain(texts[1])


def test_the_help_of_train_begins_with_what_people_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert corolla("train", "transfer_best", "--help") == 0
    shown = re.findall(r"^  (--\S+)", capsys.readouterr().out, flags=re.MULTILINE)
    assert len(shown) == 10
    assert shown[:4] == ["--data", "--size", "--input-size", "--train.epochs"]
    assert corolla("train", "transfer_best", "--help-all") == 0
    assert set(shown) < set(re.findall(r"^  (--\S+)", capsys.readouterr().out, flags=re.MULTILINE))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            "train resnet34 --epochs 3",
            "unknown option --epochs; nearest: --train.epochs; corolla train resnet34 --help",
        ),
        (
            "train resnet34 --train.lr=3",
            "unknown option --train.lr; nearest: --optim.lr; corolla train resnet34 --help",
        ),
        ("train resnet34 --name x", "unknown option --name; nearest: --model.name or --optim.name; "),
        ("predict runs/x --ttta flip", "unknown option --ttta; nearest: --tta; corolla predict --help"),
        ("predict runs/x --TTA flip", "unknown option --TTA; nearest: --tta; "),
        ("predict runs/x -split val", "unknown option -split; nearest: --split; "),
        ("train resnet34 --batch 3", "unknown option --batch; nearest: --train.batch-size; "),
        ("train resnet34 --model x", "unknown option --model; nearest: --model.name; "),
        ("runs --reverse=True", "--reverse takes no value: leave =True out, or write --no-reverse"),
        ("show data --split vall", "--split vall: train, val or test is expected; corolla show --help"),
        ("bench speed", "speed: data, train, predict, scaling or cost is expected; corolla bench --help"),
        ("train resnet34 --optim.name adam", "--optim.name adam: sgd or adamw is expected; "),
        ("train resnet34 --train.accumulate=x", "--train.accumulate x: a whole number or auto is expected; "),
        ("train resnet34 --optim.betas 0.9 x", "--optim.betas 0.9 x: 2 values are expected, each a number; "),
        ("compare a --seeds 1 x", "--seeds 1 x: one or more values are expected, each a whole number; "),
        ("predict runs/x --size many", "--size many: a whole number is expected; corolla predict --help"),
        ("predict runs/x --size", "--size: a whole number is expected; corolla predict --help"),
        ("check", "DATA is missing; corolla check --help"),
        ("import", "PHOTOS and OUT are missing; corolla import --help"),
        ("ensemble runs/x", "--out FILE is missing; corolla ensemble --help"),
        ("check a b", "b: nothing more is expected; corolla check --help"),
        ("train resnet34 ''", "an empty word (a variable of the shell that is not set?): nothing more is expected; "),
        ("-V", "unknown option -V: a stage is expected; "),
        ("TRAIN", "corolla has no stage TRAIN; nearest: train; "),
    ],
)
def test_a_word_that_can_not_be_parsed_is_one_line(words: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert corolla(*shlex.split(words)) == 2
    told = capsys.readouterr().err
    assert told.startswith(line)
    assert told.count("\n") == 1


def test_options_may_be_written_as_tyro_takes_them(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ("show nowhere --per_class 2", "show nowhere --per-class=2", "import nowhere out --no-skip-broken"):
        assert corolla(*words.split()) == 2
        assert "nowhere" in capsys.readouterr().err
    assert corolla("train", "resnet34", "--model.zero-gamma", "True", "--augment.no-color", "--data", "nowhere") == 2
    assert "no TFRecords in nowhere" in capsys.readouterr().err


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiments_help_has_its_values(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert corolla("train", name, "--help-all") == 0
    text = plain(capsys.readouterr().out)
    config = EXPERIMENTS[name]()
    assert f"(default: {config.model.name})" in text
    assert f"(default: {config.optim.lr})" in text
    assert (EXPERIMENTS[name].__doc__ or "").splitlines()[0] in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "corolla has no stage trian; nearest: train; "),
        (["train"], "corolla train EXPERIMENT --help lists"),
        (["train", "resnet35"], "unknown experiment resnet35; nearest: resnet"),
        (["train", "mine.toml"], "mine.toml: there is no such file"),
        (["train", "resnet34", "--train.epoch", "3"], "unknown option --train.epoch; nearest: --train.epochs; "),
        (["train", "resnet34", "--train.epochs", "many"], "--train.epochs"),
        (["train", "resnet34", "--train.epochs", "0"], "train.epochs = 0: input should be greater than or equal to 1"),
        (["train", "resnet34"], "no TFRecords in data: looked for tfrecords-jpeg-SxS"),
        (["check", "nowhere"], "no TFRecords in nowhere"),
        (["stats", "nowhere"], "no TFRecords in nowhere"),
        (["show", "nowhere"], "no TFRecords in nowhere"),
        (["synth", "new", "--size", "8"], "32"),
        (["predict"], "name at least one run's folder"),
        (["predict", "runs/x"], "runs/x: no run is in this folder; train one with corolla train"),
        (["predict", "runs/x", "--tta", "tencrop"], "'ten-crop'"),
        (["ensemble", "--out", "x.csv"], "name at least one run's folder"),
        (["ensemble", "runs/x"], "--out"),
        (["ensemble", "runs/x", "--out", "x.csv"], "runs/x: no run is in this folder"),
        (["score", "mine.csv", "labels.csv"], "mine.csv: there is no such file"),
    ],
)
def test_a_mistake_is_told_in_short_and_exits_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert corolla(*words) == 2
    told = capsys.readouterr().err
    assert message in plain(told)
    assert "Traceback" not in told
    assert len(told.splitlines()) < 20
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["predict", "report", "compare", "table", "ensemble"])
def test_what_lies_beside_runs_is_passed_over(command: str, caplog: pytest.LogCaptureFixture) -> None:
    Path("runs/one").mkdir(parents=True)
    Path("runs/one/config.json").write_text("{}")
    Path("runs/a folder").mkdir()
    Path("runs/notes.txt").write_text("seed 0 is the best one")
    words = [command, *sorted(map(str, Path("runs").iterdir())), *["--out", "o.csv"] * (command == "ensemble")]
    caplog.set_level("INFO")
    with pytest.raises(UserError, match=r"^runs/one"):  # which has not begun
        cli.run_command(words)
    assert [line for line in caplog.messages if "passed over" in line] == [
        "runs/a folder: no run, passed over",
        "runs/notes.txt: no run, passed over",
    ]
    with pytest.raises(UserError, match=r"a folder: .* in runs there are: one"):
        cli.run_command([word for word in words if word != "runs/one"])


def test_a_wrong_size_names_those_there(tiny_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["check", tiny_data], ["stats", tiny_data], ["train", "resnet18", "--data", tiny_data]):
        assert corolla(*words, "--size", 224) == 2
        assert capsys.readouterr().err.endswith("; the sizes there are 32 (--size)\n")


def test_check_prints_every_fault_on_a_line_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, line = break_first_jpeg(tmp_path / "data")
    (data / "tfrecords-jpeg-32x32" / "val" / "00-32x32-8.tfrec").rename(
        data / "tfrecords-jpeg-32x32" / "val" / "00-32x32-9.tfrec"
    )
    assert corolla("check", data) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(line)
    assert second.endswith("the file holds 8 records, its name says 9")


def test_check_without_faults(tiny_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert corolla("check", tiny_data) == 0
    output = capsys.readouterr()
    assert output.out == ""
    assert next_command(output.err)[:6] == ["train", "transfer_best", "--data", str(tiny_data), "--size", "32"]


def test_stats_prints_a_table(tiny_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert corolla("stats", tiny_data, "--splits", "train", "val") == 0
    output = capsys.readouterr().out
    assert re.search(r"^ +4  kind 4 +8 +3$", output, re.MULTILINE)
    assert re.search(r"^ +all +40 +16$", output, re.MULTILINE)
    assert re.search(r"^mean( +0\.\d{5}){3}$", output, re.MULTILINE)
    assert "32x32 (56)" in output
    assert next_command(output)[:2] == ["train", "transfer_best"]


def test_synth_and_what_it_says_next(capsys: pytest.CaptureFixture[str]) -> None:
    words: list[object] = ["synth", "new data", "--size", 32, "--share", 0.001]
    assert corolla(*words) == 0
    first = capsys.readouterr().out
    assert "train 312, val 104, test 104" in first
    assert corolla(*words) == 0
    assert "holds this set already" in capsys.readouterr().out
    assert next_command(first)[0] == "check"
    assert corolla(*next_command(first)) == 0


@pytest.mark.parametrize("stage", ["stats", "check"])
def test_a_pipe_that_is_closed_early_is_no_fault(stage: str, tiny_data: Path, tmp_path: Path) -> None:
    data = tiny_data if stage == "stats" else break_first_jpeg(tmp_path / "data")[0]
    reader, writer = os.pipe()
    os.close(reader)  # as `| head -1` does
    result = subprocess.run(
        [sys.executable, "-m", "corolla", stage, data],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": ""},  # buffered: the fault shows at the very end
    )
    os.close(writer)
    assert "Traceback" not in result.stderr
    assert "BrokenPipe" not in result.stderr
    assert result.returncode == 1


def test_a_whole_session(tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command's "next:" is the next one to run."""
    (tmp_path / "my net.toml").write_text(SETTINGS)
    training = ["train", "my net.toml", "--data", tiny_data, "--device", "cpu"]
    assert corolla(*training, "--train.max-hours", "1e-9") == 75
    assert "stopped: the time budget (--train.max-hours) is used up; runs/my net-seed0/last.pt holds" in (
        capsys.readouterr().out
    )
    assert corolla(*training) == 0
    assert len((tmp_path / "runs" / "my net-seed0" / "metrics.jsonl").read_text().splitlines()) == 2
    output = capsys.readouterr().out
    assert "\nruns/my net-seed0/report.html: curves, confusions, " in output
    page = tmp_path / "runs" / "my net-seed0" / "report.html"
    written = page.stat().st_mtime_ns
    to_predict = next_command(output)
    given = ["--device", "cpu", "--workers", "0"]
    assert to_predict == ["predict", "runs/my net-seed0", "--tta", "ten-crop", *given]
    assert corolla(*to_predict, "--split", "val") == 0
    assert next_command(capsys.readouterr().out) == [*to_predict, "--split", "test"]
    assert corolla(*to_predict) == 0
    output = capsys.readouterr().out
    assert re.search(r"val: macro F1 0\.\d{4}, accuracy 0\.\d{4}, top-5 accuracy 1\.0000\n", output)
    to_ensemble = next_command(output)
    assert corolla(*to_ensemble) == 0
    output = capsys.readouterr().out
    assert "the same ensemble on val: macro F1 " in output
    csv = tmp_path / "submissions" / "first.csv"
    assert csv.read_text().splitlines()[:1] == ["id,label"]
    assert csv.with_suffix(".json").exists()

    assert corolla(*next_command(output), "--worst", 2) == 0
    output = capsys.readouterr().out
    assert re.search(r"first\.csv: macro F1 \d\.\d{4}, accuracy \d\.\d{4} \(11 images\)", output)
    assert len(re.findall(r"^  F1 \d\.\d{3}  class +\d  kind \d$", output, re.MULTILINE)) == 2

    assert corolla(*training) == 0
    assert "is finished" in capsys.readouterr().out
    assert page.stat().st_mtime_ns == written, "nothing is computed again"
    assert corolla("report", "runs/my net-seed0") == 0
    assert capsys.readouterr().out.startswith("runs/my net-seed0/report.html: my net, macro F1 on val 0.")
    assert page.stat().st_mtime_ns > written
    assert corolla(*training, "--optim.lr", "0.5") == 2
    assert "optim.lr is 0.02, now 0.5" in capsys.readouterr().err
    assert corolla(*to_predict) == 0
    assert "holds already, by the same checkpoint: runs/my net-seed0" in capsys.readouterr().out
    larger = write_data(tmp_path / "larger", size=48, train=5, val=5, test=5)
    assert corolla(*to_predict, "--data", larger, "--size", 48) == 0
    output = capsys.readouterr().out
    assert "ensemble and submit take those of the 32 px that runs/my net-seed0 was trained at" in output
    assert "next:" not in output


def test_a_loss_that_is_not_finite_exits_1(tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "wild.toml").write_text(SETTINGS.replace("lr = 0.02", "lr = 1e30"))
    words = ["train", "wild.toml", "--data", tiny_data, "--device", "cpu", "--train.epochs", 20]
    assert corolla(*words) == 1
    told = capsys.readouterr().err
    assert "the loss is " in told
    assert "Traceback" not in told


def test_a_submission_that_kaggle_would_refuse_is_not_written(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.toml").write_text(SETTINGS)
    data = write_data(tmp_path / "data", test=9)
    sample = data / "sample_submission.csv"
    sample.write_text(sample.read_text() + "123456789,0\n")
    words = ["train", "net.toml", "--data", data, "--device", "cpu", "--train.epochs", 1]
    (tmp_path / "runs" / "net-seed0" / "report.html" / "notes").mkdir(parents=True)
    assert corolla(*words) == 0
    output = capsys.readouterr()
    assert "warning: runs/net-seed0: its report is not written (" in output.err, "the run is done all the same"
    assert corolla(*next_command(output.out)) == 0
    assert corolla(*next_command(capsys.readouterr().out)) == 2
    assert "1 missing ids: 123456789" in capsys.readouterr().err
    assert not (tmp_path / "submissions").exists()


def test_the_table_of_results_has_a_command_of_its_own(trained: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run, readme = trained.folder, Path("README.md")
    readme.write_text(f"{BEGIN}\n{END}\n")
    assert corolla("table", run, "--into", readme) == 0
    output = capsys.readouterr()
    assert (output.out[:10], output.err) == ("| recipe |", "")
    table = readme.read_text()
    readme.write_text(f"{BEGIN}\n{END}\n")
    assert corolla("report", run, "--into", readme) == 0
    assert "is called corolla table now; the old form goes with the next release" in capsys.readouterr().err
    assert readme.read_text() == table
    for words, line in (
        ((run, run, "--out", "a.html"), "--out is the file of one page"),
        ((run, "nowhere"), "nowhere: no run is in this folder"),
        ((), "name at least one run's folder"),
    ):
        assert corolla("report", *words) == 2
        assert line in capsys.readouterr().err
    assert not (run / "report.html").exists(), "all runs are opened before one is predicted"


@pytest.mark.parametrize(
    ("folder", "names", "shown"),
    [
        ("data", "rose\ntulip\n", "  tulip"),
        ("data", "rose\n", ""),  # a list of other classes
        ("data/tfrecords-jpeg-32x32", None, "  hard-leaved pocket orchid"),
        ("data", None, ""),  # these labels may be of any classes
    ],
)
def test_score_names_classes_as_the_data_set_does(
    folder: str, names: str | None, shown: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "data" / "labels.csv").write_text("id,label\na,0\nb,1\n")
    if names:
        (tmp_path / "data" / "classes.txt").write_text(names)
    (tmp_path / "mine.csv").write_text("id,label\nb,0\na,0\n")
    assert corolla("score", "mine.csv", "data/labels.csv", "--worst", 1) == 0
    output = capsys.readouterr().out
    assert output.splitlines() == [
        "mine.csv: macro F1 0.3333, accuracy 0.5000 (2 images)",
        f"  F1 0.000  class   1{shown}",
    ]


def test_an_option_of_the_last_release_goes_on(tiny_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--index", "here"], ["--index=here"]):
        assert corolla("stats", tiny_data, *words) == 0
        assert "warning: --index is called --cache-dir now" in capsys.readouterr().err
    assert list(Path("here").glob("tiny-32*.npz"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--augment.area", "0.5", "1"], "--augment.area has no effect without --augment.crop random-resized"),
        (["--optim.betas", "0.8", "0.9"], "--optim.betas has no effect without --optim.name adamw: leave it out"),
        (
            ["--model.stride-in-1x1"],
            "--model.stride-in-1x1 has no effect without resnet26, resnet50, resnet101 or resnet152",
        ),
        (["--model.freeze-norms"], "--model.freeze-norms has no effect without --model.weights or --init-from"),
        (["--model.name", "timm:test_vit", "--model.stem", "small"], "--model.stem has no effect on timm:test_vit"),
    ],
)
def test_a_typed_setting_that_cannot_act_is_refused(
    words: list[str], message: str, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert corolla("train", "resnet18", "--data", tiny_data, "--device", "cpu", "--input-size", 32, *words) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("config.json"))


def test_a_setting_of_a_file_that_cannot_act_is_noted(tiny_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("net.toml").write_text(SETTINGS.replace("[model]", '[model]\ninit = "xavier"\nstem = "small"'))
    words = ["train", "net.toml", "--data", tiny_data, "--device", "cpu", "--train.epochs", 1]
    assert corolla(*words, "--model.name", "timm:test_vit", "--input-size", 160) == 0
    output = capsys.readouterr().out
    assert "note: --model.init has no effect without one of the own networks" in output
    assert "note: --model.stem has no effect on timm:test_vit" in output


@pytest.mark.parametrize(
    "say",
    [
        ["--view-size", "40", "--average", "logits"],
        pytest.param(["--tta", "none_size40_logits"], marks=pytest.mark.slow),
    ],
)
def test_views_are_named_in_one_way_in_every_command(
    say: list[str], tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("net.toml").write_text(SETTINGS.replace("epochs = 2", "epochs = 1"))
    assert corolla("train", "net.toml", "--data", tiny_data, "--device", "cpu") == 0
    for split in ("val", "test"):
        assert corolla("predict", "runs/net-seed0", "--split", split, "--device", "cpu", *say) == 0
    name = "none_size40_logits"
    assert Path(f"runs/net-seed0/predictions/val-{name}.npz").exists()
    assert corolla("ensemble", "runs/net-seed0", "--out", "x.csv", *say) == 0
    capsys.readouterr()
    assert corolla("runs", *say) == 0
    assert name in capsys.readouterr().out
    assert corolla("compare", "runs/net-seed0", "--device", "cpu", "--checkpoint", "best", *say) == 0
    assert f'"tta": "{name}"' in Path(f"comparisons/net-{name}-best/comparison.json").read_text()
    assert [path.name for path in Path("runs").iterdir()] == ["net-seed0"]
    assert corolla("show", tiny_data, "--out", "views.png", *say) == 0
    assert Path("views.png").exists()
