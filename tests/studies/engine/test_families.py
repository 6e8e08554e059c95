"""What users ask about beside a recipe's own methods."""

import pytest

from reshim.catalog import Catalog
from reshim.classical.grappa import Grappa
from reshim.errors import UserError
from reshim.studies.engine import families
from reshim.studies.engine.scale import Scale
from reshim.studies.engine.study import Study


@pytest.fixture
def study(tmp_path):
    catalog = Catalog.__new__(Catalog)
    return lambda **methods: Study("adversarial", tmp_path, catalog, Scale.TINY, 0, tmp_path, methods=methods)


def test_methods_of_the_user_stand_beside_those_of_the_recipe(study):
    mine = Grappa()
    assert families.asked(study(mine=mine), families.EVERY) == {"mine": mine}


def test_a_name_that_the_recipe_has_is_refused(study):
    with pytest.raises(UserError, match="'GRAPPA', which adversarial calls a method of its own; rename"):
        families.asked(study(GRAPPA=Grappa()), families.EVERY)
