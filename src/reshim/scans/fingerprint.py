"""What a file is recognised by: size, first bytes and fixed blocks, so that indexing reads kilobytes."""

import hashlib
from pathlib import Path

BLOCK_BYTES = 4096
N_BLOCKS = 4


def fingerprint(path: Path) -> str:
    """Digest of size, the first block and blocks at fixed fractions of the file; 20 KiB are read."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb", buffering=0) as file:
        for step in range(N_BLOCKS + 1):
            file.seek(max(0, min(size * step // N_BLOCKS, size - BLOCK_BYTES)))
            digest.update(file.read(BLOCK_BYTES))
    return digest.hexdigest()[:32]


def sha256(path: Path) -> str:
    """Digest of all bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pseudonym(dataset: str, patient: str) -> str:
    """A subject's name that a reader cannot lead back, the same for the same patient of a dataset."""
    return f"{dataset}-{hashlib.sha256(f'{dataset}/{patient}'.encode()).hexdigest()[:12]}"
