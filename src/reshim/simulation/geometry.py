"""What the scanner asks of an anatomy, and what it gets: a grid in the body, tissue fractions on it.

Body coordinates are LPS, as in DICOM: x grows to the subject's left, y to posterior, z to the head, in
mm from the organ's centre. A slice is stored as a radiologist sees it: axial rows run from anterior to
posterior and columns from the subject's right to left; coronal rows run from head to foot and columns
from right to left; sagittal rows run from head to foot and columns from anterior to posterior. The heart has
planes of its own: the short axis lies across the line from its base to its apex, the long axis (the four
chambers) holds that line, apex up.
"""

import math
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

View: TypeAlias = Literal["axial", "coronal", "sagittal", "short-axis", "long-axis"]
Grid: TypeAlias = Float[Tensor, "row column"]

# (row axis, sign), (column axis, sign), normal axis; axes count x, y, z.
_AXES: dict[str, tuple[tuple[int, int], tuple[int, int], int]] = {
    "axial": ((1, 1), (0, 1), 2),
    "coronal": ((2, -1), (0, 1), 1),
    "sagittal": ((2, -1), (1, 1), 0),
}

_Vector = tuple[float, float, float]


def _unit(*vector: float) -> _Vector:
    x, y, z = (part / math.hypot(*vector) for part in vector)
    return x, y, z


def _cross(a: _Vector, b: _Vector) -> _Vector:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


TO_APEX = _unit(0.65, -0.55, -0.52)
"""From the heart's base to its apex: to the left, forwards, down."""

TO_LATERAL = _unit(-TO_APEX[1], TO_APEX[0], 0.0)
"""From the septum to the free wall of the left ventricle, level."""

TO_INFERIOR = _cross(TO_APEX, TO_LATERAL)
"""From the anterior wall of the left ventricle to the inferior wall."""

# The directions of rows, columns and slices.
_OBLIQUE: dict[str, tuple[_Vector, _Vector, _Vector]] = {
    "short-axis": (TO_INFERIOR, TO_LATERAL, TO_APEX),
    "long-axis": (_unit(*(-part for part in TO_APEX)), TO_LATERAL, TO_INFERIOR),
}


@dataclass(frozen=True)
class Geometry:
    """The fine grid of one volume, where it lies in the body, and how thick its slices are."""

    rows: int
    """Rows of the fine drawing grid; index ``rows // 2`` lies at `center_mm`."""

    columns: int
    """Columns of the fine drawing grid."""

    spacing_mm: tuple[float, float]
    """Between neighbouring rows and neighbouring columns of the fine grid."""

    positions_mm: tuple[float, ...]
    """Slice centres along the slice normal (z, y, x for axial, coronal, sagittal)."""

    thickness_mm: float
    """Of the slice profile: a slice is the mean over sub-planes inside it."""

    view: View = "axial"

    n_sub: int = 3
    """Sub-planes that make one slice."""

    center_mm: tuple[float, float] = (0.0, 0.0)
    """Where the grid's centre lies, along the two in-plane body axes (row axis, column axis)."""

    def __post_init__(self) -> None:
        if min(self.rows, self.columns, self.n_sub, len(self.positions_mm)) < 1:
            raise ValueError(
                f"grid is {self.rows}x{self.columns} with {len(self.positions_mm)} slices of {self.n_sub} "
                "sub-planes; each must be at least 1"
            )

    @property
    def n_slices(self) -> int:
        """Number of slices."""
        return len(self.positions_mm)

    @property
    def subs(self) -> tuple[float, ...]:
        """Offsets of the sub-planes from the slice centre, in units of the thickness, inside ±1/2."""
        return tuple((index + 0.5) / self.n_sub - 0.5 for index in range(self.n_sub))

    def points(self, slice_index: int, sub: float = 0.0) -> tuple[Grid, Grid, Grid]:
        """Body coordinates (x, y, z) of every grid point of one sub-plane, float32, in mm.

        Parameters
        ----------
        slice_index
            Which of `positions_mm`.
        sub
            Offset of the sub-plane from the slice centre in units of the thickness: one of `subs`.
        """
        return self.plane(self.positions_mm[slice_index] + sub * self.thickness_mm)

    def plane(self, position_mm: float) -> tuple[Grid, Grid, Grid]:
        """Body coordinates (x, y, z) of the grid in the plane at `position_mm` along the slice normal."""
        if self.view in _OBLIQUE:
            return self._oblique(position_mm)
        (row_axis, row_sign), (column_axis, column_sign), normal = _AXES[self.view]
        down = row_sign * (torch.arange(self.rows) - self.rows // 2) * self.spacing_mm[0] + self.center_mm[0]
        across = column_sign * (torch.arange(self.columns) - self.columns // 2) * self.spacing_mm[1]
        along = (across + self.center_mm[1]).to(torch.float32)
        shape = (self.rows, self.columns)
        grids = [torch.empty(0)] * 3
        grids[row_axis] = down.to(torch.float32)[:, None].expand(shape)
        grids[column_axis] = along[None, :].expand(shape)
        grids[normal] = torch.full(shape, float(position_mm))
        return grids[0], grids[1], grids[2]

    def _oblique(self, position_mm: float) -> tuple[Grid, Grid, Grid]:
        """As `plane`, where no axis of the grid is one of the body."""
        rows = (torch.arange(self.rows) - self.rows // 2) * self.spacing_mm[0] + self.center_mm[0]
        columns = (torch.arange(self.columns) - self.columns // 2) * self.spacing_mm[1] + self.center_mm[1]
        x, y, z = (
            rows[:, None] * down + columns[None, :] * across + position_mm * along
            for down, across, along in zip(*_OBLIQUE[self.view], strict=True)
        )
        return x, y, z


@dataclass(frozen=True)
class Lesion:
    """A planted finding and the box around it on the slice where it is largest."""

    name: str
    slice: int
    box_mm: tuple[float, float, float, float]
    """(row0, column0, row1, column1) in mm from the top left corner of the fine grid, row0 < row1."""


@dataclass(frozen=True)
class Anatomy:
    """A subject as the scanner finds it: how much of each tissue is in each cell of the fine grid."""

    tissues: tuple[str, ...]
    """Names that `reshim.simulation.tissues` knows."""

    fractions: Float[Tensor, "slice tissue row column"]
    """Partial volumes, float32, at least 0; their sum is at most 1 and the rest is air."""

    texture: Float[Tensor, "slice row column"]
    """Multiplies the proton density; mean about 1."""

    lesions: tuple[Lesion, ...] = ()


@runtime_checkable
class Draw(Protocol):
    """What draws an anatomy: `brain.draw`, `knee.draw` and so on."""

    def __call__(
        self, subject: int, geometry: Geometry, seed: int = 0, lesions: bool | float = False
    ) -> Anatomy:
        """Return the same anatomy for the same subject and seed, whatever the geometry.

        `lesions` is the size of planted findings relative to what was drawn for them; 0 plants none.
        """
        ...
