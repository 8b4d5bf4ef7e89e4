"""Published checkpoints: one table of them, and their download from the Hugging Face Hub.

`huggingface_hub` does the transport: cache folder, progress bar (only where stderr is a terminal), an interrupted
connection resumed where it stopped, HF_ENDPOINT, HF_HUB_OFFLINE, HF_HOME, HF_TOKEN. What is added here:

- A checkpoint that lies complete in the cache is used without any request: a second run needs no network.
- Weights are hashed once, right after the download, against the sha256 pinned below or, where none is known, against
  the one that the server states. The result is kept beside them in sha256sum's own format
  (`model.safetensors.sha256`), so later runs compare two lines and two dates instead of reading 250 MB again.
- Every failure is one sentence that says what to do instead.

Left out: any format but safetensors (`load_model` reads the official pickles from disk), other revisions than `main`,
uploads, and resuming a download whose process was killed: huggingface_hub starts it anew and leaves the first pieces
in its cache.
"""

import contextlib
import difflib
import hashlib
import math
import os
import re
import warnings
from functools import partial
from pathlib import Path
from typing import NamedTuple

from .sources import parse_json

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


class Published(NamedTuple):
    """One row of the table below.

    repository  its id on the Hub
    recipe      the preprocessing it brings, one of recipes.RECIPES; the epsilons go with it: "timm" has 1e-5 in the
                patch-embed and SRA norms, as the official code, and Hugging Face's 1e-6 everywhere
    megabytes   size of the weights, as the repository's page showed it; None where it was not recorded
    sha256      of the weights, as that page showed it; None where it was not recorded
    """

    repository: str
    recipe: str
    megabytes: float | None = None
    sha256: str | None = None


PUBLISHED = {
    "pvt_tiny": Published(
        "Zetatech/pvt-tiny-224", "hf", 52.9, "afa86f52bada08f84dab81dd633c6207bbc7802bd4cb24ef9d089cc09488985d"
    ),
    "pvt_small": Published("Zetatech/pvt-small-224", "hf"),
    "pvt_medium": Published(
        "Zetatech/pvt-medium-224", "hf", 177, "b21840e63a3ba0a30d7ff8d1153cbb5a630f638df2c1ef71d941e9318af63192"
    ),
    "pvt_large": Published(
        "Zetatech/pvt-large-224", "hf", 246, "3e22c4983336c00625daee8934ed7fd280d854b3faecfad15be4b00f3f91a3ce"
    ),
    "pvt_v2_b0": Published(
        "OpenGVLab/pvt_v2_b0", "hf-bilinear", 14.7, "83f9f76db888d15a114a2a4f29f7a951cd22faaa461ded0e64d97c120bcc6314"
    ),
    "pvt_v2_b1": Published(
        "OpenGVLab/pvt_v2_b1", "hf-bilinear", 56.1, "ce664e249b8d37bff2b212d7a32c29bff7ff8b6ea01f99ddb830b5465b347c5d"
    ),
    "pvt_v2_b2": Published(
        "OpenGVLab/pvt_v2_b2", "hf-bilinear", 101, "7de92c6b5d39f1b50f7d4a3f45ec5c18c56f171b370f05c34d70ae977db0b61d"
    ),
    "pvt_v2_b2_li": Published("OpenGVLab/pvt_v2_b2_linear", "hf-bilinear", 90.3),
    "pvt_v2_b3": Published("OpenGVLab/pvt_v2_b3", "hf-bilinear", 181),
    "pvt_v2_b4": Published(
        "OpenGVLab/pvt_v2_b4", "hf-bilinear", 250, "8ff81ec569db6a14bd1d3cd134300ef470295e15c68a3d05ea4c0d07df3b1d38"
    ),
    "pvt_v2_b5": Published(
        "OpenGVLab/pvt_v2_b5", "hf-bilinear", 328, "ccbc55cf99f06303b7bf5c7a34f9774e41143e127f17eedbb922f2d3d1755312"
    ),
    "timm/pvt_v2_b0.in1k": Published(
        "timm/pvt_v2_b0.in1k", "timm", 14.7, "d0927f8c963fa7ae1ca6cd459449a076a954c561245ca6025103fceffd2df34c"
    ),
    "timm/pvt_v2_b1.in1k": Published("timm/pvt_v2_b1.in1k", "timm"),
    "timm/pvt_v2_b2.in1k": Published("timm/pvt_v2_b2.in1k", "timm"),
    "timm/pvt_v2_b2_li.in1k": Published("timm/pvt_v2_b2_li.in1k", "timm"),
    "timm/pvt_v2_b3.in1k": Published("timm/pvt_v2_b3.in1k", "timm"),
    "timm/pvt_v2_b4.in1k": Published("timm/pvt_v2_b4.in1k", "timm"),
    "timm/pvt_v2_b5.in1k": Published("timm/pvt_v2_b5.in1k", "timm"),
}

