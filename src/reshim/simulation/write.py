"""Simulated volumes as fastMRI-layout HDF5, with the truth beside.

Layout: J. Zbontar et al., arXiv:1811.08839. Ours differs: `reconstruction_clean`, `labels`, `lesions`,
`noise_covariance` and the settings that made the file stand beside what a fastMRI file holds.
"""

import json
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import groupby, product
from pathlib import Path
from xml.etree import ElementTree

import h5py
import numpy as np
import torch

from reshim.simulation.artefacts import Artefacts
from reshim.simulation.protocols import PROTOCOLS, Protocol, protocol_of
from reshim.simulation.scanner import Exam, examine

SIMULATION_VERSION = 2
"""Raised when the same settings give other data, so that old files are made anew."""

DATASET = "reshim-simulated"


def simulate(
    out: Path | str,
    protocols: Iterable[str | Protocol] | None = None,
    subjects: int | Sequence[int] = 2,
    matrix: int = 128,
    slices: int | None = None,
    seed: int = 0,
    lesions: bool | float = False,
    progress: Callable[[str], None] | None = None,
    workers: int | None = None,
    lesion_contrast: float = 1.0,
    artefacts: Artefacts | None = None,
) -> list[Path]:
    """Scan subjects under protocols, one file a volume; files that are complete are left as they are.

    Artefacts are part of the protocol's name in files and catalogs: `brain-t2-3t+motion1`.

    Parameters
    ----------
    out
        Folder, made where it is missing.
    protocols
        Names or cards; all of `PROTOCOLS` by default.
    subjects
        How many (0, 1, ...), or which.
    matrix, slices, seed, lesions, lesion_contrast, artefacts
        See `reshim.simulation.scanner.examine`.
    progress
        Called with the file's name after each volume.
    workers
        Volumes made at a time, a thread each; torch's number of threads by default. Each holds its anatomy on
        the fine grid: about 0.1 GB at matrix 128, 1 GB at 320.

    Returns
    -------
    Every file of the request, protocol by protocol, whether made now or found complete; a protocol with
    repetitions has a file for each.
    """
    cards = [card if isinstance(card, Protocol) else protocol_of(card) for card in protocols or PROTOCOLS]
    wrong = artefacts or Artefacts()
    numbers = range(subjects) if isinstance(subjects, int) else subjects
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)

    def make(card: Protocol, subject: int) -> list[Path]:
        settings = settings_of(card, subject, matrix, slices, seed, lesions, lesion_contrast, wrong)
        paths = [folder / f"{stem}.h5" for stem in stems_of(card, seed, subject, wrong)]
        exam = None
        for repetition, path in enumerate(paths):
            if not is_complete(path, settings):
                exam = exam or examine(
                    card, subject, matrix, slices, seed, lesions, None, lesion_contrast, wrong
                )
                write_volume(path, exam, settings, repetition)
            if progress is not None:
                progress(path.name)
        return paths

    # One worker takes a subject through all its protocols, so that what is drawn once is used by all.
    order = sorted(product(cards, numbers), key=lambda scan: (scan[0].anatomy, scan[1]))
    people = [list(scans) for _, scans in groupby(order, key=lambda scan: (scan[0].anatomy, scan[1]))]
    paths = {
        (card.name, subject): files
        for scans, made in zip(people, _side_by_side(make, people, workers), strict=True)
        for (card, subject), files in zip(scans, made, strict=True)
    }
    return [path for card in cards for subject in numbers for path in paths[card.name, subject]]


def _side_by_side(
    make: Callable[[Protocol, int], list[Path]], people: list[list[tuple[Protocol, int]]], workers: int | None
) -> list[list[list[Path]]]:
    """Every person's scans, several people at a time, one torch thread each; the first error ends all."""

    def scan(person: list[tuple[Protocol, int]]) -> list[list[Path]]:
        return [make(card, subject) for card, subject in person]

    threads = torch.get_num_threads()
    workers = min(workers or threads, len(people))
    if workers <= 1:
        return [scan(person) for person in people]
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
    try:
        return list(pool.map(scan, people))
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def subject_id(anatomy: str, seed: int, subject: int) -> str:
    """`brain-s000-0003`: equal for the same anatomy under every protocol, so splits can keep it together."""
    return f"{anatomy}-s{seed:03d}-{subject:04d}"


def stems_of(card: Protocol, seed: int, subject: int, artefacts: Artefacts) -> list[str]:
    """The names of a scan's files, a repetition each: `brain-t2-3t_brain-s000-0003`."""
    stem = f"{card.name}{artefacts.label}_{subject_id(card.anatomy, seed, subject)}"
    if card.repetitions == 1:
        return [stem]
    return [f"{stem}_rep{repetition + 1}" for repetition in range(card.repetitions)]


def settings_of(
    card: Protocol,
    subject: int,
    matrix: int,
    slices: int | None,
    seed: int,
    lesions: bool | float,
    lesion_contrast: float,
    artefacts: Artefacts,
) -> str:
    """All that decides a volume's content, as JSON; kept in the file."""
    return json.dumps(
        {
            "version": SIMULATION_VERSION,
            "card": asdict(card),
            "subject": subject,
            "matrix": matrix,
            "slices": card.slices if slices is None else slices,
            "seed": seed,
            "lesions": float(lesions),
            "lesion_contrast": lesion_contrast,
            "artefacts": asdict(artefacts),
        },
        sort_keys=True,
    )


def is_complete(path: Path, settings: str) -> bool:
    """True where the file is there, readable and made with these settings."""
    try:
        with h5py.File(path, "r") as file:
            return file.attrs.get("settings") == settings
    except OSError:
        return False


