"""Walk a run without its model: its rates, points, files and evaluations."""

from mmhooks.walk.acts import Act, acts
from mmhooks.walk.overview import overview
from mmhooks.walk.trace import Call, Event, Files, Points, Rates, Run, Trace, Unwalked
from mmhooks.walk.walk import default_lengths, schedule_rates, walk

__all__ = [
    "Act",
    "Call",
    "Event",
    "Files",
    "Points",
    "Rates",
    "Run",
    "Trace",
    "Unwalked",
    "acts",
    "default_lengths",
    "overview",
    "schedule_rates",
    "walk",
]
