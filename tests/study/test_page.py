"""The page of the studies that ship says what their records show."""

import itertools
import re
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from corolla.errors import UserError
from corolla.study.figures import curves_figure
from corolla.study.file import read_study
from corolla.study.inside import measured_sentences
from corolla.study.page import answer, answers
from corolla.study.plan import StudyOptions, plan
from corolla.study.records import FILE, Measured, Records
from corolla.study.results import StudyResults, results_of
from corolla.study.tables import markdown

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "study_page.py"


@pytest.fixture
def embedded() -> StudyResults:
    return results_of(
        read_study(ROOT / "studies" / "embedded.toml"), Records.load(ROOT / "studies" / "embedded" / FILE)
    )


def with_runs(results: StudyResults, **kept: int) -> StudyResults:
    """Return the same results of so many seeds of each row."""
    runs = tuple(run for run in results.records.runs if run.seed < kept.get(run.row.split()[0], 3))
    return results_of(results.study, replace(results.records, runs=runs))


def test_the_page_is_as_the_records_have_it() -> None:
    script = runpy.run_path(str(SCRIPT))
    text = script["PAGE"].read_text(encoding="utf-8")
    assert script["page"](text) == text


def test_every_study_that_ships_is_on_the_page() -> None:
    groups = runpy.run_path(str(SCRIPT))["GROUPS"]
    assert sorted(name for names in groups.values() for name in names) == sorted(
        path.stem for path in (ROOT / "studies").glob("*.toml")
    )


def test_an_answer_claims_no_more_than_seeds_allow(embedded: StudyResults) -> None:
    assert answer(embedded).startswith("residual is better than plain (+0.")
    assert answer(with_runs(embedded, residual=1)) == "fewer than 3 seeds, no claim."
    assert answer(with_runs(embedded, plain=0)) == "nothing to compare; not run: plain, vote of both."
    assert len(answers([embedded, embedded]).splitlines()) == 4


def test_nothing_is_claimed_where_the_first_row_has_not_learned(embedded: StudyResults) -> None:
    asked = replace(embedded, study=replace(embedded.study, least_macro_f1=0.9))
    assert answer(asked).startswith("no claim: plain has a macro F1 of 0.")
    assert answer(asked).endswith(", and 0.9 is asked of it.")
    for sentence in asked.sentences:
        assert sentence.endswith("; 3 seeds, and the first row has hardly learned, no claim.")
    poor = replace(embedded, study=replace(embedded.study, least_macro_f1=0.13, compare=(("plain", "residual"),)))
    assert poor.sentences == [embedded.sentences[0]]  # the first row has reached it
    swapped = tuple(reversed(poor.rows[:2]))
    first = replace(poor, study=replace(poor.study, least_macro_f1=0.4), rows=swapped)
    assert first.sentences[0].endswith("plain has learned little (macro F1 below 0.4).")
    learned = replace(embedded, study=replace(embedded.study, least_macro_f1=0.01))
    assert (answer(learned), learned.sentences) == (answer(embedded), embedded.sentences)
    without = with_runs(asked, plain=0)
    assert without.unlearned == "plain, which has to reach a macro F1 of 0.9, was not run"


def test_what_ships_says_how_much_has_to_be_learned_and_what_its_full_size_is() -> None:
    for path in (ROOT / "studies").glob("*.toml"):
        study = read_study(path)
        small = study.name in ("degradation_cifar", "lesions")  # networks of 6n + 2 layers, at 32 px
        assert study.least_macro_f1 == (0.25 if small else 0.4) or study.name == "embedded"
        assert study.limits or study.name == "embedded"
        options = StudyOptions(seeds=(0,), size=224, full=study.has_full)
        assert {each.config.size for each in plan(study, options)} == {224} or study.name == "embedded"


def test_pairs_are_compared_as_the_study_asks_for(embedded: StudyResults) -> None:
    pairs = (("residual", "plain"), ("residual", "vote of both"))
    asked = replace(embedded, study=replace(embedded.study, compare=pairs))
    assert [(each.first, each.second) for each in asked.differences] == [*pairs]
    assert "residual against plain: +0.2" in answers([asked])
    assert "| against |" not in markdown(asked, [])  # a row has two of them
    assert "| against |" in markdown(replace(asked, study=replace(asked.study, compare=pairs[:1])), [])


