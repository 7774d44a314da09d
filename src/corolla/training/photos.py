"""Photos of training that live on the device (--pipeline.cache device)."""

import dataclasses

import torch

from corolla.config.needs import not_in_batches
from corolla.data.cache import MIB, free_memory_bytes
from corolla.data.dataset import TFRecordDataset
from corolla.data.index import Index
from corolla.data.loader import Photos
from corolla.data.photos_on_device import decoded_bytes, put_on_device
from corolla.data.recipe_photos import RecipePhotos
from corolla.device import describe
from corolla.device_errors import faults_told
from corolla.errors import UserError
from corolla.training.state import TrainState

AUTO_ON = ("cuda",)
"""Kinds of devices on which `auto` chooses."""
AUTO_SHARE = 1 / 3
"""The share of the card's free memory, at most, that `auto` gives to photos: the network needs more."""


def settle_photos(state: TrainState, index: Index, *, begins: bool) -> None:
    """Decode the photos of training into the memory of the state's device where they are to live there.

    Where `auto` chooses that, the state's settings say "device" from then on.

    Args:
        begins: the run has no checkpoint yet, so that `auto` may choose.

    Raises:
        UserError: the memory is too small, or a photo does not decode.
    """
    config, device = state.config, state.device
    is_asked = config.pipeline.cache == "device"
    if not is_asked and not (begins and _may_choose(state)):
        return
    photos = TFRecordDataset(index, "train", bad_images=config.pipeline.bad_images)
    num_bytes, free = decoded_bytes(photos), _free_bytes(device)
    if not is_asked and num_bytes > AUTO_SHARE * free:
        return
    remedy = "leave --pipeline.cache device out" if begins else "close other programs that hold its memory"
    if num_bytes > free:
        raise UserError(
            f"--pipeline.cache device: {num_bytes / MIB:.0f} MiB of photos, {free / MIB:.0f} MiB are free on "
            f"{describe(device)}; {remedy}"
        )
    with faults_told(device, "while photos are put on it", memory=remedy):
        state.photos = put_on_device(photos, device)
    pipeline = dataclasses.replace(config.pipeline, cache="device")
    state.meta = dataclasses.replace(state.meta, config=dataclasses.replace(config, pipeline=pipeline))
    where = describe(device)
    if device.type == "cpu":  # it is asked for, or the run has begun on a card
        where += ", by the arithmetic of a card; a run that begins without --pipeline.cache device is faster here"
    state.notes.append(f"cache: device, {num_bytes / MIB:.0f} MiB of photos in the memory of {where}")


def photos_for_batches(state: TrainState, photos: TFRecordDataset) -> Photos:
    """Return what batches are made of: the photos of train, or recipes where these live on the state's device."""
    if state.photos is None:
        return photos
    recipes = RecipePhotos(photos)
    recipes.place(state.photos)
    return recipes


def _may_choose(state: TrainState) -> bool:
    config = state.config
    return (
        config.pipeline.cache == "auto"
        and state.device.type in AUTO_ON
        and not config.train.deterministic
        and not_in_batches(config.augment) is None
    )


def _free_bytes(device: torch.device) -> int:
    """Return the memory that is free on a device; on one that is not asked, the machine's."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory_bytes()
