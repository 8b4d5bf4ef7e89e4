"""Figures for people, drawn from what a function is given (arrays, or a trace of `forward`): nothing here runs a model.

    photo = plots.photo_of(x, **model.preprocessing)       # the picture as the model sees it
    plots.pyramid(photo, maps)                             # photo and four stages, to scale
    plots.patches(photo, {"v1": …, "v2": …})               # which pixels a token is made from
    plots.kernels(weight)                                  # the first embedding's kernels
    plots.attention(photo, trace, config, stage=0)         # one token asks: every head, keys as boxes
    plots.attention_stages(photo, trace, config)           # the same place asks in all stages
    plots.statistics(trace, config)                        # entropy and distance of every head
    plots.class_attention(photo, trace, config)            # v1's class token
    plots.rollout(photo, trace, config)                    # attention followed back to the picture
    plots.positions(pos_embed, (7, 7), (10, 14))           # v1's position table, before and after resizing
    plots.cost(config)                                     # full attention against SRA
    plots.difference(lines)                                # against PyTorch, layer by layer
    plots.confusion(counts, names)                         # which classes are taken for which
    plots.mistakes(photos, captions)                       # what a model was most surely wrong about
    plots.curves(history)                                  # a training's loss and accuracy
    plots.overlay(photo, {"title": map}, label="…")        # any maps of your own over the photo

    plots.block(trace, config, stage=0)                    # one block's layers as boxes, with all shapes
    plots.sra(trace, config, stage=0)                      # map, squares, keys, scores, map: one attention layer
    plots.versions({"v1": (trace, config), "v2": …})       # versions side by side, differences marked
    plots.architecture(trace, config)                      # the whole model on one sheet

Those of the last group draw from the trace of `forward`, or (but `sra`) from `analysis.cost.shapes(config)`, which
needs no weights. Every Figure has an attribute `alt`: what it shows, in words, for those who can not see it; notebooks
and files keep it. A notebook shows a Figure that ends a cell; `save` writes one into a file; `python -m pvt_numpy.plots
--help` draws from the shell. Arguments count stages, blocks and heads from 0, as the names in the trace do; what a
figure says counts from 1, as the paper does. A query is a pixel (y, x), the same in all stages. matplotlib is imported
when the first figure is drawn, and pyplot never: no display is needed.
"""

from .architecture import architecture
from .attention import attention, attention_stages, class_attention, key_boxes, statistics
from .block import block, versions
from .confusion import confusion
from .cost import attention_cost, cost
from .curves import curves
from .difference import difference
from .figures import file_kind, save
from .mistakes import mistakes
from .overlay import overlay
from .patches import kernels, patches, seen_pixels
from .photo import photo_of
from .positions import position_similarity, positions
from .pyramid import pca_colours, pyramid
from .rollout import rollout
from .sra import sra

__all__ = ["architecture", "attention", "attention_cost", "attention_stages", "block", "class_attention", "confusion",
           "cost", "curves", "difference", "file_kind", "key_boxes", "kernels", "mistakes", "overlay", "patches",
           "pca_colours", "photo_of", "position_similarity", "positions", "pyramid", "rollout", "save", "seen_pixels",
           "sra", "statistics", "versions"]  # fmt: skip
