from dataclasses import replace

import pytest
import torch

from reshim.errors import UserError
from reshim.physics.fourier import center_crop, center_pad, to_image, to_kspace
from reshim.simulation.protocols import PROTOCOLS, Protocol
from reshim.simulation.scanner import Exam, examine

CARD = replace(PROTOCOLS["brain-t2-3t"], extent_mm=(0.0, 20.0))


def exam_of(balls, card: Protocol = CARD, matrix: int = 48, slices: int = 2, **settings: object) -> Exam:
    return examine(card, settings.pop("subject", 0), matrix, slices, draw=balls, **settings)


def test_the_kspace_is_that_of_the_centred_transform_cut_to_the_matrix(balls):
    exam = exam_of(balls, replace(CARD, snr=1e12))
    grid = exam.geometry
    fields = exam.fields.at(1, torch.arange(grid.rows) * 1.0, torch.arange(grid.columns) * 1.0)
    fine = center_pad(exam.objects[1] * fields, (2 * grid.columns, grid.columns))
    # An orthonormal transform of a finer grid gives smaller values by the root of the number of cells.
    expected = center_crop(to_kspace(fine), (96, 48)) * (96 * 48 / fine[0].numel()) ** 0.5
    kspace = exam.acquire(1).kspace
    torch.testing.assert_close(kspace, expected, rtol=1e-4, atol=1e-5 * kspace.abs().max().item())


def test_without_noise_the_combined_image_is_the_clean_reference(balls):
    exam = exam_of(balls, replace(CARD, snr=1e9))
    acquired = exam.acquire(0)
    images = to_image(acquired.kspace)
    combined = center_crop((exam.maps(0).conj() * images).sum(0), (48, 48)).abs()
    torch.testing.assert_close(combined, acquired.clean, rtol=1e-4, atol=1e-4 * acquired.clean.max().item())


def test_inside_a_uniform_body_the_reference_is_object_times_coil_strength(balls):
    exam = exam_of(balls, replace(CARD, snr=1e9), matrix=64)
    grid = exam.geometry
    rows, columns = torch.arange(0, grid.rows, 2), torch.arange(0, grid.columns, 2)
    strength = exam.fields.at(0, rows * 1.0, columns * 1.0).abs().square().sum(0).sqrt()
    truth = strength * exam.objects[0][rows][:, columns].abs()
    middle_of_fluid = (32 - round(exam.geometry.center_mm[0] / 3.4), 32 + round(25 / 3.4))
    clean = exam.acquire(0).clean
    assert clean[middle_of_fluid].item() == pytest.approx(truth[middle_of_fluid].item(), rel=0.05)


def test_rss_and_reference_agree_where_there_is_signal_and_no_noise(balls):
    acquired = exam_of(balls, replace(CARD, snr=1e9)).acquire(0)
    body = acquired.clean > 0.3 * acquired.clean.max()
    torch.testing.assert_close(acquired.rss[body], acquired.clean[body], rtol=0.02, atol=0.0)


def test_the_noise_has_the_stated_covariance_and_whitens_to_the_identity(balls):
    noisy, quiet = (exam_of(balls, replace(CARD, snr=snr), matrix=64) for snr in (20.0, 1e9))
    noise = (noisy.acquire(0).kspace - quiet.acquire(0).kspace).flatten(1).to(torch.complex128)
    root = torch.linalg.cholesky(noisy.noise_covariance.to(torch.complex128))
    white = torch.linalg.solve_triangular(root, noise, upper=False)
    samples = white.shape[1]
    covariance = white @ white.mH / samples / 2
    # Standard error of an entry: 1 / sqrt(samples) on the diagonal, less beside it.
    torch.testing.assert_close(
        covariance, torch.eye(len(root), dtype=torch.complex128), rtol=0, atol=4.5 / samples**0.5
    )
    assert white.real.std().item() == pytest.approx(1, abs=0.01)


