"""A perturbation for a method that fits a network to the samples: weights and perturbation move together.

    min over w and e:  ||M A G_w - (y + e)||^2 / ||y||^2  -  pull * damage(G_w),     ||e|| in the budget

Source: M. Z. Darestani, A. Chaudhari and R. Heckel, ICML 2021 (arXiv:2102.06103), who attack the ConvDecoder
so, because nobody walks back through thousands of its steps.
Ours differs: the damage is done to the method's own image unless the reference is asked for, the perturbation
is measured in its radius and meets one slice at a time; the method then fits the attacked samples anew, and
it keeps those (the release puts the clean ones back).
"""

from dataclasses import dataclass

import torch

from reshim.adaptation.fitted_decoder import FittedDecoder
from reshim.errors import UserError
from reshim.physics.fourier import to_image
from reshim.robustness.attack import Attack, Damage, acquired, noise_of, onto_sphere, radius_of
from reshim.types import KSpace, Measurement, Reconstructor


@dataclass(frozen=True)
class JointAttack(Attack):
    """Of an untrained network; the last iterate is kept, as published."""

    iterations: int = 400
    """Of Adam, on weights and perturbation."""

    begin: int = 100
    """Iterations of the fit alone, before the perturbation enters."""

    pull: float = 0.05
    """Weight of the damage, relative to the image's energy, against the misfit relative to the samples'."""

    def perturbation(self, measurement: Measurement, method: Reconstructor, damage: Damage) -> KSpace:
        """Slice by slice."""
        if not isinstance(method, FittedDecoder):
            raise UserError(
                f"{type(method).__name__} fits no network to the samples, so there is nothing to attack "
                "jointly; give GradientAttack, or RandomSearch where there is no gradient"
            )
        n_slices = measurement.kspace.shape[0]
        return torch.cat(
            [self._of_slice(measurement.item(i), method, damage.item(i)) for i in range(n_slices)]
        )

    @torch.enable_grad()
    def _of_slice(self, item: Measurement, method: FittedDecoder, damage: Damage) -> KSpace:
        item = item.with_maps(method.estimate)
        network, scale = method.begun(item)
        samples = acquired(item, item.kspace)
        energy = samples.abs().square().sum().clamp_min(torch.finfo(scale.dtype).tiny)
        radius = radius_of(item, self.budget)
        # As in the paper the start is small, and grows where it does damage.
        share = (
            1e-2 * onto_sphere(noise_of(item, self.seed, "start 0"), torch.ones_like(radius))
        ).requires_grad_()
        optimizer = torch.optim.Adam([*network.parameters(), share], lr=method.learning_rate)
        for step in range(self.iterations):
            entered = step >= self.begin
            target = samples + radius * acquired(item, share) if entered else samples
            kspace = method.kspace_of(network, item) / scale
            loss = torch.where(item.mask, kspace - target, 0).abs().square().sum() / energy
            if entered:
                image = (item.maps[:, 0].conj() * to_image(kspace)).sum(-3)  # type: ignore[index]
                loss = loss - self.pull * damage(image).sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                share.copy_(acquired(item, share))
                size = torch.linalg.vector_norm(share)
                share.div_(size.clamp_min(1.0))
        return onto_sphere(share.detach(), radius)
