"""Errors on the way to Kaggle and back: whether to try again, and what a person can do about it."""

import email.utils
import errno
import json
import os
import time
from urllib.parse import urlsplit

import requests
import urllib3.exceptions

from corolla.errors import Failure, UserError
from corolla.kaggle.credentials import find_credentials

SITE = "https://www.kaggle.com"
_NETWORK = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
    urllib3.exceptions.HTTPError,
)


def status_of(error: BaseException | None) -> int | None:
    """Return the HTTP status of an error, also one that only the JSON of a 200 names; None: no answer at all."""
    response = getattr(error, "response", None)
    if response is None:
        return None
    if response.status_code < 400 and isinstance(error, requests.HTTPError):
        try:
            return int(response.json()["code"])
        except (ValueError, KeyError, TypeError):
            return response.status_code
    return response.status_code


def retry_after_s(error: BaseException | None) -> float | None:
    """Return Retry-After in seconds, given as such or as a date; None where there is none that can be read."""
    response = getattr(error, "response", None)
    value = (response.headers.get("Retry-After") or "").strip() if response is not None else ""
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def is_transient(error: BaseException) -> bool:
    """Return whether the same request may well succeed in a moment."""
    if isinstance(error, requests.exceptions.SSLError):
        return False
    if isinstance(error, requests.HTTPError):
        status = status_of(error) or 0
        # A file's signed address expires; asking anew gives another.
        return status in (408, 425, 429) or status >= 500 or (status >= 400 and _is_from_storage(error))
    return isinstance(error, _NETWORK) and not isinstance(error, json.JSONDecodeError)


def _is_from_storage(error: requests.HTTPError) -> bool:
    """Return whether it was the file storage that answered, not the API."""
    return error.response is not None and "Service/" not in urlsplit(error.response.url).path


def explain(error: BaseException, subject: str) -> UserError | Failure:
    """Return the error in one line that says what to do; never an address with its signature, never a key."""
    if isinstance(error, UserError | Failure):
        return error
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return _explain_status(error, subject)
    if isinstance(error, requests.exceptions.SSLError):
        return UserError(
            f"{subject}: the certificate of Kaggle's server is not trusted here; behind a company's proxy, name its "
            "certificate with REQUESTS_CA_BUNDLE"
        )
    if isinstance(error, requests.Timeout | urllib3.exceptions.ReadTimeoutError):
        return Failure(f"{subject}: Kaggle is silent")
    if isinstance(error, json.JSONDecodeError | requests.exceptions.JSONDecodeError):
        return Failure(
            f"{subject}: what answered is not Kaggle's API but a web page or the like; is there a sign-in page in this "
            "network, or maintenance at https://www.kaggle.com?"
        )
    if isinstance(error, _NETWORK):
        return Failure(f"{subject}: the connection to Kaggle failed ({_reason(error)})")
    if isinstance(error, ValueError) and "header" in str(error).lower():
        used = find_credentials()
        place = f" in {used[0].place}" if used else ""
        return UserError(
            f"the {used[0].kind if used else 'key'}{place} holds a line break or the like: put it there anew"
        )
    if isinstance(error, OSError):
        advice = "; make room and run the same command again" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        return UserError(f"{error.filename or subject}: {error.strerror or type(error).__name__}{advice}")
    # Not its words: they may quote what was sent, the key among it.
    return Failure(
        f"{subject}: an answer of Kaggle's that this client does not understand ({type(error).__name__}); a newer one "
        "may: pip install -U kaggle"
    )


def _reason(error: BaseException) -> str:
    """Return the innermost cause, such as `Connection reset by peer`: urllib3 wraps it with addresses."""
    inner: BaseException | None = error
    for _ in range(10):
        if inner is None:
            break
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
        args = [arg for arg in (*inner.args, getattr(inner, "reason", None)) if isinstance(arg, BaseException)]
        inner = args[0] if args else inner.__cause__ or inner.__context__
    text = " ".join(str(error).split())
    return text[:120] if "://" not in text and "0x" not in text else type(error).__name__


def _explain_status(error: requests.HTTPError, subject: str) -> UserError | Failure:
    """Return what an answer's status means and what to do about it."""
    status, said = status_of(error) or 0, _server_message(error)
    if _is_from_storage(error):
        return Failure(f"{subject}: Kaggle's storage answered {status}")
    if status == 401:
        used = find_credentials()
        place = f" in {used[0].place}" if used else ""
        if os.environ.get("KAGGLE_TOKEN"):
            return UserError(
                "Kaggle does not accept KAGGLE_TOKEN, which is sent in your key's place (401): unset KAGGLE_TOKEN"
            )
        return UserError(
            f"Kaggle does not accept the {used[0].kind if used else 'credentials'}{place} (401): make a new one at "
            f"{SITE}/settings and put it there"
        )
    if "/" in subject and 400 <= status < 500 and status != 429:  # a dataset or a notebook
        return UserError(f"{subject}: Kaggle refuses ({status}: {said})")
    if status == 403:
        return UserError(
            f"{subject}: Kaggle refuses access (403: {said}); sign in and accept the rules at "
            f"{SITE}/competitions/{subject}/rules, and see that {subject!r} is the slug in the competition's address"
        )
    if status == 404:
        return UserError(
            f"{subject}: Kaggle does not know it (404: {said}); the slug is the last part of the address, such as "
            f"tpu-getting-started in {SITE}/competitions/tpu-getting-started"
        )
    if status == 429:
        wait = retry_after_s(error)
        advice = "" if wait is None else f"; it asks to wait {wait:.0f} s"
        return Failure(f"{subject}: too many requests for Kaggle's limit (429){advice}")
    if status >= 500:
        return Failure(f"{subject}: Kaggle answered {status}, a fault on its side")
    return UserError(f"{subject}: Kaggle refuses ({status}: {said})")


def _server_message(error: requests.HTTPError) -> str:
    """Return the server's own words, in one short line."""
    assert error.response is not None
    try:
        content = error.response.json()
        said = content.get("message") or content["error"]["message"]
    except (ValueError, KeyError, TypeError, AttributeError):
        said = error.response.reason or "no reason given"
    return " ".join(str(said).split())[:300].rstrip(".")
