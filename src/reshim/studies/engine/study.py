"""What a recipe is handed: scans, training, comparison, and a folder in which all of it resumes.

A recipe is a module with ``embedded(scale)`` (which scans are simulated), ``CLAIMS`` (sentences and rules,
fixed before the run), ``run(study)`` (data to rows) and ``page(study)`` (blocks). It holds no loop and no
file path.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from reshim.acquire import Scheme, measure, reference, without_oversampling
from reshim.beside import beside
from reshim.catalog import Catalog
from reshim.classical.tune import tune
from reshim.digest import digest
from reshim.errors import UserError
from reshim.evaluation.insertion import Feature, insert
from reshim.evaluation.run import Evaluation, LeftOut, evaluate
from reshim.evaluation.store import Store
from reshim.metrics import ssim, support
from reshim.physics.masks import evaluation_seed
from reshim.progress import steps
from reshim.robustness.disturbance import Disturbance
from reshim.robustness.sources import Processed
from reshim.rows import read_rows
from reshim.scans import load
from reshim.studies.engine.alone import alone
from reshim.studies.engine.examples import keep_examples, keep_inserted, scans_shown
from reshim.studies.engine.processed import AsProcessed
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.undersampled import Undersampled
from reshim.training.display import RichDisplay
from reshim.training.pool import Pool
from reshim.training.run_folder import RunFolder, Trained
from reshim.training.sampling import Group, nested_subset
from reshim.training.settings import TrainingSettings
from reshim.training.train import train
from reshim.types import Acquisition, Measurement, Reconstructor, ScanRecord


@dataclass
class Study:
    """One run of a recipe: what it found lies under `folder`, finished work is found again.

    Scans, trained models and rows lie under `shared`, named by what made them, so that studies have them in
    common.
    """

    name: str
    folder: Path
    catalog: Catalog
    scale: Scale
    seed: int
    shared: Path
    embedded: bool = True
    """Whether scans are simulated, because no catalog was given."""

    device: str = "cpu"
    """Where networks are trained, fitted and run."""

    seeds: int | None = None
    """How often a study of diverse data trains everything; None: as often as its recipe says."""

    methods: Mapping[str, Reconstructor] = field(default_factory=dict)
    """What a user asks about besides the recipe's own methods, by short name; few recipes take any."""

    options: Any = None
    """What a user changed of the recipe's ``OPTIONS``; None where it has none."""

    waits: bool = True
    """Whether `train` waits for another process that trains the same model just now."""

    finished: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    runs: dict[str, Trained] = field(default_factory=dict)
    _paths: dict[str, Path] = field(default_factory=dict)
    _pools: dict[Undersampled | AsProcessed | None, Pool] = field(default_factory=dict)

    @property
    def tiny(self) -> bool:
        """Whether it only shows that everything runs."""
        return self.scale.tiny

    @property
    def store(self) -> Store:
        """Where finished rows lie."""
        return Store(self.shared / "store")

    @property
    def pictures(self) -> Store:
        """Where scans lie that were reconstructed once more to be looked at; their rows count nowhere."""
        return Store(self.shared / "pictures")

    def scans(self, where: str, split: str | None = None) -> list[ScanRecord]:
        """Scans of a filter, of one split unless all are wanted, in the catalog's order."""
        chosen = self.catalog.where(where)
        return (chosen if split is None else chosen.where(f"split = '{split}'")).records()

    def train(
        self,
        label: str,
        network: str,
        where: str | Mapping[str, float | None],
        settings: TrainingSettings,
        *,
        network_settings: Mapping[str, Any] | None = None,
        start: str | None = None,
        fallback: str | None = None,
        watch: Mapping[str, str] | None = None,
        share: float | Mapping[str, float] = 1.0,
        undersampled: Scheme | None = None,
        processed: Processed | None = None,
    ) -> Trained:
        """Train on the filter's training split, choose the checkpoint on its validation split.

        Parameters
        ----------
        network
            Its name; at full size, the one that it stands for is trained.
        label
            What the model is called in this study. Where the same training was done under another name, or
            for another study, its model is taken.
        where
            A filter, or filters with the weight that each has in a mixture (None: every slice alike).
        settings
            Its seed is counted from the study's: seed 0 is the study's own, 1 the next one.
        start, fallback
            Labels of models of this study: whose weights are the first ones, and whose model is handed out
            where adaptation shows no gain.
        watch
            Filters by name whose validation scans are scored after each epoch for the curve alone.
        share
            Part of the training subjects that is used, of all filters or of each; a smaller part lies inside
            a larger one.
        undersampled
            Training and validation scans are seen through one mask each, as a site has them that never
            samples fully: there are no references, not for the choice of the checkpoint either.
        processed
            Training and validation scans, and their references, are seen after this, taken for raw data.

        Raises
        ------
        ValueError
            If scans are to be both undersampled and processed.
        AtWork
            If another process trains the same model just now and this study does not wait.
        """
        reader = _reader(undersampled, processed)
        if reader not in self._pools:
            self._pools[reader] = Pool(
                remove_oversampling=settings.remove_oversampling, read=load if reader is None else reader
            )
        groups = self._groups(where, share)
        validation = self.scans(_any_of(where), "val")
        if reader is not None:
            groups = [replace(group, records=tuple(map(reader.record, group.records))) for group in groups]
            validation = [reader.record(record) for record in validation]
        looked_at = {name: self.scans(filter_, "val") for name, filter_ in (watch or {}).items()}
        network = self.scale.network(network)
        settings = replace(settings, seed=self.seed + settings.seed)
        lent = [self.runs[name] for name in (start, fallback) if name is not None]
        key = digest(
            network,
            network_settings or {},
            settings.plain(),
            [(group.weight, [r.fingerprint for r in group.records]) for group in groups],
            [record.fingerprint for record in validation],
            {name: [record.fingerprint for record in some] for name, some in looked_at.items()},
            [run.network for run in lent],
            [name is None for name in (start, fallback)],
        )
        path = self.shared / "models" / f"{network}-{key[:16]}"
        with alone(path, wait=self.waits), RichDisplay(label) as display:
            self.runs[label] = train(
                network,
                groups,
                validation,
                settings,
                path,
                network_settings=network_settings,
                start=None if start is None else self._paths[start],
                fallback=None if fallback is None else self._paths[fallback],
                watch=looked_at,
                device=self.device,
                pool=self._pools[reader],
                display=display,
                about={"study": self.name, "where": where},
            )
        self._paths[label] = path
        if self.waits:  # or another process keeps the same
            self._keep_curve(label)
        return self.runs[label]

    def _groups(
        self, where: str | Mapping[str, float | None], share: float | Mapping[str, float]
    ) -> list[Group]:
        weights: Mapping[str, float | None] = {where: None} if isinstance(where, str) else where
        shares = share if isinstance(share, Mapping) else dict.fromkeys(weights, share)
        parts = [
            nested_subset(self.scans(filter_, "train"), shares[filter_], self.seed) for filter_ in weights
        ]
        # Numbered: a group's name makes another run, and the same scans under other words are the same.
        return [
            Group(f"{number} of {len(parts)}", records, weight)
            for number, (records, weight) in enumerate(zip(parts, weights.values(), strict=True), 1)
        ]

    def path_of(self, label: str) -> Path:
        """The RUN folder of a model of this study."""
        return self._paths[label]

    def _keep_curve(self, label: str) -> None:
        """The validation scores of a training, where the page finds them, and where its model lies."""
        lines = RunFolder(self._paths[label]).read_log("epoch")
        kept = [
            {
                "epoch": line["epoch"],
                "loss": line["loss"],
                "score": (line.get("validation") or {}).get("score"),
                **{f"watched {name}": score for name, score in watched_scores(line).items()},
            }
            for line in lines
        ]
        path = self.folder / "curves" / f"{self.slug(label)}.jsonl"
        write_text(path, "".join(json.dumps(entry) + "\n" for entry in kept))
        places = {name: str(path) for name, path in sorted(self._paths.items())}
        write_text(self.folder / "models.json", json.dumps(places, indent=1) + "\n")

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
        processed: Processed | None = None,
    ) -> Reconstructor:
        """Choose a method's weight by SSIM in the support on the filter's validation subjects, and say so.

        Scans that are `processed` are taken for raw data, as in `train`.
        """
        reader = _reader(None, processed)
        records = [record if reader is None else reader.record(record) for record in self.scans(where, "val")]
        key = digest(list(values), scheme, [record.fingerprint for record in records])
        path = self.folder / "tuned" / f"{self.slug(label)}-{key[:8]}.json"
        if path.exists():
            return make(float(json.loads(path.read_text())["chosen"]))
        read = load if reader is None else reader
        pairs = [self.pair_of(record, scheme, read) for record in records]
        tuned = tune(make, values, pairs, support_ssim, larger_is_better=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        tuned.write(path)
        return make(tuned.chosen)

    def insert(
        self,
        methods: Mapping[str, Reconstructor],
        where: str,
        evaluation: Evaluation,
        feature: Feature,
        *,
        test: str,
        columns: Mapping[str, Any] | None = None,
    ) -> None:
        """Score how methods show a feature that is put into the filter's test scans."""
        finished, left_out = insert(self.scans(where, "test"), methods, evaluation, feature, self.store)
        called = {"test": test, **(columns or {})}
        self.finished += [(key, {"method": method, **called}) for key, method in finished]
        self.left_out += left_out

    def keep(self, rows: Sequence[Mapping[str, Any]], **columns: Any) -> None:
        """Take rows of our own making into the study's, once: no reconstruction gave them."""
        key = digest([dict(row) for row in rows])
        if not self.store.has(key):
            self.store.put(key, [{**row, "key": key} for row in rows])
        if (key, dict(columns)) not in self.finished:
            self.finished.append((key, dict(columns)))

    @staticmethod
    def slug(label: str) -> str:
        """A label as part of a file's name."""
        return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")

    def examples(
        self,
        test: str,
        by: str,
        labels: Sequence[str],
        columns: Mapping[str, Any] | None = None,
        called: str = "",
    ) -> tuple[str, ...]:
        """Keep the slices with the median and the worst SSIM of one method, as every method shows them.

        `columns` name further columns of the rows to choose from, as in `compare`; rows without such a column
        are chosen from, too. `called` tells several examples of one test set apart.
        """
        keys = {label: self._keys(label, test, columns) for label in {*labels, by}}
        name = f"{test}, {called}" if called else test
        return keep_examples(self.folder, (self.store, self.pictures), keys, name, by, labels)

    def show(
        self,
        methods: Mapping[str, Reconstructor],
        where: str,
        evaluation: Evaluation,
        *,
        by: str,
        test: str,
        columns: Mapping[str, Any] | None = None,
        disturbance: Disturbance | None = None,
    ) -> None:
        """Keep the images for `examples` where `compare`, asked the same, kept none: of two scans alone."""
        wanted = scans_shown(self.store, self._keys(by, test, columns))
        records = [record for record in self.scans(where, "test") if record.scan_id in wanted]
        evaluate(records, methods, evaluation, self.pictures, keep_images=True, disturbance=disturbance)

    def show_inserted(
        self,
        methods: Mapping[str, Reconstructor],
        where: str,
        evaluation: Evaluation,
        feature: Feature,
        *,
        by: str,
        test: str,
        columns: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep how every method shows a feature, where one method's fidelity is the median and the least.

        `insert` was asked the same before; `engine.examples.shown_inserted` names what is kept.
        """
        keys = self._keys(by, test, columns)
        records = {record.scan_id: record for record in self.scans(where, "test")}
        keep_inserted(self.folder, self.store, keys, records, methods, evaluation, feature, test, by)

    def scores(
        self, label: str, test: str, where: Mapping[str, Any], columns: Mapping[str, Any] | None = None
    ) -> list[float]:
        """The scores of a method's finished rows on a test set, where their cells are those of `where`."""
        tables = (read_rows(self.store.path(key)) for key in self._keys(label, test, columns))
        rows = (row for table in tables for row in table.to_pylist())
        return [row["value"] for row in rows if all(row[name] == value for name, value in where.items())]

    def _keys(self, label: str, test: str, columns: Mapping[str, Any] | None) -> list[str]:
        """Those of a method's finished rows on a test set."""
        return [
            key
            for key, called in self.finished
            if (called.get("method"), called.get("test")) == (label, test)
            and all(called.get(name, value) == value for name, value in (columns or {}).items())
        ]

    def pair_of(
        self, record: ScanRecord, scheme: Scheme, read: Callable[[ScanRecord], Acquisition] = load
    ) -> tuple[Measurement, Tensor]:
        """A scan's measurement, and apart from it its reference."""
        acquisition = read(record)
        measurement = measure(
            without_oversampling(acquisition), scheme, evaluation_seed(Path(record.path).name)
        )
        return measurement, reference(acquisition, "mvue")

    def compare(
        self,
        methods: Mapping[str, Reconstructor],
        where: str | Sequence[ScanRecord],
        evaluation: Evaluation,
        *,
        adapt: str = "none",
        test: str,
        columns: Mapping[str, Any] | None = None,
        keep_images: bool = True,
        disturbance: Disturbance | None = None,
        split: Literal["test", "val"] = "test",
    ) -> None:
        """Score methods on the filter's test split, or on these scans; `test` names the test set in the rows.

        Validation subjects, which choose a setting and answer no claim, are marked as seen. `columns` are
        further columns of these rows, e.g. a dose. Models of several training seeds are compared one call
        each under the same name: the rows tell them apart by ``train_seed``. With a disturbance, methods see
        the disturbed scans and are scored against the undisturbed ones.

        Raises
        ------
        UserError
            If a subject of the test set was trained on: the splits of the catalog are not disjoint.
        """
        records = self.scans(where, split) if isinstance(where, str) else list(where)
        seen: frozenset[tuple[str, str]] = frozenset()
        for name, method in methods.items():
            if split == "val":
                seen |= _seen_by(method)
            else:
                refuse_seen(name, method, records)
        with steps(f"scoring on {test}", len(records) * len(methods)) as tick:
            finished, left_out = evaluate(
                records,
                methods,
                evaluation,
                self.store,
                adapt=adapt,
                on_progress=tick,
                seen=seen,
                keep_images=keep_images,
                disturbance=disturbance,
            )
        called = {"test": test, **(columns or {})}
        entries = ((key, {"method": method, **called}) for key, method in finished)
        self.finished += [entry for entry in entries if entry not in self.finished]
        self.left_out += left_out


def refuse_seen(name: str, method: Reconstructor, records: Sequence[ScanRecord]) -> None:
    """Stop where a method was trained on a subject that it is to be tested on.

    Raises
    ------
    UserError
        Which one.
    """
    shared = _seen_by(method) & {(record.dataset, record.subject) for record in records}
    if shared:
        raise UserError(f"{name} was trained on {min(shared)}, a test subject; split by subject")


def _seen_by(method: object) -> frozenset[tuple[str, str]]:
    """Training subjects of a method, or of the method that it is around."""
    own: frozenset[tuple[str, str]] | None = getattr(method, "training_subjects", None)
    inside = getattr(method, "base", getattr(method, "method", None))
    return own or (frozenset() if inside is None else _seen_by(inside))


def watched_scores(line: Mapping[str, Any]) -> dict[str, float]:
    """Validation scores of the distributions that were looked at only, from a line of a training's log."""
    return {name: entry["score"] for name, entry in (line.get("watched") or {}).items()}


def _reader(undersampled: Scheme | None, processed: Processed | None) -> Undersampled | AsProcessed | None:
    """How scans are read; None: as they are."""
    if undersampled is not None and processed is not None:
        raise ValueError(
            "scans are undersampled or processed, not both: what was processed first is not told"
        )
    if processed is not None:
        return AsProcessed(processed)
    return None if undersampled is None else Undersampled(undersampled)


def _any_of(where: str | Mapping[str, float | None]) -> str:
    return where if isinstance(where, str) else " or ".join(f"({filter_})" for filter_ in where)


def support_ssim(image: Tensor, target: Tensor) -> Tensor:
    """SSIM inside the body, range of the volume: what claims are made on."""
    top = target.max().expand(target.shape[0])
    return ssim(image, target, top, support(target, top))


def write_text(path: Path, text: str) -> None:
    """Write beside, then rename."""
    with beside(path) as own:
        own.write_text(text)
