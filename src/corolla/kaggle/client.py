"""The official `kaggle` client with the parts that it lacks: timeouts, retries within a deadline, helpful errors.

Each step here undoes something that the client does on its own, as the comment beside it says. 2.2.4 and 2.2.5 work.
"""

import contextlib
import functools
import io
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import requests
import tenacity
from requests.adapters import HTTPAdapter

from corolla.errors import UserError
from corolla.kaggle.credentials import how_to_get_credentials
from corolla.kaggle.errors import explain, is_transient, status_of
from corolla.kaggle.retry import RateLimiter, RetryDeadline, next_wait_s

log = logging.getLogger(__name__)

TIMEOUT_S = 30.0  # without an answer or a byte
PATIENCE_S = 120.0  # of failing without progress
QUIET_S = 3.0  # a first wait shorter than this is not logged
UPLOAD_RETRIES = 4  # of an upload that was reset, by urllib3: 1 + 2 + 4 + 8 s of waiting

T = TypeVar("T")


class _Adapter(HTTPAdapter):
    """Sets the timeout that the client leaves out everywhere: a silent server would block it for ever."""

    def __init__(self, *, timeout_s: float, **options: Any) -> None:
        self._timeout = (min(10.0, timeout_s), timeout_s)
        if retries := options.get("max_retries"):  # the upload's own, which would go on for six minutes
            options["max_retries"] = retries.new(total=UPLOAD_RETRIES)
        super().__init__(**options)

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        options["timeout"] = options.get("timeout") or self._timeout
        return super().send(request, *args, **options)


class _RequestsWithTimeouts:
    """The module `requests`, with sessions that have timeouts."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s

    def __getattr__(self, name: str) -> Any:
        return getattr(requests, name)

    def Session(self) -> requests.Session:
        session = requests.Session()
        for scheme in ("http://", "https://"):
            session.mount(scheme, _Adapter(timeout_s=self._timeout_s))
        return session


def _no_call(*_: Any, **__: Any) -> None:
    """Stand in for the client's requests while it is imported."""
    raise requests.ConnectionError("no request while importing")


def _import_client() -> Any:
    """Import the client's module without the side effects of its import.

    It asks Kaggle who owns the token (without a timeout), prints help where there are no credentials, and under VERBOSE
    it would print every request with its key.
    """
    for name in ("VERBOSE", "VERBOSE_OUTPUT"):
        os.environ.pop(name, None)
    from kagglesdk.kaggle_http_client import KaggleHttpClient

    call = KaggleHttpClient.call
    KaggleHttpClient.call = _no_call
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            from kaggle.api import kaggle_api_extended
    except OSError as error:  # it makes its folder when it is imported
        raise UserError(
            f"{error.filename}: the kaggle client cannot make its folder ({error.strerror}); "
            "name another with KAGGLE_CONFIG_DIR"
        ) from None
    finally:
        KaggleHttpClient.call = call
    return kaggle_api_extended


@functools.cache
def _api_class() -> Any:
    """Return the client's class with timeouts added; its module is imported once."""
    module = _import_client()

    class Api(module.KaggleApi):
        """The client with timeouts, and with uploads that are all or nothing."""

        already_printed_version_warning = True  # it would go to stdout
        timeout_s: float = TIMEOUT_S
        num_uploaded: int = 0

        def build_kaggle_client(self) -> Any:
            """Return a connection whose every request has a timeout."""
            client = super().build_kaggle_client()
            http = client.http_client()
            http._init_session()
            for scheme in ("http://", "https://"):
                http._session.mount(scheme, _Adapter(timeout_s=self.timeout_s))
            return client

        def download_file(self, *args: Any, **options: Any) -> None:
            """Download a file in one try; the next call resumes by the marker that is left.

            The client's own retries wait 300 s for a byte, and up to 2.2.4 may append an error page to the file.
            """
            super().download_file(*args, **options, max_retries=0, timeout=self.timeout_s)

        def upload_complete(self, *args: Any, **options: Any) -> Any:
            """Upload a file with timeouts and return the client's result.

            The client makes sessions of its own, with an adapter for the upload and none for asking how far it came.
            """
            before = module.HTTPAdapter, module.requests
            module.HTTPAdapter = functools.partial(_Adapter, timeout_s=self.timeout_s)
            module.requests = _RequestsWithTimeouts(self.timeout_s)
            try:
                result = super().upload_complete(*args, **options)
            finally:
                module.HTTPAdapter, module.requests = before
            self.num_uploaded += result == module.ResumableUploadResult.COMPLETE
            return result

        def upload_file(self, path: Path, url: str) -> bool:
            """Upload a file and return whether that was completed: the client raises nothing where it was not."""
            return self.upload_complete(str(path), url, True) == module.ResumableUploadResult.COMPLETE

        def upload_files(self, request: Any, resources: Any, folder: str, *args: Any, **options: Any) -> None:
            """Upload a folder's files, all or none."""
            self.num_uploaded = 0  # in this try: progress is a try that comes further than those before it
            try:
                super().upload_files(request, resources, folder, *args, **options)
            except ValueError as error:  # 2.2.5, of an upload that failed
                raise requests.ConnectionError(str(error)) from None
            # Up to 2.2.4 a file whose upload failed is left out without a word.
            wanted = [path for path in Path(folder).iterdir() if path.name != self.DATASET_METADATA_FILE]
            if len(request.files) != len(wanted):
                raise requests.ConnectionError(f"{len(request.files)} of {len(wanted)} files were uploaded")

    return Api


