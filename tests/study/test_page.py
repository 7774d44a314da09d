"""The page of the studies that ship says what their records show."""

import itertools
import re
import runpy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from corolla.compare.statistics import two_level
from corolla.config import Config
from corolla.config.experiments import scratch_best, transfer_best
from corolla.errors import UserError
from corolla.study.figures import curves_figure
from corolla.study.file import read_study
from corolla.study.inside import mean_gradients, measured_sentences
from corolla.study.page import answer, answers, short_answer
from corolla.study.plan import StudyOptions, plan
from corolla.study.records import FILE, Measured, Records
from corolla.study.results import StudyResults, results_of
from corolla.study.tables import markdown

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "study_page.py"


@pytest.fixture
def embedded() -> StudyResults:
    return shipped("embedded")


def with_runs(results: StudyResults, **kept: int) -> StudyResults:
    """Return the same results of so many seeds of each row."""
    runs = tuple(run for run in results.records.runs if run.seed < kept.get(run.row.split()[0], 3))
    return results_of(results.study, replace(results.records, runs=runs))


def test_the_page_is_as_the_records_have_it() -> None:
    script = runpy.run_path(str(SCRIPT))
    text = script["PAGE"].read_text(encoding="utf-8")
    assert script["page"](text) == text
    readme = script["README"].read_text(encoding="utf-8")
    assert script["readme"](readme) == readme
    assert "[report_transfer](docs/studies.md#report_transfer)" in readme


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
    told = markdown(with_runs(embedded, plain=0), [])
    assert told.endswith("\nNot run, of it:\n\n    corolla study run studies/embedded.toml --only plain\n")
    assert "--only" not in markdown(embedded, [])


def test_the_answer_above_a_figure_is_as_long_as_it_may_be(embedded: StudyResults) -> None:
    whole = answer(embedded)
    assert short_answer(embedded, len(whole)) == whole
    claim = whole.partition(";")[0]
    assert short_answer(embedded, len(whole) - 1) == f"{claim}; 2 of 2 differences are significant."
    first = replace(embedded, study=replace(embedded.study, compare=(("residual", "plain"),)))
    assert short_answer(first, 100, intervals=True).endswith(f" to {embedded.differences[0].effect.high:+.3f}).")
    assert short_answer(embedded, 40) == "2 of 2 differences are significant."
    effect = embedded.differences[0].effect
    told = (
        f"(+{effect.value:.3f}, 95 % from {effect.low:+.3f} to {effect.high:+.3f}); 2 of 2 differences are significant."
    )
    assert short_answer(embedded, 120, intervals=True).endswith(told)


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


def test_a_claim_tells_of_rows_that_have_learned_little(embedded: StudyResults) -> None:
    pairs = replace(embedded.study, compare=(("plain", "residual"),), least_macro_f1=0.3)
    plain, residual, *votes = embedded.rows
    asked = replace(embedded, study=pairs, rows=(residual, plain, *votes))
    assert answer(asked).startswith("residual is better than plain (+0.")
    assert answer(asked).endswith("; plain has learned little).")
    assert "; plain has learned little)" in short_answer(asked, 300, intervals=True)


def test_a_record_of_another_length_and_size_is_made_again_with_these(embedded: StudyResults) -> None:
    other = replace(with_runs(embedded, plain=0), records=replace(embedded.records, full=True, epochs_factor=0.5))
    command = "corolla study run studies/embedded.toml --full --epochs-factor 0.5"
    assert f"    {command}\n\nNot run, of it:\n\n    {command} --only plain\n" in markdown(other, [])
    assert ("Not shown:" in markdown(embedded, []), "Not shown:" in markdown(other, [])) == (True, False)


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
    unlearned = replace(asked, study=replace(asked.study, least_macro_f1=1.0))
    assert [
        f"residual against plain: {score}" in said
        for score, said in zip(("macro F1", "", "train top-1"), unlearned.sentences, strict=True)
    ] == [True, False, True]


