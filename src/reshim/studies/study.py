"""What a recipe is handed: scans, training, comparison, and a folder in which all of it resumes.

A recipe is a module with ``embedded(tiny)`` (which scans are simulated), ``CLAIMS`` (sentences and rules,
fixed before the run), ``run(study)`` (data to rows) and ``page(study)`` (blocks). It holds no loop and no
file path.
"""

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console
from torch import Tensor

from reshim.acquire import Scheme, measure, reference, without_oversampling
from reshim.catalog import Catalog
from reshim.classical.tune import tune
from reshim.evaluation.claims import Claim, judge, write_summary
from reshim.evaluation.run import Evaluation, LeftOut, evaluate
from reshim.evaluation.store import Store
from reshim.metrics import ssim, support
from reshim.physics.masks import evaluation_seed
from reshim.progress import steps
from reshim.report.blocks import Block, MadeBlock, Page
from reshim.report.made import made
from reshim.report.page import draw
from reshim.report.page_file import write_page
from reshim.rows import read_rows
from reshim.scans import load
from reshim.simulation.write import simulate
from reshim.studies.examples import keep_examples
from reshim.training.display import RichDisplay
from reshim.training.pool import Pool
from reshim.training.run_folder import RunFolder, Trained
from reshim.training.settings import TrainingSettings
from reshim.training.train import train
from reshim.types import Measurement, Reconstructor, ScanRecord


@dataclass(frozen=True)
class Embedded:
    """The simulated scans that a study runs on where no catalog is given."""

    protocols: tuple[str, ...]
    subjects: int
    matrix: int
    slices: int
    shares: tuple[float, float, float] = (0.6, 0.2, 0.2)
    """Of the subjects of each anatomy: train, val, test."""


