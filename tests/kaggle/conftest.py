"""A stand-in of Kaggle for every test here, waits that are only counted, and no way to any other host."""

import contextlib
import io
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nosleep.sitecustomize import Clock, guarded
from package_index import PackageIndex
from standin import StandIn
from support import NUM_CLASSES, draw

from corolla.data.tfrecord import encode_example, write_tfrecord
from corolla.kaggle import pack_runs


@pytest.fixture(autouse=True)
def strangers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Hosts that were asked for in vain; at the end there must be none, also where the refusal was swallowed."""
    attempts: list[str] = []
    for (owner, name), replacement in guarded(attempts).items():
        monkeypatch.setattr(owner, name, replacement)
    yield attempts
    assert not attempts


@pytest.fixture(scope="session", autouse=True)
def no_package_index() -> Iterator[None]:
    """No pip that is started here looks at an index, or at the settings of this machine."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.upper().startswith("PIP_")]:
            patch.delenv(name)
        patch.setenv("PIP_CONFIG_FILE", os.devnull)
        patch.setenv("PIP_NO_CACHE_DIR", "1")
        patch.setenv("PIP_NO_INDEX", "1")
        yield


@pytest.fixture
def package_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    """The index that pip's settings name."""
    with PackageIndex(tmp_path / "index") as index:
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield index


@pytest.fixture(scope="session")
def competition_files(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, bytes]]:
    """Builds a small competition: `competition_files(files_per_split=2, records=3, big=False)`: name -> content."""
    made: dict[tuple[int, int, bool], dict[str, bytes]] = {}

    def build(*, files_per_split: int = 2, records: int = 3, big: bool = False) -> dict[str, bytes]:
        key = (files_per_split, records, big)
        if key not in made:
            made[key] = _write_competition(tmp_path_factory.mktemp("competition") / "one.tfrec", *key)
        return dict(made[key])

    return build


def _write_competition(scratch: Path, files_per_split: int, records: int, big: bool) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for size in (192, 224):
        images = [draw(label, 0, size) for label in range(NUM_CLASSES)]
        for split, offset in (("train", 0), ("val", 1000), ("test", 2000)):
            for number in range(files_per_split):
                # The client resumes at multiples of 1 MiB only: the big file has more than three.
                is_big = big and (size, split, number) == (224, "train", 0)
                count = 3_300_000 // min(map(len, images)) + 1 if is_big else records
                first = offset + number * records if not is_big else 10_000
                examples = [
                    encode_example(
                        image=images[n % len(images)],
                        label=None if split == "test" else n % len(images),
                        id=f"{n:09x}",
                    )
                    for n in range(first, first + count)
                ]
                write_tfrecord(scratch, examples)
                name = f"{number:02d}-{size}x{size}-{count}.tfrec"
                files[f"tfrecords-jpeg-{size}x{size}/{split}/{name}"] = scratch.read_bytes()
    ids = [f"{2000 + n:09x}" for n in range(files_per_split * records)]
    files["sample_submission.csv"] = ("id,label\n" + "".join(f"{i},0\n" for i in ids)).encode()
    return files


@pytest.fixture
def standin(competition_files: Callable[..., dict[str, bytes]]) -> Iterator[StandIn]:
    """Serves the small competition; a fault of the stand-in itself fails the test."""
    with StandIn() as server:
        server.files = competition_files()
        yield server
    assert not server.errors, "\n".join(server.errors)


@pytest.fixture
def kaggle_home(tmp_path: Path) -> Path:
    """A home folder without credentials, for way A: standin.environment(kaggle_home)."""
    home = tmp_path / "home"
    (home / "tmp").mkdir(parents=True)
    return home


@pytest.fixture
def in_process(standin: StandIn, kaggle_home: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """The client in this process finds the stand-in in Kaggle's place, at /v1/ as in production, and a legacy key."""
    import kagglesdk.kaggle_env

    for name in list(os.environ):
        if name.startswith("KAGGLE") or name.lower().endswith("_proxy") or name in ("VERBOSE", "VERBOSE_OUTPUT"):
            monkeypatch.delenv(name)
    for key in list(kagglesdk.kaggle_env._env_to_endpoint):
        monkeypatch.setitem(kagglesdk.kaggle_env._env_to_endpoint, key, standin.url)
    monkeypatch.setenv("HOME", str(kaggle_home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(kaggle_home / ".config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(kaggle_home / ".cache"))
    monkeypatch.setenv("KAGGLE_USERNAME", standin.user)
    monkeypatch.setenv("KAGGLE_KEY", standin.key)
    monkeypatch.setattr(tempfile, "tempdir", str(kaggle_home / "tmp"))  # the client keeps the state of uploads there
    with contextlib.redirect_stdout(io.StringIO()):
        from kaggle.api.kaggle_api_extended import KaggleApi
    folder = kaggle_home / ".config" / "kaggle"  # the class has the home folder of the time when it was imported
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(KaggleApi, "config_dir", str(folder))
    monkeypatch.setattr(KaggleApi, "config", str(folder / "kaggle.json"))
    return standin


@pytest.fixture
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits so far, in seconds, none of them waited; time.monotonic goes on by them."""
    clock = Clock()
    monkeypatch.setattr(time, "sleep", clock.sleep)
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    return clock.waits


@pytest.fixture
def no_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pack no wheels, which take most of the time and are tested by themselves."""
    monkeypatch.setattr(pack_runs, "lacking_for_prediction", dict)
    monkeypatch.setattr(pack_runs, "build_wheel", lambda folder: folder)


@pytest.fixture
def server(in_process: StandIn, no_sleep: list[float]) -> StandIn:
    """Return Kaggle's stand-in in this process, where nobody waits."""
    assert no_sleep == []
    return in_process
