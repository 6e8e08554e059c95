"""Slices of scans in memory, and beside them what is costly and does not change from epoch to epoch.

A slice's k-space, its reference and its coil maps are read or made once and kept as long as they fit. Coil
maps can be kept although every epoch draws a new mask, because they are estimated from the calibration block,
which is the same for every mask of a scheme. One pool serves several trainings: what P and P ∪ Q share is
held once.

What does not fit is read and made again at every draw; with a cache, references and maps are read from disk
instead, as they were made the first time.
"""

import hashlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

import reshim
from reshim.acquire import Scheme, Target, measure, reference, without_oversampling
from reshim.digest import digest
from reshim.errors import BadScanError
from reshim.loader import OWN_MASK
from reshim.physics.maps import default_estimator
from reshim.scans import load_reference
from reshim.scans.slices import SliceReader
from reshim.training.cache import Cache
from reshim.types import Acquisition, MapEstimator, ScanRecord

__all__ = ["OWN_MASK", "Entry", "Pool", "joined_slices"]

Entry: TypeAlias = tuple[ScanRecord, int]
"""A scan and the number of one of its slices."""


@dataclass
class Pool:
    """What trainings share: slices, references, maps."""

    estimate: MapEstimator = default_estimator
    """Coil maps from a measurement."""

    remove_oversampling: bool = True
    """Cut the readout's oversampling away, as evaluation does."""

    max_bytes: int = 8 * 2**30
    """What does not fit any more is made anew each time it is asked for."""

    read: Callable[..., Acquisition] = field(default_factory=lambda: SliceReader().load)
    """Reads slices of a scan; the loader's reader unless told."""

    read_reference: Callable[..., Tensor | None] = load_reference
    """Reads a stored reference."""

    cache: Cache | None = None
    """Keeps references and maps on disk as well."""

    n_bytes: int = field(default=0, init=False)
    """Bytes that are kept now."""

    n_prepared: int = field(default=0, init=False)
    """Bytes of the slices and references that were prepared, kept or not."""

    n_slices_bytes: int = field(default=0, init=False)
    """Bytes of the slices alone."""

    _kept: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)
    _maxima: dict[tuple[str, str], float] = field(default_factory=dict, init=False, repr=False)
    _about: dict[str, tuple[tuple[int, ...], Hashable]] = field(default_factory=dict, init=False, repr=False)

    def prepare(self, record: ScanRecord, target: Target | None) -> None:
        """Read a scan once: its slices and, for a target, its references and their maximum.

        Raises
        ------
        BadScanError
            If the scan cannot be read, or knows no reference of that kind.
        """
        wanted = target if record.fully_sampled else None
        known = wanted is None or (record.scan_id, wanted) in self._maxima
        if record.scan_id in self._about and known:
            return
        whole = self.read(record)
        reduced = self._reduced(whole)
        if record.scan_id not in self._about:
            self.n_prepared += reduced.kspace.nbytes
            self.n_slices_bytes += reduced.kspace.nbytes
        for index, number in enumerate(whole.slices):
            self._keep(("slice", record.scan_id, number), _slice_of(reduced, index), reduced.kspace[0].nbytes)
        if wanted is not None:
            images = self._references(record, whole, wanted)
            self._maxima[record.scan_id, wanted] = images.max().item()
            self.n_prepared += images.nbytes
            for number, image in zip(whole.slices, images, strict=True):
                self._keep(("reference", record.scan_id, number, wanted), image.clone(), image.nbytes)
        self._about[record.scan_id] = (whole.slices, _kind(reduced))

    def shortage(self, with_maps: bool) -> str | None:
        """What is beyond the pool's bound, in words; None where all that was prepared fits, and its maps."""
        # A slice's maps are as large as its k-space: one set of them.
        wanted = self.n_prepared + (self.n_slices_bytes if with_maps else 0)
        if wanted <= self.max_bytes:
            return None
        return (
            f"slices, references and maps take {wanted / 2**30:.1f} GiB, and the pool holds "
            f"{self.max_bytes / 2**30:.1f}: what is beyond is read and made again at every draw"
            + ("; --cache-gib keeps references and maps on disk" if self.cache is None else "")
            + "; --pool-gib gives more room"
        )

    def numbers(self, record: ScanRecord) -> tuple[int, ...]:
        """The slices of a prepared scan."""
        return self._about[record.scan_id][0]

    def kind(self, record: ScanRecord) -> Hashable:
        """What slices must have in common to share a batch."""
        return self._about[record.scan_id][1]

    def slices(self, entries: Sequence[Entry]) -> list[Acquisition]:
        """Slices one by one, each a batch of one."""
        return [self._slice(record, number) for record, number in entries]

    def references(self, entries: Sequence[Entry], target: Target) -> tuple[Tensor, Tensor]:
        """References (slice, row, column), and for each the maximum of its volume."""
        images, maxima = [], []
        for record, number in entries:
            key = ("reference", record.scan_id, number, target)
            image = self._kept.get(key)
            if image is None:
                image = self._cached(*_of_reference(record, number, target))
                if image is None:
                    image = self._references(record, self.read(record, (number,)), target)[0]
                self._keep(key, image, image.nbytes)
            images.append(image)
            maxima.append(self._maxima[record.scan_id, target])
        return torch.stack(images), torch.tensor(maxima)

    def maps(self, entries: Sequence[Entry], slices: Sequence[Acquisition], scheme: Scheme) -> Tensor:
        """Coil maps (slice, set, coil, row, column) from the calibration block of a scheme."""
        own = slices[0].mask is not None
        lines = "own" if own else scheme.lines(slices[0].kspace.shape[-1])
        keys = [("maps", record.scan_id, number, lines) for record, number in entries]
        found = [self._kept.get(key) for key in keys]
        origins = [self._of_maps(record, number, lines) for record, number in entries]
        for index, maps in enumerate(found):
            if maps is None and (cached := self._cached(*origins[index])) is not None:
                found[index] = cached
                self._keep(keys[index], cached, cached.nbytes)
        missing = [index for index, maps in enumerate(found) if maps is None]
        if missing:
            joined = joined_slices([slices[index] for index in missing])
            made = self.estimate(measure(joined, OWN_MASK if own else scheme, 0)).maps
            assert made is not None
            for index, maps in zip(missing, made, strict=True):
                own_maps = found[index] = maps.clone()
                self._keep(keys[index], own_maps, maps.nbytes)
                self._put(own_maps, *origins[index])
        return torch.stack([maps for maps in found if maps is not None])

    def _slice(self, record: ScanRecord, number: int) -> Acquisition:
        key = ("slice", record.scan_id, number)
        one = self._kept.get(key)
        if one is None:
            one = self._reduced(self.read(record, (number,)))
            self._keep(key, one, one.kspace.nbytes)
        return one

    def _reduced(self, acquisition: Acquisition) -> Acquisition:
        return without_oversampling(acquisition) if self.remove_oversampling else acquisition

    def _references(self, record: ScanRecord, acquisition: Acquisition, target: Target) -> Tensor:
        if target != "clean":
            origins = [_of_reference(record, number, target) for number in acquisition.slices]
            cached = [self._cached(*origin) for origin in origins]
            known = [image for image in cached if image is not None]
            if len(known) == len(cached):
                return torch.stack(known)
            images = reference(acquisition, target)
            for image, origin in zip(images, origins, strict=True):
                self._put(image, *origin)
            return images
        stored = self.read_reference(record, "clean", acquisition.slices)
        if stored is None:
            raise BadScanError(
                f"{record.scan_id} has no clean reference; only simulated scans know one: "
                "train with target 'mvue'"
            )
        return stored

    def _of_maps(self, record: ScanRecord, number: int, lines: int | str) -> tuple[Any, ...]:
        """What maps on disk are named by."""
        return ("maps", *_identity(record), number, lines, self.remove_oversampling, self.estimate)

    def _cached(self, *origin: Any) -> Tensor | None:
        return None if self.cache is None else self.cache.get(digest(*origin))

    def _put(self, tensor: Tensor, *origin: Any) -> None:
        if self.cache is not None:
            self.cache.put(digest(*origin), tensor)

    def _keep(self, key: Hashable, value: Any, n_bytes: int) -> None:
        # Whatever comes first stays: an epoch goes through all slices, so throwing out the oldest would throw
        # out just what is needed next.
        if key not in self._kept and self.n_bytes + n_bytes <= self.max_bytes:
            self._kept[key] = value
            self.n_bytes += n_bytes


