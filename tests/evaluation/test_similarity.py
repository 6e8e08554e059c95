"""Images of one kind are more alike than images of two, whatever the features' settings."""

import importlib.machinery
import sys
import types
from dataclasses import dataclass

import pytest
import torch

from reshim.digest import digest
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


@pytest.fixture
def open_clip(monkeypatch):
    """A package of that name whose one model embeds an image as a linear map of its pixels."""

    class Visual(torch.nn.Module):
        image_size, image_mean, image_std = (8, 8), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.visual, self.line = Visual(), torch.nn.Linear(3 * 8 * 8, 16, bias=False)

        def encode_image(self, images):
            return self.line(images.flatten(1))

    def create_model(name, pretrained, pretrained_hf):
        assert (name, pretrained, pretrained_hf) == ("small", None, False)  # whatever else may fetch weights
        return Network()

    package = types.ModuleType("open_clip")
    package.__spec__ = importlib.machinery.ModuleSpec("open_clip", None)
    package.create_model, package.list_models, package.Network = create_model, lambda: ["small"], Network
    monkeypatch.setitem(sys.modules, "open_clip", package)
    return package


def test_clip_takes_the_weights_that_the_environment_names(open_clip, tmp_path, monkeypatch):
    monkeypatch.delenv("RESHIM_CLIP_WEIGHTS", raising=False)
    assert Clip.of_environment() is None
    weights = {f"module.{key}": value for key, value in open_clip.Network().state_dict().items()}
    torch.save({"state_dict": weights, "epoch": 3}, tmp_path / "clip.pt")
    monkeypatch.setenv("RESHIM_CLIP_WEIGHTS", str(tmp_path / "clip.pt"))
    monkeypatch.setenv("RESHIM_CLIP_MODEL", "small")
    clip = Clip.of_environment()
    images = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = images[:, None].expand(3, 3, 8, 8).flatten(1) @ weights["module.line.weight"].T
    torch.testing.assert_close(clip(images), expected)
    # The embedding is its weights, wherever they lie.
    (tmp_path / "copy.pt").write_bytes((tmp_path / "clip.pt").read_bytes())
    assert digest(Clip(tmp_path / "copy.pt", "small")) == digest(clip)
    torch.save({key: 2 * value for key, value in weights.items()}, tmp_path / "other.pt")
    assert digest(Clip(tmp_path / "other.pt", "small")) != digest(clip)


def test_weights_that_run_code_or_are_of_another_model_are_refused(open_clip, tmp_path):
    torch.save({"state_dict": {"line.weight": print}}, tmp_path / "runs.pt")
    with pytest.raises(UserError, match="weights_only"):
        Clip(tmp_path / "runs.pt", "small")(stripes(3))
    torch.save({"line.weight": torch.zeros(4, 4)}, tmp_path / "small.pt")
    with pytest.raises(UserError, match="not the weights of small"):
        Clip(tmp_path / "small.pt", "small")(stripes(3))
    with pytest.raises(UserError, match="RESHIM_CLIP_MODEL"):
        Clip(tmp_path / "small.pt", "large")(stripes(3))


@dataclass(frozen=True)
class Offset:
    """Two pixels of each image, and what all images share."""

    shared: float

    def __call__(self, images):
        return torch.cat((images[:, 0, :2], torch.full((len(images), 1), self.shared)), 1)


def test_the_cosine_of_features_as_they_are_is_the_papers():
    train, test = torch.zeros(2, 4, 4), torch.zeros(1, 4, 4)
    train[0, 0, 0], train[1, 0, 1], test[0, 0, :2] = 3.0, 2.0, torch.tensor([1.0, 1.0])
    found = Similarity(Offset(1.0), standardise=False)({"a": train}, {"b": test})["a", "b"]
    lines = torch.tensor([[3.0, 0, 1], [0, 2, 1]]), torch.tensor([1.0, 1, 1])
    expected = max(float(torch.cosine_similarity(line, lines[1], dim=0)) for line in lines[0])
    torch.testing.assert_close(found, torch.tensor([expected]))


def test_how_features_are_compared_is_in_the_digest_and_the_default_is_where_it_was():
    default = Similarity()
    fields = {"embed": Spectrum(), "neighbours": 1, "patch": None, "aggregate": "mean"}
    about = {"is": "reshim.evaluation.similarity.Similarity", **fields}
    assert digest(default) == digest(about)
    assert len({digest(default), digest(Similarity(standardise=False)), digest(Similarity(patch=8))}) == 3
    assert digest(Similarity(patch=8, standardise=False)) != digest(Similarity(standardise=False))


def test_a_union_has_the_nearest_images_of_its_parts_and_shifts_nobodys_features():
    generator = torch.Generator().manual_seed(3)
    trained = {name: torch.rand(3, 24, 24, generator=generator) for name in "ab"}
    tests = {"t": torch.rand(4, 24, 24, generator=generator)}
    for similarity in (Similarity(), Similarity(patch=12, neighbours=2)):
        alone = similarity(trained, tests)
        together = similarity(trained, tests, {"both": ["a", "b"]})
        assert all(torch.equal(together[pair], alone[pair]) for pair in alone)
        nearest = torch.maximum(alone["a", "t"], alone["b", "t"])
        assert (together["both", "t"] >= nearest - 1e-6).all()
    torch.testing.assert_close(
        Similarity()(trained, tests, {"both": ["a", "b"]})["both", "t"],
        torch.maximum(*(Similarity()(trained, tests)[name, "t"] for name in "ab")),
    )


def test_images_too_small_for_the_scales_are_refused_and_the_least_that_fit_are_finite():
    assert torch.isfinite(Spectrum()(torch.rand(2, 12, 12))).all()
    with pytest.raises(UserError, match="12 a side is the least"):
        Spectrum()(torch.rand(2, 12, 11))
    with pytest.raises(UserError, match="too small"):
        Similarity(patch=8)({"a": torch.rand(2, 24, 24)}, {"b": torch.rand(2, 24, 24)})
