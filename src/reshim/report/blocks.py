"""What a page is composed of: declarative blocks that a study writes down and that files alone redraw.

A block says which rows to show, never a number: numbers come from the rows when the page is drawn. `where`
chooses rows by column and value (a list means any of them, None means null), as
`reshim.evaluation.quantities.select` does.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Where: TypeAlias = dict[str, Any]
Role: TypeAlias = Literal["source", "adapted", "fallback", "target", "classical", "other"]


@dataclass(frozen=True)
class Choice:
    """Rows under a name: a method, a test set, a line of a figure."""

    label: str
    where: Where


@dataclass(frozen=True)
class Block:
    """One section of a page."""

    title: str = ""
    note: str = ""
    """A sentence or two under the title: what to look for, what it does not show."""


@dataclass(frozen=True)
class ClaimsBlock(Block):
    """The claims of `summary.json`: holds or not, by which interval, and what the paper found."""

    title: str = "What holds"


@dataclass(frozen=True)
class TextBlock(Block):
    """Plain paragraphs."""

    paragraphs: tuple[str, ...] = ()


@dataclass(frozen=True)
class MatrixBlock(Block):
    """Methods against test sets: mean with interval in each cell, the best of a column marked."""

    methods: tuple[Choice, ...] = ()
    tests: tuple[Choice, ...] = ()
    where: Where = field(default_factory=dict)
    """What all cells share: metric, target, region."""

    with_worst: bool = False
    """Add two columns: the mean of the test sets, and the worst of them."""


@dataclass(frozen=True)
class Bar:
    """One method of the gap."""

    label: str
    where: Where
    role: Role = "other"
    """`source` and `target` span the gap; the others lie in it or out of it."""


@dataclass(frozen=True)
class GapBlock(Block):
    """The gap between a model from elsewhere and one from here, and what closes it."""

    bars: tuple[Bar, ...] = ()
    where: Where = field(default_factory=dict)


@dataclass(frozen=True)
class ImagesBlock(Block):
    """Reference, methods and error maps on one scale, of examples that `save_example` wrote."""

    examples: tuple[str, ...] = ()
    """Names of the files under images/, without ending."""


@dataclass(frozen=True)
class Curve:
    """One line over steps, from a file of the study folder."""

    label: str
    file: str
    """Path inside the study folder, .jsonl or .parquet; lines that lack `x` or `y` are passed over."""

    x: str = "step"
    y: str = "loss"
    panel: str = ""
    """Curves of one panel share a plot."""

    inside: tuple[str, ...] = ()
    """Keys that lead to the table which holds `y`, the outermost first."""

    where: Where = field(default_factory=dict)
    """Only lines with these values."""


@dataclass(frozen=True)
class CurvesBlock(Block):
    """Training or adaptation curves, one plot a panel."""

    curves: tuple[Curve, ...] = ()
    x_label: str = "step"
    y_label: str = ""
    """Empty: the name of the column."""

    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True)
class DosesBlock(Block):
    """Score against a dose: acceleration, noise, perturbation budget, size of a training set."""

    dose: str = "acceleration"
    """A numeric column of the rows."""

    lines: tuple[Choice, ...] = ()
    where: Where = field(default_factory=dict)
    x_label: str = ""
    log_x: bool = False


@dataclass(frozen=True)
class Point:
    """One model in a scatter plot: its score here and its score there."""

    label: str
    x: Where
    y: Where
    group: str = ""
    """Points of one group share a colour and a mark."""

    in_fit: bool = False
    """Whether the line is fitted through it."""


@dataclass(frozen=True)
class ScatterBlock(Block):
    """Score out of distribution against score in distribution, with the line fitted through chosen points."""

    points: tuple[Point, ...] = ()
    where: Where = field(default_factory=dict)
    x_label: str = "in distribution"
    y_label: str = "out of distribution"
    diagonal: bool = True
    """Draw the line on which both scores are equal."""

    each: str = ""
    """A column of which a point chooses several values, e.g. ``test``: their means are averaged, so that test
    sets of other subjects count alike."""


@dataclass(frozen=True)
class TableBlock(Block):
    """Mean and interval of every row and column choice, to copy as Markdown, LaTeX or CSV."""

    rows: tuple[Choice, ...] = ()
    columns: tuple[Choice, ...] = ()
    where: Where = field(default_factory=dict)
    compare_to: str = ""
    """Label of a row; the others get their paired difference to it and a p value, corrected by Holm."""

    against_zero: bool = False
    """Add the p value of each cell being 0, corrected by Holm over the whole table, and say which are not."""


@dataclass(frozen=True)
class MadeBlock(Block):
    """How it was made; `reshim.report.made.made` fills it in."""

    title: str = "How it was made"
    command: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    machine: str = ""
    finished: str = ""


@dataclass(frozen=True)
class Page:
    """A study's page: its question and the blocks that answer it, claims first."""

    study: str
    title: str
    question: str = ""
    paper: str = ""
    """Authors, venue and year of the paper whose question this is."""

    blocks: tuple[Block, ...] = ()


KINDS: dict[str, type[Block]] = {
    "claims": ClaimsBlock,
    "text": TextBlock,
    "matrix": MatrixBlock,
    "gap": GapBlock,
    "images": ImagesBlock,
    "curves": CurvesBlock,
    "doses": DosesBlock,
    "scatter": ScatterBlock,
    "table": TableBlock,
    "made": MadeBlock,
}
"""How `page.json` calls each block."""
