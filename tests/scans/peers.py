"""Miniatures opened by another package, in an environment of its own: prints what it read as JSON.

    PEERS/deepinv/bin/python tests/scans/peers.py skmtea FOLDER

The tests run this where RESHIM_PEERS names a folder of such environments (``deepinv``, ``mrpro``).
"""

import json
import sys
from pathlib import Path


def skmtea(folder: Path) -> object:
    """Samples of the second slice, first echo."""
    from deepinv.datasets import SKMTEASliceDataset

    dataset = SKMTEASliceDataset(str(folder), use_dict_output=True)
    return {"slices": len(dataset), "samples": _listed(_complex(dataset[1]["y"]))}


def cmrxrecon(folder: Path) -> object:
    """Samples (row, column, coil, frame) of the second slice.

    Read by its loader; its images are of single coils alone.
    """
    import torch
    from deepinv.datasets import CMRxReconSliceDataset

    files = CMRxReconSliceDataset(
        str(folder), data_dir="data", apply_mask=False, mask_dir=None, use_dict_output=True
    )
    kspace = files._loadmat(files.samples[0].fname)
    return {"slices": len(files), "samples": _listed(torch.from_numpy(kspace[..., 1, :]))}


def cc359(folder: Path) -> object:
    """Samples of the fourth slice."""
    from deepinv.datasets.calgary import CalgarySliceDataset

    dataset = CalgarySliceDataset(str(folder), use_dict_output=True)
    return {"slices": len(dataset), "samples": _listed(_complex(dataset[3]["y"]))}


def mrd(folder: Path) -> object:
    """Samples, sorted as the header says."""
    from mrpro.data import KData
    from mrpro.data.traj_calculators import KTrajectoryCartesian

    data = KData.from_file(next(folder.glob("*.h5")), KTrajectoryCartesian())
    return {"shape": list(data.data.shape), "samples": _listed(data.data)}


def _complex(pairs: object) -> object:
    import torch

    return torch.complex(pairs[0], pairs[1])  # type: ignore[index]


def _listed(samples: object) -> list:
    import torch

    return torch.view_as_real(samples.to(torch.complex64).resolve_conj()).tolist()  # type: ignore[attr-defined]


def _with_torchvision_of_another_build() -> None:
    """deepinv and mrpro import torchvision; one made for a GPU lacks two operators beside a CPU's torch."""
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        try:
            library.define(f"{name}(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor")
        except RuntimeError:
            return  # they are there
    globals()["_kept"] = library


if __name__ == "__main__":
    _with_torchvision_of_another_build()
    answer = {each.__name__: each for each in (skmtea, cmrxrecon, cc359, mrd)}[sys.argv[1]](Path(sys.argv[2]))
    print("\n" + json.dumps(answer))
