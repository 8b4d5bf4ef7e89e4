"""Training on from a model: its head, what is frozen, what is said, and a stopped one goes on to the same numbers."""

import json
import re
from dataclasses import asdict, replace

import numpy as np
import pytest

import pvt_numpy
from pvt_numpy import forward, load_model, save_model, threads
from pvt_numpy.checkpoints.checkpoint import Model
from pvt_numpy.gradients import loss_and_gradients
from pvt_numpy.parameters import flatten, unflatten
from pvt_numpy.pictures.recipes import RECIPES, at_size
from pvt_numpy.reference.golden import seeded_params, seeded_pixels
from pvt_numpy.training import data, freeze, loop, report, start, watch
from pvt_numpy.training.state import LATER, Settings, enter, fresh, read_state, write_state
from tests.training.test_training import V1, V2, same, write_photos

LABELS = ("cat", "dog", "Sea_horse", "crane", "crane", "fox")


def model_of(config, labels=LABELS, side=16):
    """A small model that knows six things, with parameters of realistic scale."""
    params = unflatten({name: p.astype(np.float32) for name, p in flatten(seeded_params(config, 3)).items()})
    return Model(config, params, labels, at_size(RECIPES["hf"], (side, side)), {"source": "small", "format": "a test"})


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos"), ("cat", "owl"), each=6)


def test_the_head_keeps_the_classes_that_it_knows_by_name():
    model = model_of(V2)
    given = model.params["head"]
    new, kept = start.with_head_for(model, ("fox", "owl", "sea horse", "crane"), np.random.default_rng(0))
    head = new.params["head"]
    assert sorted(kept) == ["fox", "sea horse"]
    assert (new.config.num_labels, new.labels) == (4, ("fox", "owl", "sea horse", "crane"))
    for here, there in ((0, 5), (2, 2)):
        assert (head["weight"][here] == given["weight"][there]).all()
        assert head["bias"][here] == given["bias"][there]
    for drawn in (1, 3):  # crane is the name of two outputs, so it is not known
        assert not (head["weight"][drawn] == given["weight"]).all(axis=1).any()
        assert head["bias"][drawn] == 0
    assert 0.01 < head["weight"][[1, 3]].std() < 0.04, "not initializer_range"
    x = seeded_pixels((2, 3, 16, 16), 0, np.float32)
    before, after = (forward(x, m.params, m.config).logits for m in (model, new))
    np.testing.assert_allclose(after[:, [0, 2]], before[:, [5, 2]], rtol=1e-5)


def test_position_tables_are_resized_once_and_give_what_forward_would_have_made_of_them():
    model, x = model_of(V1), seeded_pixels((2, 3, 32, 32), 0, np.float32)
    larger = start.at_image_size(model, 32)
    assert larger.params["stages"][0]["pos_embed"].shape[1] == 64
    np.testing.assert_allclose(*(forward(x, m.params, m.config).logits for m in (model, larger)), atol=1e-6)


@pytest.mark.parametrize("what", ["stages=1", "stages=2", "head-only"])
@pytest.mark.parametrize("config", [V1, V2], ids=["v1", "v2"])
def test_what_is_frozen_stays_and_the_rest_learns(photos, config, what):
    training, task = start.begin(str(photos), model_of(config), freeze=what, epochs=2, batch=4, seed=1)
    before = {name: p.copy() for name, p in training.arrays["params"].items()}
    assert loop.train(training, task)
    moved = {name for name, p in training.arrays["params"].items() if (p != before[name]).any()}
    still = {"stages=1": "stages.0.", "stages=2": "stages.1."}.get(what)
    expected = {name for name in before if (not name.startswith(still) if still else name.startswith("head."))}
    assert moved == expected


def test_frozen_stages_change_no_gradient_of_the_others(photos):
    """A step with a frozen stage is the step without, but for that stage: the same masks, the same numbers."""
    moved = {}
    for what in (None, "stages=1"):
        training, task = start.begin(str(photos), model_of(V2), freeze=what, batch=4, clip=1e9)
        loop.train(training, task, stop=lambda now=training: now.step == 1)
        moved[what] = training.arrays["means"]  # a tenth of the gradient; the first step is one of length 0
    above = [name for name in moved[None] if not name.startswith("stages.0.")]
    assert all((moved["stages=1"][name] == moved[None][name]).all() for name in above)
    assert all(moved[None][name].any() for name in above)


