import math

import numpy as np
import pytest

from reshim.simulation.tissues import FAT_SHIFT_PPM, TISSUES, at_field, properties, varied

BRAIN = ("scalp_fat", "skin", "muscle", "skull", "marrow", "csf", "grey", "white", "deep_grey", "vessel")
KNEE = ("marrow_fat", "cortical_bone", "cartilage", "meniscus", "ligament", "fat", "fluid", "tendon")
NAMED_BY_THE_ANATOMIES = (*BRAIN, *KNEE, "dura", "eye", "lesion")


def test_a_measured_value_is_returned_at_its_field():
    assert properties("cartilage", 1.5).t1_ms == pytest.approx(1060)
    assert properties("cartilage", 3.0).t2_ms == pytest.approx(36.9)
    assert properties("white", 3.0).t1_ms == pytest.approx(832)


def test_between_two_fields_lies_their_power_law():
    middle = at_field({1.5: 400.0, 6.0: 900.0}, 3.0, 0.0)
    assert middle == pytest.approx(math.sqrt(400 * 900))


def test_beyond_the_fields_the_nearest_one_grows_with_the_given_exponent():
    assert at_field({1.0: 100.0, 2.0: 500.0}, 8.0, 0.5) == pytest.approx(1000)
    assert at_field({1.0: 100.0, 2.0: 500.0}, 0.25, 0.0) == pytest.approx(100)


def test_one_field_grows_with_the_given_exponent():
    assert at_field({3.0: 250.0}, 1.5, 0.35) == pytest.approx(250 * 0.5**0.35)


@pytest.mark.parametrize("name", NAMED_BY_THE_ANATOMIES)
@pytest.mark.parametrize("field", [0.3, 1.5, 3.0, 7.0])
def test_every_tissue_is_physical_at_every_field(name, field):
    tissue = properties(name, field)
    assert 0 < tissue.t2_star_ms <= tissue.t2_ms <= tissue.t1_ms
    assert 0 < tissue.density <= 1


def test_t1_never_falls_with_the_field():
    for name in TISSUES:
        times = [properties(name, field).t1_ms for field in (0.3, 1.5, 3.0, 7.0)]
        assert times == sorted(times), name


def test_fat_alone_is_shifted():
    assert {name for name in TISSUES if properties(name, 3).is_fat} == {
        "scalp_fat", "marrow", "marrow_fat", "fat",
    }  # fmt: skip
    assert properties("fat", 3).shift_ppm == FAT_SHIFT_PPM


def test_an_unknown_tissue_is_named_with_those_that_exist():
    with pytest.raises(ValueError, match=r"'brawn'.*muscle"):
        properties("brawn", 3.0)


def test_a_field_of_zero_is_refused():
    with pytest.raises(ValueError, match="0 T"):
        properties("white", 0)


def test_a_subject_has_tissues_of_its_own_and_always_the_same():
    mean = properties("grey", 3.0)
    first, again, other = (varied(mean, subject, "grey") for subject in (1, 1, 2))
    assert first == again != other
    times = np.array([varied(mean, subject).t1_ms for subject in range(400)])
    assert np.log(times / mean.t1_ms).std() == pytest.approx(0.05, rel=0.15)
    assert np.log(times / mean.t1_ms).mean() == pytest.approx(0, abs=3 * 0.05 / 20)
