"""Downloads published checkpoints from the Hugging Face Hub.

`huggingface_hub` does the transport: cache folder, progress bar (only if stderr is a terminal), an interrupted
connection resumed at the byte it stopped at, HF_ENDPOINT, HF_HUB_OFFLINE, HF_HOME, HF_TOKEN. What is added here:

- A checkpoint that lies complete in the cache is used without any request: a second run needs no network.
- Weights are hashed once, right after the download, against the sha256 in the table of `published` or, if it has none,
  against the one that the server states. The result is kept beside them in sha256sum's own format
  (`model.safetensors.sha256`), so later runs compare two lines and two dates instead of reading 250 MB again.
- The server is asked one short question first, so that a silent one costs seconds, and every failure is one sentence
  that says what to do instead.

Weights are what Hugging Face names them, safetensors before pickles. Left out: files of other names, uploads, and
resuming a download whose process was killed: huggingface_hub starts it anew and leaves the first pieces in its cache.
"""

import contextlib
import difflib
import hashlib
import os
import re
import warnings
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from ..system.checks import wrong
from ..system.paths import SHIPPED_MODELS
from .published import HUB_ID, NAMES, PUBLISHED, Published, plain_name, published
from .sources import FOLDER_FILES, read_weight_map

WEIGHTS = "model.safetensors"
_SHA256 = re.compile("[0-9a-f]{64}")


