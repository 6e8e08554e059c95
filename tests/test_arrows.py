"""Imports point one way. This draws every arrow between the packages and fails on one that runs backwards."""

import ast
from collections import defaultdict
from pathlib import Path

import reshim

ROOT = Path(reshim.__file__).parent

# From the data to the page; a package may import what stands above it.
LEVELS = (
    {
        "beside",
        "compiled_ssim",
        "errors",
        "key_values",
        "seeds",
        "types",
        "solvers",
        "digest",
        "progress",
        "rows",
    },
    {"physics"},
    {"metrics", "simulation"},
    {"scans"},
    {"catalog", "acquire", "order", "undersampled"},
    {"loader", "formats", "quality"},
    {"classical", "networks"},
    {"training"},
    {"adaptation", "alarm"},
    {"default", "methods"},
    {"robustness"},
    {"evaluation"},
    {"report"},
    {"reconstruction", "serve", "doctor"},
    {"studies"},
    {"cli"},
    {"__main__"},
)
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}

# The report reads rows and numbers; a page is redrawn where there is no torch.
WITHOUT_TORCH = (
    "report",
    "rows",
    "evaluation.statistics",
    "evaluation.claims",
    "evaluation.rules",
    "evaluation.quantities",
)


def imports_of(path: Path) -> set[str]:
    """Dotted names of the modules of this package that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return {name.removeprefix("reshim.") for name in found if name.startswith("reshim.")}


def arrows() -> dict[str, set[str]]:
    drawn = defaultdict(set)
    for path in ROOT.rglob("*.py"):
        owner = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if owner != "__init__":
            drawn[owner] |= {name.split(".")[0] for name in imports_of(path)} - {owner}
    return drawn


def test_every_package_has_its_place():
    assert set(arrows()) <= set(LEVEL), "a new package: give it a level above, where its data comes from"


def test_no_arrow_runs_backwards():
    backwards = [
        f"{owner} imports {other}"
        for owner, others in arrows().items()
        for other in others
        if LEVEL[other] > LEVEL[owner]
    ]
    assert not backwards


def test_no_two_packages_import_each_other():
    drawn = arrows()
    pairs = {
        tuple(sorted((owner, other)))
        for owner in drawn
        for other in drawn[owner]
        if owner in drawn.get(other, ())
    }
    assert not pairs


def test_what_reads_rows_needs_no_torch():
    for name in WITHOUT_TORCH:
        path = ROOT / Path(*name.split("."))
        files = path.rglob("*.py") if path.is_dir() else [path.with_suffix(".py")]
        for file in files:
            text = ast.parse(file.read_text())
            modules = [node.module or "" for node in ast.walk(text) if isinstance(node, ast.ImportFrom)]
            modules += [a.name for node in ast.walk(text) if isinstance(node, ast.Import) for a in node.names]
            assert not [module for module in modules if module.split(".")[0] == "torch"], file
