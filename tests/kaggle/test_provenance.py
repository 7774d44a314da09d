"""A CSV is not submitted where the data folder holds other test records or classes than it was made of."""

import dataclasses
import hashlib
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from standin import StandIn
from support import changed, draw, smallest_config, write_data

from corolla.cli import run_command
from corolla.data.index import load_index
from corolla.data.tfrecord import encode_example, write_tfrecord
from corolla.errors import UserError
from corolla.kaggle.manifest import DataManifest
from corolla.kaggle.submit import Submitted, submit
from corolla.training.train import train

SLUG = "tpu-getting-started"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = write_data(tmp_path / "my data", train=5, val=5, test=5)
    DataManifest(SLUG).save(folder)
    return folder


@pytest.fixture
def mine(tmp_path: Path, data: Path) -> Path:
    """A CSV with its JSON, as corolla ensemble writes them."""
    index = load_index(data, 32)
    path = tmp_path / "mine.csv"
    path.write_text("id,label\n" + "".join(f"{name},{n % 5}\n" for n, name in enumerate(index.splits["test"].id)))
    made = {
        "data": str(data),
        "method": "weighted",
        "tau": 0.5,
        "tta": "flip",
        "checkpoint": "last",
        "runs": [{"run": "a"}, {"run": "-b"}],
        "folders": ["runs/a", "-b"],
        "size": 32,
        "test_fingerprint": index.splits["test"].fingerprint,
        "class_names": list(index.class_names),
    }
    write_json(path, made)
    return path


@pytest.fixture
def send(mine: Path, tmp_path: Path) -> Callable[..., Submitted]:
    return lambda **options: submit(mine, "words", ledger=tmp_path / "ledger.csv", **options)


def write_json(csv: Path, made: dict[str, Any]) -> None:
    made = {**made, "csv_sha256": hashlib.sha256(csv.read_bytes()).hexdigest()}
    csv.with_suffix(".json").write_text(json.dumps(made))


def records_of_test(data: Path) -> list[Path]:
    return sorted(data.glob("tfrecords-jpeg-32x32/test/*.tfrec"))


def rewrite(data: Path, shown: Callable[[int], tuple[int, int]]) -> None:
    """Write the test records anew with the same ids, of other photos, which `shown` draws by class and number."""
    names = iter(load_index(data, 32).splits["test"].id.tolist())
    number = 0
    for path in records_of_test(data):
        count = int(path.stem.rsplit("-", 1)[1])
        rows = []
        for _ in range(count):
            rows.append(encode_example(image=draw(*shown(number), 32), label=None, id=next(names)))
            number += 1
        write_tfrecord(path, rows)


def other_photos(data: Path) -> None:
    rewrite(data, lambda number: (number % 5, 9000 + number))


def one_other_photo(data: Path) -> None:
    path = records_of_test(data)[0]
    content = path.read_bytes()
    rewrite(data, lambda number: (1, 9000) if number == 0 else (number % 5, 2000 + number))
    assert path.read_bytes() != content


def photos_exchanged(data: Path) -> None:
    rewrite(data, lambda number: ((number + 1) % 5, 2000 + (number + 1) % 5))


@pytest.mark.parametrize("change", [other_photos, one_other_photo, photos_exchanged])
def test_a_csv_of_other_photos_is_not_sent(
    change: Callable[[Path], None], server: StandIn, send: Callable[..., Submitted], mine: Path, data: Path
) -> None:
    change(data)
    with pytest.raises(UserError) as caught:
        send()
    what, commands = str(caught.value).split("; make it again: ")
    assert what == f"{mine}: is of other test records than {data} holds now"
    predict, join = (shlex.split(command) for command in commands.split(" && "))
    views = ["--tta", "flip", "--checkpoint", "last"]
    assert predict == ["corolla", "predict", "runs/a", "./-b", *views, "--data", str(data)]
    assert join[:4] == ["corolla", "ensemble", "runs/a", "./-b"]
    assert join[4:] == [*views, "--method", "weighted", "--adjust", "--data", str(data), "--out", str(mine)]
    assert server.journal == []


