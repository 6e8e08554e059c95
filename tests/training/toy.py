"""Toy scans in memory: ellipses seen by smooth coils. Run as a script, it trains one and can be killed."""

import sys
from pathlib import Path

import torch

from reshim.acquire import Scheme
from reshim.physics.fourier import to_kspace
from reshim.seeds import generator_of
from reshim.training.joint import Joint
from reshim.training.pool import Pool
from reshim.training.settings import TrainingSettings
from reshim.training.train import train
from reshim.types import Acquisition, ScanRecord

ROWS, COLUMNS, COILS = 32, 28, 4
SCHEME = Scheme(acceleration=2, center_lines=10)


def record(
    scan_id: str, n_slices: int = 3, *, fully_sampled: bool = True, dataset: str = "toy"
) -> ScanRecord:
    """A record whose slices `read` makes up."""
    return ScanRecord(
        scan_id=scan_id,
        root="nowhere",
        path=f"{scan_id}.h5",
        dataset=dataset,
        data_kind="simulated",
        subject=f"subject of {scan_id}",
        n_slices=n_slices,
        n_coils=COILS,
        n_rows=ROWS,
        n_columns=COLUMNS,
        recon_rows=ROWS,
        recon_columns=COLUMNS,
        fully_sampled=fully_sampled,
        fingerprint=scan_id,
    )


def read(of: ScanRecord, slices: tuple[int, ...] | None = None) -> Acquisition:
    """K-space of a few random ellipses; an undersampled scan lacks every other column off the centre."""
    numbers = tuple(range(of.n_slices)) if slices is None else tuple(slices)
    kspace = torch.stack([to_kspace(_coil_images(of.scan_id, number)) for number in numbers]).to(
        torch.complex64
    )
    mask = None
    if not of.fully_sampled:
        mask = torch.zeros(1, 1, 1, COLUMNS, dtype=torch.bool)
        mask[..., ::2] = True
        mask[..., COLUMNS // 2 - 5 : COLUMNS // 2 + 5] = True
        kspace = torch.where(mask, kspace, 0)
    acquirable = torch.ones(1, 1, 1, COLUMNS, dtype=torch.bool)
    return Acquisition(kspace, of.scan_id, numbers, (ROWS, COLUMNS), acquirable, mask)


def _coil_images(name: str, number: int) -> torch.Tensor:
    generator = generator_of("toy", name, number)
    row = torch.linspace(-1, 1, ROWS, dtype=torch.float64)[:, None]
    column = torch.linspace(-1, 1, COLUMNS, dtype=torch.float64)[None]
    image = torch.zeros(ROWS, COLUMNS, dtype=torch.float64)
    for _ in range(4):
        centre_row, centre_column, size, value = torch.rand(4, generator=generator, dtype=torch.float64)
        inside = ((row - centre_row + 0.5) ** 2 + (column - centre_column + 0.5) ** 2) < (
            0.2 + 0.5 * size
        ) ** 2
        image = image + (0.3 + value) * inside
    coils = []
    for coil in range(COILS):
        angle = 2 * torch.pi * coil / COILS
        distance = (row - 1.3 * torch.cos(torch.tensor(angle))) ** 2 + (
            column - 1.3 * torch.sin(torch.tensor(angle))
        ) ** 2
        coils.append(torch.exp(-distance / 3) * torch.exp(1j * (angle + 0.3 * row)))
    noise = torch.randn(COILS, ROWS, COLUMNS, generator=generator, dtype=torch.complex128)
    return torch.stack(coils) * image + 0.005 * noise


def pool() -> Pool:
    """A pool that reads toys."""
    return Pool(read=read)


def settings(**changes: object) -> TrainingSettings:
    """Settings for toys."""
    usual: dict[str, object] = {"epochs": 2, "batch_size": 2, "schemes": (SCHEME,), "log_every": 2}
    return TrainingSettings(**(usual | changes))  # type: ignore[arg-type]


def run(out: Path, epochs: int = 3, **changes: object) -> None:
    """Train a toy jointly: the run that tests kill."""
    train(
        "unet-tiny",
        [record("a", 5), record("b", 4)],
        [record("c", 2)],
        settings(epochs=epochs, objective=Joint(), **changes),
        out,
        network_settings={"input": "complex", "channels": 4, "poolings": 2},
        pool=pool(),
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(Path(sys.argv[1]), int(sys.argv[2]))
