"""Bytes to parameters and back: files, names, identification, export, the Hub. Knows recipes, opens no picture."""
