"""The noun of this package: what is changed in a scan or in a measurement, never in a reference."""

from torch import Tensor

from reshim.types import Acquisition, Measurement, Reconstructor


class Disturbance:
    """What goes wrong between the body and the method; references stay those of the scan as it was.

    A frozen dataclass of settings that changes the scan, the measurement, or both.
    """

    def of_scan(self, acquisition: Acquisition) -> Acquisition:
        """The scan as it was disturbed, the same for all methods."""
        return acquisition

    def of_measurement(
        self, measurement: Measurement, method: Reconstructor, reference: Tensor
    ) -> Measurement:
        """What one method is handed; without maps, they are estimated anew."""
        return measurement