# Of the authors' own weights under the authors' own protocol. The repositories above bring other preprocessing, so
# these numbers are kept, and printed, apart from them.
OFFICIAL_TOP1 = {
    "pvt_tiny": 75.1, "pvt_small": 79.8, "pvt_medium": 81.2, "pvt_large": 81.7,
    "pvt_v2_b0": 70.5, "pvt_v2_b1": 78.7, "pvt_v2_b2": 82.0, "pvt_v2_b2_li": 82.1,
    "pvt_v2_b3": 83.1, "pvt_v2_b4": 83.6, "pvt_v2_b5": 83.8,
}  # fmt: skip
OFFICIAL_PROTOCOL = "short side 256 bicubic, centre crop 224"

_RECIPES = {
    "hf": "squash to 224x224 (filter not pinned)",
    "hf-bilinear": "squash to 224x224, bilinear",
    "timm": "short side 248 bicubic, crop 224",
}
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9_.-]+")
_OWN_RISK = "to use it all the same, save the repository's files in a folder by hand and pass that folder as --model"
_FILE_SUFFIXES = (".safetensors", ".json", ".pth", ".pt", ".bin", ".npz", ".h5", ".onnx")


def published(source):
    """The row for a published name or for a repository of the table; None for anything else.

    >>> published("pvt_tiny") is published("Zetatech/pvt-tiny-224")
    True
    """
    return PUBLISHED.get(source) or next((row for row in PUBLISHED.values() if row.repository == source), None)


def is_hub_name(source):
    """Whether `source` names something to download: a published name, or the `org/name` of any other repository.

    What exists on disk is never taken for a name, nor is a pathlib.Path, nor a mistyped path of a weight file.

    >>> [is_hub_name(source) for source in ("pvt_v2_b0", "lecture/my-pvt", "weights/lost.safetensors", "./a/b")]
    [True, True, False, False]
    """
    if not isinstance(source, str):
        return False
    named = published(source) or (_HUB_ID.fullmatch(source) and not source.endswith(_FILE_SUFFIXES))
    return bool(named) and not Path(source).exists()


def list_models():
    """The published checkpoints as text, for `classify --list-models`."""
    from ..config import VARIANTS
    from ..parameters import parameter_shapes

    lines = [
        "Checkpoints that --model NAME downloads on first use (* sha256 known and checked):",
        "",
        f"{'NAME':<24}{'REPOSITORY':<28}{'PARAMETERS':>10}  {'DOWNLOAD':>9}  PREPROCESSING",
    ]
    for name, row in PUBLISHED.items():
        variant = name.removeprefix("timm/").removesuffix(".in1k")
        parameters = sum(math.prod(shape) for shape in parameter_shapes(VARIANTS[variant]).values())
        # Where the size was not recorded: float32, four bytes each, and a small header.
        size = f"{row.megabytes:.3g} MB" if row.megabytes else f"~{parameters * 4e-6:.3g} MB"
        pinned = "*" if row.sha256 else " "
        lines.append(f"{name:<24}{row.repository:<28}{parameters:>10,}  {size:>8}{pinned}  {_RECIPES[row.recipe]}")
    lines += [
        "",
        f"ImageNet top-1 of the authors' weights, official protocol ({OFFICIAL_PROTOCOL}), in %:",
        *(f"  {variant:<14}{top1}" for variant, top1 in OFFICIAL_TOP1.items()),
        "The repositories above bring the preprocessing listed beside them, for which these accuracies do not hold.",
        "",
        "Any other Hub id ORG/NAME of a PVT works too. Without --model: the model that is shipped, no download.",
    ]
    return "\n".join(lines)


