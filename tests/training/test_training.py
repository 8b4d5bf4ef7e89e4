"""The training module: optimiser against PyTorch, data, augmentation, and states that go on bit for bit."""

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image

from pvt_numpy import PvtConfig, PvtV2Config, forward, plots, threads
from pvt_numpy.checkpoints.safetensors_file import write_safetensors
from pvt_numpy.parameters import flatten, unflatten
from pvt_numpy.pictures.processor import preprocess
from pvt_numpy.reference.golden import seeded_params, seeded_pixels
from pvt_numpy.training import augment, data, loop, optimizer, report, shapes
from pvt_numpy.training.state import GROUPS, Settings, State, check_labels, enter, fresh, read_state, write_state

TINY = {"depths": (1, 1), "hidden_sizes": (8, 12), "num_attention_heads": (1, 2), "mlp_ratios": (2, 2),
        "num_encoder_blocks": 2, "image_size": 16, "num_labels": 6}  # fmt: skip
V1 = PvtConfig(**TINY, patch_sizes=(4, 2), strides=(4, 2), sequence_reduction_ratios=(2, 1), drop_path_rate=0.2)
V2 = PvtV2Config(**TINY, patch_sizes=(7, 3), strides=(4, 2), sr_ratios=(2, 1))
SETTINGS = Settings("shapes", epochs=3, batch=24, microbatch=10, rate=3e-3, drawn=72)


def double_state(config, settings):
    """A training in float64 with parameters of realistic scale."""
    params = flatten(seeded_params(config, 3))
    arrays = {"params": params, "average": {name: p.copy() for name, p in params.items()}}
    arrays |= {group: {name: np.zeros_like(p) for name, p in params.items()} for group in ("means", "squares")}
    return State(settings, config, arrays)


def run(state, number=None, **options):
    """Trains on the drawing task to the end, or as far as the options say, with so many threads."""
    with threads(number):
        return loop.train(state, data.shapes_task(16, state.settings.seed, state.settings.drawn, 30), **options)


def same(a, b):
    """Whether two trainings hold the same numbers, bit for bit, clocks aside."""
    rows = [[{k: v for k, v in row.items() if k != "seconds"} for row in state.history] for state in (a, b)]
    arrays = [[p.tobytes() for group in GROUPS for p in state.arrays[group].values()] for state in (a, b)]
    return a.step == b.step and a.sums == b.sums and rows[0] == rows[1] and arrays[0] == arrays[1]


@pytest.mark.torch
@pytest.mark.parametrize("config", [replace(V1, drop_path_rate=0.0), V2], ids=["v1", "v2"])
def test_ten_steps_loss_by_loss_as_in_pytorch(config):
    """AdamW, decay on matrices only, clipping, warm-up and label smoothing, in float64; the batch in three pieces."""
    import torch

    from pvt_numpy.reference.pytorch import hf_model

    settings = replace(SETTINGS, batch=8, microbatch=3, rate=1e-2, decay=0.1, clip=0.5, smoothing=0.1)
    state = double_state(config, settings)
    model, groups = hf_model(seeded_params(config, 3), config).requires_grad_(True), {0.1: [], 0.0: []}
    for name, p in model.named_parameters():
        groups[0.1 if p.ndim >= 2 and not name.endswith(("embeddings", "cls_token")) else 0.0].append(p)
    adamw = torch.optim.AdamW([{"params": group, "weight_decay": decay} for decay, group in groups.items()])
    measure = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    norms = []
    for n in range(10):
        x, labels = seeded_pixels((8, 3, 16, 16), n), np.arange(n, n + 8) % 6
        rate = optimizer.learning_rate(n / 10, settings.rate, 0.3)
        ours, _ = loop.step(state, loop.Batch(x, labels), rate)
        theirs = measure(model(torch.from_numpy(x)).logits, torch.from_numpy(labels))
        adamw.zero_grad()
        theirs.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)))
        for group in adamw.param_groups:
            group["lr"] = rate
        adamw.step()
        assert abs(ours - float(theirs.detach())) < 1e-9 * abs(ours), n
    assert max(norms) > settings.clip, "nothing was clipped"


