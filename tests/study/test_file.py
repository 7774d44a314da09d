"""Study files: the rows that they ask for, and one line for everything else."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corolla.errors import UserError
from corolla.study.file import read_study
from corolla.study.plan import StudyOptions, plan

HEAD = 'question = "Which?"\nbase = "resnet18"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "which.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_are_variants_by_the_combinations_of_a_product(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        HEAD
        + """
seeds = [3, 1]
[settings]
train.epochs = 4
[[variant]]
name = "plain"
model.name = "plain18"
[[variant]]
name = "residual"
[product]
optim.lr = [0.1, 0.05]
augment.color = [true]
""",
    )
    planned = plan(read_study(path), StudyOptions())
    assert [each.name for each in planned[:4]] == [
        "plain, lr 0.1, color on, seed 3",
        "plain, lr 0.05, color on, seed 3",
        "residual, lr 0.1, color on, seed 3",
        "residual, lr 0.05, color on, seed 3",
    ]
    first = planned[5].config
    assert (first.model.name, first.optim.lr, first.train.seed, first.train.epochs) == ("plain18", 0.05, 1, 4)
    assert first.optim.momentum == 0.9
    assert first.augment.color


def test_a_row_may_start_from_another_and_learn_from_one(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        HEAD
        + """
[[variant]]
name = "taught"
train.teacher = "@large"
[[variant]]
name = "smooth"
train.label_smoothing = 0.1
[[variant]]
name = "both"
on = "smooth"
train.mixup = 0.2
[[variant]]
name = "large"
base = "resnet50"
""",
    )
    study = read_study(path)
    planned = plan(study, StudyOptions(seeds=(0,)))
    assert [each.row for each in planned] == ["large", "taught", "smooth", "both"]  # the teacher comes first
    both = planned[3].config.train
    assert (both.label_smoothing, both.mixup) == (0.1, 0.2)
    assert planned[1].sources == {"train.teacher": "large"}
    assert [each.row for each in plan(study, StudyOptions(seeds=(0,), only=("taught",)))] == ["large", "taught"]


def test_a_shorter_study_is_shorter_in_all_that_counts_epochs(tmp_path: Path) -> None:
    path = written(tmp_path, HEAD + "[settings]\ntrain.epochs = 40\ntrain.head_epochs = 2\noptim.warmup_epochs = 2\n")
    (planned, *_) = plan(read_study(path), StudyOptions(epochs_factor=0.1))
    train, optim = planned.config.train, planned.config.optim
    assert (train.epochs, train.head_epochs, train.mix_off_epochs, optim.patience) == (4, 1, 0, 1)
    assert optim.warmup_epochs == pytest.approx(0.2)


def test_a_setting_at_its_default_changes_no_record(tmp_path: Path) -> None:
    """So that a setting which a later version adds leaves committed records as they are."""
    path = written(tmp_path, HEAD)
    (first, *_) = plan(read_study(path), StudyOptions(seeds=(0,)))
    (second, *_) = plan(
        read_study(written(tmp_path, HEAD + "[settings]\ntrain.mixup = 0.0\n")), StudyOptions(seeds=(0,))
    )
    (third, *_) = plan(
        read_study(written(tmp_path, HEAD + "[settings]\ntrain.mixup = 0.1\n")), StudyOptions(seeds=(0,))
    )
    assert first.settings == second.settings != third.settings


def test_full_size_has_settings_of_its_own(tmp_path: Path) -> None:
    full = (
        '[[variant]]\nname = "a"\ntrain.mixup = 0.1\nfull.train.mixup = 0.2\n[full]\nsize = "None"\nmodel.width = 1.0\n'
    )
    path = written(tmp_path, HEAD + "[settings]\nsize = 64\nmodel.width = 0.5\n" + full)
    (small,), (large,) = (
        plan(read_study(path), StudyOptions(seeds=(0,), size=224, full=is_full)) for is_full in (False, True)
    )
    assert (small.config.size, small.config.model.width) == (64, 0.5)
    assert (large.config.size, large.config.model.width) == (224, 1.0)
    assert (small.config.train.mixup, large.config.train.mixup) == (0.1, 0.2)
    with pytest.raises(UserError, match=r"--full: .* has no \[full\]"):
        plan(read_study(written(tmp_path, HEAD)), StudyOptions(full=True))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("base = 3", "question is missing"),
        ('question = "?"\nbase = "resnet19"', "unknown experiment resnet19; nearest: resnet18"),
        (HEAD + "seed = [1]", "unknown key seed; nearest: seeds"),
        (HEAD + "seeds = []", "seeds = []: at least one is expected"),
        (HEAD + "seeds = [-1]", "seeds: -1: a whole number from 0"),
        (HEAD + "seeds = [1, 1]", "seeds: 1 is there twice"),
        (HEAD + 'seeds = ["a"]', "seeds[0]: a whole number is expected, not a"),
        (HEAD + 'compare = "last"', "compare = last: first or above or all is expected"),
        (HEAD + "compare_views = true", 'compare_views: views = ["none", …] is expected, with those'),
        (
            HEAD
            + 'views = ["none", "flip"]\ncompare_views = true\n[[variant]]\nname = "a"\n[[variant]]\nname = "a, flip"',
            "compare_views: a row is called as the first one is, seen by flip: rename it",
        ),
        (HEAD + 'views = ["five"]', "views: five: no views are called 'five'"),
        (HEAD + 'table = ["f1"]', "table = f1: macro_f1 or"),
        (HEAD + 'measure = ["depth"]', "measure = depth: lesions or gradients is expected"),
        (HEAD + 'measure = ["lesions"]\nfolds = 3', "measure: is of networks that are validated on one val"),
        (HEAD + "folds = 1", "folds = 1: at least 2 are expected"),
        (
            HEAD + '[settings]\ntrain.fold = "1/5"',
            "settings: train.fold is no setting of a study: folds = N gives them",
        ),
        (HEAD + 'compare = [["a"]]', "compare: pairs of two rows are expected, each with the one"),
        (HEAD + 'compare = [["base", "base"]]', "compare: pairs of two rows are expected"),
        (HEAD + 'compare = [["base", "bass"]]', "compare: unknown row bass; nearest: base"),
        (HEAD + "compare = [[1, 2]]", "compare[0][0]: text is expected, not 1"),
        (HEAD + "compare = 3", "compare = 3: first or above or all is expected"),
        (
            HEAD + 'compare = [["a", "b"], ["a", "b"]]\n[[variant]]\nname = "a"\n[[variant]]\nname = "b"',
            "compare: a against b is there twice",
        ),
        (HEAD + "least_macro_f1 = 40", "least_macro_f1 = 40: from 0 to 1 is expected"),
        (HEAD + "least_macro_f1 = nan", "least_macro_f1 = nan: from 0 to 1 is expected"),
        (HEAD + 'limits = "a\\nb"', "a sentence in one line is expected"),
        (HEAD + 'figures = ["pie"]', "figures = pie: scores or curves is expected"),
        (HEAD + "[settings]\ntrain.epoch = 3", "base: unknown key train.epoch; the nearest valid one is train.epochs"),
        (
            HEAD + "[settings]\ntrain.seed = 3",
            "settings: train.seed is no setting of a study: seeds = [...] gives them",
        ),
        (HEAD + '[settings]\ndevice = "cpu"', "settings: device is no setting of a study: give --device"),
        (HEAD + "[settings]\ntrain = 3", "base: train = 3: "),
        (HEAD + "[product]\ntrain.mixup = 0.2", "product: train.mixup = 0.2: a list of one value or more is"),
        (HEAD + "[product]\ntrain.mixdown = [1]", "product: unknown key train.mixdown; nearest: "),
        (HEAD + "[[variant]]\ntrain.mixup = 1.0", "variant[0]: name is missing"),
        (HEAD + '[[variant]]\nname = "a"\n[[variant]]\nname = "a"', "variant a: is there twice"),
        (HEAD + '[[variant]]\nname = "a"\non = "b"', "variant a: on = b: no variant above it is called so"),
        (HEAD + '[[variant]]\nname = "a"\ntrain.teacher = "@b"', "a: train.teacher: unknown row b; nearest: a"),
        (HEAD + '[[variant]]\nname = "a"\ntrain.teacher = "@a"', "a: learns from itself (a from a)"),
        (
            HEAD + '[[variant]]\nname = "a"\n[[vote]]\nname = "v"\nof = ["a"]',
            "vote v: of = two rows or more are expected",
        ),
        (HEAD + '[[variant]]\nname = "a"\n[[vote]]\nname = "v"\nof = ["a", "c"]', "unknown row c; nearest: a"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_it(text: str, line: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UserError) as refusal:
        plan(read_study(path), StudyOptions())
    assert line in str(refusal.value)
    assert str(refusal.value).startswith(f"{path}: ") or "unknown" in line
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"epochs_factor": 0.0}, "--epochs-factor 0: a number above 0 is expected"),
        ({"seeds": (1, 1)}, "--seeds 1 1: one is there twice"),
        ({"seeds": (-1,)}, "--seeds -1: "),
        ({"epochs_factor": 1e308}, r"--epochs-factor 1e\+308: a number above 0 is expected, 1000 at most"),
        ({"seeds": ()}, "--seeds: at least one is expected; without the option all are meant"),
        ({"only": ()}, "--only: at least one is expected"),
        ({"only_folds": ()}, "--only-folds: at least one is expected"),
        ({"workers": -1}, "--workers -1: at least 0 is expected"),
        ({"size": 0}, "--size 0: at least 1 is expected"),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], line: str) -> None:
    with pytest.raises(UserError, match=line):
        StudyOptions(**options)  # pyright: ignore[reportArgumentType]


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    try:
        path.write_text(HEAD + text, encoding="utf-8")
    except UnicodeEncodeError:
        return
    with contextlib.suppress(UserError):
        plan(read_study(path), StudyOptions())


TWO = HEAD + '[[variant]]\nname = "a"\n[[variant]]\nname = "b"\noptim.lr = 0.5\n'


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (HEAD + "seeds = [0, 0]", "seeds: 0 is there twice"),
        (HEAD + 'table = ["top1", "top1"]', "table: top1 is there twice"),
        (HEAD + 'measure = ["lesions", "lesions"]', "measure: lesions is there twice"),
        (HEAD + "variant = []", "variant = []: at least one is expected, or leave it out"),
        (HEAD + '[[variant]]\nname = "a\\nb"', 'the name of a row = "a\\nb": a line of text is expected'),
        (HEAD + '[[variant]]\nname = "a\\u001b[31m"', "a line of text is expected"),
        (HEAD + '[[variant]]\nname = " "', 'the name of a row = " ": '),
        (HEAD + '[[variant]]\nname = "-h"', "without a dash at its begin"),
        (TWO + '[[vote]]\nname = ""\nof = ["a", "b"]', 'the name of a row = "": '),
        (TWO + '[[vote]]\nname = "v"\nof = ["a", "a"]', "vote v: of: a is there twice"),
        (TWO + '[[vote]]\nname = "v"\nof = ["a", "b"]\nmethod = "mean"', "vote v: unknown key method; nearest: name"),
        ('question = " "\nbase = "resnet18"', "question = : a sentence is expected"),
        (HEAD + "[product]\noptim.lr = []", "product: optim.lr = []: a list of one value or more is expected"),
        (
            HEAD + f"[product]\noptim.lr = {[*range(1, 2001)]}\noptim.weight_decay = {[*range(2000)]}",
            "variant, product: these are 4,000,000 rows; at most 1,000 are expected",
        ),
        (HEAD + "[full]\ntrain.epoch = 3", "base: unknown key train.epoch; the nearest valid one is train.epochs"),
        (HEAD + "folds = 1000000000", "these are 3,000,000,000 runs; at most 10,000 are expected"),
        (
            HEAD + "[settings]\ntrain.fit_hours = 1",
            "settings: train.fit_hours is no setting of a study: train.epochs is",
        ),
        (
            HEAD + '[settings]\ninit_from = "a.pt"',
            "init_from is no setting of a study: model.weights takes a checkpoint",
        ),
        (HEAD + '[settings]\nrun_name = "a"', "run_name is no setting of a study: leave it out"),
        (HEAD + '[settings]\ntrain.on = "train+val"', "train.on = train+val: a study compares on val"),
    ],
)
def test_what_would_be_another_study_is_refused(text: str, line: str, tmp_path: Path) -> None:
    test_what_is_wrong_is_one_line_that_names_it(text, line, tmp_path)


@pytest.mark.parametrize(
    ("base", "line"),
    [
        ('[train]\nfold = "1/5"', "base: train.fold = 1/5 in its base: folds = N gives them"),
        (
            'init_from = "a.pt"',
            "base: init_from in its base: is no setting of a study: model.weights takes a checkpoint",
        ),
        ("[train]\nfit_hours = 1", "base: train.fit_hours in its base: is no setting of a study"),
    ],
)
def test_a_base_with_what_no_study_takes_is_refused(base: str, line: str, tmp_path: Path) -> None:
    """It was left out in silence, or made a run that no study would find again."""
    (tmp_path / "mine.toml").write_text(f'base = "resnet18"\n{base}\n')
    path = written(tmp_path, 'question = "?"\nbase = "mine.toml"\n')
    with pytest.raises(UserError) as refusal:
        plan(read_study(path), StudyOptions())
    assert str(refusal.value).startswith(f"{path}: {line}")


def test_a_question_is_one_line(tmp_path: Path) -> None:
    path = written(tmp_path, 'question = """\nDoes it\n# pay?\n"""\nbase = "resnet18"\n')
    assert read_study(path).question == "Does it # pay?"


def test_the_size_that_a_command_gives_is_not_what_the_study_says(tmp_path: Path) -> None:
    """Else the record of a run with --size would be of another study than the file."""
    path = written(tmp_path, HEAD)
    with_size, without = (plan(read_study(path), StudyOptions(size=size)) for size in (64, None))
    assert with_size[0].config.size == 64
    assert with_size[0].settings == without[0].settings
    own = plan(read_study(written(tmp_path, HEAD + "[settings]\nsize = 64\n")), StudyOptions())
    assert own[0].settings != without[0].settings
