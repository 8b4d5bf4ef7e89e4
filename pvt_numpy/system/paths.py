"""Where the project's own files lie, in a checkout and in an installed package alike.

A wheel carries `weights/` and the sample picture inside the package; in a checkout both stand beside it.
"""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
_HOME = PACKAGE if (PACKAGE / "weights").is_dir() else PACKAGE.parent

SHIPPED_MODELS = {name: _HOME / "weights" / f"{name}.safetensors"
                  for name in ("pvt_v2_b0_imagenette", "pvt_v1_nano_imagenette")}  # fmt: skip
SHIPPED = SHIPPED_MODELS["pvt_v2_b0_imagenette"]  # the model that `load_model()` gives
SHIPPED_V1 = "--model pvt_v1_nano_imagenette (weights/pvt_v1_nano_imagenette.safetensors)"  # for those who need a v1
SAMPLE_PICTURE = _HOME / "notebooks" / "golf_ball.jpg"
GOLDEN_NUMBERS = PACKAGE / "reference" / "golden_numbers"
IMAGENET_CLASSES = PACKAGE / "pictures" / "imagenet_classes.txt"
EXPLORER = PACKAGE / "explorer"  # the page's template, style and scripts
