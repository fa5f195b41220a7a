"""The built site in a real browser, opened as files and without a network. `make docs` runs it after the build."""

import time
from pathlib import Path

import pytest

from tests.report.browser import CHROMIUM, browser

SITE = Path(__file__).parents[2] / "site"
PAGES = sorted(page for page in SITE.rglob("*.html") if page.name != "404.html")
# what is wider than the window, and not inside something that scrolls by itself
WIDE = """(() => {
  const scrolls = node => node && node !== document.body &&
    (["auto", "scroll", "hidden"].includes(getComputedStyle(node).overflowX) || scrolls(node.parentElement));
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  return [...document.querySelectorAll(".md-main *")]
    .filter(node => node.getBoundingClientRect().right > width + 1 && !scrolls(node.parentElement))
    .map(node => node.tagName + "." + node.className + ": " + node.textContent.slice(0, 60)).slice(0, 5).concat("wide");
})()"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    with browser(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


def wait_for(tab, expression):
    """Ask until the answer is true, for ten seconds."""
    for _ in range(100):
        if answer := tab.ask(expression):
            return answer
        time.sleep(0.1)
    return tab.ask(expression)


def test_the_site_is_there():
    assert {"index.html", "points.html", "cookbook.html"} <= {page.name for page in PAGES}, "make docs builds it"


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(SITE)) for page in PAGES])
def test_a_page_is_whole_and_alone(tab, page, width):
    tab.requests.clear()
    tab.complaints.clear()
    tab.open(page, width=width)
    assert tab.ask("document.querySelector('h1').textContent.length") > 2
    assert tab.complaints == []
    assert [url for url in tab.requests if not url.startswith(("file:", "data:", "about:"))] == []
    assert tab.ask(WIDE) == []


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("dark", [False, True])
def test_the_picture_is_that_of_the_colours(tmp_path, dark):
    shown = "[...document.querySelectorAll('.picture img')].filter(one => one.offsetWidth).map(one => one.src).join()"
    with browser(tmp_path) as tab:  # a new reader, who has chosen no colours
        tab.open(SITE / "index.html", width=1280, dark=dark)
        assert wait_for(tab, shown).count("timeline") == 1
        assert ("dark" in tab.ask(shown)) == dark


def test_the_search_works_without_a_server(tab):
    tab.open(SITE / "index.html", width=1280)
    tab.ask("""(() => { const box = document.querySelector("[data-md-component=search-query]");
      document.querySelector("[data-md-toggle=search]").click(); box.focus(); box.value = "CheckpointHook";
      for (const kind of ["input", "keyup"]) box.dispatchEvent(new Event(kind, {bubbles: true})); })()""")
    found = wait_for(tab, "[...document.querySelectorAll('.md-search-result__link')].map(one => one.href).join('\\n')")
    assert "reference/hooks.html" in found
