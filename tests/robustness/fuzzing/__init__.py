"""Fuzzing: damaged files by the thousand, made by hypothesis, and what must hold for every one of them.

`judge` says what must hold; `safetensors_files`, `json_files` and `pictures` make the cases of their kind, and
`commands` those that are run as whole processes. `test_fuzz.py` runs a fixed few hundred, and `fuzz.py` as many as
you like. Left out: PyTorch's pickles, which only PyTorch's own reader opens.
"""
