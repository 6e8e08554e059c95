"""A three-dimensional digital knee: what `reshim simulate` scans where the protocol says knee.

Origin: the body is the same whatever view and slices are asked for; any slice is a section through it. The
parts are in `knee_bones`, `knee_joint`, `knee_muscles`, how knees differ in `knee_subject`.
Ours differs from label atlases: nothing is on a grid, so it can be drawn as finely as is needed.
"""

import torch
from torch import Tensor

from reshim.seeds import generator_of
from reshim.simulation import knee_bones as bones
from reshim.simulation import knee_joint as joint
from reshim.simulation import knee_muscles as along
from reshim.simulation.geometry import Anatomy, Geometry, Lesion
from reshim.simulation.knee_frame import Canvas, Frame, Window, axes_of
from reshim.simulation.knee_subject import Subject
from reshim.simulation.lattice import Lattice
from reshim.simulation.shapes import Points, membership, shell

TISSUES = (
    "marrow_fat",
    "cortical_bone",
    "cartilage",
    "meniscus",
    "ligament",
    "muscle",
    "fat",
    "skin",
    "vessel",
    "fluid",
    "tendon",
    "lesion",
)


def draw(subject: int, geometry: Geometry, seed: int = 0, lesions: bool = False) -> Anatomy:
    """The knee of one subject on the fine grid of a scan.

    Parameters
    ----------
    subject
        Number in the population.
    geometry
        Grid and slices.
    seed
        Which population.
    lesions
        Whether findings are planted.
    """
    person = Subject.drawn(subject, seed)
    tables = along.Tables.of(person)
    grain = Grain.drawn(subject, seed)
    shape = (geometry.n_slices, len(TISSUES), geometry.rows, geometry.columns)
    fractions = torch.zeros(shape)
    texture = torch.zeros(geometry.n_slices, geometry.rows, geometry.columns)
    found: list[Lesion] = []
    for index in range(geometry.n_slices):
        frame = Frame.of(geometry, index, person)
        layers = dict(zip(TISSUES, fractions[index], strict=True))
        canvas = Canvas(frame, layers, texture[index])
        _paint(canvas, person, tables, grain.read(geometry, index))
    total = fractions.sum(1)
    texture = torch.where(total > 1e-3, texture / total.clamp_min(1e-3), torch.ones(()))
    return Anatomy(TISSUES, fractions, texture, tuple(found))


class Grain:
    """Random fields of one subject: trabeculae, fibres, septa."""

    def __init__(self, fine: Tensor, coarse: Tensor) -> None:
        self.fine = fine
        self.coarse = coarse

    @classmethod
    def drawn(cls, subject: int, seed: int) -> "Grain":
        """The fields of this number in the population of this seed."""
        generator = generator_of("knee grain", subject, seed)
        fine = torch.rand(1, *_FINE.counts[::-1], generator=generator) * 3.46 - 1.73
        coarse = torch.rand(2, *_COARSE.counts[::-1], generator=generator) * 3.46 - 1.73
        return cls(fine, coarse)

    def read(self, geometry: Geometry, index: int) -> dict[str, Tensor]:
        """Each field on the fine grid of one slice, (sub, row, column)."""
        x, y, z = (axis.flatten() for axis in axes_of(geometry, index))
        order = {"axial": (0, 1, 2), "coronal": (1, 0, 2), "sagittal": (2, 0, 1)}[geometry.view]

        def field(lattice: Lattice, values: Tensor, stretch: tuple[float, float, float]) -> Tensor:
            scaled = (x / stretch[0], y / stretch[1], z / stretch[2])
            return lattice.read(values[None], scaled)[0].permute(order)

        return {
            "trabeculae": field(_FINE, self.fine[0], (1.0, 1.0, 1.3)),
            "fibres": field(_FINE, self.fine[0], (1.0, 1.0, 5.0)),
            "septa": field(_COARSE, self.coarse[0], (1.0, 1.0, 1.0)),
            "patches": field(_COARSE, self.coarse[1], (2.0, 2.0, 2.0)),
        }


_FINE = Lattice((-100.0, -100.0, -100.0), 1.5, (134, 134, 134))
_COARSE = Lattice((-110.0, -110.0, -110.0), 6.0, (38, 38, 38))


def _paint(canvas: Canvas, person: Subject, tables: along.Tables, grain: dict[str, Tensor]) -> None:
    """All layers of one slice, the foremost first."""
    frame = canvas.frame
    whole = (slice(0, frame.points[0].shape[1]), slice(0, frame.points[0].shape[2]))
    columns = tables.at(frame.height)
    _paint_bones(canvas, person, grain)
    _paint_joint(canvas, person)
    _paint_soft(canvas, person, tables, columns, whole, grain)


