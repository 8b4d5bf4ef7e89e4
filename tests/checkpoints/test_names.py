"""The table of names: against the public state dicts if the reference is at hand, against itself everywhere."""

import json
import re

import pytest

from pvt_numpy.checkpoints.names import file_names, our_names, recognise
from pvt_numpy.config import VARIANTS
from pvt_numpy.parameters import parameter_shapes
from tests.processes import shared

KINDS = {name: ("official", "timm", "hf-v2") if "v2" in name else ("official", "hf-v1") for name in VARIANTS}

# Names as the public checkpoints print them, one of every row of the table, or "-" if a maker has no such layer.
TABLES = (
    """
ours                                 official                           timm
stages.0.patch_embed.proj.weight     patch_embed1.proj.weight           patch_embed.proj.weight
stages.3.patch_embed.norm.bias       patch_embed4.norm.bias             -
stages.1.pos_embed                   pos_embed2                         -
stages.3.cls_token                   cls_token                          -
stages.2.blocks.17.norm1.weight      block3.17.norm1.weight             stages.2.blocks.17.norm1.weight
stages.0.blocks.0.attn.q.bias        block1.0.attn.q.bias               stages.0.blocks.0.attn.q.bias
stages.0.blocks.0.attn.kv.weight     block1.0.attn.kv.weight            stages.0.blocks.0.attn.kv.weight
stages.0.blocks.0.attn.proj.weight   block1.0.attn.proj.weight          stages.0.blocks.0.attn.proj.weight
stages.1.blocks.1.attn.sr.weight     block2.1.attn.sr.weight            stages.1.blocks.1.attn.sr.weight
stages.1.blocks.1.attn.norm.bias     block2.1.attn.norm.bias            stages.1.blocks.1.attn.norm.bias
stages.1.blocks.1.norm2.bias         block2.1.norm2.bias                stages.1.blocks.1.norm2.bias
stages.3.blocks.2.mlp.fc1.weight     block4.2.mlp.fc1.weight            stages.3.blocks.2.mlp.fc1.weight
stages.3.blocks.2.mlp.dwconv.weight  block4.2.mlp.dwconv.dwconv.weight  stages.3.blocks.2.mlp.dwconv.weight
stages.3.blocks.2.mlp.fc2.bias       block4.2.mlp.fc2.bias              stages.3.blocks.2.mlp.fc2.bias
stages.0.norm.weight                 norm1.weight                       stages.0.norm.weight
norm.weight                          norm.weight                        -
head.bias                            head.bias                          head.bias
stages.1.patch_embed.norm.bias       -                                  stages.1.downsample.norm.bias
""",
    """
ours                                 hf-v1                                                           hf-v2
stages.0.patch_embed.proj.weight     pvt.encoder.patch_embeddings.0.projection.weight                pvt_v2.encoder.layers.0.patch_embedding.proj.weight
stages.3.patch_embed.norm.bias       pvt.encoder.patch_embeddings.3.layer_norm.bias                  pvt_v2.encoder.layers.3.patch_embedding.layer_norm.bias
stages.1.pos_embed                   pvt.encoder.patch_embeddings.1.position_embeddings              -
stages.3.cls_token                   pvt.encoder.patch_embeddings.3.cls_token                        -
stages.2.blocks.17.norm1.weight      pvt.encoder.block.2.17.layer_norm_1.weight                      pvt_v2.encoder.layers.2.blocks.17.layer_norm_1.weight
stages.0.blocks.0.attn.q.bias        pvt.encoder.block.0.0.attention.self.query.bias                 pvt_v2.encoder.layers.0.blocks.0.attention.query.bias
stages.0.blocks.0.attn.kv.weight     pvt.encoder.block.0.0.attention.self.key.weight                 pvt_v2.encoder.layers.0.blocks.0.attention.key.weight
stages.0.blocks.0.attn.kv.weight     pvt.encoder.block.0.0.attention.self.value.weight               pvt_v2.encoder.layers.0.blocks.0.attention.value.weight
stages.0.blocks.0.attn.proj.weight   pvt.encoder.block.0.0.attention.output.dense.weight             pvt_v2.encoder.layers.0.blocks.0.attention.proj.weight
stages.1.blocks.1.attn.sr.weight     pvt.encoder.block.1.1.attention.self.sequence_reduction.weight  pvt_v2.encoder.layers.1.blocks.1.attention.spatial_reduction.weight
stages.1.blocks.1.attn.norm.bias     pvt.encoder.block.1.1.attention.self.layer_norm.bias            pvt_v2.encoder.layers.1.blocks.1.attention.layer_norm.bias
stages.1.blocks.1.norm2.bias         pvt.encoder.block.1.1.layer_norm_2.bias                         pvt_v2.encoder.layers.1.blocks.1.layer_norm_2.bias
stages.3.blocks.2.mlp.fc1.weight     pvt.encoder.block.3.2.mlp.dense1.weight                         pvt_v2.encoder.layers.3.blocks.2.mlp.dense1.weight
stages.3.blocks.2.mlp.fc2.bias       pvt.encoder.block.3.2.mlp.dense2.bias                           pvt_v2.encoder.layers.3.blocks.2.mlp.dense2.bias
norm.weight                          pvt.encoder.layer_norm.weight                                   -
head.bias                            classifier.bias                                                 classifier.bias
stages.3.blocks.2.mlp.dwconv.weight  -                                                               pvt_v2.encoder.layers.3.blocks.2.mlp.dwconv.dwconv.weight
stages.0.norm.weight                 -                                                               pvt_v2.encoder.layers.0.layer_norm.weight
""",  # noqa: E501
)
PRINTED = {}  # maker -> its name -> ours
for table in TABLES:
    (_, *makers), *rows = (line.split() for line in table.strip().splitlines())
    for column, maker in enumerate(makers, 1):
        PRINTED[maker] = {row[column]: row[0] for row in rows if row[column] != "-"}


