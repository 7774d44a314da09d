"""Folders of comparisons: a name that says whose, and no comparison over another."""

from pathlib import Path

import pytest

from corolla.compare.places import LONGEST, comparison_name, folder_for, holds


@pytest.mark.parametrize(
    ("names", "marks", "name"),
    [
        (["resnet34"], [], "resnet34"),
        (["resnet34", "plain34"], [], "resnet34-vs-plain34"),
        (["resnet34", "plain34"], ["ten-crop", "best"], "resnet34-vs-plain34-ten-crop-best"),
    ],
)
def test_a_comparison_is_called_by_its_recipes(names: list[str], marks: list[str], name: str) -> None:
    assert comparison_name(names, *marks) == name


def test_many_or_long_names_stay_a_name_of_a_folder() -> None:
    many = comparison_name([f"a-recipe-with-a-name-{number}" for number in range(40)], "ten-crop")
    assert many.endswith("-more-ten-crop")
    assert len(many) <= LONGEST + len("-ten-crop")
    assert len(comparison_name(["x" * 250, "y" * 250]).encode()) <= 255


def test_none_overwrites_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    places = []
    for content in (b"first", b"second", b"first", b"second"):
        folder = folder_for("a-vs-b", lambda there, content=content: holds(there / "comparison.json", content))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "comparison.json").write_bytes(content)
        places.append(str(folder))
    assert places == ["comparisons/a-vs-b", "comparisons/a-vs-b-2"] * 2