def test_weight_decay_leaves_biases_norms_and_tables_alone():
    names = [name for name, p in flatten(seeded_params(V1, 0)).items() if optimizer.decays(name, p)]
    assert all(name.endswith("weight") and "norm" not in name for name in names)
    assert "stages.0.patch_embed.proj.weight" in names
    params = {"a.weight": np.ones((2, 2)), "a.bias": np.ones(2), "pos_embed": np.ones((1, 2, 2))}
    zeros = [{k: np.zeros_like(v) for k, v in params.items()} for _ in range(3)]
    optimizer.adamw_step(params, *zeros, step=1, rate=0.1, decay=0.5)
    assert np.allclose(params["a.weight"], 0.95)
    assert all((params[name] == 1).all() for name in ("a.bias", "pos_embed"))


def test_schedule_clipping_and_average():
    rates = [optimizer.learning_rate(p, 2.0, 0.2) for p in np.linspace(0, 1, 101)]
    assert max(rates) == rates[20] == 2.0
    assert (rates[0], rates[-1]) == (0, pytest.approx(0, abs=1e-12))
    assert rates[:21] == sorted(rates[:21])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    grads = {"a": np.array([3.0]), "b": np.array([4.0])}
    assert (optimizer.clip_by_norm(grads, 10.0), grads["a"][0]) == (5.0, 3.0)
    optimizer.clip_by_norm(grads, 1.0)
    assert math.hypot(grads["a"][0], grads["b"][0]) == pytest.approx(1, abs=1e-6)
    average, params = {"a": np.zeros(1)}, {"a": np.ones(1)}
    optimizer.follow(average, params, 10**6, 0.9)
    assert average["a"][0] == pytest.approx(0.1)
    optimizer.follow(average, {"a": np.zeros(1)}, 2, 0.9)  # early on it follows faster: (1 + 2) / (10 + 2) stay
    assert average["a"][0] == pytest.approx(0.1 * 0.25)


@pytest.mark.parametrize("number", [1, 3])
def test_a_stopped_training_goes_on_to_the_same_numbers(tmp_path, number):
    whole = fresh(SETTINGS, V1)
    assert run(whole, 1)
    assert (whole.step, len(whole.history)) == (9, 3)

    state, stops = fresh(SETTINGS, V1), [1, 3, 4, 8]  # in the middle of an epoch and at its end
    for at in stops:
        assert not run(state, number, stop=lambda s=state, at=at: s.step == at)
        write_state(tmp_path / "state", state)
        state = read_state(tmp_path / "state")
    assert run(state, number)
    assert same(state, whole)

    other = fresh(replace(SETTINGS, seed=1), V1)
    run(other)
    assert not same(other, whole), "this test could not tell one training from another"


def measured(flat, config, pixels, labels):
    """Loss and right answers, picture by picture, without the noise of training."""
    logits = forward(pixels, unflatten(flat), config).logits.astype(np.float64)
    truth = np.exp(logits[np.arange(len(labels)), labels]) / np.exp(logits).sum(axis=1)
    return -np.log(truth), logits.argmax(axis=1) == labels


def test_an_epochs_row_and_the_averaged_weights_are_what_was_seen_step_by_step():
    config, settings = (
        replace(V1, drop_path_rate=0.0),
        replace(SETTINGS, smoothing=0.0, epochs=2, averaging=0.6, rate=0.03),
    )
    state = fresh(settings, config)
    task = data.shapes_task(16, settings.seed, settings.drawn, 70)  # 70: more than are measured at a time
    average, losses, rights, rows = {n: p.copy() for n, p in state.arrays["params"].items()}, [], [], []

    def batch(indices, rng):
        pixels, labels = task.batch(indices, rng)
        loss, right = measured(state.arrays["params"], config, pixels, labels)  # before the step
        losses.extend(loss)
        rights.extend(right)
        return pixels, labels

    def after_step(state):
        stays = min(0.6, (1 + state.step) / (10 + state.step))
        for name, p in state.arrays["params"].items():
            average[name] = stays * average[name] + (1 - stays) * p

    def after_epoch(state):
        val_loss, val_right = measured(average, config, *task.validation)
        rows.append((np.mean(losses), np.mean(rights), val_loss.mean(), val_right.mean()))
        losses.clear()
        rights.clear()

    assert loop.train(state, task._replace(batch=batch), after_step=after_step, after_epoch=after_epoch)
    assert len(rows) == len(state.history) == 2
    names = "train_loss", "train_accuracy", "val_loss", "val_accuracy"
    for row, expected in zip(state.history, rows, strict=True):
        np.testing.assert_allclose([row[name] for name in names], expected, rtol=1e-5)
    for name, expected in average.items():
        np.testing.assert_allclose(state.arrays["average"][name], expected, atol=1e-6)
        assert (state.arrays["average"][name] != state.arrays["params"][name]).any(), name
    last = measured(state.arrays["params"], config, *task.validation)[0].mean()
    assert abs(last - state.history[-1]["val_loss"]) > 1e-3, (
        "this test could not tell the last weights from the average"
    )


