"""Published checkpoints: one table of them, and their download from the Hugging Face Hub.

`huggingface_hub` does the transport: cache folder, progress bar (only if stderr is a terminal), an interrupted
connection resumed at the byte it stopped at, HF_ENDPOINT, HF_HUB_OFFLINE, HF_HOME, HF_TOKEN. What is added here:

- A checkpoint that lies complete in the cache is used without any request: a second run needs no network.
- Weights are hashed once, right after the download, against the sha256 in the table below or, if it has none, against
  the one that the server states. The result is kept beside them in sha256sum's own format
  (`model.safetensors.sha256`), so later runs compare two lines and two dates instead of reading 250 MB again.
- The server is asked one short question first, so that a silent one costs seconds, and every failure is one sentence
  that says what to do instead.

Weights are what Hugging Face names them, safetensors before pickles. Left out: files of other names, uploads, and
resuming a download whose process was killed: huggingface_hub starts it anew and leaves the first pieces in its cache.
"""

import contextlib
import difflib
import hashlib
import math
import os
import re
import warnings
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from ..system.checks import wrong
from ..system.paths import SHIPPED_MODELS
from .sources import FOLDER_FILES, read_weight_map

WEIGHTS = "model.safetensors"


class Published(NamedTuple):
    """One row of the table below, or any other repository on the Hub.

    name        what the user calls it
    repository  its id on the Hub
    recipe      one of recipes.RECIPES, which it brings; the epsilons go with it: "timm" has 1e-5 in the patch-embed
                and SRA norms, as the official code, and Hugging Face's 1e-6 everywhere
    megabytes   size of the weights, as the repository's page showed it; None if it was not recorded
    sha256      of the weights, as that page showed it; None if it was not recorded
    revision    a branch, a tag or a commit; a pinned sha256 is that of main
    """

    name: str
    repository: str
    recipe: str | None = None
    megabytes: float | None = None
    sha256: str | None = None
    revision: str = "main"


TABLE = """
name                    repository                  recipe       MB    sha256
pvt_tiny                Zetatech/pvt-tiny-224       hf           52.9  afa86f52bada08f84dab81dd633c6207bbc7802bd4cb24ef9d089cc09488985d
pvt_small               Zetatech/pvt-small-224      hf           -     -
pvt_medium              Zetatech/pvt-medium-224     hf           177   b21840e63a3ba0a30d7ff8d1153cbb5a630f638df2c1ef71d941e9318af63192
pvt_large               Zetatech/pvt-large-224      hf           246   3e22c4983336c00625daee8934ed7fd280d854b3faecfad15be4b00f3f91a3ce
pvt_v2_b0               OpenGVLab/pvt_v2_b0         hf-bilinear  14.7  83f9f76db888d15a114a2a4f29f7a951cd22faaa461ded0e64d97c120bcc6314
pvt_v2_b1               OpenGVLab/pvt_v2_b1         hf-bilinear  56.1  ce664e249b8d37bff2b212d7a32c29bff7ff8b6ea01f99ddb830b5465b347c5d
pvt_v2_b2               OpenGVLab/pvt_v2_b2         hf-bilinear  101   7de92c6b5d39f1b50f7d4a3f45ec5c18c56f171b370f05c34d70ae977db0b61d
pvt_v2_b2_li            OpenGVLab/pvt_v2_b2_linear  hf-bilinear  90.3  -
pvt_v2_b3               OpenGVLab/pvt_v2_b3         hf-bilinear  181   -
pvt_v2_b4               OpenGVLab/pvt_v2_b4         hf-bilinear  250   8ff81ec569db6a14bd1d3cd134300ef470295e15c68a3d05ea4c0d07df3b1d38
pvt_v2_b5               OpenGVLab/pvt_v2_b5         hf-bilinear  328   ccbc55cf99f06303b7bf5c7a34f9774e41143e127f17eedbb922f2d3d1755312
timm/pvt_v2_b0.in1k     timm/pvt_v2_b0.in1k         timm         14.7  d0927f8c963fa7ae1ca6cd459449a076a954c561245ca6025103fceffd2df34c
timm/pvt_v2_b1.in1k     timm/pvt_v2_b1.in1k         timm         -     -
timm/pvt_v2_b2.in1k     timm/pvt_v2_b2.in1k         timm         -     -
timm/pvt_v2_b2_li.in1k  timm/pvt_v2_b2_li.in1k      timm         -     -
timm/pvt_v2_b3.in1k     timm/pvt_v2_b3.in1k         timm         -     -
timm/pvt_v2_b4.in1k     timm/pvt_v2_b4.in1k         timm         -     -
timm/pvt_v2_b5.in1k     timm/pvt_v2_b5.in1k         timm         -     -
"""  # noqa: E501


PUBLISHED = {
    name: Published(name, repository, recipe, None if size == "-" else float(size), None if sha256 == "-" else sha256)
    for name, repository, recipe, size, sha256 in map(str.split, TABLE.strip().splitlines()[1:])
}

# Of the authors' own weights, with the authors' own recipe. The repositories above bring other recipes, so these
# numbers are kept, and printed, apart from them.
OFFICIAL_TOP1 = {
    "pvt_tiny": 75.1, "pvt_small": 79.8, "pvt_medium": 81.2, "pvt_large": 81.7,
    "pvt_v2_b0": 70.5, "pvt_v2_b1": 78.7, "pvt_v2_b2": 82.0, "pvt_v2_b2_li": 82.1,
    "pvt_v2_b3": 83.1, "pvt_v2_b4": 83.6, "pvt_v2_b5": 83.8,
}  # fmt: skip

