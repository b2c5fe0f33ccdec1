"""Charts as SVG or tables, drawn where the page is made, in the colours of its style sheet: one file a chart."""

from sporeprint.web.charts.dot_interval import DotMark, DotScale, dot_interval, dot_scale
from sporeprint.web.charts.figure import Chart, svg_file
from sporeprint.web.charts.heatmap import HeatCell, HeatColumn, HeatMap
from sporeprint.web.charts.lines import Mark, lines_chart
from sporeprint.web.charts.points import Line, Point
from sporeprint.web.charts.rows import Dot, Row, RowPart, rows_chart
from sporeprint.web.charts.scale import Axis
from sporeprint.web.charts.share_bar import BarPart, share_bar
from sporeprint.web.charts.spark import spark

__all__ = [
    "Axis",
    "BarPart",
    "Chart",
    "Dot",
    "DotMark",
    "DotScale",
    "HeatCell",
    "HeatColumn",
    "HeatMap",
    "Line",
    "Mark",
    "Point",
    "Row",
    "RowPart",
    "dot_interval",
    "dot_scale",
    "lines_chart",
    "rows_chart",
    "share_bar",
    "spark",
    "svg_file",
]
