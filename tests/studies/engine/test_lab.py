"""The laboratory's distributions in a catalog of everything: each finds its own scans and no others."""

from dataclasses import fields

import pytest

from reshim.catalog import Catalog
from reshim.catalog.table import row_of, table_of
from reshim.simulation.protocols import PROTOCOLS
from reshim.studies.engine import lab
from reshim.types import ScanRecord

DISTRIBUTIONS = [value for value in vars(lab).values() if isinstance(value, lab.Distribution)]


def record(name, **known):
    size = {"n_slices": 4, "n_coils": 4, "n_rows": 32, "n_columns": 32, "recon_rows": 32, "recon_columns": 32}
    fixed = {"root": "r", "path": f"{name}.h5", "dataset": "d", "subject": name, "fingerprint": name}
    record = ScanRecord(scan_id=name, data_kind="simulated", fully_sampled=True, **fixed, **size)
    return type(record)(**{each.name: getattr(record, each.name) for each in fields(record)} | known)


def simulated(card):
    about = {name: getattr(card, name) for name in ("anatomy", "contrast", "view", "field_tesla")}
    spacing = (card.thickness_mm, 1.0, 1.0)
    return record(card.name, **about, spacing_mm=spacing, view_of="x" if card.scan else None)


@pytest.fixture(scope="module")
def everything():
    unknown = record("unknown", anatomy="knee", contrast="PD", field_tesla=3.0)
    cut = record("cut", anatomy="brain", contrast="T1", field_tesla=3.0, view="axial", view_of="whole")
    return Catalog(table_of(map(row_of, [*map(simulated, PROTOCOLS.values()), unknown, cut])), {"r": "/"})


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda distribution: distribution.label)
def test_a_distribution_is_its_protocol_and_the_like_of_other_scanners(everything, distribution):
    found = {each.scan_id for each in everything.where(distribution.where).records()}
    expected = {name for name in PROTOCOLS if f"{name}-".startswith(f"{distribution.protocol}-")}
    assert found - {"unknown"} == expected


def test_what_a_file_does_not_say_it_is_not_left_out_for(everything):
    found = {each.scan_id for each in everything.where(lab.KNEE_PD.where).records()}
    assert found == {"knee-pd-3t", "knee-pd-3t-b", "unknown"}
