"""`runner.log_media`: what it takes, what loggers receive, and what is kept where none takes it."""

import json

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from mmhooks import ConfigError, Hook
from mmhooks.media import as_media

RED = np.zeros((4, 6, 3), np.uint8)
RED[..., 0] = 255
CHANNELS_FIRST = torch.from_numpy(RED).permute(2, 0, 1)


@pytest.mark.parametrize(
    "value",
    [
        RED,
        CHANNELS_FIRST,
        CHANNELS_FIRST.float() / 255,
        (CHANNELS_FIRST.double() / 255).requires_grad_(),
        CHANNELS_FIRST.to(torch.bfloat16) / 255,
        CHANNELS_FIRST.long(),
        CHANNELS_FIRST > 0,
        RED / 255,
        RED.transpose(2, 0, 1),
        Image.fromarray(RED),
        Image.fromarray(RED).quantize(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_images(value):
    media = as_media("a", value, "image", 3)
    assert media.value.dtype == np.uint8
    assert media.value.flags.c_contiguous
    assert (media.value == RED).all()


@pytest.mark.parametrize(
    ("shape", "tensor", "result"),
    [
        ((5, 7), True, (5, 7, 1)),
        ((5, 7, 3), True, (5, 7, 3)),
        ((1, 5, 7), True, (5, 7, 1)),
        ((5, 7, 4), False, (5, 7, 4)),
        ((3, 8, 3), True, (8, 3, 3)),  # a tensor has its channels first
        ((3, 8, 3), False, (3, 8, 3)),  # an array has them last
    ],
)
def test_shapes_of_images(shape, tensor, result):
    array = np.zeros(shape)
    media = as_media("a", torch.from_numpy(array) if tensor else array, "image", 1)
    assert media.value.shape == result


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("hello", "text"),
        (Figure(), "figure"),
        (Image.fromarray(RED), "image"),
        (torch.rand(3, 8, 8), "image"),
        (RED, "image"),
        (torch.zeros(8, 8, dtype=torch.uint8), "image"),
        (torch.rand(8, 8), "histogram"),
        (torch.rand(16, 3, 5, 5), "histogram"),
        (torch.tensor(1.0), "histogram"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_kind_is_told_by_the_value(value, kind):
    assert as_media("a", value, None, 1).kind == kind


def test_histograms():
    media = as_media("a", torch.tensor([[1.0, float("nan")], [float("inf"), 2.0]], requires_grad=True), "histogram", 1)
    assert media.value.tolist() == [1.0, 2.0]
    assert as_media("a", [1, 2], "histogram", 1).value.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("name", "value", "kind", "message"),
    [
        ("a", "b", "picture", r"log_media\('a'\): kind must be 'image' or .*, not 'picture'"),
        ("a", "b", "txt", "did you mean 'text'"),
        ("a", 3, None, r"log_media\('a'\) takes an image .*, not a int; name its kind: image, figure"),
        ("a", 3, "text", "as a text takes a str, not a int"),
        ("a", RED, "figure", r"as a figure takes a matplotlib.figure.Figure, not a ndarray of shape \(4, 6, 3\)"),
        ("a", torch.rand(2, 5, 7), "image", r"1, 3 or 4 channels first or last, not a Tensor of shape \(2, 5, 7\)"),
        ("a", "b", "image", "as an image takes height x width"),
        ("a", torch.randn(3, 5, 7) - 9, "image", "floats from 0 to 1 or .*: take back a normalization first"),
        ("a", torch.full((3, 2, 2), float("nan")), "image", "floats from 0 to 1"),
        ("a", torch.full((3, 2, 2), 256), "image", "integers from 0 to 255, not values 256 to 256"),
        ("a", "b", "histogram", "as a histogram takes numbers, not a str"),
        ("a", [float("nan")], "histogram", "at least one finite number"),
        (RED, "a", None, "log_media takes the name first, a str such as 'val/prediction'"),
    ],
)
def test_misuse(make_runner, name, value, kind, message):
    with pytest.raises(ConfigError, match=message):
        make_runner().log_media(name, value, kind)


class Takes(Hook):
    """A logger of somebody's own, which need not be derived from anything."""

    def __init__(self, *kinds):
        self.kinds, self.seen = kinds, []

    def log_media(self, runner, media):
        self.seen.append((media.kind, media.name, media.step))
        return media.kind in self.kinds


def test_every_logger_is_asked_and_what_none_takes_is_kept(make_runner, batches, at, tmp_path):
    def show(runner):
        if runner.iter == 1:
            runner.log_media("val/image", CHANNELS_FIRST)
            runner.log_media("../val/grey", RED[:, :, 0], "image", step=7)
            runner.log_media("figure", Figure(figsize=(1, 1)))
            runner.log_media("weights", runner.model.first.weight)
            runner.log_media("text", "hællo")

    first, second = Takes("text"), Takes("image", "text")
    runner = make_runner(max_epochs=1)
    for hook in (first, second, at(after_train_iter=show)):
        runner.register_hook(hook)
    runner.run([batches], [("train", 1)])
    asked = [
        ("image", "val/image", 2), ("image", "../val/grey", 7), ("figure", "figure", 2), ("histogram", "weights", 2),
        ("text", "text", 2),
    ]  # fmt: skip
    assert first.seen == second.seen == asked
    folder = tmp_path / "work/media"
    assert {str(path.relative_to(folder)) for path in folder.rglob("*.*")} == {"figure/2.png", "weights/2.json"}


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_what_is_kept_can_be_read(make_runner, tmp_path, channels):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, channels), np.uint8)
    runner = make_runner()
    runner.log_media("../up/image", image)
    runner.log_media("figure", Figure(figsize=(1, 1)))
    runner.log_media("text", "hællo")
    runner.log_media("weights", torch.arange(65.0))
    folder = tmp_path / "work/media"
    assert (np.asarray(Image.open(folder / "up/image/1.png")).reshape(image.shape) == image).all()
    assert Image.open(folder / "figure/1.png").size == (100, 100)
    assert (folder / "text/1.txt").read_text(encoding="utf-8") == "hællo"
    histogram = json.loads((folder / "weights/1.json").read_text())
    assert (sum(histogram["counts"]), histogram["edges"][0], histogram["edges"][-1]) == (65, 0, 64)


def test_without_a_work_dir_nothing_is_kept(make_runner, tmp_path):
    make_runner(work_dir=None).log_media("text", "hello")
    assert list(tmp_path.iterdir()) == []
