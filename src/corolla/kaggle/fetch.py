"""Download files of a competition with a few threads: staged, verified, moved into place."""

import contextlib
import json
import logging
import os
import queue
import shutil
import threading
import zipfile
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import requests
from tqdm import tqdm

from corolla.errors import Failure
from corolla.kaggle.client import Kaggle
from corolla.kaggle.verify import VerificationError, is_html, verify
from corolla.parallel import hidden

log = logging.getLogger(__name__)

STAGING = ".corolla-download"
AT_ONCE = 3  # files; more would only meet the rate limit sooner
NUM_TRIES = 3  # for a file that arrives damaged
SHOW_EVERY_S = 0.2


class Downloader:
    """A few threads that download one file after the other."""

    def __init__(self, kaggle: Kaggle, competition: str, folder: Path, files: dict[str, int]) -> None:
        self._kaggle, self._competition, self._folder, self._files = kaggle, competition, folder, files
        self._waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
        for name in files:
            self._waiting.put(name)
        self._errors: dict[str, BaseException] = {}
        self._done: set[str] = set()

    def run(self, *, progress: bool) -> None:
        """Download all files.

        Raises:
            UserError, Failure: the first thing that went wrong; the other files are there or staged.
        """
        # Daemons: a Ctrl-C must not wait for a silent server.
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(min(AT_ONCE, len(self._files)))]
        for thread in threads:
            thread.start()
        total, disable = sum(self._files.values()), hidden(progress)
        there = sum(bytes_in(staging_of(self._folder, name)) for name in self._files)
        with tqdm(total=total, initial=there, unit="B", unit_scale=True, desc="download", disable=disable) as bar:
            for thread in threads:
                while thread.is_alive():
                    thread.join(SHOW_EVERY_S)
                    self._show(bar)
        if self._errors:
            raise next(iter(self._errors.values()))

    def _show(self, bar: "tqdm[Any]") -> None:
        """Show the bytes and files that have arrived."""
        done = sum(self._files[name] for name in list(self._done))
        staged = sum(bytes_in(staging_of(self._folder, name)) for name in self._files.keys() - self._done)
        bar.n = min(done + staged, bar.total)
        bar.set_postfix_str(f"{len(self._done)}/{len(self._files)} files", refresh=True)

    def _work(self) -> None:
        """Download one file after the other until none is left."""
        while not self._stopped():
            try:
                name = self._waiting.get_nowait()
            except queue.Empty:
                return
            try:
                self._fetch(name)
            except Exception as error:  # whatever it is, the main thread raises it
                self._errors[name] = error

    def _stopped(self) -> bool:
        """Return whether an error stops all files; a damaged file does not."""
        return any(not isinstance(error, _Damaged) for error in self._errors.values())

    def _fetch(self, name: str) -> None:
        """Download, verify and publish one file, again where it arrives damaged."""
        staging, reason = staging_of(self._folder, name), ""
        for attempt in range(NUM_TRIES):
            if attempt or not _whole(staging):  # killed just before it was moved, a file waits there
                self._kaggle.call(
                    lambda: self._client_download(name, staging),
                    subject=self._competition,
                    progress=lambda: bytes_in(staging),
                )
            try:
                path, as_sent = _arrived(staging, name)
                verify(path, name, self._files[name], as_sent=as_sent)
            except Exception as error:
                shutil.rmtree(staging)  # the client's marker too: by it, the client would go on from bad bytes
                if not isinstance(error, VerificationError):
                    raise
                reason = str(error)
                continue
            _publish(path, self._folder / name)
            self._done.add(name)  # before its folder goes, so that the bar never counts back
            shutil.rmtree(staging)
            return
        raise _Damaged(f"{name}: was sent damaged {NUM_TRIES} times ({reason}); nothing was put in its place")

    def _client_download(self, name: str, staging: Path) -> None:
        """Let the client download a file into its staging folder, or resume it there."""
        staging.mkdir(parents=True, exist_ok=True)
        try:
            self._kaggle.api.competition_download_file(self._competition, name, path=str(staging), quiet=True)
        except (requests.RequestException, json.JSONDecodeError):
            raise
        except ValueError:
            # The client found another size than the server had announced: only the listing and the verification count.
            return


class _Damaged(Failure):
    """A file arrived damaged every time."""


def _whole(staging: Path) -> bool:
    """Return whether a file lies there that the client has finished."""
    files = [path for path in staging.rglob("*") if path.is_file()]
    return bool(files) and not any(path.suffix == ".kaggle-partial" for path in files)


def _arrived(staging: Path, name: str) -> tuple[Path, int | None]:
    """Return the file that the client left in its folder, unzipped if it came as NAME.zip, and then the zip's bytes.

    The client names it by the address that it was redirected to; 2.2.4 leaves out folders, 2.2.5 makes them.
    """
    files = [path for path in staging.rglob("*") if path.is_file() and path.suffix != ".kaggle-partial"]
    base = name.rsplit("/", 1)[-1]
    named = {unquote(path.name).rsplit("/", 1)[-1]: path for path in files}
    if base in named:
        return named[base], None
    if f"{base}.zip" in named:
        archive = named[f"{base}.zip"]
        try:
            with zipfile.ZipFile(archive) as opened, opened.open(opened.infolist()[0]) as source:
                unzipped = staging / "unzipped"
                with unzipped.open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
        except (zipfile.BadZipFile, zlib.error, IndexError, EOFError, ValueError, RuntimeError) as error:
            raise VerificationError(f"the zip around it is damaged ({error})") from None
        return unzipped, archive.stat().st_size
    if any(is_html(path) for path in files):
        raise Failure(
            f"{name}: what answered is a web page instead of the file; is there a sign-in page in this network, or "
            "maintenance at https://www.kaggle.com?"
        )
    raise VerificationError("no file arrived" if not files else f"{files[0].name} arrived in its place")


def _publish(path: Path, place: Path) -> None:
    """Flush a file and rename it to its place; another file that was there is kept beside it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_file():
        kept = place.with_name(f"{place.name}.replaced")
        place.replace(kept)
        log.warning("%s: was not the competition's file; kept as %s", place, kept.name)
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    path.replace(place)


def staging_of(folder: Path, name: str) -> Path:
    """Return the folder in which a file is staged."""
    return folder / STAGING / name.replace("/", "--")


def bytes_in(folder: Path) -> int:
    """Return the size of all files in a folder."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # moved into place meanwhile
                total += (Path(parent) / name).stat().st_size
    return total