def write_volume(path: Path, exam: Exam, settings: str = "", repetition: int = 0) -> None:
    """Acquire every slice of an exam into one file, written beside its name and then renamed."""
    card, size, n_slices = exam.card, exam.matrix, exam.geometry.n_slices
    beside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        with h5py.File(beside, "w") as file:
            kspace = file.create_dataset(
                "kspace", (n_slices, card.coils.n_coils, 2 * size, size), np.complex64
            )
            rss, clean, labels = (
                file.create_dataset(name, (n_slices, size, size), dtype)
                for name, dtype in (
                    ("reconstruction_rss", np.float32),
                    ("reconstruction_clean", np.float32),
                    ("labels", np.uint8),
                )
            )
            for index in range(n_slices):
                acquired = exam.acquire(index, repetition)
                kspace[index] = acquired.kspace.numpy()
                rss[index] = acquired.rss.numpy()
                clean[index] = acquired.clean.numpy()
                labels[index] = acquired.labels.numpy()
            _describe(file, exam, rss[()], settings, repetition)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _describe(file: h5py.File, exam: Exam, rss: np.ndarray, settings: str, repetition: int) -> None:
    """Everything but the samples: header, covariance, lesions, attributes."""
    card = exam.card
    subject = subject_id(card.anatomy, exam.seed, exam.subject)
    file["ismrmrd_header"] = header_of(exam)
    file["labels"].attrs["names"] = ["air", *exam.tissues]
    file["noise_covariance"] = exam.noise_covariance.numpy()
    file["noise_covariance"].attrs["convention"] = "E[n n^H] / 2: variance of the real part on the diagonal"
    boxes = np.array([box[1:] for box in exam.lesions], np.int32).reshape(-1, 5)
    file["lesions"] = boxes
    file["lesions"].attrs["names"] = [box[0] for box in exam.lesions]
    file["lesions"].attrs["columns"] = ["slice", "row0", "column0", "row1", "column1"]
    file.attrs.update(
        {
            "max": float(rss.max()),
            "norm": float(np.linalg.norm(rss)),
            "acquisition": card.acquisition,
            "patient_id": subject,
            "data_kind": "simulated",
            "dataset": DATASET,
            "protocol": card.name + exam.artefacts.label,
            "subject": subject,
            "anatomy": card.anatomy,
            "contrast": card.contrast,
            "view": card.view,
            "vendor": "simulated",
            "model": card.model,
            "field_tesla": card.field_tesla,
            "spacing_mm": [card.thickness_mm, *(fov / exam.matrix for fov in card.fov_mm)],
            "noise_std": float(np.sqrt(exam.noise_covariance.diagonal().real.mean().item())),
            "fully_sampled": True,
            "settings": settings,
        }
        | {name: dose for name, dose in asdict(exam.artefacts).items() if dose}
    )
    if card.scan:
        # One name for all views of the scan, the first included, so that none stands alone.
        file.attrs["view_of"] = f"{DATASET}/{card.scan}_{subject}"
    if card.repetitions > 1:
        file.attrs["repetition"] = repetition + 1


def header_of(exam: Exam) -> str:
    """The ISMRMRD header as XML; the subject's name is its number, and there is nothing else of it."""
    card, size = exam.card, exam.matrix
    spacing = _slice_spacing_mm(exam)
    tree = {
        "subjectInformation": {"patientID": subject_id(card.anatomy, exam.seed, exam.subject)},
        "measurementInformation": {"protocolName": card.name + exam.artefacts.label},
        "acquisitionSystemInformation": {
            "systemVendor": "simulated",
            "systemModel": card.model,
            "systemFieldStrength_T": card.field_tesla,
            "receiverChannels": card.coils.n_coils,
        },
        "experimentalConditions": {"H1resonanceFrequency_Hz": round(42.577478e6 * card.field_tesla)},
        "encoding": {
            "encodedSpace": _space(2 * size, size, 2 * card.fov_mm[0], card.fov_mm[1], spacing),
            "reconSpace": _space(size, size, card.fov_mm[0], card.fov_mm[1], card.thickness_mm),
            "encodingLimits": {
                "kspace_encoding_step_1": {"minimum": 0, "maximum": size - 1, "center": size // 2},
                "kspace_encoding_step_2": {"minimum": 0, "maximum": 0, "center": 0},
                "slice": {"minimum": 0, "maximum": exam.geometry.n_slices - 1, "center": 0},
            },
            "trajectory": "cartesian",
        },
        "sequenceParameters": {
            "TR": card.repetition_ms,
            "TE": card.echo_ms,
            "TI": card.inversion_ms,
            "flipAngle_deg": card.flip_deg,
        },
    }
    root = ElementTree.Element("ismrmrdHeader", xmlns="http://www.ismrm.org/ISMRMRD")
    _fill(root, tree)
    return '<?xml version="1.0"?>\n' + ElementTree.tostring(root, encoding="unicode")


def _slice_spacing_mm(exam: Exam) -> float:
    positions = exam.geometry.positions_mm
    return abs(positions[1] - positions[0]) if len(positions) > 1 else exam.card.thickness_mm


def _space(rows: int, columns: int, row_mm: float, column_mm: float, slice_mm: float) -> dict:
    return {
        "matrixSize": {"x": rows, "y": columns, "z": 1},
        "fieldOfView_mm": {"x": row_mm, "y": column_mm, "z": slice_mm},
    }


def _fill(parent: ElementTree.Element, tree: dict) -> None:
    for name, value in tree.items():
        if value is None:
            continue
        child = ElementTree.SubElement(parent, name)
        if isinstance(value, dict):
            _fill(child, value)
        else:
            child.text = str(value)