def test_training_helps():
    first = fresh(SETTINGS, V1)
    x, labels = seeded_pixels((8, 3, 16, 16), 0, np.float32), np.arange(8) % 6
    losses = [loop.step(first, loop.Batch(x, labels), 3e-3)[0] for _ in range(60)]
    learnt, right = measured(first.arrays["params"], V1, x, labels)
    assert learnt.mean() < 0.4 * losses[0], "eight pictures were not learnt by heart"
    assert right.all()


def test_microbatches_give_the_gradient_of_the_batch():
    x, labels, moved = seeded_pixels((10, 3, 16, 16), 0), np.arange(10) % 6, []
    for pieces in (10, 4, 3, 1):
        state = double_state(replace(V1, drop_path_rate=0.0), replace(SETTINGS, microbatch=pieces))
        loss, right = loop.step(state, loop.Batch(x, labels), 1e-2)
        moved.append((loss, right, state.arrays["means"]["stages.0.patch_embed.proj.weight"]))
    for loss, right, mean in moved[1:]:
        assert (loss, right) == (pytest.approx(moved[0][0], rel=1e-12), moved[0][1])
        assert np.allclose(mean, moved[0][2], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize(("name", "value", "said"), [
    ("stages.1.blocks.0.mlp.fc1.bias", np.nan, "first in the parameter stages.1.blocks.0.mlp.fc1.bias;"),
    ("stages.1.blocks.0.norm1.weight", 3e38, "first in the output of stages.1.blocks.0.norm1;"),
    ("stages.1.blocks.0.norm2.weight", 3e38, "first in the output of stages.1.blocks.0.norm2;"),
    ("stages.0.blocks.0.attn.kv.weight", 3e38, "first in the output of stages.0.blocks.0.attn.k;"),
    ("stages.1.blocks.0.mlp.fc1.weight", 3e38, "first in the output of stages.1.blocks.0.mlp.fc1;"),
    ("head.weight", 3e38, "first in the output of logits;"),
])  # fmt: skip
def test_nan_is_reported_with_the_layer_it_came_from(name, value, said):
    state = fresh(SETTINGS, V1)
    state.arrays["params"][name][:] = value
    before = {n: p.copy() for n, p in state.arrays["params"].items()}
    with pytest.raises(ValueError, match=said):
        loop.step(state, loop.Batch(seeded_pixels((4, 3, 16, 16), 0, np.float32), np.arange(4)), 1e-3)
    assert all(np.array_equal(p, state.arrays["params"][n], equal_nan=True) for n, p in before.items())


def test_minutes_end_the_schedule():
    def seven_seconds(state):
        state.seconds += 7

    state = fresh(replace(SETTINGS, epochs=1000, minutes=1.0), V1)
    assert run(state, after_step=seven_seconds)
    assert (state.step, [row["epoch"] for row in state.history]) == (9, [1, 2, 3])
    state.step, state.seconds = 7, 55.0  # in the middle of an epoch
    state.history.clear()
    assert run(state, after_step=seven_seconds, stop=lambda: True)  # Ctrl-C in the last step: all the same complete
    (row,) = state.history
    assert (row["epoch"], row["step"], row["learning_rate"]) == (3, 8, 0)
    assert "val_accuracy" in row


def test_broken_checkpoints_are_one_sentence(tmp_path):
    (tmp_path / "bad").write_bytes(b"not a checkpoint")
    for name, error, said in (("none", FileNotFoundError, "no such checkpoint"),
                              ("bad", ValueError, "found no checkpoint of a training")):  # fmt: skip
        with pytest.raises(error, match=said) as caught:
            read_state(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="^rate: found 11; expected 0 to 10$"):
        Settings("shapes", rate=11)


def write_photos(folder, classes=("cat", "dog"), each=3):
    """Each class a brighter noise than the one before; `each` pictures, or a number for each class."""
    rng = np.random.default_rng(0)
    for n, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for k in range(each if isinstance(each, int) else each[n]):
            pixels = rng.integers(80 * n, 80 * n + 70, (20 + k, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{k}.png")
    return folder


def test_folders_of_photos(tmp_path):
    train, val = write_photos(tmp_path / "train"), write_photos(tmp_path / "val", each=2)
    task = data.folder_task(train, val, 16)
    assert (task.labels, task.size, task.validation[0].shape) == (("cat", "dog"), 6, (4, 3, 16, 16))
    draws = (task.batch(np.array([0, 5]), np.random.default_rng(seed)) for seed in (0, 0, 1))
    (pixels, labels), (again, _), (other, _) = draws
    assert (pixels.shape, pixels.dtype, labels.tolist()) == ((2, 3, 16, 16), np.float32, [0, 1])
    assert (again == pixels).all()
    assert (other != pixels).any()
    uneven = write_photos(tmp_path / "uneven", ("n02102040", "n02979186", "zebra"), each=(1, 3, 2))
    task = data.folder_task(uneven, uneven, 16, smallest=1.0, jitter=0.0)
    assert task.labels == ("English springer", "cassette player", "zebra") == data.labels_of(uneven)
    for pixels, labels in (task.batch(np.arange(6), np.random.default_rng(0)), task.validation):
        assert labels.tolist() == [0, 1, 1, 1, 2, 2]
        shades = pixels.mean(axis=(1, 2, 3))  # each class is brighter than the one before
        assert labels[np.argsort(shades)].tolist() == [0, 1, 1, 1, 2, 2]
    with pytest.raises(ValueError, match="found the classes cow, dog; expected cat, dog"):
        data.folder_task(train, write_photos(tmp_path / "other", ("cow", "dog")), 16)
    (tmp_path / "empty" / "cat").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"found sub-folders with pictures: cat \(0\)"):
        data.list_folder(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        data.list_folder(tmp_path / "nowhere")


@pytest.mark.parametrize("change", [lambda settings: settings.pop("clip"), lambda settings: settings.update(clip_at=1)])
def test_a_checkpoint_with_other_settings_is_refused(tmp_path, monkeypatch, change):
    def changed(settings):
        values = asdict(settings)
        change(values)
        return values

    monkeypatch.setattr("pvt_numpy.training.state.asdict", changed)
    write_state(tmp_path / "c.safetensors", fresh(SETTINGS, V1))
    with pytest.raises(ValueError, match="its settings: found clip(_at)?; expected those of this version"):
        read_state(tmp_path / "c.safetensors")


@pytest.mark.parametrize(("labels", "found"), [
    (("cat", "cow"), "2 classes, new cow, missing dog"), (("cat",), "1 classes, missing dog"),
    (("ape", "cat", "dog"), "3 classes, new ape"), (("dog", "cat"), "2 classes, in the order dog, cat"),
    (("cat", "cat"), "2 classes, missing dog"),
    (tuple("abcdefghijklmnop"), "16 classes, new a, b, c, d, e, f, g, h, i, j, k, l and 4 more, missing cat, dog"),
])  # fmt: skip
def test_other_classes_are_refused_by_name(labels, found):
    state = fresh(SETTINGS, replace(V1, num_labels=2))
    state.labels = "cat", "dog"
    check_labels(state, state.labels)
    with pytest.raises(ValueError, match=f"^shapes: found {found}; expected the 2 with .* began, cat, dog; or"):
        check_labels(state, labels)


def test_a_state_keeps_names_and_pictures_and_one_without_them_is_read(tmp_path, monkeypatch):
    photos = write_photos(tmp_path / "photos")
    assert data.labels_of(photos) == ("cat", "dog")
    state, task = fresh(SETTINGS, replace(V1, num_labels=2)), data.folder_task(photos, photos, 16)
    assert enter(state, task) == []
    write_state(tmp_path / "new", state)
    again = read_state(tmp_path / "new")
    assert (again.labels, again.files) == (("cat", "dog"), task.files)
    assert task.files["training"] == task.files["validation"]

    (photos / "cat" / "0.png").rename(photos / "cat" / "9.png")
    renamed = data.folder_task(photos, None, 16)
    assert enter(again, renamed) == ["6 training pictures, not the same as the 6 before",
                                     "0 validation pictures, not the same as the 6 before"]  # fmt: skip
    (photos / "dog" / "0.png").write_bytes((photos / "dog" / "1.png").read_bytes())  # another picture by that name
    (said,) = enter(again, data.folder_task(photos, None, 16))
    assert said == "6 training pictures, not the same as the 6 before"
    (photos / "dog" / "1.png").unlink()
    assert enter(again, data.folder_task(photos, None, 16)) == ["5 training pictures, not the same as the 6 before"]
    assert enter(again, data.folder_task(photos, None, 16)) == [], "it was entered"

    def written_before(path, arrays, texts, dtype):
        write_safetensors(path, arrays, {key: texts[key] for key in ("settings", "config", "progress")}, dtype)

    monkeypatch.setattr("pvt_numpy.training.state.write_safetensors", written_before)
    write_state(tmp_path / "old", state)
    old = read_state(tmp_path / "old")
    assert (old.labels, old.files, same(old, state)) == (None, None, True)
    check_labels(old, ("cow", "dog"))  # it has no names
    with pytest.raises(ValueError, match="^shapes: found 3 classes; expected the 2 with which this training began; or"):
        check_labels(old, ("cat", "cow", "dog"))
    assert enter(old, renamed) == []
    assert (old.labels, old.files) == (renamed.labels, renamed.files)


@pytest.mark.parametrize("lost", [{"labels": ["cat"]}, {"labels": [1, 2]}, {"labels": 7}, {"files": [1]}, {"files": 1},
                                  {"files": {"training": {"count": "6", "sha256": ""}}},
                                  {"files": {"training": {"count": 6}}}])  # fmt: skip
def test_damaged_names_and_pictures_of_a_state_are_one_sentence(tmp_path, lost):
    state = replace(fresh(SETTINGS, replace(V1, num_labels=2)), **lost)
    write_state(tmp_path / "state", state)
    with pytest.raises(ValueError, match=r"^\S*state: found no checkpoint of a training \([^\n]*\); expected one"):
        read_state(tmp_path / "state")


def test_augmentation_keeps_what_it_should():
    photo = np.zeros((24, 24, 3), np.uint8)
    photo[:, 12:] = 200
    still = augment.augment(np.stack([photo] * 40), 24, np.random.default_rng(0), smallest=1.0, jitter=0.0)
    assert still.dtype == np.float32
    mirrored = still[:, :, 2].mean(axis=(1, 2)) > still[:, :, -3].mean(axis=(1, 2))
    assert 5 < mirrored.sum() < 35
    lively = augment.augment(np.stack([photo] * 40), 24, np.random.default_rng(0))
    assert 0 <= lively.min() <= lively.max() <= 1
    assert len({picture.tobytes() for picture in lively}) > 35
    grey = np.full((2, 4, 4, 3), 0.5, np.float32)
    jittered = augment.jitter_colours(grey, np.random.default_rng(0), 0.3)
    assert np.ptp(jittered[0]) < 1e-6, "a grey picture stays grey"
    assert (augment.jitter_colours(grey, np.random.default_rng(0), 0.0) == grey).all()


class Scripted:
    """A generator whose `uniform` gives these numbers in turn, and keeps the limits that it was asked for."""

    def __init__(self, *numbers):
        self.numbers, self.asked = list(numbers), []

    def uniform(self, low, high, size=None):
        self.asked.append((low, high))
        return self.numbers.pop(0)


def test_a_crop_is_the_rectangle_that_was_drawn():
    photo = np.random.default_rng(0).integers(256, size=(8, 8, 3), dtype=np.uint8)
    rng = Scripted(0.25, 0.0, 2.0, 4.0)  # a quarter of the area, a square, from column 2 and row 4
    assert (augment.random_resized_crop(photo, 4, rng, 0.2) == photo[4:, 2:6]).all()
    assert rng.asked == [(0.2, 1), (math.log(3 / 4), math.log(4 / 3)), (0, 4), (0, 4)]
    rng = Scripted(0.25, math.log(4), 0.0, 0.0)  # four times as wide as high: 8 x 2
    augment.random_resized_crop(photo, 4, rng, 0.2)
    assert rng.asked[2:] == [(0, pytest.approx(0)), (0, pytest.approx(6))]


def test_colours_change_by_the_three_factors_in_turn():
    picture = np.array([[[[0.2, 0.4, 0.6], [0.4, 0.4, 0.4]]]], np.float32)
    rng = Scripted(np.array([0.5, 2, 0.5]).reshape(3, 1, 1, 1, 1))
    # halved; twice as far from their mean's grey, 0.19075; then half as far from their own greys, 0.17225 and 0.20925
    expected = [[0.09075, 0.19075, 0.29075], [0.20925, 0.20925, 0.20925]]
    np.testing.assert_allclose(augment.jitter_colours(picture, rng, 0.5)[0, 0], expected, atol=1e-6)
    assert rng.asked == [(0.5, 1.5)]


def test_training_reads_the_numbers_that_preprocess_makes():
    photo = np.random.default_rng(0).integers(256, size=(6, 5, 3), dtype=np.uint8)
    recipe = {"image_mean": (0.1, 0.2, 0.3), "image_std": (0.5, 0.6, 0.7)}
    expected = preprocess(photo, do_resize=False, **recipe)
    found = data.to_pixel_values(photo[None].astype(np.float32) / 255, recipe)
    np.testing.assert_allclose(found, expected, atol=1e-6)


SECTOR = math.pi / 5  # of a star, from a point to the next notch
INSIDE = {  # of a shape of size 1 around 0 that points along u
    "disc": lambda u, v: np.hypot(u, v) <= 1,
    "square": lambda u, v: abs(u) + abs(v) <= 1,
    "triangle": lambda u, v: np.max([-u * math.cos(a) - v * math.sin(a) for a in (0, 2.0944, 4.1888)], axis=0) <= 0.5,
    "star": lambda u, v: in_sector(np.hypot(u, v), abs((np.arctan2(v, u) + SECTOR) % (2 * SECTOR) - SECTOR)),
    "cross": lambda u, v: (np.minimum(abs(u), abs(v)) <= 0.3) & (np.maximum(abs(u), abs(v)) <= 1),
    "ring": lambda u, v: (np.hypot(u, v) <= 1) & (np.hypot(u, v) >= 0.55),
}


def in_sector(r, angle):
    """Below the line from a star's point (1, 0) to its notch, 0.42 away at the angle SECTOR."""
    x, y, notch = r * np.cos(angle), r * np.sin(angle), 0.42 * np.array([math.cos(SECTOR), math.sin(SECTOR)])
    return y * (1 - notch[0]) <= (1 - x) * notch[1]


@pytest.mark.parametrize("shape", shapes.SHAPES)
def test_what_a_shape_looks_like(shape):
    assert tuple(INSIDE) == ("disc", "square", "triangle", "star", "cross", "ring")
    ground, ink, size, turn = np.array([10.0, 20, 30]), np.array([200.0, 210, 220]), 40, 0.4
    rng = Scripted(ground, ink, 0.4, (76.0, 84.0), turn)
    rng.normal = lambda mean, deviation, shape: deviation * np.ones(shape)  # the noise, which is 8
    (picture,) = shapes.draw_shapes([shapes.SHAPES.index(shape)], size, rng)
    assert rng.asked == [(0, 90), (130, 255), (0.26, 0.42), (64.0, 96.0), (0, 2 * math.pi)]
    y, x = (np.mgrid[:160, :160] - np.array([84.0, 76.0])[:, None, None]) / 64  # 4 x 4 samples a pixel
    inside = INSIDE[shape](x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn))
    share = inside.reshape(40, 4, 40, 4).mean(axis=(1, 3))[..., None]
    difference = np.abs(picture - (ground + 8 + (ink - ground) * share))
    assert difference.mean() < 3, "of 190 between ground and ink: what the edges differ by"
    assert difference.max() < 100


def test_shapes_differ_by_outline_alone():
    pictures, again = (shapes.draw_shapes(np.arange(600) % 6, 24, np.random.default_rng(0)) for _ in range(2))
    assert (pictures.shape, pictures.dtype) == ((600, 24, 24, 3), np.uint8)
    inks = np.array([pictures[k::6].max(axis=(1, 2)).mean(axis=0) for k in range(6)])
    assert np.ptp(inks, axis=0).max() < 20, "a class can be told by its colour"
    assert (again == pictures).all()


def test_validation_shapes_come_from_a_seed_of_their_own():
    first, again, other = (data.shapes_task(16, seed, 24, 12).validation for seed in (3, 3, 4))
    assert (first[0] == again[0]).all()
    assert (first[0] != other[0]).any()
    assert first[1].tolist() == [*range(6)] * 2
    drawn = shapes.draw_shapes(first[1], 16, np.random.default_rng([3, 2**32 - 1]))  # --seed ends one before
    np.testing.assert_allclose(first[0], np.concatenate([preprocess(picture, do_resize=False) for picture in drawn]),
                               atol=1e-5)  # fmt: skip
    pixels, labels = data.shapes_task(16, 3, 24, 12).batch(np.array([7, 3, 23]), np.random.default_rng(0))
    assert (pixels.shape, labels.tolist()) == ((3, 3, 16, 16), [1, 3, 5])


NUMBERS = [  # setting, its default, the least and the greatest that is taken, and what is refused
    ("epochs", 50, 1, 10**6, (0, 10**6 + 1)), ("minutes", None, 0.001, 1e6, (0, 1e6 + 1)),
    ("batch", 64, 1, 10**5, (0, 10**5 + 1)), ("microbatch", 16, 1, 10**5, (0, 10**5 + 1)),
    ("rate", 0.001, 0, 10, (-0.001, 10.001)), ("warmup", 0.05, 0, 1, (-0.001, 1.001)),
    ("decay", 0.05, 0, 10, (-0.001, 10.001)), ("clip", 1.0, 1e-9, 1e9, (0, 1.1e9)),
    ("smoothing", 0.1, 0, 0.999, (-0.001, 1)), ("averaging", 0.998, 0, 0.999999, (-0.001, 1)),
    ("smallest_crop", 0.35, 0.01, 1, (0, 1.001)), ("jitter", 0.3, 0, 0.999, (-0.001, 1)),
    ("measure_every", 1, 1, 10**6, (0, 10**6 + 1)), ("drawn", 4096, 1, 10**9, (0, 10**9 + 1)),
    ("seed", 0, 0, 2**32 - 2, (-1, 2**32 - 1)), ("mixup", 0.0, 0, 100, (-0.001, 100.1)),
    ("cutmix", 0.0, 0, 100, (-0.001, 100.1)), ("mixed", 1.0, 0, 1, (-0.001, 1.001)),
    ("erasing", 0.0, 0, 1, (-0.001, 1.001)), ("views", 8, 1, 10**6, (0, 10**6 + 1)),
    ("split", 0.0, 0, 0.9, (-0.001, 0.91)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "default", "least", "greatest", "refused"), NUMBERS)
def test_settings_have_these_defaults_and_limits(name, default, least, greatest, refused):
    assert getattr(Settings("shapes"), name) == default
    assert [getattr(Settings("shapes", **{name: value}), name) for value in (least, greatest)] == [least, greatest]
    for value in (*refused, *[math.nan] * isinstance(greatest, float)):
        with pytest.raises(
            ValueError, match=f"^{name}: found {value}; expected {least:g} to {greatest:g}$".replace("+", ".")
        ):
            Settings("shapes", **{name: value})


def test_no_setting_is_forgotten():
    others = asdict(Settings("shapes"))
    for name, *_ in NUMBERS:
        others.pop(name)
    assert others == {"data": "shapes", "validation": None, "keep_size": None, "model": None, "freeze": None,
                      "skip_unreadable": False}  # fmt: skip


HISTORY = [
    {"epoch": 1, "step": 5, "seconds": 2.0, "learning_rate": 0.5, "train_loss": 1 / 3, "train_accuracy": 0.5},
    {"epoch": 2, "step": 10, "seconds": 4.0, "learning_rate": 0.1, "train_loss": 0.25, "train_accuracy": 0.75,
     "val_loss": 0.5, "val_accuracy": 0.7},
]  # fmt: skip


def test_the_report(tmp_path):
    report.write_csv(tmp_path / "log.csv", HISTORY)
    assert (tmp_path / "log.csv").read_text(encoding="utf-8").splitlines() == [
        "epoch,step,seconds,learning_rate,train_loss,train_accuracy,val_loss,val_accuracy",
        "1,5,2,0.5,0.333333,0.5,,", "2,10,4,0.1,0.25,0.75,0.5,0.7",
    ]  # fmt: skip


def test_the_curves():
    pytest.importorskip("matplotlib")
    loss, accuracy = plots.curves(HISTORY).axes
    drawn = [[line.get_xydata().tolist() for line in axes.lines] for axes in (loss, accuracy)]
    assert drawn == [[[[1, 1 / 3], [2, 0.25]], [[2, 0.5]]], [[[1, 0.5], [2, 0.75]], [[2, 0.7]]]]
    assert [line.get_label() for line in accuracy.lines] == ["training, augmented", "validation, averaged weights"]