@dataclass
class Kaggle:
    """A signed-in client."""

    api: Any
    patience_s: float = PATIENCE_S
    limiter: RateLimiter = field(default_factory=lambda: RateLimiter(0.0))
    quiet: bool = False
    """Retries are not logged."""

    @property
    def username(self) -> str:
        """Name of the account."""
        return self.api.config_values["username"]

    def call(self, function: Callable[[], T], *, subject: str, progress: Callable[[], int] = lambda: 0) -> T:
        """Return the result of `function`, a call of the client that may be repeated.

        Network faults, 429 (after what Retry-After says) and 5xx are retried until `patience_s` have passed since
        `progress()` last grew.

        Args:
            subject: what is asked about, for messages: a competition's slug, or "owner/slug".

        Raises:
            UserError: the user can fix it. Failure: nobody here can.
        """

        try:
            return self._retrying(function, subject, progress, is_transient)
        except _REMOTE_ERRORS as error:
            raise explain(error, subject) from None

    def call_once(self, function: Callable[[], T], *, subject: str) -> T:
        """Return the result of `function`, a call that must not be repeated blindly: only 429 surely had no effect.

        Raises:
            OutcomeUnknown: it may have taken effect. UserError, Failure: it has not.
        """
        try:
            return self._retrying(function, subject, lambda: 0, lambda error: status_of(error) == 429)
        except _REMOTE_ERRORS as error:
            status = status_of(error)
            if status is None or not 400 <= status < 500:
                raise OutcomeUnknown(str(explain(error, subject))) from None
            raise explain(error, subject) from None

    def _retrying(
        self,
        function: Callable[[], T],
        subject: str,
        progress: Callable[[], int],
        transient: Callable[[BaseException], bool],
    ) -> T:
        """Call `function` at the limited rate, again and again while its errors are `transient`."""

        def limited() -> T:
            self.limiter.wait()
            return function()

        def before_sleep(state: tenacity.RetryCallState) -> None:
            assert state.outcome is not None
            error = state.outcome.exception()
            assert error is not None
            if status_of(error) == 429:
                self.limiter.hold(state.upcoming_sleep)
            if not self.quiet and (state.attempt_number > 1 or state.upcoming_sleep >= QUIET_S):
                log.warning("%s; trying again in %.0f s", explain(error, subject), state.upcoming_sleep)

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(transient),
            wait=next_wait_s,
            stop=RetryDeadline(self.patience_s, progress),
            before_sleep=before_sleep,
            sleep=lambda seconds: time.sleep(seconds),  # looked up anew, so that tests need not wait
            reraise=True,
        )(limited)


class OutcomeUnknown(Exception):
    """The answer to a request was lost: it may have taken effect or not."""


# The client raises these for what a server may answer: RequestException is an OSError, a JSON fault a ValueError; an
# unknown name of an enum is a KeyError, a null list a TypeError.
_REMOTE_ERRORS = (requests.RequestException, OSError, ValueError, KeyError, TypeError, AttributeError)


def connect(
    *,
    timeout_s: float | None = None,
    patience_s: float = PATIENCE_S,
    requests_per_s: float = 4.0,
    quiet: bool = False,
) -> Kaggle:
    """Return the client, signed in with the credentials it finds.

    Args:
        timeout_s: without an answer or a byte, after which a connection counts as dead; default: TIMEOUT_S.
        quiet: do not log retries.

    Raises:
        UserError: no credentials, or such that do not work.
        Failure: Kaggle cannot be reached.
    """
    api = _api_class()()
    api.timeout_s = timeout_s or TIMEOUT_S
    kaggle = Kaggle(api, patience_s=patience_s, limiter=RateLimiter(1 / requests_per_s), quiet=quiet)

    def authenticate() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            api.authenticate()

    try:
        kaggle.call(authenticate, subject="your account")
    except SystemExit:
        raise UserError(how_to_get_credentials()) from None
    if api.config_values.get("auth_method") == "LEGACY_API_KEY" or not api.config_values.get("token"):
        _check_stale_token()
    return kaggle


def _check_stale_token() -> None:
    """Raise UserError where a stale access token shadows a good key.

    The client signs in with the legacy key where the token was refused, and then sends the token all the same.
    """
    from kagglesdk.kaggle_env import get_access_token_from_env

    from corolla.kaggle.credentials import find_credentials

    token, _ = get_access_token_from_env()
    if token:
        stale = next(c for c in find_credentials() if c.kind == "access token")
        raise UserError(
            f"Kaggle does not know the access token in {stale.place} any more, and it shadows your other credentials: "
            f"{stale.remove}, or put a new token there (https://www.kaggle.com/settings)"
        )
