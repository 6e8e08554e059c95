"""What "4x" is in effect where many centre lines are sampled besides."""

from reshim.physics.masks import draw_line_mask
from reshim.studies.engine import lab
from reshim.studies.ssdu_vs_supervised import CENTER_LINES, EFFECTIVE


def test_the_rates_that_pages_name_are_those_of_the_masks():
    for rate, said in EFFECTIVE.items():
        mask = draw_line_mask("equispaced", lab.MATRIX, rate, center_lines=CENTER_LINES, seed=0)
        assert round(mask.effective_acceleration, 2) == said
