"""Small data sets in the competition's layout, and a cache of their own for every test run."""

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import torch
from support import smallest_config, write_data

from corolla.config import Config

# How long an example takes says nothing here: other test processes share the cores.
hypothesis.settings.register_profile("corolla", deadline=None)
hypothesis.settings.load_profile("corolla")

REAL_PHOTOS = Path(__file__).parents[1].parent / "shared" / "flowers"


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the user's cache, nor do the processes it starts."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before


@pytest.fixture(scope="session", autouse=True)
def precision() -> Iterator[None]:
    """COROLLA_TEST_PRECISION=fp32 has the tests compute as on a CPU without bf16."""
    with pytest.MonkeyPatch.context() as patch:
        if os.environ.get("COROLLA_TEST_PRECISION") == "fp32":
            patch.setattr(torch.cpu, "get_capabilities", dict, raising=False)  # torch before 2.11 has none
        yield


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """SIGINT interrupts, as at a terminal: in the background of a shell it is ignored, here and in what is started."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """End what a command makes of the log (corolla.logs.to_screen) with its test, so that others can capture it."""
    log = logging.getLogger("corolla")
    level = log.level
    yield
    log.handlers.clear()
    log.propagate = True
    log.setLevel(level)


@pytest.fixture
def real_photos() -> Path:
    if not REAL_PHOTOS.is_dir():
        pytest.skip("the folder of real photos is not beside this checkout")
    return REAL_PHOTOS


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture
def tiny_config(tiny_data: Path, tmp_path: Path) -> Config:
    """Two epochs of five steps of the smallest network that timm has."""
    return smallest_config(tiny_data, tmp_path / "runs")
