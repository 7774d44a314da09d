"""The page of the studies that ship says what their records show."""

import runpy
from dataclasses import replace
from pathlib import Path

import pytest

from corolla.study.file import read_study
from corolla.study.page import answer, answers
from corolla.study.records import FILE, Records
from corolla.study.results import StudyResults, results_of

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
    assert answer(embedded).startswith("residual is better than plain (+0.2")
    assert answer(with_runs(embedded, residual=1)) == "fewer than 3 seeds, no claim: residual, vote of both."
    assert answer(with_runs(embedded, plain=0)) == "nothing to compare; not run: plain, vote of both."
    assert len(answers([embedded, embedded]).splitlines()) == 4


def test_nothing_is_claimed_where_the_first_row_has_not_learned(embedded: StudyResults) -> None:
    asked = replace(embedded, study=replace(embedded.study, least_macro_f1=0.9))
    assert answer(asked).startswith("no claim: plain has a macro F1 of 0.")
    assert answer(asked).endswith(", and 0.9 is asked of it.")
    for sentence in asked.sentences:
        assert sentence.endswith("; 3 seeds, and the first row has hardly learned, no claim.")
    learned = replace(embedded, study=replace(embedded.study, least_macro_f1=0.01))
    assert (answer(learned), learned.sentences) == (answer(embedded), embedded.sentences)
    without = with_runs(asked, plain=0)
    assert without.unlearned == "plain, which has to reach a macro F1 of 0.9, was not run"


def test_what_ships_says_how_much_has_to_be_learned() -> None:
    for path in (ROOT / "studies").glob("*.toml"):
        study = read_study(path)
        small = study.name in ("degradation_cifar", "lesions")  # networks of 6n + 2 layers, at 32 px
        assert study.least_macro_f1 == (0.25 if small else 0.4) or study.name == "embedded"
        assert study.limits or study.name == "embedded"