def test_the_head_alone_learns_from_the_gradients_of_the_whole_model():
    model, labels = model_of(replace(V2, drop_path_rate=0.0)), np.array([0, 3, 5, 1])
    x = seeded_pixels((4, 3, 16, 16), 0, np.float32)
    _, _, grads = loss_and_gradients(x, model.params, model.config, labels, 0.1)
    training = fresh(Settings("x", freeze="head-only", smoothing=0.1, microbatch=3), model.config, model.params)
    loop.step(training, loop.Batch(loop.features_of(x, training), labels), 1e-3)
    for part, mean in (("weight", "head.weight"), ("bias", "head.bias")):
        np.testing.assert_allclose(training.arrays["means"][mean], 0.1 * grads["head"][part], rtol=1e-4, atol=1e-8)


def test_features_are_computed_once_for_each_view(photos, monkeypatch):
    seen = []
    counted = loop.forward
    monkeypatch.setattr(loop, "forward", lambda x, *rest: seen.append(len(x)) or counted(x, *rest))
    training, task = start.begin(str(photos), model_of(V2), freeze="head-only", epochs=9, views=2, batch=4, split=0.3)
    loop.train(training, task)
    assert (task.size, len(task.validation[1])) == (8, 4)
    assert sum(seen) == 2 * 8 + 4, "two views of eight pictures, and four to measure with"
    assert len(training.history) == 9


@pytest.mark.parametrize("options", [
    {"freeze": "head-only", "views": 2}, {"freeze": "stages=1"},
    {"mixup": 0.8, "cutmix": 1.0, "erasing": 0.5, "mixed": 0.7, "drop_path": 0.3}])  # fmt: skip
def test_a_stopped_training_goes_on_to_the_same_numbers(photos, tmp_path, options):
    def begun():
        return start.begin(str(photos), model_of(V2), epochs=4, batch=4, split=0.3, seed=7, **options)

    whole, task = begun()
    assert loop.train(whole, task)
    state, task = begun()
    for at in (1, 3, 6):
        with threads(2):
            assert not loop.train(state, task, stop=lambda now=state, at=at: now.step == at)
        write_state(tmp_path / "state", state)
        state = read_state(tmp_path / "state")
        task = start.task_of(state)
    assert loop.train(state, task)
    assert same(state, whole)
    assert state.start["origin"] == {"source": "small", "format": "a test"}


def test_a_training_begun_before_there_were_these_settings_goes_on(tmp_path, monkeypatch):
    settings = Settings("shapes", epochs=2, batch=24, microbatch=10, drawn=72)
    state, task = fresh(settings, V1), data.shapes_task(16, 0, 72, 30)
    loop.train(state, task, stop=lambda: state.step == 2)
    monkeypatch.setattr("pvt_numpy.training.state.asdict",
                        lambda s: {k: v for k, v in asdict(s).items() if k not in LATER})  # fmt: skip
    write_state(tmp_path / "old", state)
    again = read_state(tmp_path / "old")
    assert again.settings == settings
    assert loop.train(again, task)
    assert loop.train(state, task)
    assert same(again, state)


@pytest.mark.parametrize(("counts", "validation", "said"), [
    ((50, 50), True, []),
    ((50, 4), True, ["dog: found 4 pictures", "cat: found 50 pictures, and of dog 4"]),
    ((12, 40), True, ["dog: found 40 pictures, and of cat 12"]),
    ((50, 50), False, ["--val-split 0.2"]),
    ((), True, []),
])  # fmt: skip
def test_what_the_pictures_lack_is_said_with_a_way_out(counts, validation, said):
    task = data.Task(("cat", "dog"), 9, None, (0, 0) if validation else None, {}, {}, counts)
    lines = list(report.remarks(Settings("x"), task))
    assert len(lines) == len(said)
    assert all(part in line for part, line in zip(said, lines, strict=True))


