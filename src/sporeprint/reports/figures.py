"""What all pictures share: colours, style, figures placed by hand, and PNG bytes that are equal for equal values."""

import functools
import io
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec

from sporeprint.reports.class_words import spaced

if TYPE_CHECKING:  # matplotlib takes a second to import, and who only needs a name or a colour shall not pay it
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


Drawing = ParamSpec("Drawing")


COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#4D4D4D")


MARKERS = ("o", "s", "^", "D", "v", "P", "X")


INK, SOFT, FAINT = "#22272e", "#667080", "#d9dde3"


#: Boxes stay so light that dark text on them keeps a contrast of 4.5 and more.
LIGHTER = 0.7


#: Pixels per inch: most pictures are 4.5 inches wide or more, so at least 900 pixels, and sharp on a dense screen.
DPI = 200


#: Colours of a finished picture: less than half the bytes of true colour. Areas keep theirs; only edges are a little off.
PALETTE_SIZE = 255


#: What a user's own matplotlib settings must not change.
STYLE: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "text.color": INK,
    "text.usetex": False,
    "text.antialiased": True,
    "text.parse_math": False,
    "axes.facecolor": "white",
    "axes.edgecolor": "#aab1bc",
    "axes.labelcolor": INK,
    "axes.labelsize": 9.0,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.0,
    "axes.unicode_minus": True,
    "figure.facecolor": "white",
    "figure.edgecolor": "white",
    "grid.color": "#eceff3",
    "grid.linewidth": 0.8,
    "grid.linestyle": "-",
    "lines.antialiased": True,
    "lines.solid_capstyle": "round",
    "path.sketch": None,
    "path.effects": [],
    "savefig.bbox": None,
    "savefig.facecolor": "auto",
    "savefig.transparent": False,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
}


def palette(models: Sequence[str]) -> dict[str, str]:
    """The colour of each model, by its place; more models than colours share them, and differ by marker."""
    return {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(models)}


def picture(draw: Callable[Drawing, "Figure"]) -> Callable[Drawing, bytes]:
    """Run a drawing function under the package's own style and return the PNG."""

    @functools.wraps(draw)
    def drawn(*args: Drawing.args, **kwargs: Drawing.kwargs) -> bytes:
        import matplotlib as mpl
        import numpy as np
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from PIL import Image  # comes with matplotlib, which writes its own PNG files by it

        with mpl.rc_context(STYLE):
            figure = draw(*args, **kwargs)
            canvas: Any = FigureCanvasAgg(figure)
            canvas.draw()
        picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
        buffer = io.BytesIO()
        # No metadata, neither versions nor times: equal values give equal bytes.
        picture.quantize(PALETTE_SIZE, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(buffer, "PNG")
        return buffer.getvalue()

    return drawn


def new_figure(width: float, height: float, *, simulated: bool) -> "Figure":
    """An empty figure, in inches, stamped if the rows were invented."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI)
    if simulated:
        # Ten and a half times as long as it is high, over most of the diagonal.
        figure.text(
            *(0.5, 0.5, "SIMULATED DATA"),
            rotation=math.degrees(math.atan2(height, width)),
            ha="center",
            va="center",
            fontsize=0.8 * 72 * math.hypot(width, height) / 10.5,
            fontweight="bold",
            color="#C73E1D",
            alpha=0.22,
            zorder=100,
        )
    return figure


def add_axes(figure: "Figure", left: float, bottom: float, right: float, top: float) -> "Axes":
    """Axes within margins given in inches."""
    width, height = figure.get_size_inches()
    return figure.add_axes((left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height))


def add_title(figure: "Figure", text: str, *, left: float = 0.12) -> None:
    """Write a heading at the figure's upper edge; `left`: inches."""
    width, height = figure.get_size_inches()
    figure.text(left / width, 1 - 0.1 / height, text, fontsize=10.5, fontweight="bold", va="top")


def shortened(name: str, length: int = 22) -> str:
    """A name that is not longer than a picture has room for."""
    text = spaced(name)
    return text if len(text) <= length else f"{text[: length - 1]}…"
