"""A page of boxes, arrows and symbols that becomes SVG, with the looks that Figure/architecture.py uses."""

from itertools import pairwise
from xml.sax.saxutils import escape

HEAD = """<svg xmlns="http://www.w3.org/2000/svg" role="img"
 viewBox="0 0 1000 1278" width="1000" height="1278"><title>The networks of ThiefCloud: SCPM, guided
inversion, removal network with its blocks AFE and PGFF, and the training</title><style>
text {font: 13px Helvetica, Arial, sans-serif; text-anchor: middle; fill: #1f2937} text.start {text-anchor: start}
text.math {font: italic 16px Cambria, Georgia, "Times New Roman", serif} text.end {text-anchor: end} text.bold {font-weight: 600}
text.scale {fill: #1d5fa8} text.offset {fill: #a8480f} .box {stroke-width: 1.5} .dashed {stroke-dasharray: 5 3}
.line {fill: none; stroke: #4b5563; stroke-width: 1.6} .start-dot {marker-start: url(#dot)} .end-tip {marker-end: url(#tip)}
.conv {fill: #dce8f6; stroke: #4a78b0} .deformable {fill: #fde2c4; stroke: #c4731a} .frozen {fill: #e8eaed; stroke: #8b949e}
.prior {fill: #e9dff6; stroke: #7d5bb5} .afe {fill: #d9f0e1; stroke: #358a5c} .pgff {fill: #fbdcdf; stroke: #b64c5a}
.inversion {fill: #fdf6c9; stroke: #a08a1c}
.panel {fill: #f4f6f8; stroke: #d0d7de} rect.card {fill: #fff} .plain {stroke: #d0d7de}
</style><defs>
<marker id="tip" refX="7.5" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto"><path
 d="M0 0L8 4L0 8Z" fill="#4b5563"/></marker><marker id="dot" refX="3" refY="3" markerWidth="6" markerHeight="6"
 markerUnits="userSpaceOnUse"><circle cx="3" cy="3" r="3" fill="#4b5563"/></marker>
<g id="plus" class="line"><circle r="8" style="fill: #fff"/><path d="M-5 0H5M0 -5V5"/></g>
<g id="times"><use href="#plus" transform="rotate(45)"/></g>
<circle id="gap" r="5" fill="#f4f6f8"/><path id="black" d="M-36 -36H36V36H-36Z"/>
<path id="cells" fill="none" stroke="#1f2937" stroke-width=".6" d="M-24 -36V36M-12 -36V36M0 -36V36
M12 -36V36M24 -36V36M-36 -24H36M-36 -12H36M-36 0H36M-36 12H36M-36 24H36"/>
<g id="ground" stroke-dasharray="none" transform="translate(-36 -36)"><path d="M0 0H72V72H0Z" fill="#86ab6b"/>
<path d="M0 0H30L24 26 0 32Z" fill="#cb7"/><path d="M30 0H72V9L26 22Z" fill="#695"/><path d="M24 54L44 52L42 72H21Z" fill="#dc8"/>
<path d="M0 34L24 28L20 72H0Z" fill="#5d8a4c"/><path d="M26 26L48 20L44 48L24 50Z" fill="#a9c07c"/>
<path d="M69 14C52 24 62 40 50 52Q46 57 46 69" fill="none" stroke="#3f78a8" stroke-width="6" stroke-linecap="square"/></g>
<radialGradient id="mist"><stop offset=".2" stop-color="#fff" stop-opacity=".9"/>
<stop offset="1" stop-color="#fff" stop-opacity="0"/></radialGradient>
<g id="cloud" fill="url(#mist)"><ellipse cx="-11" cy="-14" rx="25" ry="17"/><ellipse cx="9" cy="-3" rx="27" ry="16"/>
<ellipse cx="16" cy="21" rx="19" ry="13"/></g>
<use id="rest" href="#cloud" opacity=".35"/>
<rect id="frame" x="-36" y="-36" width="72" height="72" fill="none" stroke="#1f2937" stroke-width="1.6"/>
</defs>
<rect x=".5" y=".5" width="999" height="1277" rx="14" fill="#fff" stroke="#d0d7de"/>
"""


class Canvas:
    """SVG elements in drawing order. Looks are classes of HEAD; "dashed": can be left out."""

    svg = HEAD

    def text(self, x: float, y: float, content: str, look: str = "") -> None:
        """Lines of text, the first one's baseline at y."""
        for row, line in enumerate(content.splitlines()):
            self.svg += f'<text class="{look}" x="{x:g}" y="{y + 16 * row:g}">{escape(line)}</text>\n'

    def panel(self, x: float, y: float, width: float, height: float, title: str = "", look: str = "panel") -> None:
        """A background area, placed by its corner."""
        self.svg += f'<rect class="{look}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8"/>\n'
        self.text(x + 11, y + 20, title, "start bold")

    def box(self, x: float, y: float, width: float, height: float, content: str, look: str = "conv", count: int = 1) -> None:
        """A block of a network, or as many equal ones behind each other."""
        for behind in reversed(range(count)):
            left, top = x - width / 2 + 3 * behind, y - height / 2 - 3 * behind
            self.svg += f'<rect class="box {look}" x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}" rx="5"/>\n'
        self.text(x, y + 4.5 - 8 * content.count("\n"), content)

    def arrows(self, *paths: str, look: str = "end-tip") -> None:
        """Arrows along SVG path data; "start-dot" where they branch off another line."""
        for path in paths:
            self.svg += f'<path class="line {look}" d="{path}"/>\n'

    def chain(self, y: float, *stops: tuple[float, float], look: str = "end-tip") -> None:
        """Arrows along a row from each stop, the centre and width of a block, to the next."""
        self.arrows(*(f"M{x0 + w0 / 2:g} {y:g}H{x1 - w1 / 2:g}" for (x0, w0), (x1, w1) in pairwise(stops)), look=look)

    def symbols(self, x: float, y: float, *names: str, look: str = "") -> None:
        """Definitions of HEAD, one on the other."""
        self.svg += "".join(f'<use href="#{name}" class="{look}" x="{x:g}" y="{y:g}"/>' for name in names) + "\n"
