"""Any picture to pixel_values: decoding, recipes, the image processor, folders, ImageNet's names. Knows no model."""
