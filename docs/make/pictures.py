"""The timeline of a run as a picture: which hook is called at which point, in which order, by its priority.

The calls are those of a real plan: what `mmhooks inspect` shows for the digits that come with mmhooks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from mmhooks import Config
from mmhooks.cli.demo import CONFIG
from mmhooks.plan import plan_run
from mmhooks.report.timeline import Lane, Loop, lanes
from mmhooks.walk import acts

WIDTH, ROW, PAD, TOP = 1000, 46, 14, 30
NAMES, FIRST = 176, 206  # where the name of a point ends and the first hook begins
FONT = "ui-sans-serif, system-ui, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"

#: Colours of hooks from the first priority to the last, then ink, faint ink, lines, and the grounds of nested loops.
COLOURS = {
    "light": (("#fde2c4", "#fdf0c2", "#d9efd0", "#cfe6f7", "#e2dcf5"), "#1d2733", "#5b6875", "#c3cbd3"),
    "dark": (("#6b4420", "#62541b", "#2f5a2c", "#1f4d70", "#473a78"), "#e8edf2", "#a3b0bd", "#475460"),
}
GROUNDS = {"light": ("#ffffff", "#f5f7f9", "#eceff3"), "dark": ("#1e222a", "#262b35", "#2f3540")}
PRIORITIES = {"VERY_HIGH": 0, "HIGH": 0, "ABOVE_NORMAL": 1, "NORMAL": 2, "LOW": 3, "VERY_LOW": 4}


class Picture:
    """Draws from top to bottom."""

    def __init__(self, scheme: str) -> None:
        self.hooks, self.ink, self.faint, self.line = COLOURS[scheme]
        self.grounds = GROUNDS[scheme]
        self.y = PAD
        self.parts: list[str] = []

    def text(self, x: float, y: float, words: str, size: int = 13, **style: str) -> None:
        """Write a line of text."""
        more = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in {"fill": self.ink, **style}.items())
        self.parts.append(f'<text x="{x}" y="{y}" font-size="{size}"{more}>{escape(words)}</text>')

    def box(self, x: float, y: float, width: float, height: float, fill: str, **style: str) -> str:
        """Give a rectangle."""
        more = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in style.items())
        return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="7" fill="{fill}"{more}/>'

    def draw(self, items: Sequence[Lane | Loop], depth: int = 0) -> None:
        """Draw lanes and loops below each other."""
        for item in items:
            self.loop(item, depth) if isinstance(item, Loop) else self.lane(item)

    def loop(self, loop: Loop, depth: int) -> None:
        """Draw a loop, and what is in it."""
        place, top = len(self.parts), self.y
        inset = PAD * (depth + 1)
        self.y += TOP - 6
        self.text(inset + 12, top + 19, f"\u21bb {loop.label}", 12, fill=self.faint)
        self.draw(loop.parts, depth + 1)
        ground = self.grounds[min(depth + 1, len(self.grounds) - 1)]
        frame = self.box(inset, top, WIDTH - 2 * inset, self.y - top + 4, ground, stroke=self.line)
        self.parts.insert(place, frame)
        self.y += 12

    def lane(self, lane: Lane) -> None:
        """Draw a point with the hooks that are called there."""
        middle = self.y + ROW / 2
        if lane.note:
            self.text(FIRST, middle + 4, lane.note, fill=self.faint, font_style="italic")
        else:
            weight = "600" if lane.calls else "400"
            self.text(NAMES + 16, middle + 4, lane.point, text_anchor="end", font_weight=weight)
        x = float(FIRST)
        for turn, call in enumerate(lane.calls):
            if turn:
                self.text(x - 12, middle + 5, "\u203a", 15, fill=self.faint)
            width = max(7.0 * len(call.hook), 6.0 * len(call.priority)) + 16
            fill = self.hooks[PRIORITIES.get(call.priority, 2)]
            self.parts.append(self.box(x, self.y + 3, width, ROW - 7, fill))
            self.text(x + 8, self.y + 19, call.hook, 11, font_weight="600")
            self.text(x + 8, self.y + 33, call.priority, 8, fill=self.ink, opacity="0.75")
            x += width + 18
        if not lane.calls and not lane.note:
            self.text(FIRST, middle + 4, "\u2013", fill=self.faint)
        self.y += ROW if lane.calls or lane.note else ROW - 14

    def svg(self, title: str) -> str:
        """Give the whole picture."""
        height = self.y + PAD
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img" font-family="{FONT}">'
        )
        ground = self.box(0.5, 0.5, WIDTH - 1, height - 1, self.grounds[0], stroke=self.line)
        return "\n".join([head, f"<title>{escape(title)}</title>", ground, *self.parts, "</svg>", ""])


def digits(**options: Any) -> Config:
    """Give the config of the digits, with other values laid over it."""
    config = Config.fromfile(CONFIG)
    config.merge_from_dict(options)
    return config


def pictures() -> Iterator[tuple[str, str]]:
    """Give the name and the content of every picture."""
    by_iterations: Mapping[str, Any] = {
        "runner": {"_delete_": True, "type": "IterBasedRunner", "max_iters": 270},
        "workflow": [("train", 45), ("val", 12)],
        "checkpoint_config.by_epoch": False,
        "evaluation.by_epoch": False,
        "evaluation.interval": 45,
        "checkpoint_config.interval": 45,
    }
    for name, title, config in (
        ("epochs", "The ten points of an epoch-based run, with the hooks that are called there", digits()),
        ("iterations", "The points of an iteration-based run", digits(**by_iterations)),
    ):
        plan = plan_run(config)
        for scheme in COLOURS:
            picture = Picture(scheme)
            picture.draw(lanes(acts(plan), by_epoch=plan.by_epoch))
            yield f"timeline-{name}-{scheme}.svg", picture.svg(title)


def write(docs: Path) -> list[Path]:
    """Write the pictures into the assets."""
    written = []
    for name, content in pictures():
        written.append(docs / "assets" / name)
        written[-1].write_text(content, encoding="utf-8")
    return written
