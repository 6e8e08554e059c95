"""Images of one kind are more alike than images of two, whatever the features' settings."""

import pytest
import torch

from reshim.errors import UserError
from reshim.evaluation.similarity import Clip, EfficientNet, Similarity, Spectrum


def stripes(frequency, n=6, side=48):
    generator = torch.Generator().manual_seed(frequency)
    x = torch.arange(side) / side
    phases = torch.rand(n, generator=generator) * 6.28
    waves = 0.5 + 0.4 * torch.sin(6.28 * frequency * x[None] + phases[:, None])
    noise = 0.02 * torch.rand(n, side, side, generator=generator)
    return waves[:, None, :].expand(n, side, side) + noise


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"neighbours": 3},
        {"patch": 24},
        {"patch": 24, "aggregate": "least"},
        {"embed": EfficientNet()},
    ],
)
def test_the_kind_that_was_trained_on_is_nearest(settings):
    trained = {"coarse": stripes(3), "fine": stripes(11)}
    tests = {"coarse": stripes(3, n=8)[6:], "fine": stripes(11, n=8)[6:]}
    found = Similarity(**settings)(trained, tests)
    for kind, other in (("coarse", "fine"), ("fine", "coarse")):
        assert found[kind, kind].shape == (2,)
        assert (found[kind, kind] > found[other, kind] + 0.02).all()


def test_an_image_that_was_trained_on_has_similarity_one():
    trained = {"coarse": stripes(3), "fine": stripes(11)}
    found = Similarity()(trained, {"same": stripes(3)})
    torch.testing.assert_close(found["coarse", "same"], torch.ones(6))


def test_the_features_of_the_spectrum_do_not_depend_on_where_the_object_lies():
    image = torch.zeros(1, 40, 44)
    image[:, 10:20, 8:18] = 1
    moved = image.roll((6, 9), (1, 2))
    torch.testing.assert_close(Spectrum()._spectral(image), Spectrum()._spectral(moved), atol=1e-4, rtol=0)


def test_what_does_not_fit_or_is_not_there_is_said(tmp_path):
    with pytest.raises(UserError, match="do not fit"):
        Similarity(patch=64)({"a": stripes(3)}, {"b": stripes(3)})
    with pytest.raises(UserError, match=r"pip install|no such file"):
        Clip(tmp_path / "none.pt")(stripes(3))