def download(source, local_files_only=False, timeout=None):
    """The local folder of a published name's or a Hub id's checkpoint, downloaded unless the cache has it.

    source            "pvt_tiny", "timm/pvt_v2_b0.in1k", "org/name"
    local_files_only  True forbids any request
    timeout           seconds the server may take to answer (HF_HUB_ETAG_TIMEOUT, by default 10); once the weights
                      flow, HF_HUB_DOWNLOAD_TIMEOUT limits each silence and five new attempts are made

    The folder holds config.json, model.safetensors (or an index and its shards) and, where the repository has one,
    preprocessor_config.json. Raises ValueError for an unknown name or a wrong hash, FileNotFoundError, PermissionError,
    ConnectionError or TimeoutError for what the server answers or does not, OSError for a full or read-only disk.
    """
    row = published(source)
    if row is None and not _HUB_ID.fullmatch(source):
        close = difflib.get_close_matches(source, PUBLISHED, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise ValueError(f"no published model is called {source!r}; {hint}{_known_names()}, or any Hub id org/name")
    repository, pin = (row.repository, row.sha256) if row else (source, None)
    try:
        from huggingface_hub import constants
    except ImportError:
        reason = "that needs the package huggingface_hub, which is not installed"
        raise OSError(_cannot(source, repository, reason, "https://huggingface.co")) from None

    timeout = constants.HF_HUB_ETAG_TIMEOUT if timeout is None else timeout
    with contextlib.suppress(FileNotFoundError):
        return _collect(partial(_cached, repository, pin), repository)
    if local_files_only:
        reason = f"it is not in the cache folder {constants.HF_HUB_CACHE}, and no request is allowed"
        raise FileNotFoundError(_cannot(source, repository, reason, constants.ENDPOINT))
    _probe(source, repository, pin, timeout)
    return _collect(partial(_fetched, source, repository, pin, timeout), repository)


def _collect(get, repository):
    """Gets the files of a checkpoint, weights last, through `get(name, revision)`; returns the folder they lie in.

    `get` returns a path, or None where the repository is known to lack the file. All files are of one commit: the one
    that `main` was when config.json was fetched, after which huggingface_hub names the folder.
    """
    config = get("config.json", "main")
    if config is None:
        raise FileNotFoundError(f"{repository} has no config.json, so it is not a checkpoint this package can read")
    folder, commit = config.parent, config.parent.name
    get("preprocessor_config.json", commit)  # optional: timm keeps its preprocessing in config.json
    if get(WEIGHTS, commit) is None:
        index = get(INDEX, commit)
        if index is None:
            raise FileNotFoundError(f"{repository} has neither {WEIGHTS} nor {INDEX}; only safetensors can be read")
        try:
            shards = sorted(set(parse_json(index.read_text(encoding="utf-8"))["weight_map"].values()))
            if outside := [shard for shard in shards if Path(shard).name != shard]:
                raise ValueError(f"{outside[0]!r} is not the name of a file")
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"{INDEX} of {repository} has no readable weight_map ({error})") from None
        for shard in shards:
            if get(shard, commit) is None:
                raise FileNotFoundError(f"{repository} lacks {shard}, which its {INDEX} lists")
    return folder


def _cached(repository, pin, name, revision):
    """`get` of `_collect` without a request. FileNotFoundError where the cache does not know."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, name, revision=revision)
    if found is None:
        raise FileNotFoundError(f"{name} of {repository} is not in the cache")
    return _verified(Path(found), repository, pin) if isinstance(found, str) else None  # a mark: known to be absent


def _fetched(source, repository, pin, timeout, name, revision):
    """`get` of `_collect` that downloads."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        with warnings.catch_warnings():
            # About free space, which the write itself will tell, and Windows without links, which costs only space.
            warnings.simplefilter("ignore")
            path = hf_hub_download(repository, name, revision=revision, etag_timeout=timeout)
    except Exception as error:  # huggingface_hub's, its HTTP client's and hf_xet's errors share no base
        if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            return None
        raise _explained(error, source, repository) from error
    return _verified(Path(path), repository, pin)


