"""A CSV that a person has filled is applied to train alone, however it was saved, or refused in a line with its row."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from corolla.config import TrainConfig
from corolla.data.corrections import Corrections, check_not_filled, correct, read_corrections, training_index
from corolla.data.index import Index, load_index
from corolla.data.subset import subset_index
from corolla.errors import UserError

DROPPED, FIRST, SECOND, IN_VAL = (f"{number:09x}" for number in (0, 1, 2, 1000))
FILLED = (
    f"kind,split,id,path,note,action\n"
    f'near duplicate,train,{DROPPED},a/0.jpg,"group 0, mirrored",drop\n'
    f"suspect label,train,{FIRST},b/1.jpg,,label=3\n"
    f"suspect label,train,{SECOND},c/2.jpg,, Label = kind 4\n"
    f"suspect label,val,{IN_VAL},a/3.jpg,,drop\n"
    f"rare class,train,,,5 photos,\n"
)


@pytest.fixture(scope="module")
def index(tiny_data: Path) -> Index:
    """40 training photos of five classes, kind 0 to kind 4 in turn."""
    return load_index(tiny_data, None)


def of(text: str | bytes) -> Corrections:
    return Corrections(Path("audit.csv"), text if isinstance(text, bytes) else text.encode())


@pytest.mark.parametrize(
    "content",
    [
        FILLED.encode(),
        FILLED.encode("utf-8-sig"),
        FILLED.replace(",", ";").replace('"group 0; mirrored"', '"group 0, mirrored"').encode("cp1252"),
        ("sep=;\n" + FILLED.replace(",", ";")).replace("\n", "\r\n").encode(),
        FILLED.replace(",", "\t").encode("utf-16"),
        FILLED.replace("a/0.jpg", "Mädesüß/0.jpg").encode("cp1252"),
        FILLED.replace("action", "Action").replace(",5 photos,", ",5 photos").encode(),
        FILLED.replace("a/0.jpg", '"a/0\n.jpg"').replace("5 photos,", "5 photos,NaN").encode(),
    ],
    ids=["as written", "mark", "semicolons", "sep=", "UTF-16 tabs", "Windows-1252", "short rows", "lines in a cell"],
)
def test_however_it_was_saved(index: Index, content: bytes) -> None:
    corrected = correct(index, of(content))
    train, before = corrected.index.splits["train"], index.splits["train"]
    assert train.id.tolist() == before.id[1:].tolist()
    assert train.label.tolist() == [3, 4, *before.label[3:].tolist()]
    assert train.offset.tolist() == before.offset[1:].tolist()
    assert corrected.index.splits["val"] is index.splits["val"]
    counts = "training photos left out: 1, given another class: 2"
    assert corrected.notes == [f"audit.csv: {counts}; actions about photos of val or test, which stay as they are: 1"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (f"{FIRST},\n", "audit.csv: no row has an action; drop, label=N or label=NAME is expected, for some photos"),
        (f"{IN_VAL},drop", "every action is about a photo of val or test"),
        (f"{FIRST},\n{SECOND},delete", "audit.csv: row 3: the action delete is not known; drop, label=N or label=NAME"),
        (f"{FIRST},label=", "row 2: the action label= is not known"),
        (f"{FIRST},label=5", r"row 2: label=5: the classes are 0 \(kind 0\) to 4 \(kind 4\)"),
        (f"{FIRST},label=-1", "row 2: label=-1: the classes are 0"),
        (f"{FIRST},label={'9' * 50}", "row 2: label=999.*the classes are 0"),
        (f"{FIRST},label=kimd 2", "row 2: label=kimd 2: no class is called so; the nearest is kind 2"),
        (
            f"{FIRST},drop\n{SECOND},drop\n{FIRST},label=1",
            f"rows 2 and 4: two actions for photo {FIRST}, drop and label=1",
        ),
        ("abcdef123,drop", "row 2: no photo in .* has the id abcdef123; is the CSV that of other data"),
        ("1,drop", "row 2: no photo in .* has the id 1; a spreadsheet may have taken it for a number"),
        (",drop", "row 2: has the action drop, but no id of a photo"),
        ('1,"drop', "audit.csv:2: no CSV"),
        (f'"{FIRST}\n",\n{FIRST},keep', "row 3: the action keep is not known"),
        (
            "\n".join(f"{number:09x},drop" for number in range(2, 40, 5)),
            r"leave no training photo of class 2 \(kind 2\)",
        ),
    ],
)
def test_what_does_not_fit_is_a_line(index: Index, rows: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        correct(index, of(f"id,action\n{rows}\n"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no column id"),
        ("id,note\n", "has no column action; corolla audit DATA --csv FILE writes a CSV to fill"),
        ("id,action,Action\n", "has more than one column action"),
        (b"\xff\xfe\0", "is damaged, or no text"),
        (b"\0\1\2\3\4\5", "audit.csv"),
        (b"PK\3\4" + bytes(99), r"a spreadsheet's own file \(.xlsx, .ods, .xls\): save it as CSV"),
    ],
)
def test_another_file_is_a_line(index: Index, text: str | bytes, said: str) -> None:
    with pytest.raises(UserError, match=said):
        correct(index, of(text))


def test_names_that_are_no_answer_want_a_number(index: Index) -> None:
    doubled = dataclasses.replace(index, class_names=("rose", "Rose", "rose", "2", "tulip"))
    with pytest.raises(UserError, match="label=rose: the classes 0 and 2 are called so; give the number"):
        correct(doubled, of(f"id,action\n{FIRST},label=rose\n"))
    corrected = correct(doubled, of(f"id,action\n{FIRST},label=TULIP\n{SECOND},label=2\n"))
    assert corrected.index.splits["train"].label[1] == 4
    assert corrected.notes[1:] == ["note: label=2 is the class of this number, rose, not the one called 2"]


def test_a_share_is_of_the_corrected_classes_and_the_fingerprint_that_of_the_records(index: Index) -> None:
    settings = TrainConfig(share=0.5)
    changed = "".join(f"{number:09x},label=1\n" for number in range(0, 30, 5))  # 6 of the 8 of kind 0
    found = training_index(index, settings, of(f"id,action\n{changed}"))
    assert np.bincount(found.splits["train"].label).tolist() == [1, 7, 4, 4, 4]
    assert found.fingerprint == subset_index(index, 0.5, settings.seed).fingerprint
    assert found.splits["train"].fingerprint != found.fingerprint["train"]  # what caches of pixels are known by
    assert training_index(index, TrainConfig()) is index


def test_a_file_that_was_filled_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "audit.csv"
    check_not_filled(path)
    for harmless in ("id,action\n1,\n", "something else"):
        path.write_text(harmless)
        check_not_filled(path)
    path.write_text(FILLED)
    with pytest.raises(UserError, match=f"{re.escape(str(path))}: 4 actions were filled in"):
        check_not_filled(path)
    path.write_text(FILLED.replace("b/1.jpg", '"b/1.jpg'))
    with pytest.raises(UserError, match=r"no CSV .*; whether actions were filled in can't be told: give another file"):
        check_not_filled(path)
    with pytest.raises(UserError, match="there is no such file"):
        read_corrections(tmp_path / "none.csv")
    with pytest.raises(UserError, match="is a folder; name the CSV in which actions were filled in"):
        read_corrections(tmp_path)