@dataclass
class Study:
    """One run of a recipe: everything lies under `folder`, finished work is found again."""

    name: str
    folder: Path
    catalog: Catalog
    tiny: bool
    seed: int
    store: Store
    finished: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    runs: dict[str, Trained] = field(default_factory=dict)
    _pool: Pool | None = None

    def scans(self, where: str, split: str | None = None) -> list[ScanRecord]:
        """Scans of a filter, of one split unless all are wanted, in the catalog's order."""
        chosen = self.catalog.where(where)
        return (chosen if split is None else chosen.where(f"split = '{split}'")).records()

    def train(
        self,
        label: str,
        network: str,
        where: str,
        settings: TrainingSettings,
        *,
        network_settings: Mapping[str, Any] | None = None,
        fallback: str | None = None,
    ) -> Trained:
        """Train on the filter's training split, choose the checkpoint on its validation split."""
        if self._pool is None:
            self._pool = Pool(remove_oversampling=settings.remove_oversampling)
        with RichDisplay(label) as display:
            self.runs[label] = train(
                network,
                self.scans(where, "train"),
                self.scans(where, "val"),
                settings,
                self.folder / "models" / self.slug(label),
                network_settings=network_settings,
                fallback=None if fallback is None else self.folder / "models" / self.slug(fallback),
                pool=self._pool,
                display=display,
                about={"study": self.name, "where": where},
            )
        self._keep_curve(label)
        return self.runs[label]

    def _keep_curve(self, label: str) -> None:
        """The validation scores of a training, where the page finds them."""
        path = self.folder / "curves" / f"{self.slug(label)}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = RunFolder(self.folder / "models" / self.slug(label)).read_log("epoch")
        kept = [
            {
                "epoch": line["epoch"],
                "loss": line["loss"],
                "score": (line.get("validation") or {}).get("score"),
            }
            for line in lines
        ]
        write_text(path, "".join(json.dumps(entry) + "\n" for entry in kept))

    def slices(self, where: str, split: str) -> int:
        """How many slices a filter's split has."""
        return sum(record.n_slices for record in self.scans(where, split))

    def tune(
        self,
        label: str,
        make: Callable[[float], Reconstructor],
        values: Sequence[float],
        where: str,
        scheme: Scheme,
    ) -> Reconstructor:
        """Choose a method's weight by SSIM in the support on the filter's validation subjects, and say so."""
        path = self.folder / "tuned" / f"{self.slug(label)}.json"
        if path.exists():
            return make(float(json.loads(path.read_text())["chosen"]))
        pairs = [self._pair(record, scheme) for record in self.scans(where, "val")]
        tuned = tune(make, values, pairs, support_ssim, larger_is_better=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        tuned.write(path)
        return make(tuned.chosen)

    @staticmethod
    def slug(label: str) -> str:
        """A label as part of a file's name."""
        return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")

    def examples(self, test: str, by: str, labels: Sequence[str]) -> tuple[str, ...]:
        """Keep the slices with the median and the worst SSIM of one method, as every method shows them."""
        return keep_examples(self.folder, self.store, self.finished, test, by, labels)

    def _pair(self, record: ScanRecord, scheme: Scheme) -> tuple[Measurement, Tensor]:
        acquisition = load(record)
        measurement = measure(
            without_oversampling(acquisition), scheme, evaluation_seed(Path(record.path).name)
        )
        return measurement, reference(acquisition, "mvue")

    def compare(
        self,
        methods: Mapping[str, Reconstructor],
        where: str,
        evaluation: Evaluation,
        *,
        adapt: str = "none",
        test: str,
    ) -> None:
        """Score methods on the filter's test split; `test` names the test set in the rows.

        Raises
        ------
        ValueError
            If a subject of the test set was trained on: the splits of the catalog are not disjoint.
        """
        records = self.scans(where, "test")
        for name, method in methods.items():
            seen: frozenset[tuple[str, str]] = getattr(method, "training_subjects", frozenset())
            shared = seen & {(record.dataset, record.subject) for record in records}
            if shared:
                raise ValueError(f"{name} was trained on {min(shared)}, a test subject; split by subject")
        with steps(f"scoring on {test}", len(records) * len(methods)) as tick:
            finished, left_out = evaluate(
                records,
                methods,
                evaluation,
                self.store,
                adapt=adapt,
                on_progress=tick,
                extra={"test": test},
                keep_images=True,
            )
        self.finished += finished
        self.left_out += left_out


@dataclass(frozen=True)
class Result:
    """What a study leaves: its claims as judged, and the page."""

    claims: list[dict[str, Any]]
    page: Path
    left_out: list[str]


def run_study(
    name: str,
    recipe: ModuleType,
    folder: Path,
    catalog: Path | None = None,
    tiny: bool = False,
    seed: int = 0,
) -> Result:
    """Run a recipe from data to page; what is finished is not done again."""
    started = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    scans = Catalog.read(catalog) if catalog is not None else _embedded(recipe.embedded(tiny), folder, seed)
    study = Study(name, folder, scans, tiny, seed, Store(folder / "store"))
    recipe.run(study)
    rows_path = folder / "rows.parquet"
    study.store.collect(study.finished, rows_path)
    rows = read_rows(rows_path)
    claims: Sequence[Claim] = recipe.CLAIMS
    judged = judge(rows, claims)
    seconds = time.perf_counter() - started
    kinds = sorted(set(rows["data_kind"].to_pylist()))
    previous = _seconds_before(folder)
    write_summary(
        folder,
        name,
        previous + seconds,
        {
            "data_kind": "/".join(kinds),
            "catalog": None if catalog is None else str(catalog),
            "scans": len(set(rows["scan_id"].to_pylist())),
            "subjects": len(set(rows["subject"].to_pylist())),
            "tiny": tiny,
            "seed": seed,
        },
        judged,
    )
    _keep_seconds(folder, previous + seconds)
    blocks: tuple[Block, ...] = (*recipe.page(study), _made(study, name, catalog, tiny))
    write_page(folder, Page(name, recipe.TITLE, question_of(recipe), recipe.PAPER, blocks))
    return Result(judged, draw(folder), [f"{scan.scan_id}: {scan.reason}" for scan in study.left_out])


def question_of(recipe: ModuleType) -> str:
    """The first line of a recipe's docstring."""
    return (recipe.__doc__ or "").strip().splitlines()[0]


def support_ssim(image: Tensor, target: Tensor) -> Tensor:
    """SSIM inside the body, range of the volume: what claims are made on."""
    top = target.max().expand(target.shape[0])
    return ssim(image, target, top, support(target, top))


def write_text(path: Path, text: str) -> None:
    """Write beside, then rename."""
    beside = path.with_name(path.name + ".partial")
    beside.write_text(text)
    beside.replace(path)


def _embedded(data: Embedded, folder: Path, seed: int) -> Catalog:
    """Simulate what is missing, index it, split it by subject."""
    console = Console(stderr=True)
    scans = folder / "scans"
    total = len(data.protocols) * data.subjects
    with steps("simulating scans", total) as tick:
        simulate(
            scans,
            protocols=list(data.protocols),
            subjects=data.subjects,
            matrix=data.matrix,
            slices=data.slices,
            seed=seed,
            progress=tick,
        )
    path = folder / "catalog.parquet"
    shares = dict(zip(("train", "val", "test"), data.shares, strict=True))
    catalog = Catalog.index([scans], path, shares=shares).catalog
    console.print(f"{total} simulated scans in {scans}", style="dim")
    return catalog


def _made(study: Study, name: str, catalog: Path | None, tiny: bool) -> MadeBlock:
    flags = (f" --catalog {catalog}" if catalog else "") + (" --tiny" if tiny else "")
    settings = {label: dict(run.settings["training"]) for label, run in study.runs.items()}
    return made(f"reshim study {name}{flags} --seed {study.seed}", settings, time.strftime("%Y-%m-%d"))


def _seconds_before(folder: Path) -> float:
    path = folder / "seconds.txt"
    return float(path.read_text()) if path.exists() else 0.0


def _keep_seconds(folder: Path, seconds: float) -> None:
    write_text(folder / "seconds.txt", f"{seconds:.1f}\n")
