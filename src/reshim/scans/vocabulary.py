"""One word for one thing: anatomy, contrast, view, vendor and field out of what files call them.

The raw name stays in `protocol`; what no rule recognises stays unknown (None) rather than guessed.
"""

import re

PROTOCOLS: dict[str, tuple[str, str, str]] = {
    "CORPD_FBK": ("knee", "PD", "coronal"),
    "CORPDFS_FBK": ("knee", "PD-FS", "coronal"),
    "AXT1": ("brain", "T1", "axial"),
    "AXT1PRE": ("brain", "T1-pre", "axial"),
    "AXT1POST": ("brain", "T1-post", "axial"),
    "AXT2": ("brain", "T2", "axial"),
    "AXFLAIR": ("brain", "FLAIR", "axial"),
}
"""The protocols of fastMRI knee and brain: anatomy, contrast, view."""

ANATOMIES = ("brain", "knee", "prostate", "pelvis", "heart", "abdomen", "breast", "phantom")
_ANATOMY_WORDS = {
    "head": "brain",
    "cardiac": "heart",
    "sax": "heart",
    "lax": "heart",
    "cine": "heart",
    "liver": "abdomen",
    "mamma": "breast",
    "shoulder": "shoulder",
}
_VIEW_WORDS = {
    "ax": "axial",
    "axial": "axial",
    "tra": "axial",
    "cor": "coronal",
    "coronal": "coronal",
    "sag": "sagittal",
    "sagittal": "sagittal",
    "sax": "short-axis",
    "lax": "long-axis",
}
# Longest first: T1POST is no T1, PDFS no PD; and T2 FSE is no T2 with fat suppression.
_CONTRASTS = (
    (r"T1[-_ ]?(POST|GD|CE|C\+)", "T1-post"),
    (r"T1[-_ ]?PRE", "T1-pre"),
    (r"PD[-_ ]?(W[-_ ]?)?(FS|FATSAT)(?![A-Z])", "PD-FS"),
    (r"T2[-_ ]?(W[-_ ]?)?(FS|FATSAT)(?![A-Z])", "T2-FS"),
    (r"FLAIR|TIRM", "FLAIR"),
    (r"QDESS|DESS", "DESS"),
    (r"MP2RAGE", "MP2RAGE"),
    (r"MPRAGE|T1", "T1"),
    (r"T2", "T2"),
    (r"PD", "PD"),
    (r"(GRE|FLASH|SPGR|FFE)(?![A-Z])", "GRE"),
    (r"CINE|BSSFP|TRUFI", "CINE"),
)
_VENDORS = (("siemens", "Siemens"), ("philips", "Philips"), ("ge", "GE"), ("xgy", "XGY"), ("united", "UIH"))
_FIELDS = (0.055, 0.3, 0.35, 0.55, 1.0, 1.5, 3.0, 7.0, 9.4, 11.7)


def anatomy_of(*names: str | None) -> str | None:
    """The first anatomy that one of the names speaks of, as a word or the beginning of one."""
    for name in filter(None, names):
        for word in _words(name):
            for anatomy in ANATOMIES:
                if word.startswith(anatomy):
                    return anatomy
            if word in _ANATOMY_WORDS:
                return _ANATOMY_WORDS[word]
    return None


def contrast_of(*names: str | None) -> str | None:
    """The contrast that the first telling name speaks of."""
    for name in filter(None, names):
        for pattern, contrast in _CONTRASTS:
            if re.search(rf"(?<![A-Za-z0-9])[A-Z]*?({pattern})", name.upper()):
                return contrast
    return None


def view_of(*names: str | None) -> str | None:
    """Axial, coronal, sagittal or a view of the heart, where a name says so."""
    for name in filter(None, names):
        words = _words(name)
        for word in words:
            if word in _VIEW_WORDS:
                return _VIEW_WORDS[word]
        for prefix in ("ax", "cor", "sag"):
            if words and re.match(rf"{prefix}(t1|t2|pd|flair)", words[0]):
                return _VIEW_WORDS[prefix]
    return None


def vendor_of(name: str | None) -> str | None:
    """The maker's short name."""
    if not name:
        return None
    lower = name.lower()
    for word, vendor in _VENDORS:
        if re.search(rf"\b{word}", lower):
            return vendor
    return name.strip()


def field_of(tesla: float | None) -> float | None:
    """The nominal field: scanners report 2.89 T and are sold as 3 T."""
    if tesla is None or not 0.001 < tesla < 30:
        return None
    nearest = min(_FIELDS, key=lambda field: abs(field - tesla) / field)
    return nearest if abs(nearest - tesla) <= 0.07 * nearest else round(tesla, 3)


def _words(name: str) -> list[str]:
    return [word.lower() for word in re.split(r"[^A-Za-z0-9]+", name) if word]
