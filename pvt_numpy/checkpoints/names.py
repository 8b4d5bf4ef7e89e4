"""The names that the public PVT checkpoints give their parameters, against ours: one table, read in both directions.

Sources: github.com/whai362/PVT ("official"; v1 and v2 side by side), timm (v2 only), and Hugging Face transformers
("hf-v1", "hf-v2"). Hugging Face keeps keys and values in two layers; `kv` stacks them, keys first, as the others do.
timm's `features_only` writes `stages_0` for `stages.0`: `inside` mends that before it asks here.
Left out: timm's v1, which does not exist, and detectors' necks and heads.
"""

import re
from functools import cache

from ..system.checks import wrong

# Where a patch embedding and a block stand. i counts stages from 0, s from 1, j counts blocks from 0.
PLACES = {
    "ours": {"embed": "stages.{i}.patch_embed", "block": "stages.{i}.blocks.{j}"},
    "official": {"embed": "patch_embed{s}", "block": "block{s}.{j}"},
    "timm": {"embed": "stages.{i}.downsample", "block": "stages.{i}.blocks.{j}"},
    "hf-v1": {"embed": "pvt.encoder.patch_embeddings.{i}", "block": "pvt.encoder.block.{i}.{j}"},
    "hf-v2": {"embed": "pvt_v2.encoder.layers.{i}.patch_embedding", "block": "pvt_v2.encoder.layers.{i}.blocks.{j}"},
}
# A layer stands for its weight and its bias; "key+value" for two layers that are one here; "-" for: has none.
TABLE = """
ours                  official                timm                hf-v1                                    hf-v2
embed.proj            embed.proj              embed.proj          embed.projection                         embed.proj
embed.norm            embed.norm              embed.norm          embed.layer_norm                         embed.layer_norm
stages.{i}.pos_embed  pos_embed{s}            -                   embed.position_embeddings                -
stages.{i}.cls_token  cls_token               -                   embed.cls_token                          -
block.norm1           block.norm1             block.norm1         block.layer_norm_1                       block.layer_norm_1
block.attn.q          block.attn.q            block.attn.q        block.attention.self.query               block.attention.query
block.attn.kv         block.attn.kv           block.attn.kv       block.attention.self.key+value           block.attention.key+value
block.attn.proj       block.attn.proj         block.attn.proj     block.attention.output.dense             block.attention.proj
block.attn.sr         block.attn.sr           block.attn.sr       block.attention.self.sequence_reduction  block.attention.spatial_reduction
block.attn.norm       block.attn.norm         block.attn.norm     block.attention.self.layer_norm          block.attention.layer_norm
block.norm2           block.norm2             block.norm2         block.layer_norm_2                       block.layer_norm_2
block.mlp.fc1         block.mlp.fc1           block.mlp.fc1       block.mlp.dense1                         block.mlp.dense1
block.mlp.dwconv      block.mlp.dwconv.dwconv block.mlp.dwconv    -                                        block.mlp.dwconv.dwconv
block.mlp.fc2         block.mlp.fc2           block.mlp.fc2       block.mlp.dense2                         block.mlp.dense2
stages.{i}.norm       norm{s}                 stages.{i}.norm     -                                        pvt_v2.encoder.layers.{i}.layer_norm
norm                  norm                    -                   pvt.encoder.layer_norm                   -
head                  head                    head                classifier                               classifier
"""  # noqa: E501
BARE_PREFIX = {"hf-v1": "pvt.", "hf-v2": "pvt_v2."}  # Hugging Face's models without a head leave it out


@cache
def _rules():
    """maker -> row -> the patterns of that maker in that row: none, one, or two (keys and values)."""
    makers, *rows = (line.split() for line in TABLE.strip().splitlines())
    rules = {maker: [] for maker in makers}
    for row in rows:
        for maker, cell in zip(makers, row, strict=True):
            place, dot, layer = cell.partition(".")
            stem = PLACES[maker].get(place, place) + dot
            head, dot, pair = layer.rpartition(".")
            rules[maker].append(() if cell == "-" else tuple(stem + head + dot + one for one in pair.split("+")))
    return rules


@cache
def _readers(maker):
    """(regular expression, row, part) for every pattern of `maker`."""
    number = r"(0|[1-9]\d{0,5})"
    readers = []
    for row, patterns in enumerate(_rules()[maker]):
        for part, pattern in enumerate(patterns):
            text = re.escape(pattern)
            for letter in "isj":
                text = text.replace(re.escape(f"{{{letter}}}"), number.replace("(", f"(?P<{letter}>", 1))
            readers.append((re.compile(text + r"(\.weight|\.bias)?"), row, part))
    return readers