def test_the_snr_is_the_cards_within_what_subjects_vary(balls):
    ratios = []
    for subject in range(12):
        exam = exam_of(balls, replace(CARD, snr=25.0), slices=1, subject=subject)
        acquired = exam.acquire(0)
        deviation = exam.noise_covariance.diagonal().real.mean().sqrt()
        ratios.append((acquired.clean[acquired.labels > 0].mean() / deviation).item())
    ratios = torch.tensor(ratios)
    assert ratios.mean().item() == pytest.approx(25, rel=0.08)
    assert 0.02 < (ratios.std() / ratios.mean()).item() < 0.2


def test_a_slice_is_the_same_in_every_order_and_every_subject_another(balls):
    exam = exam_of(balls)
    second = exam.acquire(1).kspace
    exam.acquire(0)
    assert torch.equal(exam.acquire(1).kspace, second)
    assert torch.equal(exam_of(balls).acquire(1).kspace, second)
    assert not torch.allclose(exam_of(balls, subject=1).acquire(1).kspace, second)
    assert not torch.allclose(exam_of(balls, seed=1).acquire(1).kspace, second)


def test_neighbouring_slices_do_not_share_their_noise(balls):
    noisy, quiet = (exam_of(balls, replace(CARD, snr=snr)) for snr in (20.0, 1e9))
    first, second = ((noisy.acquire(i).kspace - quiet.acquire(i).kspace).flatten() for i in (0, 1))
    overlap = torch.vdot(first, second).abs() / first.norm() / second.norm()
    assert overlap.item() < 5 / len(first) ** 0.5 * 4


def test_the_true_maps_have_unit_strength_and_the_oversampled_shape(balls):
    maps = exam_of(balls).maps(0)
    assert maps.shape == (16, 96, 48)
    drawn = center_crop(maps, (46, 48)).abs().square().sum(0)
    torch.testing.assert_close(drawn, torch.ones_like(drawn))


def test_a_lesion_lies_in_its_box_and_fills_it(balls):
    exam = exam_of(balls, matrix=96, slices=1, lesions=True)
    exam = exam_of(balls, replace(CARD, extent_mm=(0.0, 0.0)), matrix=96, slices=1, lesions=True)
    (_, index, row0, column0, row1, column1) = exam.lesions[0]
    lesion = exam.acquire(index).labels == 1 + exam.tissues.index("lesion")
    rows, columns = torch.nonzero(lesion.any(1)).flatten(), torch.nonzero(lesion.any(0)).flatten()
    assert row0 <= rows[0] <= row0 + 1
    assert row1 - 2 <= rows[-1] < row1
    assert column0 <= columns[0] <= column0 + 1
    assert column1 - 2 <= columns[-1] < column1


def test_the_same_subject_lies_elsewhere_in_another_scanner_but_is_the_same(balls):
    here, there = exam_of(balls), exam_of(balls, replace(CARD, name="another"))
    assert here.geometry.center_mm != there.geometry.center_mm
    assert here.tissues == there.tissues


def test_a_large_matrix_is_drawn_one_and_a_half_times_as_fine(balls):
    exam = exam_of(balls, matrix=198, slices=1)
    assert exam.geometry.columns % 2 == 0
    assert exam.geometry.columns / 198 == pytest.approx(1.5, abs=0.01)
    assert exam.acquire(0).kspace.shape == (16, 396, 198)


@pytest.mark.parametrize(("matrix", "slices"), [(33, 1), (8, 1), (32, 0)])
def test_an_unusable_size_is_refused_with_its_value(balls, matrix, slices):
    with pytest.raises(UserError, match=f"{'slices' if not slices else 'matrix'} is"):
        exam_of(balls, matrix=matrix, slices=slices)


def test_slices_beside_the_body_are_refused(balls):
    with pytest.raises(ValueError, match="show no body"):
        exam_of(balls, replace(CARD, extent_mm=(200.0, 220.0)))
