"""The page and the Markdown of a report: well-formed, escaped, the same every time; and the page in a real browser."""

import importlib.util
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from mmhooks import Config
from mmhooks.walk import Act
from mmhooks_lightning.migration import page as page_module
from mmhooks_lightning.migration.markdown import markdown
from mmhooks_lightning.migration.page import page
from mmhooks_lightning.migration.rows import Curve, Report, Row, Verdict, Walked


def neighbour(name, folder):
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HERE = Path(__file__).parent
reports = neighbour("reports", HERE)
chromium = neighbour("browser", HERE.parents[1] / "report")
HOSTILE = "<script>alert(1)</script>|`a``b`\n[x](javascript:1) \x00\u202e\ud800 </style>\"'><img src=//evil.test/x>"
VOID = {"meta", "link", "input", "br", "hr", "img"}
REAL = [
    "mmdet/faster_rcnn/faster_rcnn_r50_fpn_1x_coco.py",
    "mmcls/swin_transformer/swin-tiny_16xb64_in1k.py",
    "mmsegmentation/pspnet/pspnet_r50-d8_512x1024_40k_cityscapes.py",
]


class Outline(HTMLParser):
    """Checks that every element is closed where it should be, and counts them."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words, self.ids = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    cfg = Config.fromstring(reports.CONFIG, ".py")
    return reports.report_of(cfg, "own.py", tmp_path_factory.mktemp("own"), codebase="mmdet", off=3e-5)


@pytest.fixture
def hostile():
    rows = [Row(HOSTILE, HOSTILE, HOSTILE, verdict, HOSTILE) for verdict in Verdict]
    walked = Walked(1, 1, 1, float("nan"), 0.0, 0.0, False, False, (HOSTILE,), (HOSTILE,))
    acts = [Act("before_run", HOSTILE, HOSTILE, HOSTILE, HOSTILE), Act(HOSTILE, "A", "LOW", "once", "")]
    return Report(HOSTILE, HOSTILE, HOSTILE, rows, [Curve(HOSTILE, 1, [0.1], [0.2])], acts, [walked])


def test_a_report_has_its_keys_plots_hooks_and_proof(report):
    text = page(report)
    outline = Outline(text)
    assert len(outline.ids) == len(set(outline.ids))
    assert outline.tags.count("svg") == 2
    assert text.count('<tr role="row" data-kind=') == len(report.rows) == 13
    assert text.count('<li class="call">') == len(report.acts)
    words = " ".join(outline.words)
    assert "The sides differ in 1 of 2 walks; 804 iterations were compared." in words
    assert "Largest difference: 3e-05, at iteration 360" in words
    assert "MyOwnHook: no such class" in words
    assert "8 exact" in words


def test_the_same_report_gives_the_same_bytes(report):
    assert page(report) == page(replace(report, rows=list(report.rows)))
    assert markdown(report) == markdown(replace(report))


def test_what_comes_from_the_config_is_escaped(hostile):
    text = page(hostile)
    assert Outline(text).tags.count("script") == 1
    assert "alert(1)</script>" not in text
    assert "<img" not in text
    assert not {"\x00", "\u202e"} & set(text)
    text.encode()


def test_markdown_is_escaped(hostile):
    text = markdown(hostile)
    text.encode()
    tokens = MarkdownIt("gfm-like", {"html": True, "linkify": False}).parse(text)
    kinds = [token.type for token in tokens]
    inline = {child.type for token in tokens for child in token.children or []}
    assert kinds.count("table_open") == 3
    assert "html_block" not in kinds
    assert not inline & {"html_inline", "link_open", "image"}
    assert kinds.count("td_open") == len(hostile.rows) * 5 + len(hostile.acts) * 5 + 9


def test_markdown_says_what_the_page_says(report):
    text = markdown(report)
    assert "**13 keys: 8 exact, 1 equivalent, 1 carried, 3 to the builders**" in text
    assert "| 60 | 1 | 720 | 3e-05 | 1.5 | 0 | equal | equal | differ |" in text
    assert "- MyOwnHook: no such class" in text
    assert "| `data.workers_per_gpu` | `2` |" in text


def test_an_empty_report_says_so():
    empty = Report("empty.py", "mmdet 2.28.2", "lightning", [])
    for text in (" ".join(Outline(page(empty)).words), markdown(empty)):
        assert "Not checked. Nothing was run to compare both sides" in text
        assert "0 keys" in text
        assert "The config has no keys." in text
        assert "No hook acts in this run." in text


@pytest.mark.parametrize(
    ("same", "words"), [(True, "Both sides are equal in all 36"), (False, "differ in the only walk")]
)
def test_the_proof_in_a_sentence(same, words):
    walked = Walked(3, 1, 36, 0.0, 0.0, 0.0, same, True)
    report = Report("a.py", "mmdet", "bridge", [], proof=[walked], covers_paramwise=True)
    assert words in page(report)
    assert words in markdown(report)
    assert "were compared, those that paramwise" in page(report)


def test_three_hundred_rows(report):
    rows = [Row(f"key_{index}", "x" * index, "", list(Verdict)[index % 8]) for index in range(300)]
    text = page(replace(report, rows=rows))
    assert Outline(text).tags.count("details") == 300 - 97
    assert "300" in text
    assert len(markdown(replace(report, rows=rows)).splitlines()) > 300


def test_without_matplotlib_the_page_says_how_to_get_it(report, monkeypatch):
    monkeypatch.setattr(page_module, "has", lambda name: False)
    text = page(report)
    assert "pip install &#34;mmhooks[report]&#34;" in text or 'pip install "mmhooks[report]"' in text
    assert "<svg" not in text


@pytest.mark.parametrize("name", REAL)
def test_real_configs(name, tmp_path):
    if not (reports.ZOO / name).is_file():
        pytest.skip("the real configs are not here: make zoo")
    report = reports.report_of(Config.fromfile(str(reports.ZOO / name)), name, tmp_path, epoch_len=10)
    assert Outline(page(report)).tags.count("svg") == 2
    kinds = [token.type for token in MarkdownIt("gfm-like", {"linkify": False}).parse(markdown(report))]
    assert kinds.count("td_open") == 5 * len(report.rows) + 5 * len(report.acts) + 9 * len(report.proof)


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    if chromium.CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with chromium.browser(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("which", ["report", "hostile"])
def test_in_a_browser(which, width, dark, tab, tmp_path, request):
    file = tmp_path / "report.html"
    file.write_text(page(request.getfixturevalue(which)), encoding="utf-8")
    tab.requests.clear()
    tab.open(file, width=width, dark=dark)
    assert tab.ask("document.documentElement.scrollWidth") == width
    edges = "[...document.querySelectorAll('section, h1, .call, .keys tr')].map(e => e.getBoundingClientRect().right)"
    assert tab.ask(f"Math.max(...{edges})") <= width
    for part in ("#key-table", "svg.mmhooks-plot", ".timeline .call", "table.proof"):
        shown = f"[...document.querySelectorAll('{part}')].filter(e => e.getClientRects().length).length"
        assert tab.ask(shown) >= 1, part
    assert tab.ask("[...document.querySelectorAll('svg')].filter(e => e.getClientRects().length).length") == 1
    back = tab.ask("getComputedStyle(document.body).backgroundColor")
    assert back == ("rgb(19, 22, 26)" if dark else "rgb(247, 247, 245)")
    assert {url for url in tab.requests if not url.startswith("data:")} == {file.as_uri()}
    assert tab.complaints == []


def test_rows_are_filtered_in_a_browser(tab, tmp_path, report):
    file = tmp_path / "report.html"
    file.write_text(page(report), encoding="utf-8")
    tab.open(file, width=1280)
    shown = "[...document.querySelectorAll('.keys tbody tr')].filter(e => e.getClientRects().length).length"
    assert tab.ask(shown) == 13
    tab.ask("document.querySelector('input[value=exact]').click()")
    assert tab.ask(shown) == 8
    search = "const box = document.querySelector('input[type=search]'); box.value = 'LR_conf';"
    tab.ask(f"{{ {search} box.dispatchEvent(new Event('input', {{bubbles: true}})) }}")
    assert tab.ask(shown) == 1
    assert tab.ask("document.querySelector('output').textContent") == "1 of 13 shown"


def test_the_browser_would_notice(tab, tmp_path):
    file = tmp_path / "bad.html"
    file.write_text("<div style='width:2000px'>a</div><img src='http://evil.test/x.png'><script>nope()</script>")
    tab.open(file, width=400)
    assert tab.ask("document.documentElement.scrollWidth") > 400
    assert "http://evil.test/x.png" in tab.requests
    assert tab.complaints
    tab.requests.clear()
    tab.complaints.clear()
