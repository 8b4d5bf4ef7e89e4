"""Fuzzing: damaged files by the thousand, made by hypothesis, and what must hold for every one of them.

`judge` says what must hold. `model_files`, `pickles`, `picture_files` and `path_names` make the cases, out of the sound
checkpoints in `models` and the damage in `edits`; `kinds` lists them with their shares; `commands` are cases that are
run as whole processes. `test_fuzz.py` runs a fixed few hundred, and `fuzz.py` as many as you like.
Left out: what PyTorch's reader of pickles makes of damage that it does not see.
"""
