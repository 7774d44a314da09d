"""The page of all studies that ship: a table of their answers."""

import itertools
from collections.abc import Sequence

from corolla.compare.compare import Difference
from corolla.study.inside import LEAST_SEEDS, measured_sentences
from corolla.study.results import MACRO_F1, StudyResults
from corolla.study.tables import cells_line

SHOWN = 7
"""Differences of a study that the table of answers has at most, where it claims no more; its section has them all."""


def answers(studies: Sequence[StudyResults]) -> str:
    """Return a table in Markdown: of each study its question, the answer in a sentence, intervals and the command."""
    titles = ["question", "answer (macro F1)", "difference, 95 %", "seeds", "command"]
    lines = [cells_line(titles), cells_line(["---"] * len(titles))]
    for results in studies:
        study = results.study
        shown = _shown(results)
        intervals = [f"{_named(results, each)}: {_interval(each)}" for each in shown]
        if shown and len(shown) < len(results.differences):
            kind = "claimed" if _is_claimed(results, shown[0]) else "largest"
            intervals[0] = f"the {len(shown)} {kind} of {len(results.differences)}: {intervals[0]}"
        intervals += [
            f"{each.score} of {_named(results, each)}: {_interval(each)}" for each in results.train_differences
        ]
        command = f"[`{study.command}`](#{study.name})"
        numbers = sorted({len(row.records) for row in results.rows})
        seeds = " to ".join(str(each) for each in dict.fromkeys((numbers[0], numbers[-1])))
        lines.append(cells_line([study.question, answer(results), "; ".join(intervals), seeds, command]))
    return "\n".join(lines) + "\n"


def _shown(results: StudyResults) -> list[Difference]:
    """Return all differences of a small study; of a large one those of which something is claimed, or the largest."""
    if len(results.differences) <= SHOWN:
        return [*results.differences]
    claimed = [each for each in results.differences if _is_claimed(results, each)]
    by_size = sorted(results.differences, key=lambda each: -abs(each.effect.value))
    return claimed or by_size[: SHOWN // 2]


def _is_claimed(results: StudyResults, difference: Difference) -> bool:
    return min(difference.num_seeds) >= LEAST_SEEDS and difference.significant and not results.unlearned


def answer(results: StudyResults) -> str:
    """Return the answer of a study in a sentence, which claims no more than seeds and test allow.

    Then one for each network that was measured.
    """
    return " ".join([_compared(results), *itertools.chain(*measured_sentences(results.measured).values())])


def _compared(results: StudyResults) -> str:
    differences = results.differences
    if results.unlearned and differences:
        return f"no claim: {results.unlearned}."
    enough = [each for each in differences if min(each.num_seeds) >= LEAST_SEEDS]
    parts = [_claim(results, each) for each in differences if _is_claimed(results, each)]
    if unclear := [f"{each.first} and {each.second}" for each in enough if not each.significant]:
        parts.append(f"no difference shown between {', nor between '.join(unclear)}")
    for each in results.train_differences:
        unclear = f"by {each.score} no difference shown between {each.first} and {each.second}"
        parts.append(_claim(results, each) if _is_claimed(results, each) else unclear)
    if few := [_named(results, each) for each in differences if min(each.num_seeds) < LEAST_SEEDS]:
        of = f": {', '.join(few)}" if enough else ""
        parts.append(f"fewer than {LEAST_SEEDS} seeds, no claim{of}")
    if not differences:
        parts.append("nothing to compare")
    if missing := [row.name for row in results.rows if not row.records]:
        parts.append(f"not run: {', '.join(missing)}")
    return f"{'; '.join(parts)}."


def short_answer(results: StudyResults, longest: int, *, intervals: bool = False) -> str:
    """Return the answer of a study; where it is longer than so many letters, the largest differences that it claims.

    They come in the study's order; of those in train top-1 there are some only where all in macro F1 are there.

    Args:
        intervals: these are told with their 95 % intervals, in any case.
    """
    differences = (*results.differences, *results.train_differences)
    by_size = sorted(differences, key=lambda each: (each.score != MACRO_F1, -abs(each.effect.value)))
    claims = [each for each in by_size if _is_claimed(results, each)]
    for said in (answer(results), _compared(results)):
        if len(said) <= longest and not (claims and intervals):
            return said
    tested = sum(min(each.num_seeds) >= LEAST_SEEDS for each in differences)
    if results.unlearned or not tested:
        return "no claim." if differences else "nothing to compare."
    counts = [f"{len(claims)} of {tested} differences are significant"]
    counts += [f"{len(differences) - tested} have fewer than {LEAST_SEEDS} seeds"] * (tested < len(differences))
    for kept in range(len(claims), -1, -1):
        end = counts if kept < len(differences) else []
        told = [_claim(results, each, intervals=intervals) for each in differences if each in claims[:kept]]
        said = f"{'; '.join([*told, *end])}."
        if len(said) <= longest:
            break
    return said


def _claim(results: StudyResults, difference: Difference, *, intervals: bool = False) -> str:
    better, worse, effect = difference.first, difference.second, difference.effect
    ends = sorted((effect.low, effect.high))
    if effect.value < 0:
        better, worse, ends = worse, better, sorted((-effect.low, -effect.high))
    by = "" if difference.score == MACRO_F1 else f"by {difference.score} "
    notes = [f"{abs(effect.value):+.3f}" + ", 95 % from {:+.3f} to {:+.3f}".format(*ends) * intervals]
    notes += [poor for poor in [results.poor_rows(difference)] if poor and difference.score == MACRO_F1]
    return f"{by}{better} is better than {worse} ({'; '.join(notes)})"


def _named(results: StudyResults, difference: Difference) -> str:
    """Return the first row of a difference, with the other one where that is not the same for all."""
    is_clear = results.study.compare == "first"
    return difference.first if is_clear else f"{difference.first} against {difference.second}"


def _interval(difference: Difference) -> str:
    effect = difference.effect
    return f"{effect.value:+.3f} ({effect.low:+.3f} to {effect.high:+.3f})"
