"""Canvas of boxes, arrows and symbols on the page of Figure/template.svg.

The template defines the looks (classes of its style) and the symbols (elements with an id).
"""

from itertools import pairwise
from pathlib import Path
from xml.sax.saxutils import escape

TEMPLATE = Path(__file__).with_name("template.svg")
_END = "</svg>\n"


class Canvas:
    """SVG elements in drawing order.

    A look is a list of classes of the template; "dashed" marks optional parts.
    """

    def __init__(self) -> None:
        self._svg = TEMPLATE.read_text(encoding="utf-8").removesuffix(_END)

    @property
    def svg(self) -> str:
        """The whole drawing."""
        return self._svg + _END

    def text(self, x: float, y: float, content: str, look: str = "") -> None:
        """Draw lines of text, the baseline of the first at y."""
        for row, line in enumerate(content.splitlines()):
            position = f'x="{x:g}" y="{y + 16 * row:g}"'
            self._svg += f'<text class="{look}" {position}>{escape(line)}</text>\n'

    def panel(
        self, x: float, y: float, width: float, height: float, title: str = "", look: str = "panel"
    ) -> None:
        """Draw a background area, placed by its upper left corner."""
        self._rectangle(x, y, width, height, look, radius=8)
        self.text(x + 11, y + 20, title, "start bold")

    def box(
        self, x: float, y: float, size: tuple[float, float], content: str, look: str = "conv"
    ) -> None:
        """Draw a block of a network, placed by its centre; `size` is width and height."""
        self.stack(x, y, size, content, look, count=1)

    def stack(
        self, x: float, y: float, size: tuple[float, float], content: str, look: str, count: int
    ) -> None:
        """Draw equal blocks behind each other."""
        width, height = size
        for behind in reversed(range(count)):
            left, top = x - width / 2 + 3 * behind, y - height / 2 - 3 * behind
            self._rectangle(left, top, width, height, f"box {look}", radius=5)
        self.text(x, y + 4.5 - 8 * content.count("\n"), content)

    def arrows(self, *paths: str, look: str = "end-tip") -> None:
        """Draw arrows along SVG path data; "start-dot" is a branch of another line."""
        for path in paths:
            self._svg += f'<path class="line {look}" d="{path}"/>\n'

    def chain(self, y: float, *stops: tuple[float, float], look: str = "end-tip") -> None:
        """Draw arrows along a row between stops, each the centre and width of a block."""
        for (x0, width0), (x1, width1) in pairwise(stops):
            self.arrows(f"M{x0 + width0 / 2:g} {y:g}H{x1 - width1 / 2:g}", look=look)

    def symbols(self, x: float, y: float, *names: str, look: str = "") -> None:
        """Draw symbols of the template over each other."""
        for name in names:
            self._svg += f'<use href="#{name}" class="{look}" x="{x:g}" y="{y:g}"/>'
        self._svg += "\n"

    def _rectangle(
        self, x: float, y: float, width: float, height: float, look: str, radius: int
    ) -> None:
        place = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius}"'
        self._svg += f'<rect class="{look}" {place}/>\n'
