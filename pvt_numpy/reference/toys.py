"""Three tiny models that have every feature between them, for a port's first steps.

Two stages, so few arrays; odd sizes, so that no axis can be taken for another and tails are dropped; position tables
for another picture, so that they are resized, the rows down and the columns up; R = 2 with a tail that fills no
square; pooling bins that are uneven; two epsilons; one head and two. `toy_dumps/` holds their numbers.
"""

from ..config import PvtConfig, PvtV2Config
from .golden import seeded_params, seeded_pixels

SHARED = {"num_encoder_blocks": 2, "num_labels": 5, "depths": (1, 1), "hidden_sizes": (6, 8), "strides": (4, 2),
          "num_attention_heads": (1, 2), "mlp_ratios": (2, 2), "patch_norm_eps": 1e-5}  # fmt: skip
V2 = {"patch_sizes": (7, 3), "sr_ratios": (2, 1), **SHARED}
TOYS = {
    "v1": PvtConfig(image_size=(44, 16), patch_sizes=(4, 2), sequence_reduction_ratios=(2, 1), **SHARED),
    "v2": PvtV2Config(**V2),
    "v2_linear": PvtV2Config(linear_attention=True, **V2),
}
SIZE = 39, 20  # of the picture
SEED = 19


def toy(name, dtype):
    """(config, params, pixels) of a toy; pixels (1, 3, 39, 20)."""
    config = TOYS[name]
    return config, seeded_params(config, SEED, dtype), seeded_pixels((1, config.num_channels, *SIZE), SEED + 1, dtype)