def _paint_bones(canvas: Canvas, person: Subject, grain: dict[str, Tensor]) -> None:
    frame = canvas.frame
    found: list[tuple[Window, Tensor, float]] = []
    cartilage: list[tuple[Window, Tensor]] = []
    if window := frame.patch(*bones.FEMUR_BOX):
        depth, skin = bones.femur(frame.cut(window), person)
        found.append((window, depth, 1.0))
        cartilage.append((window, skin))
    if window := frame.patch(*bones.TIBIA_BOX):
        points = frame.cut(window)
        top = bones.plateau(points)
        depth = bones.tibia(points, top)
        found.append((window, depth, 1.0))
        cartilage.append((window, bones.tibial_cartilage(points, top, person)))
    if window := frame.patch(*bones.FIBULA_BOX):
        found.append((window, bones.fibula(frame.cut(window)), 0.5))
    if window := frame.patch(*bones.PATELLA_BOX):
        depth, skin = bones.patella(frame.cut(window), person)
        found.append((window, depth, 0.4))
        cartilage.append((window, skin))
    for window, depth, thick in found:
        w = frame.points[2][:, window[0], window[1]]
        cortex = 0.8 + (person.cortex * thick - 0.8) * torch.sigmoid((w.abs() - 60) / 8)
        fine = frame.fine_window(window)
        texture = 1 + person.marrow_contrast * grain["trabeculae"][:, fine[0], fine[1]]
        canvas.paint("marrow_fat", canvas.share(depth - cortex, window), fine, texture)
        canvas.paint("cortical_bone", canvas.share(depth, window), fine)
    for window, depth in cartilage:
        canvas.paint("cartilage", canvas.share(depth, window), frame.fine_window(window))


def _paint_joint(canvas: Canvas, person: Subject) -> None:
    frame = canvas.frame
    if window := frame.patch(*joint.MENISCUS_BOX):
        points = frame.cut(window)
        depth = joint.menisci(points, bones.plateau(points), person)
        canvas.paint("meniscus", canvas.share(depth, window), frame.fine_window(window))
    for tissue, parts in (("ligament", joint.STRIPES), ("tendon", joint.TENDONS)):
        for low, high, depth_of in parts.values():
            if window := frame.patch(low, high):
                depth = depth_of(frame.cut(window), person)
                canvas.paint(tissue, canvas.share(depth, window), frame.fine_window(window))
    if window := frame.patch(*joint.RECESS_BOX):
        depth = joint.recess(frame.cut(window), person)
        canvas.paint("fluid", canvas.share(depth, window), frame.fine_window(window))


def _paint_soft(
    canvas: Canvas,
    person: Subject,
    tables: along.Tables,
    columns: Tensor,
    whole: Window,
    grain: dict[str, Tensor],
) -> None:
    frame = canvas.frame
    fine = frame.fine_window(whole)
    edge = frame.edge_mm
    vessels = along.popliteal_vessels(frame.points, columns)
    veins = along.subcutaneous_veins(frame.points, frame.height, columns, person)
    canvas.paint("vessel", canvas.share(torch.maximum(vessels, veins), whole), fine)
    wrapped = frame.refine(along.fascia(frame.points, columns), whole)
    best, second = along.muscles(frame.points, frame.height, columns, tables.muscle_range)
    # Between two muscles a septum is left.
    depth = frame.refine(torch.minimum(best, (best - second) / 2 - 0.4), whole)
    muscle = membership(torch.minimum(depth, wrapped - 0.8), edge)
    canvas.paint("muscle", muscle * 0.97, fine, 1 + person.muscle_contrast * grain["fibres"])
    canvas.paint("ligament", 0.7 * shell(wrapped, -0.2, 0.6, edge), fine)
    fat = _fat_thickness(frame.points, columns, person)
    skin = frame.refine(fat, whole) + wrapped
    canvas.left *= membership(skin + 1.6, edge)
    under = membership(skin, edge)
    septa = person.septa * membership(0.12 - grain["septa"].abs(), 0.2) * (wrapped < 0)
    canvas.paint("ligament", septa * under, fine)
    canvas.paint("fat", under, fine, 1 + 0.05 * grain["trabeculae"])
    canvas.paint("skin", torch.ones_like(under), fine)


def _fat_thickness(points: Points, columns: Tensor, person: Subject) -> Tensor:
    """Of the subcutaneous fat, in mm: thin over the patella and the shin, thicker medially and behind."""
    u, v, w = points
    lateral, posterior, up, phase = person.fat_waves
    across, back = (u - columns[0]) / 50, (v - columns[1]) / 50
    relative = (
        1 + lateral * across + posterior * back + up * w / 60 + 0.1 * torch.sin(w / 13 + phase + 2 * across)
    )
    front = torch.exp(-(across / 0.5).square()) * torch.sigmoid(-(back + 0.6) / 0.1)
    return person.fat * relative.clamp_min(0.3) * (1 - 0.6 * front)