def download(source, local_files_only=False):
    """The local folder of a published name's or a Hub id's checkpoint, downloaded unless the cache has it.

    source            "pvt_tiny", "timm/pvt_v2_b0.in1k", "org/name", "org/name@revision", or as `plain_name` reads it
    local_files_only  True forbids any request

    The server may take HF_HUB_ETAG_TIMEOUT seconds to answer, by default 10; once the weights flow,
    HF_HUB_DOWNLOAD_TIMEOUT limits each silence, and five new attempts are made.

    The folder holds config.json, model.safetensors or else pytorch_model.bin (or an index and its shards) and, if the
    repository has one, preprocessor_config.json. If no request is allowed, what the cache does not know is taken for
    absent. Raises ValueError for an unknown name or a wrong hash, FileNotFoundError, PermissionError,
    ConnectionError or TimeoutError for what the server answers or does not, OSError for a full or read-only disk.
    """
    name, _, revision = plain_name(source).partition("@")
    row = published(name)
    if "://" in name:
        raise wrong(source, "the address of no model on the Hub", "that of one, or a file saved from it: load its path")
    if row is None and not HUB_ID.fullmatch(name):
        close = difflib.get_close_matches(source, [*PUBLISHED, *SHIPPED_MODELS], n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise wrong(source, f"no published model of that name{hint}", f"{NAMES}, or any Hub id org/name")
    wanted = row._replace(name=source) if row else Published(source, name)
    if revision not in ("", "main"):
        wanted = wanted._replace(revision=revision, sha256=None)
    try:
        from huggingface_hub import constants
    except ImportError:
        reason = "that needs the package huggingface_hub: pip install huggingface_hub (the extra [hub])"
        raise OSError(_cannot(wanted, reason, "https://huggingface.co")) from None

    with contextlib.suppress(FileNotFoundError):
        return _collect(partial(_cached, wanted), wanted)
    if local_files_only or constants.HF_HUB_OFFLINE:
        with contextlib.suppress(FileNotFoundError):
            return _collect(partial(_cached, wanted, unknown_is_absent=True), wanted)
    if local_files_only:
        reason = f"it is not in the cache folder {constants.HF_HUB_CACHE}, and no request is allowed"
        raise FileNotFoundError(_cannot(wanted, reason, constants.ENDPOINT))
    _probe(wanted)
    return _collect(partial(_fetched, wanted), wanted)


def _collect(get, wanted):
    """Gets the files of a checkpoint, weights last, through `get(name, revision)`; returns the folder they lie in.

    `get` returns a path, or None if the repository is known to lack the file. All files are of one commit: the one
    that the revision was when config.json was fetched, after which huggingface_hub names the folder.
    """
    repository, elsewhere = wanted.repository, f"{_page(wanted)} shows its files; any other can be saved and loaded"
    config = get("config.json", wanted.revision)
    if config is None:
        raise FileNotFoundError(f"{repository}: found no config.json; expected a checkpoint with one. {elsewhere}")
    folder, commit = config.parent, config.parent.name
    get("preprocessor_config.json", commit)  # optional: timm keeps its preprocessing in config.json
    readable = [name for name in FOLDER_FILES if name.startswith(WEIGHTS) or find_spec("torch")]
    first = next(((name, path) for name in readable if (path := get(name, commit))), None)
    if first is None:
        pickles = (
            "" if find_spec("torch") else ". A pytorch_model.bin needs PyTorch: pip install torch (the extra [torch])"
        )
        found = f"{repository}: found none of {', '.join(readable)}; expected one{pickles}"
        raise FileNotFoundError(f"{found}. {elsewhere}")
    weights, index = dict([first]), first[0]
    if index.endswith(".json"):
        weights = {shard: get(shard, commit) for shard in sorted(set(read_weight_map(first[1]).values()))}
    for name, path in weights.items():
        if path is None:
            raise FileNotFoundError(f"{repository}: found no {name}; expected it, for its {index} lists it")
        _verify(path, wanted)
    return folder


def _cached(wanted, name, revision, unknown_is_absent=False):
    """`get` of `_collect` without a request. FileNotFoundError if the cache does not know."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(wanted.repository, name, revision=revision)
    if found is None and not unknown_is_absent:
        raise FileNotFoundError(name)
    return Path(found) if isinstance(found, str) else None  # a mark: known to be absent


def _fetched(wanted, name, revision):
    """`get` of `_collect` that downloads."""
    from huggingface_hub import hf_hub_download

    path = _asked(wanted, hf_hub_download, wanted.repository, name, revision=revision)
    return path and Path(path)


def _probe(wanted):
    """Asks once for the weights' headers: `hf_hub_download` itself would wait minutes for a silent server.

    If the server states another sha256 than the pinned one, nothing needs to be downloaded to refuse it.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url

    address, timeout = hf_hub_url(wanted.repository, WEIGHTS, revision=wanted.revision), constants.HF_HUB_ETAG_TIMEOUT
    headers = _asked(wanted, get_hf_file_metadata, address, timeout=timeout)
    if headers is None and wanted.sha256:
        raise _refused(wanted, WEIGHTS, "no such file any more", wanted.sha256)
    if headers is None:
        return  # sharded or a pickle perhaps; `_collect` will see
    if headers.commit_hash is None:
        reason = f"what answers at {constants.ENDPOINT} is not a Hugging Face Hub (a login page of the network?)"
        raise ConnectionError(_cannot(wanted, reason, constants.ENDPOINT))
    if wanted.sha256 and _SHA256.fullmatch(headers.etag or "") and headers.etag != wanted.sha256:
        raise _refused(wanted, WEIGHTS, f"sha256 {headers.etag} (nothing was downloaded)", wanted.sha256)


def _asked(wanted, function, *arguments, **options):
    """What a function of huggingface_hub returns, or None if the repository lacks the file."""
    from huggingface_hub.errors import RemoteEntryNotFoundError

    try:
        with warnings.catch_warnings():
            # About free space, which the write itself will tell, and Windows without links, which costs only space.
            warnings.simplefilter("ignore")
            return function(*arguments, **options)
    except RemoteEntryNotFoundError:
        return None
    except Exception as error:  # huggingface_hub's, its HTTP client's and hf_xet's errors share no base
        raise _explained(error, wanted) from error


def _verify(path, wanted):
    """Raises ValueError if weights have not the right sha256, and removes them if they are damaged.

    Right is the pin or, without one, what the server stated, after which huggingface_hub names the cached file that
    `path` links to (on Windows without links nothing is stated; the length was compared).
    """
    stated = Path(os.readlink(path)).name if path.is_symlink() else ""
    expected = wanted.sha256 if wanted.sha256 and path.name == WEIGHTS else stated
    record, line = path.with_name(f"{path.name}.sha256"), f"{expected}  {path.name}\n"
    hashed = record.is_file() and record.stat().st_mtime >= path.stat().st_mtime
    if not _SHA256.fullmatch(expected) or (hashed and record.read_bytes() == line.encode()):
        return
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    found = digest.hexdigest()
    if found == expected:
        with contextlib.suppress(OSError):  # a read-only cache is hashed again next time
            record.write_bytes(line.encode())
        return
    fate = "left in the cache, unused"
    if found != stated:  # not even what the server meant to send
        with contextlib.suppress(OSError):
            path.resolve().unlink()
            path.unlink(missing_ok=True)
            fate = "removed; the next run downloads it anew"
    raise _refused(wanted, path.name, f"sha256 {found} ({fate})", expected)


def _refused(wanted, name, found, sha256):
    return ValueError(
        f"{name} of {wanted.repository}: found {found}; expected sha256 {sha256}. To use it all the same, save the "
        "repository's files in a folder by hand and load that folder"
    )


def _explained(error, wanted):
    """What to raise for an error of huggingface_hub: one sentence, with what to do."""
    from huggingface_hub import constants, errors

    endpoint, repository, cache = constants.ENDPOINT, wanted.repository, constants.HF_HUB_CACHE
    log_in = "log in with `hf auth login`, or set HF_TOKEN"
    if isinstance(error, errors.RepositoryNotFoundError) and not isinstance(error, errors.GatedRepoError):
        found = f"{wanted.name}: found no local folder and no repository {repository} at {endpoint}"
        return FileNotFoundError(f"{found}; expected one of them, or {NAMES}. If it is private, {log_in}")
    if isinstance(error, errors.RevisionNotFoundError):
        found = f"{wanted.name}: found no revision {wanted.revision!r} of {repository} at {endpoint}"
        return FileNotFoundError(f"{found}; expected a branch, a tag or a whole commit, or none: main")
    if isinstance(error, OSError) and error.errno:  # only the disk's errors carry a number
        found = f"{wanted.name}: found no place for it in the cache folder {cache} ({os.strerror(error.errno)})"
        return OSError(f"{found}; expected room and access there, or another folder in HF_HOME")
    cause = error.__cause__ or error  # LocalEntryNotFoundError hides the reason
    status = getattr(getattr(cause, "response", None), "status_code", None)
    detail = (str(cause) or type(cause).__name__).splitlines()[0]
    reasons = [  # the first that applies
        (isinstance(error, errors.GatedRepoError), PermissionError,
         f"{endpoint}/{repository} is gated: accept its terms there and {log_in}"),
        (status in (401, 403), PermissionError,
         f"{endpoint} denies access ({status}); is the token in HF_TOKEN a valid one?"),
        (status, ConnectionError, f"{endpoint} answered {status}"),
        (isinstance(cause, errors.OfflineModeIsEnabled), ConnectionError,
         f"HF_HUB_OFFLINE is set, and it is not in the cache folder {cache}"),
        ("Timeout" in type(cause).__name__, TimeoutError, f"{endpoint} did not answer in time"),
        (True, ConnectionError, f"{endpoint} could not be reached ({detail})"),
    ]  # fmt: skip
    _, raised, reason = next(row for row in reasons if row[0])
    return raised(_cannot(wanted, reason, endpoint))


def _cannot(wanted, reason, endpoint):
    return (
        f"{wanted.name}: found no way to download it: {reason}; expected one. Either save config.json, the weights and "
        f"any preprocessor_config.json from {_page(wanted, endpoint)} in a folder and load that folder, "
        "or name no model: the one that ships needs no download"
    )


def _page(wanted, endpoint=None):
    """The address where a repository's files are listed."""
    if endpoint is None:
        from huggingface_hub.constants import ENDPOINT as endpoint
    return f"{endpoint}/{wanted.repository}/tree/{wanted.revision}"
