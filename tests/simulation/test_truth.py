import torch

from reshim.simulation.geometry import Anatomy, Geometry, Lesion
from reshim.simulation.truth import boxes_of, labels_of, pixel_positions

GRID = Geometry(32, 32, (2.0, 2.0), (0.0,), 5.0)


def anatomy_with(*boxes: tuple[float, float, float, float]) -> Anatomy:
    fractions = torch.zeros(1, 2, 32, 32)
    return Anatomy(("grey", "white"), fractions, fractions[:, 0], tuple(Lesion("x", 0, box) for box in boxes))


def test_the_centre_of_the_grid_is_the_centre_of_the_matrix():
    rows, columns = pixel_positions(GRID, 16)
    assert rows[8] == columns[8] == 16
    assert (rows[9] - rows[8]).item() == 2
    assert pixel_positions(GRID, 16, rows=32)[0][16] == 16


def test_a_box_holds_every_pixel_that_its_cells_touch():
    # Cells 13 to 15. Pixel 6 is centred on cell 12 and reaches half into cell 13; pixel 7 is centred on 14.
    (box,) = boxes_of(anatomy_with((26.0, 26.0, 32.0, 32.0)), GRID, 16)
    assert box == ("x", 0, 6, 6, 9, 9)


def test_a_box_is_cut_to_the_image_and_left_out_beyond_it():
    tall = Geometry(64, 32, (2.0, 2.0), (0.0,), 5.0)
    boxes = boxes_of(anatomy_with((20.0, 20.0, 40.0, 40.0), (0.0, 20.0, 10.0, 40.0)), tall, 16)
    assert [box[2:] for box in boxes] == [(0, 5, 3, 11)]


def test_a_label_is_the_largest_fraction_and_air_where_air_is_most():
    anatomy = anatomy_with()
    anatomy.fractions[0, :, 16, 16] = torch.tensor([0.3, 0.5])
    anatomy.fractions[0, :, 16, 18] = torch.tensor([0.3, 0.2])
    labels = labels_of(anatomy, GRID, 16)
    assert labels[0, 8, 8] == 2
    assert labels[0, 8, 9] == 0