def test_views_are_compared_network_by_network_where_asked_for(embedded: StudyResults) -> None:
    assert [each.first for each in embedded.differences] == ["residual", "vote of both"]
    asked = replace(embedded, study=replace(embedded.study, compare_views=True))
    *_, views = asked.differences
    plain, flip = (asked.rows[0].scores("macro_f1", views) for views in ("none", "flip"))
    assert (views.first, views.second, views.num_seeds) == ("plain, flip", "plain", (3, 3))
    assert views.effect.value == pytest.approx(np.mean(flip) - np.mean(plain))
    images = asked.rows[0].resampled("flip") - asked.rows[0].resampled("none")
    assert views.effect == two_level(flip, plain, images, is_paired=True)
    assert views.p_adjusted >= views.effect.p
    assert "plain, flip against plain: " in answers([asked])
    assert any("between plain, flip and plain:" in said for said in asked.sentences)
    assert with_runs(asked, plain=0).differences == ()
    alone = with_runs(asked, residual=0)  # a table without rows that are compared has no columns for it
    assert [each.first for each in alone.differences] == ["plain, flip"]
    assert "| against |" not in markdown(alone, [])


def test_a_vote_is_paired_with_the_networks_that_have_a_say_in_it(embedded: StudyResults) -> None:
    *_, of_vote = embedded.differences
    rows = {row.name: row for row in embedded.rows}
    residual, vote = rows["residual"], rows["vote of both"]
    images = vote.resampled("none") - residual.resampled("none")
    scores = vote.scores("macro_f1", "none"), residual.scores("macro_f1", "none")
    assert of_vote.effect == two_level(*scores, images, is_paired=True)
    assert of_vote.effect.p < two_level(*scores, images).p


def shipped(name: str) -> StudyResults:
    study = ROOT / "studies" / f"{name}.toml"
    return results_of(read_study(study), Records.load(study.with_suffix("") / FILE))


@pytest.mark.parametrize("experiment", [scratch_best, transfer_best])
def test_the_presets_say_what_their_tricks_are_worth(experiment: Callable[[], Config]) -> None:
    results = shipped(f"tricks_{experiment.__name__.removesuffix('_best')}")
    said = " ".join((experiment.__doc__ or "").split())
    assert f"docs/studies.md#{results.study.name}" in said
    worth = [
        f"{each.first} {each.effect.value:+.3f}{' (has learned little)' if results.poor_rows(each) else ''}"
        for each in results.differences
        if each.significant
    ]
    unclear = [each.first for each in results.differences if not each.significant]
    assert all(min(each.num_seeds) >= 3 for each in results.differences)
    assert f"{'; '.join(worth)}. No difference shown: {'; '.join(unclear)}." in said


def test_a_short_answer_tells_of_macro_f1_before_train_top1() -> None:
    degradation = shipped("degradation")
    largest = max((*degradation.differences, *degradation.train_differences), key=lambda each: abs(each.effect.value))
    assert largest.score == "train top-1"
    said = short_answer(degradation, 360, intervals=True)
    assert "ResNet-18 is better than ResNet-34 (+0.0" in said
    assert "by train top-1" not in said  # for which there is no room


def of_seeds(name: str, column: str, factors: Sequence[float]) -> list[dict[str, Any]]:
    """Return what ships of ResNet-20's first seed as that of several, each with a column times its factor.

    Of gradients it is the first layer's alone.
    """
    rows = [
        row for row in shipped("lesions").records.measured[name].rows if (row["run"], row["seed"]) == ("ResNet-20", 0)
    ]
    return [
        row | {"seed": seed, column: row[column] * (factor if row.get("depth", 1) == 1 else 1)}
        for seed, factor in enumerate(factors)
        for row in rows
    ]


def test_of_three_seeds_lesions_and_gradients_have_intervals_over_them() -> None:
    factors = np.array([1.0, 0.9, 1.2])
    lesions = of_seeds("lesions", "macro_f1", factors.tolist())
    gradients = of_seeds("gradients", "gradient_norm", factors.tolist())
    told = measured_sentences({"lesions": Measured((), lesions), "gradients": Measured((), gradients)})
    whole, one = (
        [row["macro_f1"] for row in lesions if (row["kind"], row["seed"]) == (kind, 0)] for kind in ("whole", "one")
    )
    falls = (whole[0] - np.mean(one)) * factors
    low, high = stats.t.interval(0.95, 2, np.mean(falls), stats.sem(falls))
    assert told["lesions"][0].startswith("ResNet-20, 3 seeds: a macro F1 of ")
    assert told["lesions"][0].endswith(f"by {np.mean(falls):.3f} (95 % from {low:+.3f} to {high:+.3f}).")
    norms = [row["gradient_norm"] for row in gradients if (row["epoch"], row["kind"]) == (0, "convolution")]
    steepness = np.log(factors * norms[0] / norms[18])
    low, high = np.exp(stats.t.interval(0.95, 2, np.mean(steepness), stats.sem(steepness)))
    assert f"{np.exp(np.mean(steepness)):.2g} (95 % from {low:.2g} to {high:.2g}) at the start" in told["gradients"][0]
    same = of_seeds("lesions", "macro_f1", [1.0, 1.0, 1.0])
    fall = f"{whole[0] - np.mean(one):.3f}"
    told = measured_sentences({"lesions": Measured((), same)})
    assert told["lesions"][0].endswith(f"by {fall} (95 % from +{fall} to +{fall}).")


