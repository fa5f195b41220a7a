"""The page of mmhooks inspect: whole, escaped, and readable in a real browser, narrow and wide, light and dark."""

import importlib.util
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mmhooks import Config
from mmhooks.plan import plan_run
from mmhooks.report import inspect_page as module
from mmhooks.report.inspect_page import inspect_page
from mmhooks.walk import overview

HERE = Path(__file__).parent
ZOO = HERE.parents[1] / ".cache" / "zoo"
HOSTILE = "<script>alert(1)</script><img src=//evil.test/x>\x00\u202e"
CONFIG = {
    "model": {"type": "FasterRCNN", "name": HOSTILE},
    "optimizer": {"type": "SGD", "lr": 0.02, "momentum": 0.9},
    "optimizer_config": {},
    "lr_config": {"policy": "step", "warmup": "linear", "warmup_iters": 500, "warmup_ratio": 0.001, "step": [8, 11]},
    "checkpoint_config": {"interval": 1},
    "log_config": {"interval": 50, "hooks": [{"type": "TextLoggerHook"}]},
    "custom_hooks": [{"type": HOSTILE}, {"type": "EMAHook", "priority": "HIGH"}],
    "runner": {"type": "EpochBasedRunner", "max_epochs": 12},
    "workflow": [("train", 1), ("val", 1)],
    HOSTILE: 1,
    "long": list(range(200)),
}
REAL = [
    "mmdet/faster_rcnn/faster_rcnn_r50_fpn_1x_coco.py",
    "mmdet/yolox/yolox_s_8x8_300e_coco.py",
    "mmsegmentation/pspnet/pspnet_r50-d8_512x1024_40k_cityscapes.py",
]


def neighbour(name):
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    loaded = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


chromium = neighbour("browser")


class Outline(HTMLParser):
    """Notes the tags, and checks that each is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in {"meta", "link", "input", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data.split()


def page_of(config, epoch_len=None, codebase=None):
    plan = plan_run(config, codebase)
    return inspect_page(plan, overview(plan, epoch_len or 1000), epoch_len)


@pytest.fixture(scope="module")
def own():
    return page_of(CONFIG)


def test_a_page_has_all_ten_points_the_curve_and_the_keys(own):
    outline = Outline(own)
    words = " ".join(outline.words)
    for point in ("before_run", "before_train_epoch", "after_train_iter", "before_val_iter", "after_val_epoch"):
        assert point in words
    assert "this run does not come to" not in words
    assert "at points that are not known" in words
    assert outline.tags.count("svg") == 2
    assert "lr, warmup: 1,000 iterations, from 2e-05 to 0.02." in words
    assert own.count('<tr role="row" data-kind=') == len(CONFIG)
    assert "12,000 = 12 x 1,000, a length that is assumed: set --epoch-len" in words
    assert "the first 500 iterations (linear warmup)" in words


def test_points_that_are_not_reached_are_named():
    text = page_of({**CONFIG, "workflow": [("train", 1)]}, 10)
    assert "come to before_val_epoch, before_val_iter, after_val_iter, after_val_epoch." in " ".join(
        Outline(text).words
    )
    assert "assumed" not in text


def test_what_comes_from_the_config_is_escaped(own):
    assert Outline(own).tags.count("script") == 1
    assert "<img" not in own
    assert not {"\x00", "\u202e"} & set(own)


def test_without_matplotlib_the_page_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(module, "has", lambda name: False)
    text = page_of(CONFIG)
    assert "pip install" in text
    assert "<svg" not in text


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    if chromium.CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with chromium.browser(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


def check(tab, file, width, dark):
    tab.requests.clear()
    tab.complaints.clear()
    tab.open(file, width=width, dark=dark)
    assert tab.ask("document.documentElement.scrollWidth") == width
    edges = (
        "[...document.querySelectorAll('section, h1, .call, .keys tr, svg')].map(e => e.getBoundingClientRect().right)"
    )
    assert tab.ask(f"Math.max(...{edges})") <= width
    back = tab.ask("getComputedStyle(document.body).backgroundColor")
    assert back == ("rgb(19, 22, 26)" if dark else "rgb(247, 247, 245)")
    assert {url for url in tab.requests if not url.startswith("data:")} == {file.as_uri()}
    assert tab.complaints == []


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 400])
def test_in_a_browser(width, dark, tab, tmp_path, own):
    file = tmp_path / "run.html"
    file.write_text(own, encoding="utf-8")
    check(tab, file, width, dark)
    assert tab.ask("[...document.querySelectorAll('svg')].filter(e => e.getClientRects().length).length") == 1
    rows = "[...document.querySelectorAll('.keys tbody tr')].filter(e => e.getClientRects().length).length"
    assert tab.ask(rows) == len(CONFIG)
    tab.ask("document.querySelector('input[value=run]').click()")
    assert 5 <= tab.ask(rows) < len(CONFIG)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", REAL)
def test_real_configs_in_a_browser(name, tab, tmp_path):
    if not (ZOO / name).is_file():
        pytest.skip("the real configs are not here: make zoo")
    file = tmp_path / "run.html"
    file.write_text(page_of(Config.fromfile(ZOO / name), 7), encoding="utf-8")
    for width in (1280, 400):
        check(tab, file, width, dark=False)