_RECIPES = {  # in words, for the table
    "hf": "squash to 224x224 (filter not pinned)",
    "hf-bilinear": "squash to 224x224, bilinear",
    "timm": "short side 248 bicubic, crop 224",
}
_SHIPPED = {
    "pvt_v2_b0_imagenette": "PVT v2 b0, pictures of 224 x 224; without a name it is this one",
    "pvt_v1_nano_imagenette": "PVT v1, small, pictures of 64 x 64; has a class token and position tables",
}
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9_.-]+")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+-]*")
_ADDRESS = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/", re.IGNORECASE)
_SHA256 = re.compile("[0-9a-f]{64}")
_FILE_SUFFIXES = (".safetensors", ".json", ".pth", ".pt", ".bin", ".npz", ".h5", ".onnx")
_NAMES = f"a published name ({', '.join(name for name in PUBLISHED if '/' not in name)}, timm/NAME.in1k of each v2)"


def published(source):
    """The row for a published name or for a repository of the table; None for anything else.

    >>> published("pvt_tiny") is published("Zetatech/pvt-tiny-224")
    True
    """
    return PUBLISHED.get(source) or next((row for row in PUBLISHED.values() if row.repository == source), None)


def is_hub_name(source):
    """Whether `source` names something to download: a published name, or any other repository as `plain_name` reads it.

    What exists on disk is never taken for a name, nor is a pathlib.Path, nor a mistyped path of a weight file.

    >>> [is_hub_name(source) for source in ("pvt_v2_b0", "lecture/my-pvt@v2", "weights/lost.safetensors", "./a/b")]
    [True, True, False, False]
    """
    if not isinstance(source, str):
        return False
    name, _, revision = plain_name(source).partition("@")
    known = published(name) or (_HUB_ID.fullmatch(name) and not name.endswith(_FILE_SUFFIXES))
    named = "://" in name or (known and _REVISION.fullmatch(revision or "main"))
    return bool(named) and not Path(source).exists()


def plain_name(source):
    """What is meant by timm's "hf-hub:owner/name", "owner/name@revision" or an address copied from a browser.

    >>> plain_name("https://huggingface.co/owner/name/tree/v2"), plain_name("hf-hub:owner/name"), plain_name("pvt_tiny")
    ('owner/name@v2', 'owner/name', 'pvt_tiny')
    """
    name = re.sub("^hf[-_]hub:", "", source)
    address = _ADDRESS.match(name) or re.match(re.escape(os.environ.get("HF_ENDPOINT", "-").rstrip("/")) + "/", name)
    if not address:
        return name
    parts = re.split("[?#]", name[address.end() :])[0].strip("/").split("/")
    (kind, revision), file = [*parts[2:4], "", ""][:2], "/".join(parts[4:])
    if kind not in ("", "tree", "blob", "resolve", "commit") or file not in ("", "config.json", *FOLDER_FILES):
        return name
    return f"{'/'.join(parts[:2])}@{unquote(revision)}".removesuffix("@").removesuffix("@main")


def list_models():
    """The published checkpoints as text, a table for people."""
    from ..config import VARIANTS
    from ..parameters import parameter_shapes

    lines = [
        "Checkpoints that are downloaded by name on first use (* sha256 known and checked):",
        "",
        f"{'NAME':<24}{'REPOSITORY':<28}{'PARAMETERS':>10}  {'DOWNLOAD':>9}  RECIPE",
    ]
    for name, row in PUBLISHED.items():
        variant = name.removeprefix("timm/").removesuffix(".in1k")
        parameters = sum(math.prod(shape) for shape in parameter_shapes(VARIANTS[variant]).values())
        # If the size was not recorded: float32, four bytes each, and a small header.
        size = f"{row.megabytes:.3g} MB" if row.megabytes else f"~{parameters * 4e-6:.3g} MB"
        pinned = "*" if row.sha256 else " "
        lines.append(f"{name:<24}{row.repository:<28}{parameters:>10,}  {size:>8}{pinned}  {_RECIPES[row.recipe]}")
    lines += [
        "",
        "ImageNet top-1 of the authors' weights, official protocol (short side 256 bicubic, centre crop 224), in %:",
        *(f"  {variant:<14}{top1}" for variant, top1 in OFFICIAL_TOP1.items()),
        "The repositories above bring the recipes listed beside them, for which these accuracies do not hold.",
        "",
        "Models that ship, by name and without a download, for Imagenette's ten classes:",
        *(f"  {name:<24}{_SHIPPED[name]}" for name in SHIPPED_MODELS),
        "Any other PVT on the Hub works too, as ORG/NAME or ORG/NAME@REVISION.",
    ]
    return "\n".join(lines)


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
    if row is None and not _HUB_ID.fullmatch(name):
        close = difflib.get_close_matches(source, [*PUBLISHED, *SHIPPED_MODELS], n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise wrong(source, f"no published model of that name{hint}", f"{_NAMES}, or any Hub id org/name")
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
        return FileNotFoundError(f"{found}; expected one of them, or {_NAMES}. If it is private, {log_in}")
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