def test_another_data_folder_with_the_same_ids_is_told(
    server: StandIn, send: Callable[..., Submitted], data: Path, tmp_path: Path
) -> None:
    other = write_data(tmp_path / "other", train=5, val=5, test=5)
    DataManifest(SLUG).save(other)
    other_photos(other)
    with pytest.raises(UserError, match=rf"is of other test records than {other} holds now"):
        send(data=other)
    assert send(data=data).sent
    assert len(server.submissions) == 1


@pytest.mark.parametrize("has_records", [True, False])
def test_a_csv_of_other_classes_is_not_sent(
    has_records: bool, server: StandIn, send: Callable[..., Submitted], data: Path
) -> None:
    names = (data / "classes.txt").read_text().splitlines()
    (data / "classes.txt").write_text("\n".join([names[1], names[0], *names[2:]]) + "\n")
    if not has_records:
        for path in records_of_test(data):
            path.unlink()
    with pytest.raises(UserError, match=rf"is of other classes than {data} has \(classes\.txt\); put back the names"):
        send()
    assert server.journal == []


def remove_records(data: Path) -> None:
    for path in data.glob("tfrecords-jpeg-32x32/*/*.tfrec"):
        path.unlink()


def touch(data: Path) -> None:
    for path in records_of_test(data):
        path.write_bytes(path.read_bytes())


def nothing(data: Path) -> None:
    assert data.is_dir()


@pytest.mark.parametrize("change", [nothing, touch, remove_records])
def test_the_same_records_or_none_are_no_reason(
    change: Callable[[Path], None], server: StandIn, send: Callable[..., Submitted], data: Path
) -> None:
    change(data)
    assert send().sent
    assert len(server.submissions) == 1


@pytest.mark.parametrize("lost", [["test_fingerprint", "class_names", "size", "folders"], None])
def test_a_csv_that_nothing_tells_of_is_sent_as_before(
    lost: list[str] | None, server: StandIn, send: Callable[..., Submitted], mine: Path, data: Path
) -> None:
    beside = mine.with_suffix(".json")
    made = json.loads(beside.read_text())
    if lost is None:
        beside.unlink()
    else:
        write_json(mine, {key: value for key, value in made.items() if key not in lost})
    other_photos(data)
    assert send(data=data).sent
    assert len(server.submissions) == 1


def test_where_files_of_others_are_members_no_command_is_made_up(
    server: StandIn, send: Callable[..., Submitted], mine: Path, data: Path
) -> None:
    write_json(mine, {**json.loads(mine.with_suffix(".json").read_text()), "members": [{"file": "x.csv"}]})
    other_photos(data)
    with pytest.raises(UserError, match=re.escape("; make its predictions again, then the CSV with corolla ensemble")):
        send()
    assert server.journal == []


@pytest.mark.parametrize("key", ["test_fingerprint", "class_names", "folders"])
def test_a_damaged_entry_is_one_line(
    key: str, server: StandIn, send: Callable[..., Submitted], mine: Path, data: Path
) -> None:
    write_json(mine, {**json.loads(mine.with_suffix(".json").read_text()), key: 5})
    with pytest.raises(UserError, match=rf"mine\.json: {key}: .*; it should say what made mine\.csv"):
        send()
    assert server.journal == []


@pytest.mark.slow
def test_the_commands_of_the_message_make_it_again(
    server: StandIn, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = changed(smallest_config(data, Path("my runs")), "train", epochs=1)
    train(dataclasses.replace(config, run_name="first"))
    made = ["my runs/first", "--tta", "flip"]
    assert run_command(["predict", *made, "--split", "test", "--device", "cpu"]) == 0
    assert run_command(["ensemble", *made, "--out", "out.csv"]) == 0
    before = json.loads(Path("out.json").read_text())
    other_photos(data)
    with pytest.raises(UserError, match=r"out\.csv: is of other test records than") as caught:
        submit(Path("out.csv"), "words")
    for command in str(caught.value).split("; make it again: ")[1].split(" && "):
        assert run_command(shlex.split(command)[1:]) == 0
    after = json.loads(Path("out.json").read_text())
    same = ["folders", "size", "class_names", "method", "tta", "checkpoint"]
    assert [after[key] for key in same] == [before[key] for key in same]
    assert after["test_fingerprint"] != before["test_fingerprint"]
    assert submit(Path("out.csv"), "words").sent