def test_train_top1_is_compared_where_asked_for_with_intervals_over_seeds(embedded: StudyResults) -> None:
    assert embedded.train_differences == ()
    asked = replace(embedded, study=replace(embedded.study, compare_train=True))
    (difference,) = asked.train_differences  # a vote has not been trained
    residual, plain = (row.scores("train_top1", "none") for row in (asked.rows[1], asked.rows[0]))
    assert difference.effect.value == pytest.approx(np.mean(residual) - np.mean(plain))
    test = stats.ttest_ind(residual, plain).confidence_interval(0.95)
    assert (difference.effect.low, difference.effect.high) == pytest.approx((test.low, test.high))
    assert "residual is better than plain: train top-1 +0." in asked.sentences[2]
    assert "; by train top-1 residual is better than plain (+0." in answer(asked)
    assert "train top-1 of residual against plain: +0." in answers([asked])
    assert with_runs(asked, residual=2).train_differences == ()


def test_lesions_and_gradients_are_told_with_their_ranges() -> None:
    study = ROOT / "studies" / "lesions.toml"
    found = results_of(read_study(study), Records.load(study.with_suffix("") / FILE))
    told = measured_sentences(found.records.measured)
    assert {name: len(sentences) for name, sentences in told.items()} == {"lesions": 2, "gradients": 2}
    for sentence in (*told["lesions"], *told["gradients"]):
        assert sentence in found.sentences
        assert sentence in answer(found)
    blocks = pd.DataFrame(found.records.measured["lesions"].rows)
    left = blocks[(blocks["kind"] == "one") & (blocks["run"] == "ResNet-20")]["macro_f1"]
    assert f"between {left.min():.3f} and {left.max():.3f} without one block (each of 9 in turn)" in "".join(
        told["lesions"]
    )


def test_what_cannot_be_measured_is_told_as_such() -> None:
    lesion = {"run": "one", "network": "a", "kind": "whole", "block": None, "k": None, "tau": None, "draw": 0}
    norm = {"run": "one", "network": "a", "moment": "start", "epoch": 0, "depth": 1, "layer": "conv1"}
    told = measured_sentences(
        {
            "lesions": Measured((), [{**lesion, "macro_f1": 0.5, "top1": 0.5}]),
            "gradients": Measured((), [{**norm, "kind": "convolution", "gradient_norm": 1.0, "weight_norm": 1.0}]),
        }
    )
    assert told["lesions"] == ["one, one seed: macro F1 0.500, no block can be left out."]
    assert told["gradients"][0].endswith("divided by the last one's, is unknown at the start.")


def test_every_sentence_has_an_interval() -> None:
    """Those of differences have one over seeds and photos, those of what was measured a range or two moments."""
    for record in (ROOT / "studies").glob(f"*/{FILE}"):
        found = results_of(read_study(record.parent.with_suffix(".toml")), Records.load(record))
        measured = [*itertools.chain(*measured_sentences(found.records.measured).values())]
        for sentence in found.sentences:
            assert re.search(r"95 % (from )?[+-]\d\.\d+ to [+-]\d\.\d+", sentence) or sentence in measured
        (*_, line) = answers([found]).splitlines()
        question, said, intervals, *_ = line.split(" | ")
        claimed = re.findall(r"\([+-]?\d\.\d+\)", said)
        assert len(re.findall(r"\([+-]\d\.\d+ to [+-]\d\.\d+\)", intervals)) >= len(claimed), question


def test_no_two_lines_of_a_figure_look_the_same() -> None:
    study = ROOT / "studies" / "tricks_transfer.toml"
    found = results_of(read_study(study), Records.load(study.with_suffix("") / FILE))
    rows = [row for row in found.rows if row.records]
    (axes, *_) = curves_figure(found, rows).axes
    looks = [(line.get_color(), line.get_marker()) for line in axes.lines]
    assert len(looks) == len({*looks}) == len(rows) > 10


def test_lesions_without_their_whole_network_are_a_line(tmp_path: Path) -> None:
    found = Records.load(ROOT / "studies" / "lesions" / FILE)
    lesions = found.measured["lesions"]
    parts = replace(lesions, rows=[row for row in lesions.rows if row["kind"] != "whole"])
    replace(found, measured={**found.measured, "lesions": parts}).save(tmp_path / FILE)
    with pytest.raises(UserError, match=r"measured\.lesions: plain-20 has no score of the whole network; put a whole"):
        Records.load(tmp_path / FILE)
