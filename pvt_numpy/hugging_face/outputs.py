"""What the image processor and the models return: a dict, an object and a tuple in one."""

import numpy as np

from .arguments import as_tensor, float_types, without_autograd


class Named(dict):
    """A dict whose entries are attributes too: `inputs.pixel_values`, `processor.size.height`."""

    def __getattr__(self, name):
        if name in self:
            return self[name]
        raise AttributeError(f"{name}: found no such entry; expected {' or '.join(self) or 'nothing, it is empty'}")

    def __setattr__(self, name, value):
        self[name] = value


class BatchFeature(Named):
    """What the image processor returns; `model(**inputs)` takes it."""

    def to(self, *targets, device=None, dtype=None):
        """Itself, with its numbers as another type; there is no other device than "cpu"."""
        for kind in float_types(*targets, device, dtype):
            for name, value in self.items():
                self[name] = [_cast(one, kind) for one in value] if isinstance(value, list) else _cast(value, kind)
        return self


def _cast(value, kind):
    return value.astype(kind) if isinstance(value, np.ndarray) else as_tensor(np.asarray(value, kind))


class ModelOutput(Named):
    """What a model returns, read by name, as an attribute, by number, or as a tuple. What was not asked for is None as
    an attribute, and otherwise not there."""

    names = ()

    def __init__(self, *values):
        super().__init__({name: value for name, value in zip(self.names, values, strict=True) if value is not None})

    def __getitem__(self, key):
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def __getattr__(self, name):
        return None if name in self.names and name not in self else super().__getattr__(name)

    def to_tuple(self):
        return tuple(self.values())

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.names)})"


class BaseModelOutput(ModelOutput):
    """Shapes: `model.Output`'s."""

    names = ("last_hidden_state", "hidden_states", "attentions")


class ImageClassifierOutput(ModelOutput):
    """loss a number, logits (B, num_labels); the others as in `model.Output`."""

    names = ("loss", "logits", "hidden_states", "attentions")


class BackboneOutput(ModelOutput):
    """feature_maps: one (B, C, H, W) for each stage that was asked for. attentions: None, as in transformers."""

    names = ("feature_maps", "hidden_states", "attentions")


class Loss32(np.float32):
    """A loss, which answers `loss.backward()` with the way to go here."""

    __getattr__ = without_autograd


class Loss64(np.float64):
    __getattr__ = without_autograd
