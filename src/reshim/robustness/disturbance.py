"""The noun of this package: what is changed in a scan or in a measurement, never in a reference."""

from torch import Tensor

from reshim.types import Acquisition, Measurement, Reconstructor


class Disturbance:
    """What goes wrong between the body and the method; references stay those of the scan as it was.

    A frozen dataclass of settings that changes the scan, the measurement, or both. Where the data themselves
    are not what they seem (`of_source`), references are made of what was done to them.
    """

    def of_source(self, acquisition: Acquisition) -> Acquisition:
        """The scan as a data set hands it over; reference and measurement are both made of it."""
        return acquisition

    def of_scan(self, acquisition: Acquisition) -> Acquisition:
        """The scan as it was disturbed, the same for all methods."""
        return acquisition

    def of_measurement(
        self, measurement: Measurement, method: Reconstructor, reference: Tensor
    ) -> Measurement:
        """What one method is handed; without maps, they are estimated anew."""
        return measurement
