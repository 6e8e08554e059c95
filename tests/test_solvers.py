import math

import numpy as np
import pytest
import torch

from reshim.solvers import conjugate_gradient, fista, largest_eigenvalue, primal_dual


def spectrum(values: list[float], seed: int = 0) -> torch.Tensor:
    """A Hermitian matrix with these eigenvalues."""
    n = len(values)
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.complex128))[0]
    return (basis * torch.tensor(values)) @ basis.mH


def test_conjugate_gradients_end_in_as_many_steps_as_there_are_distinct_eigenvalues():
    matrix = spectrum([1.0, 1.0, 2.0, 2.0, 5.0, 5.0, 5.0])
    rhs = torch.randn(7, 1, dtype=torch.complex128, generator=torch.Generator().manual_seed(1))
    exact = torch.linalg.solve(matrix, rhs)
    after_two = conjugate_gradient(lambda x: matrix @ x, rhs, 2)
    after_three = conjugate_gradient(lambda x: matrix @ x, rhs, 3)
    assert float((after_two - exact).norm()) > 1e-3
    torch.testing.assert_close(after_three, exact)


def test_a_member_that_is_good_enough_waits_for_the_others_unmoved():
    matrix = spectrum([0.05, 0.3, 0.7, 1.0, 2.0, 5.0])
    generator = torch.Generator().manual_seed(1)
    easy = torch.linalg.eigh(matrix)[1][:, :1]
    hard = torch.randn(6, 1, dtype=torch.complex128, generator=generator)
    together = conjugate_gradient(lambda x: matrix @ x, torch.stack([easy, hard]), 20, tolerance=1e-3)
    for member, rhs in zip(together, (easy, hard), strict=True):
        alone = conjugate_gradient(lambda x: matrix @ x, rhs[None], 20, tolerance=1e-3)[0]
        torch.testing.assert_close(member, alone, rtol=0, atol=1e-10)


def lasso() -> tuple[torch.Tensor, torch.Tensor, float]:
    generator = torch.Generator().manual_seed(3)
    matrix = torch.randn(40, 60, generator=generator, dtype=torch.float64)
    # Badly conditioned, so that the rate is seen before the end is reached.
    matrix = matrix * torch.logspace(0, -2, 60, dtype=torch.float64)
    matrix = matrix / torch.linalg.matrix_norm(matrix, 2)
    return matrix, torch.randn(40, generator=generator, dtype=torch.float64), 1e-3


def test_the_gap_of_fista_falls_at_least_as_fast_as_one_over_the_square_of_the_steps():
    matrix, data, weight = lasso()

    def objective(x: torch.Tensor) -> float:
        return float(0.5 * (matrix @ x - data).square().sum() + weight * x.abs().sum())

    def solve(iterations: int) -> float:
        shrink = torch.nn.Softshrink(weight)
        start = torch.zeros(60, dtype=torch.float64)
        return objective(
            fista(lambda x: matrix.T @ (matrix @ x - data), lambda x, _: shrink(x), start, iterations)
        )

    best = solve(8_000)
    steps = [20, 40, 80, 160, 320]
    gaps = [math.log(solve(n) - best) for n in steps]
    slope = np.polyfit(np.log(steps), gaps, 1)[0]
    assert slope < -1.8


def test_primal_dual_steps_find_the_total_variation_of_a_step_in_closed_form():
    # Denoising a step by total variation lowers it by weight / (samples on a side) at each side.
    data = torch.cat([torch.zeros(10), torch.ones(20)]).double()
    weight = 0.4
    found = primal_dual(
        lambda x: x - data,
        lambda x: x.diff(),
        lambda u: torch.nn.functional.pad(u, (1, 0)) - torch.nn.functional.pad(u, (0, 1)),
        lambda u: u.clamp(-weight, weight),
        torch.zeros_like(data),
        2500,
        lipschitz=1.0,
        norm_squared=4.0,
    )
    expected = torch.cat([torch.full((10,), weight / 10), torch.full((20,), 1 - weight / 20)]).double()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("balance", [0.3, 3.0])
def test_the_balance_of_steps_changes_the_way_and_not_the_end(balance):
    data = lasso()[1][:30]
    limit = 0.05
    found = primal_dual(
        lambda x: 2 * (x - data),
        lambda x: x.diff(),
        lambda u: torch.nn.functional.pad(u, (1, 0)) - torch.nn.functional.pad(u, (0, 1)),
        lambda u: u.clamp(-limit, limit),
        torch.zeros(30, dtype=torch.float64),
        3000,
        lipschitz=2.0,
        norm_squared=4.0,
        balance=balance,
    )
    # At the end each jump's multiplier, the running sum of the gradient, lies within the limit.
    multiplier = (2 * (found - data)).cumsum(0)[:-1]
    assert float(multiplier.abs().max()) < limit + 1e-6
    jumps = found.diff().abs() > 1e-6
    torch.testing.assert_close(
        multiplier[jumps].abs(), torch.full_like(multiplier[jumps], limit), atol=1e-5, rtol=0
    )


def test_the_largest_eigenvalue_of_each_member_is_found_from_below():
    matrices = torch.stack([spectrum([0.1, 0.4, 1.0]), spectrum([0.2, 0.3, 7.0], seed=4)])
    start = torch.randn(2, 3, 1, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    values = largest_eigenvalue(lambda x: matrices @ x, start, 60).flatten()
    torch.testing.assert_close(values, torch.tensor([1.0, 7.0], dtype=torch.float64))
    assert float(largest_eigenvalue(lambda x: matrices @ x, start, 2).flatten()[1]) < 7
