"""Published checkpoints: one table of them, and what a source may be called that is downloaded."""

import math
import os
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from ..config import VARIANTS
from ..parameters import parameter_shapes
from ..system.paths import SHIPPED_MODELS
from .sources import FOLDER_FILES, FOREIGN_FORMATS, PICKLES


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
HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9_.-]+")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+-]*")
_ADDRESS = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/", re.IGNORECASE)
_FILE_SUFFIXES = (".safetensors", ".json", *PICKLES, *FOREIGN_FORMATS)
NAMES = f"a published name ({', '.join(name for name in PUBLISHED if '/' not in name)}, timm/NAME.in1k of each v2)"


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
    known = published(name) or (HUB_ID.fullmatch(name) and not name.endswith(_FILE_SUFFIXES))
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
