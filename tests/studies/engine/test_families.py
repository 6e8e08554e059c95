"""What users ask about beside a recipe's own methods."""

from types import SimpleNamespace

import pytest

from reshim.classical.grappa import Grappa
from reshim.errors import UserError
from reshim.studies.engine import families


def study(**methods):
    return SimpleNamespace(name="adversarial", methods=methods)


def test_methods_of_the_user_stand_beside_those_of_the_recipe():
    mine = Grappa()
    assert families.asked(study(mine=mine), families.EVERY) == {"mine": mine}


def test_a_name_that_the_recipe_has_is_refused():
    with pytest.raises(UserError, match="'GRAPPA', which adversarial calls a method of its own; rename"):
        families.asked(study(GRAPPA=Grappa()), families.EVERY)
