"""How a layer shows its intermediates: it records them in the caller's dict, under dotted names."""


def record(trace, name, array=None, **arrays):
    """Puts `array` into the trace as `name` and `arrays` as `name.key`; without a trace it does nothing.

    >>> seen = {}
    >>> record(seen, "stages.0.blocks.0.attn", "what comes out", probs="the table")
    >>> seen
    {'stages.0.blocks.0.attn': 'what comes out', 'stages.0.blocks.0.attn.probs': 'the table'}
    """
    if trace is not None:
        if array is not None:
            trace[name] = array
        trace.update((f"{name}.{key}", value) for key, value in arrays.items())
