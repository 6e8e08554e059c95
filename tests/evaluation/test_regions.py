"""Scores around findings: each box in its size, on its slice, and never where no window fits."""

import torch

from reshim.evaluation.regions import region_of
from reshim.evaluation.run import Evaluation, _scores
from reshim.scans.boxes import Box

SMALL = Box("scan", 5, 10, 12, 14, 16, "lesion")
LARGE = Box("scan", 7, 8, 8, 24, 28, "mass")


def images(n=2):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, 40, 44, generator=generator, dtype=torch.float64) + 0.5


def test_a_box_is_in_the_region_of_its_size_on_its_slice():
    target = images()
    top = target.max().expand(2)
    regions = {
        name: region_of(name, target, top, [SMALL, LARGE], (5, 7))
        for name in ("box", "box-small", "box-large")
    }
    assert regions["box-small"].sum() == 16
    assert regions["box-small"][0, 10:14, 12:16].all()
    assert regions["box-large"][1, 8:24, 8:28].all()
    assert torch.equal(regions["box"], regions["box-small"] | regions["box-large"])
    assert region_of("all", target, top) is None


def test_a_box_on_a_slice_that_is_not_scored_or_at_the_very_edge_has_no_score():
    target = images()
    edge = Box("scan", 0, 0, 0, 3, 3, "lesion")
    region = region_of("box", target, target.max().expand(2), [SMALL, edge], (0, 1))
    assert not region.any()


def test_an_error_inside_the_box_lowers_its_score_and_no_other():
    target = images()
    image = target.clone()
    image[0, 10:14, 12:16] += 0.3
    evaluation = Evaluation(regions=("box-small", "box-large"), metrics=("ssim",))
    scored = {entry["region"]: entry for entry in _scores(image, target, evaluation, [SMALL, LARGE], (5, 7))}
    assert scored["box-small"]["values"][0] < 0.9
    assert scored["box-small"]["empty"] == [False, True]
    assert scored["box-large"]["values"][1] == 1
    assert scored["box-large"]["empty"] == [True, False]
