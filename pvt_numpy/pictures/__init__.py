"""From any picture to `pixel_values`, by the recipe of the checkpoint; this room knows no model and no checkpoint."""
