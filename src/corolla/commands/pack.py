"""corolla pack: wheels of this checkout for a notebook on Kaggle or Colab."""

from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from corolla.commands.common import Folder
from corolla.errors import DONE
from corolla.text_files import shell_words

if TYPE_CHECKING:
    from corolla.kaggle.pack_wheels import Packed


def pack(folder: Folder, /, for_: Annotated[Literal["kaggle", "colab"], tyro.conf.arg(name="for")] = "kaggle") -> int:
    """Pack corolla as wheels, with what Kaggle's image lacks, and say how a notebook installs them.

    Args:
        folder: where to write the wheels; for Kaggle it is what you upload as a dataset.
        for_: kaggle: corolla and what Kaggle's image lacks, so that no internet is needed; colab: corolla alone.
    """
    from corolla.kaggle.pack_wheels import pack_wheels

    packed = pack_wheels(folder, for_)
    size = f"{packed.num_bytes / 1e6:.1f} MB"
    print(f"{folder}: {', '.join('-'.join(wheel.name.split('-')[:2]) for wheel in packed.wheels)} ({size})")
    _print_kaggle(packed) if for_ == "kaggle" else _print_colab(packed)
    return DONE


def _print_kaggle(packed: "Packed") -> None:
    from corolla.kaggle.pack_wheels import CELLS, UPLOAD

    folder = shell_words(packed.folder)
    print("upload it as a private dataset: its files at https://www.kaggle.com/datasets?new=true, or")
    print(f"    kaggle datasets init -p {folder}     # then put title and id into {folder}/{UPLOAD}")
    print(f"    kaggle datasets create -p {folder}   # later: kaggle datasets version -p {folder} -m again")
    print("attach it to the notebook (Add Input > Datasets); its first cell, with internet on:")
    print(f"    {CELLS['Kaggle, with internet']}")
    print("with internet off:")
    print(f"    {CELLS['Kaggle, without']}")


def _print_colab(packed: "Packed") -> None:
    from corolla.kaggle.pack_wheels import CELLS

    print(f"upload {packed.wheels[0]} in the notebook's Files panel; its first cell:")
    print(f"    {CELLS['Colab']}")
