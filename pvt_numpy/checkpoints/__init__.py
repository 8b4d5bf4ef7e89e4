"""From bytes to parameters and back, whoever wrote the file; this room knows recipes, but opens no picture."""
