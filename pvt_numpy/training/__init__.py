"""Training: the optimiser, the data, the loop. The command is `python -m pvt_numpy.train`.

The gradients come from `pvt_numpy.gradients`; nothing here knows how they are made. Parameters, moments and averages
are flat dicts, dotted name -> array, all with the same names, and are updated in place.
"""
