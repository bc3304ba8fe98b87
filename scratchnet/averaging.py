"""The average of the weights along a training, to be used in place of the last ones."""

from contextlib import contextmanager

from scratchnet.backend import to_cpu, to_device_of
from scratchnet.optimizers import Optimizer, flatten, leaves
from scratchnet.schedules import check_state


class ExponentialMovingAverage:
    """The mean of the weights along the way, the recent ones counting most: often better than the last weights.

    average = Σᵢ dᵗ⁻ⁱ pᵢ / Σᵢ dᵗ⁻ⁱ,  i = 1 … t updates, d the decay        (Kingma & Ba 2015, section 7.2)

    Dividing by the sum Σᵢ dᵗ⁻ⁱ is the bias correction: the weights before training are no part of the mean.
    Until the first update it holds the weights as they are. Call `update()` after each step, and use the average
    inside `with ema.swapped():`.
    """

    def __init__(self, optimizer_or_parameters, decay=0.999):
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"ExponentialMovingAverage: decay is a number in [0, 1), got {decay}")
        source = optimizer_or_parameters
        self.parameters = source.parameters if isinstance(source, Optimizer) else leaves(type(self).__name__, source)
        self.decay, self.update_count = decay, 0
        self.xp, self.flat, self.views = flatten(self.parameters)
        scratch = self.xp.empty_like(self.flat[:max(p.size for p in self.parameters)])
        self.scratch = [scratch[:p.size].reshape(p.shape) for p in self.parameters]

    def update(self):
        """Take the present weights into the average."""
        self.update_count += 1
        # average ← average + (p − average) / Σᵢ dᵗ⁻ⁱ
        rate = (1.0 - self.decay) / (1.0 - self.decay**self.update_count)
        for p, average, a in zip(self.parameters, self.views, self.scratch, strict=True):
            self.xp.subtract(p.data, average, out=a)
            a *= rate
            average += a

    @contextmanager
    def swapped(self):
        """Inside, the parameters hold the average; afterwards, whatever happened, what they held before."""
        before = [p.data.copy() for p in self.parameters]
        self._write(self.views)
        try:
            yield
        finally:
            self._write(before)

    def _write(self, arrays):
        for p, a in zip(self.parameters, arrays, strict=True):
            p.data[...] = a
            p.version += 1

    def state_dict(self):
        """The number of updates, and the average as one vector on the host."""
        return {"update_count": self.update_count, "average": to_cpu(self.flat).copy()}

    def load_state_dict(self, state):
        """Take up what state_dict gave. Names and shapes are checked before anything is changed."""
        check_state(type(self).__name__, self.state_dict(), state)
        self.update_count = int(state["update_count"])
        self.flat[...] = to_device_of(state["average"], self.flat)

    def __repr__(self):
        return (f"ExponentialMovingAverage({self.flat.size:,} parameters, decay={self.decay}; "
                f"{self.update_count:,} updates done)")
