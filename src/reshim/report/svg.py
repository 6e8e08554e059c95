"""A plot of lines, bands and points as inline SVG that takes its colours from the page, light or dark."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup, escape

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 44


def tag(name: str, *children: Any, **attributes: Any) -> Markup:
    """An element; texts and attribute values are escaped, `class_` is class and other `_` are `-`."""
    inside = Markup("").join(escape(child) for child in children)
    pairs = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _short(value))
        for key, value in attributes.items()
    )
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), pairs, inside)


def _short(value: Any) -> Any:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value


@dataclass(frozen=True)
class Scale:
    """Data to pixels along one axis."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        low, high, at = (math.log10(each) if self.log else each for each in (self.low, self.high, value))
        return self.start + (at - low) / (high - low) * (self.stop - self.start)

    def ticks(self) -> list[float]:
        """Round numbers inside the range."""
        return log_ticks(self.low, self.high) if self.log else linear_ticks(self.low, self.high)


def linear_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten; with 2 and 5 times them where there are few, and plain round numbers within a decade."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 2, 5)):
        ticks = [f * 10.0**d for d in decades for f in factors if low * 0.999 <= f * 10.0**d <= high * 1.001]
        if len(ticks) >= 3:
            return ticks[:: math.ceil(len(ticks) / 7)]
    return linear_ticks(low, high, 4)


def padded(values: Sequence[float], log: bool = False, margin: float = 0.06) -> tuple[float, float]:
    """The range of the values with a margin on both sides; never empty."""
    low, high = min(values), max(values)
    if log:
        ratio = max(high / low, 1.2) ** margin
        return low / ratio, high * ratio
    room = (high - low) * margin or max(abs(high) * 0.05, 1e-6)
    return low - room, high + room


def tick_label(value: float) -> str:
    """A tick as short as it can be."""
    magnitude = abs(value)
    if magnitude and (magnitude >= 1e5 or magnitude < 1e-3):
        mantissa, exponent = f"{value:.0e}".split("e")
        return f"{mantissa}e{int(exponent)}".replace("-", "−")
    return f"{value:.4g}".replace("-", "−")


@dataclass
class Plot:
    """Axes with whatever is drawn into them, back to front."""

    x: Scale
    y: Scale
    x_label: str
    y_label: str
    x_ticks: Sequence[float] | None = None
    parts: list[Markup] = field(default_factory=list)

    @classmethod
    def around(
        cls,
        xs: Sequence[float],
        ys: Sequence[float],
        x_label: str,
        y_label: str,
        log_x: bool = False,
        log_y: bool = False,
        x_ticks: Sequence[float] | None = None,
    ) -> "Plot":
        """Axes that hold these values."""
        x = Scale(*padded(xs, log_x), LEFT, WIDTH - RIGHT, log_x)
        y = Scale(*padded(ys, log_y), HEIGHT - BOTTOM, TOP, log_y)
        return cls(x, y, x_label, y_label, x_ticks)

    def line(self, points: Sequence[tuple[float, float]], style: str) -> None:
        """A line through points; a point that is not finite interrupts it."""
        commands, move = [], True
        for x, y in points:
            if not (math.isfinite(x) and math.isfinite(y)):
                move = True
                continue
            commands.append(f"{'M' if move else 'L'}{self.x(x):.1f} {self.y(y):.1f}")
            move = False
        self.parts.append(tag("path", d=" ".join(commands), class_=f"line {style}"))

    def band(self, points: Sequence[tuple[float, float, float]], style: str) -> None:
        """The area between low and high over x."""
        there = [f"{self.x(x):.1f} {self.y(low):.1f}" for x, low, _ in points]
        back = [f"{self.x(x):.1f} {self.y(high):.1f}" for x, _, high in reversed(points)]
        self.parts.append(tag("path", d=f"M{' L'.join(there + back)} Z", class_=f"band {style}"))

    def error(self, x: tuple[float, float], y: tuple[float, float], style: str) -> None:
        """A straight stroke from one corner to another: an error bar, a guide."""
        self.parts.append(
            tag("line", x1=self.x(x[0]), y1=self.y(y[0]), x2=self.x(x[1]), y2=self.y(y[1]), class_=style)
        )

    def mark(self, x: float, y: float, index: int, style: str, text: str) -> None:
        """A point whose shape goes with its colour, so that colour is not needed to tell it."""
        centre = f"translate({self.x(x):.1f} {self.y(y):.1f})"
        shape = tag(
            "path", tag("title", text), d=MARKS[index % len(MARKS)], transform=centre, class_=f"mark {style}"
        )
        self.parts.append(shape)

    def text(
        self, x: float, y: float, text: str, style: str, dx: float = 0, dy: float = 0, anchor: str = "start"
    ) -> None:
        """Words at a point, moved by pixels."""
        self.parts.append(
            tag("text", text, x=self.x(x) + dx, y=self.y(y) + dy, class_=style, text_anchor=anchor)
        )

    def render(self, description: str) -> Markup:
        """The whole figure; `description` is what a reader hears who does not see it."""
        return tag(
            "svg",
            tag("title", description),
            *self._axes(),
            *self.parts,
            viewBox=f"0 0 {WIDTH} {HEIGHT}",
            role="img",
            aria_label=description,
            class_="plot",
        )

    def _axes(self) -> list[Markup]:
        bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
        drawn = []
        for value in self.y.ticks():
            at = self.y(value)
            drawn.append(tag("line", x1=LEFT, x2=right, y1=at, y2=at, class_="grid"))
            drawn.append(
                tag("text", tick_label(value), x=LEFT - 7, y=at + 4, text_anchor="end", class_="tick")
            )
        for value in self.x_ticks or self.x.ticks():
            at = self.x(value)
            drawn.append(tag("line", x1=at, x2=at, y1=bottom, y2=bottom + 4, class_="axis"))
            drawn.append(
                tag("text", tick_label(value), x=at, y=bottom + 17, text_anchor="middle", class_="tick")
            )
        drawn.append(tag("line", x1=LEFT, x2=right, y1=bottom, y2=bottom, class_="axis"))
        middle = (TOP + bottom) / 2
        drawn.append(
            tag(
                "text", self.x_label, x=(LEFT + right) / 2, y=HEIGHT - 7, text_anchor="middle", class_="label"
            )
        )
        turned = f"rotate(-90 13 {middle:.1f})"
        drawn.append(
            tag("text", self.y_label, x=13, y=middle, text_anchor="middle", transform=turned, class_="label")
        )
        return drawn


MARKS = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z",
    "M-3.6 -3.6H3.6V3.6H-3.6Z",
    "M0 -4.8L4.6 3.4H-4.6Z",
    "M0 -5L5 0L0 5L-5 0Z",
    "M0 4.8L4.6 -3.4H-4.6Z",
    "M-1.4 -4.4H1.4V-1.4H4.4V1.4H1.4V4.4H-1.4V1.4H-4.4V-1.4H-1.4Z",
)
"""Disc, square, triangle, diamond, triangle down, cross."""
