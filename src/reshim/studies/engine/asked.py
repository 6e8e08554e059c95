"""What somebody asks of a study: which one, of what scans, how large, and where it lies."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from reshim.catalog import Catalog
from reshim.errors import UserError
from reshim.methods import methods_of
from reshim.studies.engine.embedded import catalog_of
from reshim.studies.engine.needs import check_catalog
from reshim.studies.engine.options import options_of
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study


@dataclass(frozen=True)
class Asked:
    """A recipe, and all that a command says of it."""

    name: str
    recipe: ModuleType
    folder: Path
    """Where rows, summary and page are put."""

    catalog: Path | None = None
    """None: scans are simulated."""

    scale: Scale = Scale.EMBEDDED
    seed: int = 0
    shared: Path | None = None
    """Where scans, models and rows lie; None: in the study's own folder."""

    device: str = "cpu"
    seeds: int | None = None
    """How often a study of diverse data trains everything, from `seed` on; None: as its recipe says."""

    methods: Sequence[str] = ()
    """METHOD names that are asked about too, where the recipe takes any."""

    options: Sequence[str] = ()
    """KEY=VALUE, what the recipe lets its users change."""

    def study(self) -> Study:
        """What the recipe is handed; scans are simulated where no catalog is given.

        Raises
        ------
        UserError
            If the catalog lacks what the study needs, for methods where the recipe takes none, and as
            `reshim.methods.methods_of` and `reshim.studies.engine.options.options_of` do.
        """
        if self.methods and not getattr(self.recipe, "TAKES_METHODS", False):
            raise UserError(
                f"{self.name} asks about methods of its own, and --with names {self.methods[0]!r}; leave it "
                "out"
            )
        changed = options_of(self.name, self.recipe, self.options)
        chosen = methods_of(self.methods, device=self.device)
        shared = self.shared or self.folder
        needed = self.recipe.embedded(self.scale)
        if self.catalog is None:
            scans = catalog_of(needed, shared, self.folder / "catalog.parquet", self.seed)
        else:
            scans = Catalog.read(self.catalog)
            check_catalog(self.name, self.recipe, needed, scans)
        self.folder.mkdir(parents=True, exist_ok=True)
        return Study(
            name=self.name,
            folder=self.folder,
            catalog=scans,
            scale=self.scale,
            seed=self.seed,
            shared=shared,
            embedded=self.catalog is None,
            device=self.device,
            seeds=self.seeds,
            methods=chosen,
            options=changed,
        )

    @property
    def question(self) -> str:
        """The first line of the recipe's docstring."""
        return (self.recipe.__doc__ or "").strip().partition("\n")[0]

    @property
    def form(self) -> dict[str, Any]:
        """What makes two runs in one folder the same study."""
        form = {
            "scale": self.scale.value,
            "seed": self.seed,
            "catalog": self.catalog and str(self.catalog),
            "seeds": self.seeds,
        }
        return {name: value for name, value in form.items() if name != "seeds" or value is not None}

    @property
    def command(self) -> list[str]:
        """The words that ask for the same result."""
        return [
            *self._begun(),
            *(["--with", *self.methods] if self.methods else []),
            *(["--option", *self.options] if self.options else []),
            *("--seed", str(self.seed)),
        ]

    @property
    def trainings(self) -> list[str]:
        """The words, after ``reshim``, that have its networks trained in its folders and nothing else."""
        places = ["--out", str(self.folder), "--shared", str(self.shared or self.folder)]
        begun = self._begun()[1:]
        return [*begun, "--train-only", *places, "--seed", str(self.seed), "--device", self.device]

    def _begun(self) -> list[str]:
        return [
            *("reshim", "study", self.name),
            *([] if self.catalog is None else ["--catalog", str(self.catalog)]),
            *([] if self.scale is Scale.EMBEDDED else [f"--{self.scale.value}"]),
            *([] if self.seeds is None else ["--seeds", str(self.seeds)]),
        ]