@pytest.mark.parametrize("kind", PRINTED)
def test_every_row_as_the_checkpoints_print_it(kind):
    read = our_names(PRINTED[kind], kind)
    assert {theirs: ours for theirs, (ours, _) in read.items()} == PRINTED[kind]
    for theirs, (ours, part) in read.items():
        assert part == theirs.count(".value."), "keys are the first rows of kv, values the rest"
        assert file_names(ours, kind)[part] == theirs


@pytest.mark.parametrize("variant", VARIANTS)
def test_both_directions_lose_nothing(variant):
    names = list(parameter_shapes(VARIANTS[variant]))
    for kind in KINDS[variant]:
        theirs = [one for name in names for one in file_names(name, kind)]
        back = our_names(theirs, kind)
        assert len(set(theirs)) == len(theirs) == len(back)
        assert {ours for ours, _ in back.values()} == set(names)
        assert recognise(theirs) == (kind, False)


@pytest.mark.parametrize("variant", VARIANTS)
def test_public_state_dicts(variant):
    """Every name and shape of the real state dicts of the official code, Hugging Face and timm."""
    rows = json.loads(shared("reference/key_names.json").read_text(encoding="utf-8"))[variant]
    columns = {"official": "official", "timm": "timm", "hf-v1": "hf", "hf-v2": "hf"}
    for kind in KINDS[variant]:
        public = {}
        for row in rows:
            names = row[columns[kind]]
            public[tuple(names) if isinstance(names, list) else (names,)] = tuple(row["shape"])
        assert {file_names(n, kind): shape for n, shape in parameter_shapes(VARIANTS[variant]).items()} == public


@pytest.mark.parametrize(("kind", "prefix"), [("hf-v1", "pvt."), ("hf-v2", "pvt_v2.")])
def test_headless_hugging_face_models_leave_the_prefix_out(kind, prefix):
    names = [name.removeprefix(prefix) for name in PRINTED[kind] if not name.startswith("classifier")]
    assert recognise(names) == (kind, True)
    assert recognise([*names, "classifier.weight"]) == (kind, True)
    back = our_names(names, kind, bare=True).values()
    assert [file_names(ours, kind, bare=True)[part] for ours, part in back] == names


def test_the_class_token_belongs_to_the_last_stage_there_is():
    names = ["patch_embed1.proj.weight", "patch_embed2.proj.weight", "cls_token"]
    assert our_names(names, "official")["cls_token"] == ("stages.1.cls_token", 0)


@pytest.mark.parametrize("name", [
    "patch_embed0.proj.weight", "block1.00.norm1.weight", "block1.9999999.norm1.weight", "block1.0.norm1",
    "pos_embed1.weight", "block1.0.attn.qkv.weight", "xpatch_embed1.proj.weight", "norm.weight.x", "",
])  # fmt: skip
def test_names_that_are_no_parameters(name):
    assert our_names([name], "official") == {}
    assert recognise([name]) is None


def test_a_name_that_the_other_kind_lacks_is_refused():
    for name, kind in (("stages.0.pos_embed", "timm"), ("head.gamma", "official")):
        said = f"{re.escape(name)}: found no name for it in a checkpoint of {kind}; expected"
        with pytest.raises(ValueError, match=said):
            file_names(name, kind)