def test_pictures_are_kept_back_class_by_class():
    files, labels = [f"{n}" for n in range(30)], np.repeat([0, 1, 2], [20, 8, 2])
    kept, kept_labels, held, held_labels = data.hold_back(files, labels, 0.25, 3)
    assert sorted(kept + held) == sorted(files)
    assert np.bincount(held_labels).tolist() == [5, 2, 1]
    assert [int(f) for f in held] == sorted(int(f) for f in held)
    assert all(labels[int(f)] == label for f, label in zip(kept + held, [*kept_labels, *held_labels], strict=True))
    assert data.hold_back(files, labels, 0.25, 4)[2] != held
    assert np.bincount(data.hold_back(files, labels, 0.9, 0)[1]).tolist() == [2, 1, 1], (
        "something is left to learn from"
    )


@pytest.mark.parametrize(
    "text", ["head", "stages", "stages=", "stages=0", "stages=1;2", "stages=1,2", "stages=3", "1", ""]
)
def test_what_cannot_be_frozen_is_refused(text):
    with pytest.raises(ValueError, match="^freeze: found .*; expected "):
        freeze.check_freeze(text, V2)  # of two stages


def test_a_loss_that_rises_far_above_guessing_ends_the_training(photos):
    training, task = start.begin(str(photos), model_of(V2), epochs=300, batch=12, rate=9.0, clip=1e9, warmup=0.3)
    with pytest.raises(ValueError, match="that rises") as caught:
        loop.train(training, task)
    said = str(caught.value)
    assert said.startswith(f"step {training.step}: found a loss of ")
    assert training.step < 200
    assert "stage" in said
    assert "expected a falling loss: begin again with a lower --learning-rate (now 9; a third of it, say)" in said
    assert watch.diverges([7.0] * 10 + [7.1] * 10, 10)
    assert not watch.diverges([7.1] * 10 + [7.0] * 10, 10), "it falls"
    assert not watch.diverges([6.0] * 10 + [6.1] * 10, 10), "not far above log 10 = 2.3"
    assert not watch.diverges([38.0, 84.0], 10), "two steps may be chance"


def test_a_fall_back_to_guessing_is_seen():
    """Nano in PyTorch, learning rate 0.002: 2.05 after three epochs, later log 10 = 2.303 for good."""
    lost = [2.29, 2.3, 2.31, 2.3]
    assert watch.fell_to_guessing([2.16, 2.05, 2.29, *lost], 10)
    assert not watch.fell_to_guessing([2.16, 2.05, 2.05, *lost], 10), "four epochs may be chance"
    assert not watch.fell_to_guessing([2.31, 2.3, *lost], 10), "it has not begun to learn"
    assert not watch.fell_to_guessing([2.16, 1.8] + [2.2] * 5, 10), "worse, but not guessing"
    assert not watch.fell_to_guessing([2.16, 1.8] + [2.8] * 5, 10), "above it, and perhaps on the way down"
    assert not watch.fell_to_guessing([], 10)


def test_a_training_that_fell_back_to_guessing_stops(photos, monkeypatch):
    training, task = start.begin(str(photos), model_of(V2), epochs=8, batch=12)
    losses = iter([0.3, 0.7, 0.7, 0.7, 0.7, 0.7, 0.3, 0.3])

    def unlucky(state, batch, rate):
        state.step += 1
        return next(losses), 0

    monkeypatch.setattr(loop, "step", unlucky)
    with pytest.raises(ValueError, match=r"step 6: .*guessing, 0\.7, for 5 epochs, after 0\.3.*lower --learning-rate"):
        loop.train(training, task)


def test_what_is_given_to_finetune_stays_as_it_was(photos):
    model = model_of(V2, labels=("cat", "owl", "x", "y", "z", "w"))
    before = {name: p.copy() for name, p in flatten(model.params).items()}
    tuned = pvt_numpy.finetune(photos, model, epochs=2, rate=0.01, say=str)
    assert all((p == before[name]).all() for name, p in flatten(model.params).items())
    after = flatten(tuned.params)
    assert all((after[name] != before[name]).any() for name in before if name in after and "norm" in name)


