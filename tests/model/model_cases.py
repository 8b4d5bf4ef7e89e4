"""Tiny models of every kind, and their gradients by PyTorch: for test_model_gradients.py and its golden files."""

import numpy as np

from pvt_numpy import PvtConfig, PvtV2Config
from pvt_numpy.checkpoints.names import file_names
from pvt_numpy.parameters import flatten
from pvt_numpy.reference.golden import seeded_params, seeded_pixels

TINY = {"depths": (1, 2, 1, 1), "hidden_sizes": (8, 8, 12, 16), "num_attention_heads": (1, 2, 3, 4),
        "mlp_ratios": (2, 2, 2, 2), "num_labels": 5, "patch_norm_eps": 1e-5}  # fmt: skip
V1 = {"image_size": 64, "sequence_reduction_ratios": (8, 2, 1, 1), **TINY}
V2 = {"sr_ratios": (2, 2, 1, 1), **TINY}
KINDS = {  # name: (configuration, picture's height and width, labels or None for a random gradient of the logits)
    "v1": (PvtConfig(**V1), (64, 64), [3, 0]),
    "v1_no_bias_no_head": (PvtConfig(**V1 | {"qkv_bias": False, "num_labels": 0}), (64, 64), None),
    "v1_odd_regression": (PvtConfig(**V1 | {"image_size": 70, "num_labels": 1}), (70, 70), [0.5, -1.0]),
    "v1_resized": (PvtConfig(**V1), (75, 99), [1, 4]),
    "v2": (PvtV2Config(**V2), (64, 64), [3, 0]),
    "v2_odd_no_bias": (PvtV2Config(**V2 | {"qkv_bias": False}), (41, 38), [2, 2]),
    "v2_regression": (PvtV2Config(**V2 | {"num_labels": 1}), (48, 33), [0.5, -1.0]),
    "v2_many_labels": (PvtV2Config(**V2), (33, 40), [[0.0, 1, 1, 0, 1], [1, 0, 0, 0, 0]]),
    "v2_linear": (PvtV2Config(**V2 | {"linear_attention": True}), (45, 50), [4, 1]),
    "v2_linear_no_head": (PvtV2Config(**V2 | {"linear_attention": True, "num_labels": 0}), (64, 64), None),
}


def case(name):
    """(configuration, parameters, pixels, labels as an array or None), in float64."""
    config, size, labels = KINDS[name]
    number = list(KINDS).index(name)
    return config, seeded_params(config, number), seeded_pixels((2, 3, *size), number + 50), labels and np.array(labels)


def upstream(name, config):
    """The random gradient of the logits, for kinds without labels."""
    return np.random.RandomState(list(KINDS).index(name)).standard_normal((2, config.num_labels or 16))


def torch_gradients(name):
    """(loss or None, gradient of the pixels, dotted name -> gradient), by PyTorch's autograd in float64.

    The reference is transformers' model, or v1_functional.py if that raises.
    """
    import torch

    from pvt_numpy.reference.pytorch import hf_model
    from pvt_numpy.reference.v1_functional import v1_functional

    config, params, x, labels = case(name)
    pixels = torch.tensor(x, requires_grad=True)
    truth = None if labels is None else torch.from_numpy(labels)
    if name == "v1_resized":
        leaves = {key: torch.tensor(value, requires_grad=True) for key, value in flatten(params).items()}
        logits = v1_functional(pixels, leaves, config)["logits"]
        loss = torch.nn.functional.cross_entropy(logits, truth)
    else:
        model = hf_model(params, config).requires_grad_(True)
        leaves, kind = dict(model.named_parameters()), "hf-v1" if config.model_type == "pvt" else "hf-v2"
        out = model(pixels, labels=truth)
        loss, logits = out.loss, out.logits
    if labels is None:
        logits.backward(torch.from_numpy(upstream(name, config)))
    else:
        loss.backward()
    grads = {}
    for key in flatten(params):
        names = [key] if name == "v1_resized" else file_names(key, kind)
        grads[key] = np.concatenate([leaves[n].grad.numpy() for n in names])
    return None if labels is None else float(loss.detach()), pixels.grad.numpy(), grads