def test_gradients_are_told_and_drawn_at_the_moments_that_all_seeds_have() -> None:
    rows = of_seeds("gradients", "gradient_norm", [1.0, 4.0])
    last = max(row["epoch"] for row in rows)
    kept = [row for row in rows if row["seed"] == 0 or row["epoch"] in (0, last)]
    means = mean_gradients(pd.DataFrame(kept))
    assert means["moment"].unique().tolist() == ["start", f"epoch {last}"]
    assert means["gradient_norm"].tolist()[:2] == pytest.approx(
        [2 * rows[0]["gradient_norm"], rows[1]["gradient_norm"]]
    )
    stopped = [row | {"epoch": 9} if (row["seed"], row["epoch"]) == (1, last) else row for row in kept]
    assert mean_gradients(pd.DataFrame(stopped))["moment"].unique().tolist() == ["start", "last epoch"]
    (said,) = measured_sentences({"gradients": Measured((), stopped)})["gradients"]
    assert re.search(r"ResNet-20, 2 seeds: .* at the start and [\d.]+ at the last epoch\.$", said)
    resumed = [row for row in stopped if row["epoch"]]  # such as from a checkpoint: its start is not known
    assert mean_gradients(pd.DataFrame(resumed))["moment"].unique().tolist() == ["last epoch"]


def test_lesions_and_gradients_are_told_with_their_ranges() -> None:
    found = shipped("lesions")
    told = measured_sentences(found.records.measured)
    assert {name: len(sentences) for name, sentences in told.items()} == {"lesions": 2, "gradients": 2}
    for sentence in (*told["lesions"], *told["gradients"]):
        assert sentence in found.sentences
        assert sentence in answer(found)
    blocks = dict[str, list[float]]()
    for row in found.records.measured["lesions"].rows:
        if (row["kind"], row["run"]) == ("one", "ResNet-20"):
            blocks.setdefault(row["block"], []).append(row["macro_f1"])
    left = [np.mean(scores) for scores in blocks.values()]
    assert f"between {min(left):.3f} and {max(left):.3f} without one block (each of 9 in turn)" in "".join(
        told["lesions"]
    )


def test_what_cannot_be_measured_is_told_as_such() -> None:
    lesion = {
        "run": "one",
        "seed": 0,
        "network": "a",
        "kind": "whole",
        "block": None,
        "k": None,
        "tau": None,
        "draw": 0,
    }
    norm = {"run": "one", "seed": 0, "network": "a", "moment": "start", "epoch": 0, "depth": 1, "layer": "conv1"}
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
        claimed = re.findall(r"\([+-]\d\.\d+", said)
        assert len(re.findall(r"\([+-]\d\.\d+ to [+-]\d\.\d+\)", intervals)) >= len(claimed), question


def test_an_earlier_record_has_measured_the_seed_of_its_keys(tmp_path: Path) -> None:
    """Earlier versions measured the first seed of a call, and did not say which it was."""
    found = shipped("lesions").records
    seed0 = [run for run in found.runs if run.seed == 0]
    other = [replace(run, seed=1, key=f"{run.key[:-1]}-") for run in seed0]
    keys = tuple(run.key for run in other)
    rows = {name: [row for row in each.rows if row["seed"] == 0] for name, each in found.measured.items()}
    measured = {
        name: Measured(keys, [{key: value for key, value in row.items() if key != "seed"} for row in each])
        for name, each in rows.items()
    }
    replace(found, runs=(*seed0, *other), measured=measured).save(tmp_path / FILE)
    for each in Records.load(tmp_path / FILE).measured.values():
        assert {row["seed"] for row in each.rows} == {1}


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
    with pytest.raises(
        UserError, match=r"measured\.lesions: (ResNet|plain)-20 has no score of the whole network; put a"
    ):
        Records.load(tmp_path / FILE)