def _identity(record: ScanRecord) -> tuple[str, str, str]:
    return (reshim.__version__, record.scan_id, record.fingerprint)


def _of_reference(record: ScanRecord, number: int, target: Target) -> tuple[Any, ...]:
    """What a reference on disk is named by."""
    return ("reference", *_identity(record), number, target)


def joined_slices(slices: Sequence[Acquisition]) -> Acquisition:
    """Slices of one kind as one batch."""
    if len(slices) == 1:
        return slices[0]
    names = sorted({one.name for one in slices})
    return replace(
        slices[0],
        kspace=torch.cat([one.kspace for one in slices]),
        name=names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more",
        slices=tuple(one.slices[0] for one in slices),
        noise_std=slices[0].noise_std if len({one.noise_std for one in slices}) == 1 else None,
        noise_covariance=_common([one.noise_covariance for one in slices]),
    )


def _common(covariances: Sequence[Tensor | None]) -> Tensor | None:
    """What all share; None where they differ, because a measurement has one covariance."""
    first = covariances[0]
    if first is None or any(other is None or not torch.equal(first, other) for other in covariances[1:]):
        return None
    return first


def _slice_of(acquisition: Acquisition, index: int) -> Acquisition:
    return replace(
        acquisition,
        # A copy, so that a slice that is kept does not hold the whole volume.
        kspace=acquisition.kspace[index : index + 1].clone(),
        slices=(acquisition.slices[index],),
    )


def _kind(acquisition: Acquisition) -> Hashable:
    """Shape, crop and masks: all that is one for a whole batch."""

    def digest(tensor: Tensor | None) -> str | None:
        return None if tensor is None else hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()

    return (
        tuple(acquisition.kspace.shape[1:]),
        acquisition.crop,
        acquisition.readout_axis,
        digest(acquisition.acquirable),
        digest(acquisition.mask),
    )
