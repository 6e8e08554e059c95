"""The layers of a knee, painted front to back on one slice: findings, bones, joint, soft tissue, skin."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from reshim.simulation import knee_bones as bones
from reshim.simulation import knee_joint as joint
from reshim.simulation import knee_muscles as along
from reshim.simulation.knee_frame import Canvas, Frame, Window
from reshim.simulation.knee_lesions import Finding
from reshim.simulation.knee_subject import Subject
from reshim.simulation.shapes import membership, shell

_SKIN_MM = 1.9
_FASCIA_MM = 0.7
_SEPTA_MM = 7.0


@dataclass
class Painter:
    """What all layers of one slice need."""

    canvas: Canvas
    subject: Subject
    tables: along.Tables
    grain: dict[str, Tensor]
    """Random fields on the fine grid, (sub, row, column)."""

    findings: tuple[Finding, ...] = ()
    found: dict[str, Tensor] = field(default_factory=dict)
    """Share of each pixel that each finding takes, (row, column)."""

    @property
    def frame(self) -> Frame:
        """The slice's coordinates."""
        return self.canvas.frame

    def __call__(self) -> None:
        """Paint everything."""
        self._findings("any")
        self._bones()
        self._joint()
        self._soft()

    def _findings(self, host: str, window: Window | None = None, share: Tensor | None = None) -> None:
        """Give the findings their part of `host`, which is about to be painted with `share` on `window`."""
        for finding in self.findings:
            reach = self.frame.patch(*finding.box) if finding.host == host else None
            if reach is None:
                continue
            taken = membership(
                self.frame.refine(finding(self.frame.cut(reach)), reach),
                max(finding.fade_mm, self.frame.edge_mm),
            )
            fine = self.frame.fine_window(reach)
            if share is not None and window is not None:
                whole = torch.zeros_like(self.canvas.left)
                covered = self.frame.fine_window(window)
                whole[:, covered[0], covered[1]] = share
                taken = taken * whole[:, fine[0], fine[1]]
            part = self.canvas.paint("lesion", finding.strength * taken, fine)
            total = self.found.setdefault(finding.name, torch.zeros(self.frame.fine_shape))
            total[fine] += part

    def _bones(self) -> None:
        """Marrow inside cortex, then the cartilage of all bones."""
        frame, person = self.frame, self.subject
        layers: list[tuple[Window, Tensor, float]] = []
        coats: list[tuple[Window, Tensor]] = []
        if window := frame.patch(*bones.FEMUR_BOX):
            depth = bones.femoral_shaft(frame.cut(window), person)
            layers.append((window, depth, 1.0))
            if below := frame.patch(*bones.CONDYLE_BOX):
                end = depth[:, *inside(below, window)]
                bone, coat = bones.condyles(frame.cut(below), end, person)
                end.copy_(bone)
                coats.append((below, coat))
        if window := frame.patch(*bones.TIBIA_BOX):
            points = frame.cut(window)
            top = bones.plateau(points)
            layers.append((window, bones.tibia(points, top, person), 1.0))
            coats.append((window, bones.tibial_cartilage(points, top, person)))
        if window := frame.patch(*bones.FIBULA_BOX):
            layers.append((window, bones.fibula(frame.cut(window)), 0.5))
        if window := frame.patch(*bones.PATELLA_BOX):
            depth, coat = bones.patella(frame.cut(window), person)
            layers.append((window, depth, 0.4))
            coats.append((window, coat))
        for window, depth, thick in layers:
            self._bone(window, depth, thick)
        for window, depth in coats:
            share = self.canvas.share(depth, window)
            self._findings("cartilage", window, share)
            self.canvas.paint("cartilage", share, frame.fine_window(window))

    def _bone(self, window: Window, depth: Tensor, thick: float) -> None:
        """One bone: findings in the marrow, the growth plate's scar, red marrow, yellow marrow, cortex."""
        frame, person = self.frame, self.subject
        fine = frame.fine_window(window)
        u, v, w = frame.cut(window)
        cortex = 0.8 + (person.cortex * thick - 0.8) * torch.sigmoid((w.abs() - 60) / 8)
        marrow = self.canvas.share(depth - cortex, window)
        self._findings("marrow_fat", window, marrow)
        trabeculae, patches = (self.grain[name][:, fine[0], fine[1]] for name in ("trabeculae", "patches"))
        if thick == 1.0:
            scar = bones.growth_plate_scar((u, v, w))
            line = self.canvas.share(0.5 - scar.abs(), window) * (0.22 + 0.12 * patches).clamp(0, 0.45)
            self.canvas.paint("cortical_bone", marrow * line, fine)
            red = torch.sigmoid((torch.maximum(w, -w - 8) - 56) / 6) * person.red_marrow
            share = frame.refine(red, window) * (0.22 + 0.16 * patches).clamp(0, 0.5)
            self.canvas.paint("muscle", marrow * share, fine)
        texture = 1 + person.marrow_contrast * trabeculae + 0.06 * patches
        self.canvas.paint("marrow_fat", marrow, fine, texture)
        self.canvas.paint("cortical_bone", self.canvas.share(depth, window), fine)

    def _joint(self) -> None:
        """Menisci, ligaments, tendons, and the fluid between them."""
        frame, person = self.frame, self.subject
        window = frame.patch(*joint.MENISCUS_BOX)
        if window:
            points = frame.cut(window)
            top = bones.plateau(points)
            share = self.canvas.share(joint.menisci(points, top, person), window)
            self._findings("meniscus", window, share)
            self.canvas.paint("meniscus", share, frame.fine_window(window))
        self._bands("ligament", joint.LIGAMENTS, 0.85)
        self._bands("tendon", joint.TENDONS, 1.0)
        if window:
            share = self.canvas.share(joint.gap(points, top, person), window)
            self.canvas.paint("fluid", share, frame.fine_window(window))
        if window := frame.patch(*joint.RECESS_BOX):
            share = self.canvas.share(joint.recess(frame.cut(window), person), window)
            self.canvas.paint("fluid", share, frame.fine_window(window))

    def _bands(self, tissue: str, bands: dict[str, joint.Band], share: float) -> None:
        """Fibrous cords and straps; what they leave of their pixels is the fat between their fibres."""
        for band in bands.values():
            if window := self.frame.patch(band.low, band.high):
                depth = band.depth(self.frame.cut(window), self.subject)
                self.canvas.paint(
                    tissue, share * self.canvas.share(depth, window), self.frame.fine_window(window)
                )

    def _soft(self) -> None:
        """Vessels, muscles, fascia, fat with its septa, skin."""
        frame, person, canvas = self.frame, self.subject, self.canvas
        columns = self.tables.at(frame.height)
        fascia = along.fascia(frame.points, columns)
        skin = fascia + along.fat_thickness(frame.points, columns, person)
        body = frame.where(skin, _SKIN_MM + frame.edge_mm)
        if body is None:
            canvas.left.zero_()
            return
        fine = frame.fine_window(body)
        grain = {name: values[:, fine[0], fine[1]] for name, values in self.grain.items()}

        def refined(depth: Tensor) -> Tensor:
            return frame.refine(depth[:, body[0], body[1]], body)

        edge = frame.edge_mm
        skin, wrapped = refined(skin), refined(fascia)
        under, deep = membership(skin, edge), membership(wrapped, edge)
        canvas.left[:, fine[0], fine[1]] *= membership(skin + _SKIN_MM, edge)
        vessels = torch.maximum(
            along.popliteal_vessels(frame.points, columns),
            along.subcutaneous_veins(frame.points, frame.height, columns, person),
        )
        canvas.paint("vessel", membership(refined(vessels), edge) * under, fine)
        best, second = along.muscles(frame, columns, self.tables)
        # Between two muscles a septum of fat is left.
        depth = refined(torch.minimum(best, (best - second) / 2 - 0.45))
        muscle = membership(torch.minimum(depth, wrapped - _FASCIA_MM), edge)
        streaks = (0.6 * grain["fibres"] - 0.66).clamp_(0, 0.4)
        canvas.paint("muscle", muscle * (0.98 - streaks), fine, 1 + person.muscle_contrast * grain["fibres"])
        canvas.paint("ligament", 0.8 * shell(wrapped, -0.2, _FASCIA_MM, edge), fine)
        # Where two random fields vanish together runs a curve: a small vessel.
        twigs = membership(0.09 - bones.length(grain["septa"], grain["patches"]), 0.12)
        canvas.paint("vessel", 0.8 * twigs * under, fine)
        # Septa run along the skin, wind, and break off.
        turns = wrapped / _SEPTA_MM + 0.7 * grain["septa"]
        sheets = membership(0.05 - (turns - turns.round()).abs(), 0.12)
        strength = person.septa * (0.55 + 0.6 * grain["patches"]).clamp_(0, 1) * (1 - 0.5 * deep)
        canvas.paint("ligament", strength * sheets * under, fine)
        canvas.paint("fat", under, fine, 1 + 0.03 * grain["patches"])
        canvas.paint("skin", torch.ones_like(under), fine)


def inside(window: Window, outer: Window) -> Window:
    """The window as counted from the first row and column of one that contains it."""
    first, second = (slice(w.start - o.start, w.stop - o.start) for w, o in zip(window, outer, strict=True))
    return first, second
