import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reshim.physics.masks import LINE_MASKS, default_center_fraction, draw_line_mask, evaluation_seed

PEERS = {
    "random": "random",
    "equispaced": "equispaced",
    "equispaced-fraction": "equispaced_fraction",
    "magic": "magic",
}


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("acceleration", [2, 4, 8])
@pytest.mark.parametrize("n_columns", [96, 128, 320, 367, 368, 372])
def test_masks_are_bit_equal_to_fastmri_for_the_same_file_name(name, acceleration, n_columns):
    subsample = pytest.importorskip("fastmri.data.subsample")
    fraction = default_center_fraction(acceleration)
    peer = subsample.create_mask_for_mask_type(PEERS[name], [fraction], [acceleration])
    for file_name in ("file1000052.h5", "brain-t2_0001.h5", "x.h5"):
        theirs, center_lines = peer((1, n_columns, 2), seed=evaluation_seed(file_name))
        ours = draw_line_mask(name, n_columns, acceleration, seed=evaluation_seed(file_name))
        np.testing.assert_array_equal(ours.columns, theirs.numpy().ravel().astype(bool))
        assert ours.center_lines == center_lines


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(LINE_MASKS)),
    st.integers(40, 400),
    st.sampled_from([2, 3, 4, 8]),
    st.integers(0, 2**31),
)
def test_the_centre_is_full_and_the_effective_rate_is_counted(name, n_columns, acceleration, seed):
    mask = draw_line_mask(name, n_columns, acceleration, seed=seed)
    start, stop = mask.center
    assert mask.columns[start:stop].all()
    assert stop - start == mask.center_lines == round(n_columns * default_center_fraction(acceleration))
    assert mask.effective_acceleration == pytest.approx(n_columns / mask.columns.sum())


@pytest.mark.parametrize("name", ["random", "equispaced-fraction", "gaussian"])
def test_rate_matched_masks_reach_the_nominal_rate_on_average(name):
    shares = np.array(
        [draw_line_mask(name, 320, 4, center_fraction=0.08, seed=seed).columns.mean() for seed in range(400)]
    )
    # 3 standard errors; equispaced-fraction rounds its spacing, so its share is off by up to one column.
    assert abs(shares.mean() - 0.25) < 3 * shares.std() / 20 + (0 if name == "random" else 1 / 320)


def test_equispaced_is_really_about_three_fold_at_nominal_four():
    assert draw_line_mask(
        "equispaced", 320, 4, center_fraction=0.08, seed=1
    ).effective_acceleration == pytest.approx(3.2, abs=0.1)


def test_another_process_draws_the_same_mask():
    code = (
        "from reshim.physics.masks import *; "
        "print(draw_line_mask('random', 320, 4, seed=evaluation_seed('a.h5')).sha256)"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert draw_line_mask("random", 320, 4, seed=evaluation_seed("a.h5")).sha256 == other


def test_the_global_generator_is_left_alone():
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    draw_line_mask("random", 100, 4, seed=3)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "poison"}, "no mask 'poison'"),
        ({"acceleration": 0.5}, "at least 1"),
        ({"center_fraction": 0.1, "center_lines": 10}, "give one"),
        ({"width": 0.2}, "Gaussian"),
        ({"name": "random", "center_lines": 64}, "64 centre columns alone exceed 100 / 4 = 25"),
        ({"acceleration": 2.5}, "must be whole"),
        ({"center_lines": 101}, "do not fit in 100"),
    ],
)
def test_settings_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        draw_line_mask(**({"name": "equispaced", "n_columns": 100, "acceleration": 4} | arguments))