@pytest.mark.parametrize(("setting", "said"), [
    ({"epoch": 3}, "epoch: found no setting of that name; expected image_size, drop_path, data, validation, epochs,"),
    ({"epochs": "3"}, "epochs: found '3'; expected a whole number"),
    ({"epochs": 2.5}, "epochs: found 2.5; expected a whole number"),
    ({"seed": True}, "seed: found True; expected a whole number"),
    ({"rate": "x"}, "rate: found 'x'; expected a number"),
    ({"freeze": 3}, "freeze: found 3; expected a text"),
    ({"skip_unreadable": 1}, "skip_unreadable: found 1; expected true or false"),
    ({"keep_size": 0}, "keep_size: found 0; expected 1 to 100000"),
    ({"image_size": 0}, "image_size: found 0; expected a whole number of pixels"),
])  # fmt: skip
def test_settings_that_are_none_are_refused_by_name(photos, setting, said):
    with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
        pvt_numpy.finetune(photos, model_of(V2), say=str, **setting)


def test_what_was_measured_of_the_model_before_is_not_said_of_the_new_one(photos):
    model = model_of(V2)
    model.origin["measured"] = "right 99 % of 1,000 pictures"
    tuned = pvt_numpy.finetune(photos, model, freeze="head-only", epochs=1, say=str)
    assert "measured" not in tuned.origin
    assert json.loads(tuned.origin["settings"])["rate"] == 2e-3, "the default of a head that learns alone"


def test_a_run_that_ends_in_its_first_epoch_measures_the_model_before_it_once(photos, tmp_path):
    def begun():
        return start.begin(str(photos), model_of(V2, ("cat", "owl", *"abcd")), epochs=2, batch=4, split=0.3)

    whole, task = begun()
    assert loop.train(whole, task)
    state, task = begun()
    with pytest.raises(KeyboardInterrupt):
        loop.train(state, task, after_epoch=killed)
    write_state(tmp_path / "state", state)
    state = read_state(tmp_path / "state")
    assert loop.train(state, start.task_of(state))
    assert same(state, whole)
    assert [row["epoch"] for row in whole.history] == [0, 1, 2]


def killed(state):
    raise KeyboardInterrupt


def test_the_head_learns_from_every_picture(photos, monkeypatch):
    """12 pictures in batches of 5, one view: the same shuffle again and again, so none may be left over."""
    training, task = start.begin(str(photos), model_of(V2), freeze="head-only", epochs=3, views=1, batch=5)
    sizes, counted = [], loop.step
    monkeypatch.setattr(
        loop, "step", lambda state, batch, rate: sizes.append(len(batch.labels)) or counted(state, batch, rate)
    )
    assert loop.train(training, task)
    assert sizes == [5, 5, 2] * 3


def test_pictures_held_back_stay_so(photos, tmp_path):
    """A new file would be another draw, by which pictures that were learnt from could be measured with."""
    training, task = start.begin(str(photos), model_of(V2), freeze="head-only", split=0.3)
    enter(training, task)
    assert enter(training, task) == []
    new = write_photos(tmp_path / "photos", ("cat", "owl"), each=7)
    with pytest.raises(ValueError, match="found other pictures than before; expected the same, from which"):
        enter(training, start.make_task(replace(training.settings, data=str(new)), training.config, RECIPES["hf"]))


def test_finetune_in_python(photos, tmp_path):
    said = []
    tuned = pvt_numpy.finetune(photos, model_of(V2), freeze="head-only", epochs=30, split=0.3, say=said.append)
    assert (tuned.labels, tuned.config.num_labels) == (("cat", "owl"), 2)
    assert said[0].startswith("from small, the head alone learns: 16 x 16 pixels, 30 epochs, batches of 16, ")
    assert "right" in said[-1]
    save_model(tmp_path / "mine.safetensors", tuned)
    again = load_model(tmp_path / "mine.safetensors")
    assert again.origin["started from"] == "small of a test"
    assert again.origin["history"].count("\n") == 31
    picture = next((photos / "owl").iterdir())
    x = pvt_numpy.preprocess(picture, **again.preprocessing)
    assert forward(x, again.params, again.config).logits.argmax() == 1