def _probe(source, repository, pin, timeout):
    """Asks once for the weights' headers: `hf_hub_download` itself would wait minutes for a silent server.

    Where the server states another sha256 than the pinned one, nothing needs to be downloaded to refuse it.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    try:
        headers = get_hf_file_metadata(hf_hub_url(repository, WEIGHTS), timeout=timeout)
    except EntryNotFoundError:
        if pin:
            raise ValueError(f"{repository} no longer has the published {WEIGHTS}, sha256 {pin}; {_OWN_RISK}") from None
        return  # sharded perhaps; `_collect` will see
    except Exception as error:
        raise _explained(error, source, repository) from error
    if headers.commit_hash is None:
        reason = f"what answers at {constants.ENDPOINT} is not a Hugging Face Hub (a login page of the network?)"
        raise ConnectionError(_cannot(source, repository, reason, constants.ENDPOINT))
    if pin and _is_sha256(headers.etag) and headers.etag != pin:
        found = f"the server states sha256 {headers.etag}, expected {pin} (nothing was downloaded)"
        raise ValueError(f"{WEIGHTS} of {repository} is refused: {found}; {_OWN_RISK}")


def _verified(path, repository, pin):
    """Returns `path` if it is no weight file or has the right sha256; else ValueError, and a damaged file is removed.

    Right is the pin or, without one, what the server stated, after which huggingface_hub names the cached file that
    `path` links to (on Windows without links nothing is stated; the length was compared).
    """
    if path.suffix != ".safetensors":
        return path
    stated = Path(os.readlink(path)).name if path.is_symlink() else None
    expected = pin if pin and path.name == WEIGHTS else stated
    if not _is_sha256(expected):
        return path
    record, line = path.with_name(f"{path.name}.sha256"), f"{expected}  {path.name}\n"
    if record.is_file() and record.stat().st_mtime >= path.stat().st_mtime and record.read_bytes() == line.encode():
        return path
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    found = digest.hexdigest()
    if found == expected:
        with contextlib.suppress(OSError):  # a read-only cache is hashed again next time
            record.write_bytes(line.encode())
        return path
    fate = "left in the cache, unused"
    if found != stated:  # not even what the server meant to send
        with contextlib.suppress(OSError):
            path.resolve().unlink()
            path.unlink(missing_ok=True)
            fate = "removed; the next run downloads it anew"
    found = f"its sha256 is {found}, expected {expected} ({fate})"
    raise ValueError(f"{path.name} of {repository} is refused: {found}; {_OWN_RISK}")


def _explained(error, source, repository):
    """What to raise for an error of huggingface_hub: one sentence, with what to do."""
    from huggingface_hub import constants, errors

    endpoint = constants.ENDPOINT
    log_in = "log in with `hf auth login`, or set HF_TOKEN"
    if isinstance(error, errors.GatedRepoError):
        return PermissionError(f"{endpoint}/{repository} is gated: accept its terms there and {log_in}")
    if isinstance(error, errors.RepositoryNotFoundError):
        found = f"no local folder and no repository {repository} at {endpoint}"
        return FileNotFoundError(f"{found} (if it is private, {log_in}); {_known_names()}")
    if isinstance(error, OSError) and error.errno:  # only the disk's errors carry a number
        where = f"cannot store {source} in the cache folder {constants.HF_HUB_CACHE}: {os.strerror(error.errno)}"
        return OSError(f"{where}; make room or get access there, or name another folder in HF_HOME")
    cause = error.__cause__ or error  # LocalEntryNotFoundError hides the reason
    status = getattr(getattr(cause, "response", None), "status_code", None)
    kind = ConnectionError
    if status in (401, 403):
        kind, reason = PermissionError, f"{endpoint} denies access ({status}); is the token in HF_TOKEN a valid one?"
    elif status:
        reason = f"{endpoint} answered {status}"
    elif isinstance(cause, errors.OfflineModeIsEnabled):
        reason = f"HF_HUB_OFFLINE is set, and it is not in the cache folder {constants.HF_HUB_CACHE}"
    elif "Timeout" in type(cause).__name__:
        kind, reason = TimeoutError, f"{endpoint} did not answer in time"
    else:
        detail = (str(cause) or type(cause).__name__).splitlines()[0]
        reason = f"{endpoint} could not be reached ({detail})"
    return kind(_cannot(source, repository, reason, endpoint))


def _cannot(source, repository, reason, endpoint):
    return (
        f"cannot download {source}: {reason}. Either save config.json, {WEIGHTS} and, if there, "
        f"preprocessor_config.json from {endpoint}/{repository}/tree/main in a folder and pass that folder as --model, "
        "or leave --model out: the model that is shipped needs no download"
    )


def _known_names():
    names = ", ".join(name for name in PUBLISHED if "/" not in name)
    return f"published names: {names} (see python -m pvt_numpy.classify --list-models)"


def _is_sha256(text):
    return bool(text and re.fullmatch("[0-9a-f]{64}", text))
