"""Make wheels of corolla and of installed packages: a notebook without internet installs them from a dataset.

Equal content gives equal bytes, so a bundle that was packed twice is recognised as the same one.
"""

import base64
import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution
from pathlib import Path, PurePosixPath

from corolla.errors import UserError
from corolla.files import replacing
from corolla.kaggle.needs import installed, own_metadata

LEFT_OUT = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")  # files of dist-info that no wheel has
TIMESTAMP = (1980, 1, 1, 0, 0, 0)  # the earliest that zip knows

Content = Path | bytes


def build_wheel(folder: Path) -> Path:
    """Write corolla's own wheel, from the package that is running (a checkout or an installed one), into `folder`.

    Entry points and metadata are those of the installed distribution, the requirements a checkout's own.

    Raises:
        UserError: corolla is not installed, only imported from a folder.
    """
    distribution = installed("corolla")
    package = Path(__file__).parents[1]
    members: dict[str, Content] = {
        f"corolla/{path.relative_to(package).as_posix()}": path
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    stem = f"corolla-{distribution.version}"
    info = f"{stem}.dist-info"
    members[f"{info}/METADATA"] = own_metadata().encode()
    members[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: corolla\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    members[f"{info}/entry_points.txt"] = (distribution.read_text("entry_points.txt") or "").encode()
    members |= {name: path for name, path in _files(distribution) if "/licenses/" in name and path.is_file()}
    return write_wheel(folder / f"{stem}-py3-none-any.whl", info, members)


def repack(distribution_name: str, folder: Path) -> Path:
    """Write the wheel of an installed distribution, from its RECORD and the tags of its WHEEL, into `folder`.

    Files outside site-packages (console scripts, manual pages) are left out; pip makes the scripts anew.

    Raises:
        UserError: there is no such distribution, it is an editable one, was not installed from a wheel, or files of it
            are gone.
    """
    distribution = installed(distribution_name)
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        raise UserError(
            f"{distribution_name}: is an editable installation, which holds no files to pack; install it with pip"
        )
    members: dict[str, Content] = dict(_files(distribution))
    infos = {name.partition("/")[0] for name in members if name.endswith(".dist-info/METADATA")}
    wheel = _wheel_facts(distribution_name)
    if len(infos) != 1:
        raise UserError(f"{distribution_name}: was not installed from a wheel; install it with pip")
    gone = [name for name, path in members.items() if isinstance(path, Path) and not path.is_file()]
    if gone:
        raise UserError(f"{distribution_name}: {gone[0]} is gone; install it again")
    info = infos.pop()
    return write_wheel(folder / f"{info.removesuffix('.dist-info')}-{_tag(wheel)}.whl", info, members)


def _wheel_facts(name: str) -> str:
    """Return the file WHEEL of an installed distribution."""
    facts = installed(name).read_text("WHEEL")
    if facts is None:
        raise UserError(f"{name}: was not installed from a wheel; install it with pip")
    return facts


def _files(distribution: Distribution) -> Iterator[tuple[str, Path]]:
    """Yield name in the wheel and path of each file of an installed distribution that belongs into its wheel."""
    # Not distribution.files, which passes over what is gone, from Python 3.12 on.
    for line in csv.reader(io.StringIO(distribution.read_text("RECORD") or "")):
        name = PurePosixPath(line[0])
        outside = name.is_absolute() or ".." in name.parts
        of_installation = name.parts[0].endswith(".dist-info") and name.name in LEFT_OUT
        if not outside and not of_installation and name.suffix != ".pyc":
            yield str(name), Path(str(distribution.locate_file(str(name))))


def _tag(wheel: str) -> str:
    """Return the tag of a file WHEEL, such as `cp311-cp311-manylinux_2_17_x86_64`, after its build number if any.

    A name is the product of its parts (PEP 425, compressed tag sets), as the tags in WHEEL are one by one.
    """
    lines = [line.partition(":") for line in wheel.splitlines()]
    tags = [value.strip().split("-") for key, _, value in lines if key == "Tag"]
    build = [value.strip() for key, _, value in lines if key == "Build"]
    parts = [".".join(dict.fromkeys(part)) for part in zip(*tags, strict=True)]
    return "-".join(build + parts)


def write_wheel(path: Path, info: str, members: Mapping[str, Content]) -> Path:
    """Write a wheel with its RECORD; dist-info comes last, as PEP 427 recommends.

    Args:
        info: its folder of metadata, NAME-VERSION.dist-info.
        members: name in the wheel -> content.
    """
    names = sorted(members, key=lambda name: (name.startswith(f"{info}/"), name))
    record: list[tuple[str, str, object]] = []
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in names:
            content = members[name]
            executable = isinstance(content, Path) and content.stat().st_mode & 0o111
            data = content.read_bytes() if isinstance(content, Path) else content
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append((name, f"sha256={digest}", len(data)))
            _add(archive, name, data, 0o755 if executable else 0o644)
        _add(archive, f"{info}/RECORD", _csv([*record, (f"{info}/RECORD", "", "")]), 0o644)
    return path


def _add(archive: zipfile.ZipFile, name: str, data: bytes, mode: int) -> None:
    """Add a file to the archive, without the time of day."""
    member = zipfile.ZipInfo(name, TIMESTAMP)
    member.create_system = 3  # Unix, wherever this runs
    member.external_attr = (0o100000 | mode) << 16
    archive.writestr(member, data, zipfile.ZIP_DEFLATED)


def _csv(rows: Iterable[tuple[object, ...]]) -> bytes:
    """Return rows as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