@cache
def _parse(name, maker):
    """`name` as (row, part, numbers, ".weight" or ".bias" or ""), or None if the table has no such name."""
    if maker == "timm" and name.startswith("patch_embed."):  # timm keeps the first patch embedding outside its stages
        name = "stages.0.downsample." + name.removeprefix("patch_embed.")
    for reader, row, part in _readers(maker):
        if match := reader.fullmatch(name):
            numbers = {letter: int(digits) for letter, digits in match.groupdict().items()}
            if "s" in numbers:
                numbers["i"] = numbers.pop("s") - 1
            leaf = match.group(match.lastindex) if name.endswith((".weight", ".bias")) else ""
            is_array = _rules()["ours"][row][0].endswith(("pos_embed", "cls_token"))
            return None if is_array == bool(leaf) or numbers.get("i", 0) < 0 else (row, part, numbers, leaf)
    return None


def file_names(name, maker, bare=False):
    """Our `name` as the checkpoints of `maker` have it: one name, or two to be stacked (keys, then values).

    `bare`: of a Hugging Face model without a head, whose names lack the model's prefix.

    >>> file_names("stages.1.blocks.0.attn.kv.bias", "hf-v2")
    ('pvt_v2.encoder.layers.1.blocks.0.attention.key.bias', 'pvt_v2.encoder.layers.1.blocks.0.attention.value.bias')
    >>> file_names("stages.0.patch_embed.proj.weight", "timm"), file_names("stages.3.cls_token", "official")
    (('patch_embed.proj.weight',), ('cls_token',))
    """
    if maker == "ours":  # the model that ships: the tables need not even be read
        return (name,)
    found = _parse(name, "ours")
    patterns = _rules()[maker][found[0]] if found else ()
    if not patterns:
        raise wrong(name, f"no name for it in a checkpoint of {maker}", "a parameter that such a checkpoint has")
    _, _, numbers, leaf = found
    numbers = {"i": 0, "j": 0} | numbers
    names = [pattern.format(**numbers, s=numbers["i"] + 1) + leaf for pattern in patterns]
    if maker == "timm":
        names = [name.replace("stages.0.downsample.", "patch_embed.") for name in names]
    return tuple(name.removeprefix(BARE_PREFIX[maker]) if bare else name for name in names)


def our_names(names, maker, bare=False):
    """Each of a checkpoint's `names` -> (ours, part); part counts the names stacked in ours. Unknown ones are left out.

    >>> our_names(["block2.0.attn.q.bias", "norm2.bias", "optimizer"], "official")
    {'block2.0.attn.q.bias': ('stages.1.blocks.0.attn.q.bias', 0), 'norm2.bias': ('stages.1.norm.bias', 0)}
    """
    prefix = BARE_PREFIX[maker] if bare else ""
    parsed = {}
    for name in names:
        found = _parse(name if name.startswith("classifier.") else prefix + name, maker)
        if found:
            parsed[name] = found
    # The official class token does not say its stage: it is always the last.
    last = max((numbers["i"] for _, _, numbers, _ in parsed.values() if "i" in numbers), default=0)
    ours = _rules()["ours"]
    return {
        name: (ours[row][0].format(**{"i": last} | numbers) + leaf, part)
        for name, (row, part, numbers, leaf) in parsed.items()
    }


@cache
def _anchor():
    """A regular expression for the name of any maker's patch embedding, behind a prefix or none."""
    row = next(row for row, patterns in enumerate(_rules()["ours"]) if patterns[0].endswith("embed.proj"))
    names = []
    for maker in PLACES:
        model, name = BARE_PREFIX.get(maker, ""), _rules()[maker][row][0]
        name = re.sub(r"\\\{.\\\}", r"\\d+", re.escape(name.removeprefix(model)))
        names.append(f"(?:{re.escape(model)})?{name}" if model else name)
    return re.compile(rf"((?:.*?\.)??)(?:{'|'.join(names)})\.weight")


def prefixes(names):
    """What stands before the names of patch embeddings, which is where a PVT may be: each prefix once.

    >>> prefixes(["head.0.weight", "model.backbone.patch_embed1.proj.weight", "stages.1.downsample.proj.weight"])
    ['model.backbone.', '']
    """
    ends = ("proj.weight", "projection.weight")  # the names of a whole file are many, and a regular expression is slow
    matches = (_anchor().fullmatch(name) for name in names if name.endswith(ends))
    return list(dict.fromkeys(match[1] for match in matches if match))


def recognise(names):
    """The (maker, bare) whose checkpoints have these names, or None. The maker that knows most of them wins.

    >>> recognise(["patch_embed.proj.weight", "stages.0.blocks.0.norm1.weight"])
    ('timm', False)
    >>> recognise(["encoder.block.0.0.layer_norm_1.weight"])
    ('hf-v1', True)
    """
    choices = [(maker, bare) for maker in PLACES for bare in ((False, True) if maker in BARE_PREFIX else (False,))]
    known = {choice: len(our_names(names, *choice)) for choice in choices}
    best = max(known, key=known.get)
    return best if known[best] else None
