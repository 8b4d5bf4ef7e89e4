"""What happens to the parameters in one step: clip the gradient, take an AdamW step, follow with an average.

Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (AdamW, 2019) and "SGDR" (cosine, 2017); the
arithmetic is `torch.optim.AdamW`'s and `torch.nn.utils.clip_grad_norm_`'s, in the same order.
"""

import math

import numpy as np

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


def learning_rate(progress, peak, warmup):
    """A straight line from 0 up to `peak` while progress < warmup, then half a cosine wave down to 0.

    progress, warmup: fractions of the whole training, 0 to 1

    >>> [round(learning_rate(p, 1.0, 0.1), 3) for p in (0, 0.05, 0.1, 0.55, 1)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if progress < warmup:
        return peak * progress / warmup
    through = min(1.0, (progress - warmup) / (1 - warmup)) if warmup < 1 else 1.0
    return peak * 0.5 * (1 + math.cos(math.pi * through))


def clip_by_norm(grads, limit):
    """Scales all gradients, in place, so that together they are no longer than `limit`; returns the length before."""
    norm = math.sqrt(sum(float(np.vdot(g, g)) for g in grads.values()))
    if norm > limit:
        for g in grads.values():
            g *= limit / (norm + 1e-6)
    return norm


def adamw_step(params, grads, means, squares, step, rate, decay):
    """One step, in place, of the parameters in grads. `step` counts from 1; means and squares start as zeros.

    The step is the running mean of the gradient over the root of the running mean of its square, both corrected for
    having started at 0: every parameter moves by about `rate`, however steep or flat its own direction is.
    """
    mean_correction, square_correction = 1 - BETA1**step, 1 - BETA2**step
    for name, g in grads.items():
        p, mean, square = params[name], means[name], squares[name]
        if decays(name, p):
            p *= 1 - rate * decay
        mean += (1 - BETA1) * (g - mean)
        square *= BETA2
        square += (1 - BETA2) * (g * g)
        root = np.sqrt(square)
        root /= math.sqrt(square_correction)
        root += EPSILON
        np.divide(mean, root, out=root)
        root *= rate / mean_correction
        p -= root


def decays(name, array):
    """Weight decay is for matrices and kernels; biases, norms, position tables and the class token are left alone.

    >>> [decays(n, np.ones(s)) for n, s in (("head.weight", (2, 3)), ("norm.weight", 3), ("pos_embed", (1, 4, 3)))]
    [True, False, False]
    """
    return array.ndim >= 2 and name.endswith("weight")


def follow(average, params, step, decay):
    """The running average of the parameters over about 1 / (1 - decay) steps, fewer at the beginning; in place."""
    decay = min(decay, (1 + step) / (10 + step))
    for name, p in params.items():
        average[name] += (1 - decay) * (p - average[name])
