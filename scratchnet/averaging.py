"""A running average of the weights during training, to use instead of the last weights."""

from contextlib import contextmanager

import numpy as np

from scratchnet.backend import to_cpu, to_device_of
from scratchnet.optimizers import Optimizer
from scratchnet.optimizers.methods import SHARE
from scratchnet.optimizers.state import arranged, described
from scratchnet.optimizers.vector import leaves, one_vector
from scratchnet.schedules import check_state
from scratchnet.settings import number, whole


class ExponentialMovingAverage:
    """A mean of the weights so far in which recent ones count most. It is often better than the last weights.

    average = Σᵢ dᵗ⁻ⁱ pᵢ / Σᵢ dᵗ⁻ⁱ,  i = 1 … t updates, d the decay        (Kingma & Ba 2015, section 7.2)

    The divisor Σᵢ dᵗ⁻ⁱ is the bias correction: it keeps the weights before training out of the mean.
    Until the first update, the average is the present weights. Call `update()` after each step, and use the average
    inside `with ema.swapped():`. ValueError unless 0 ≤ d < 1.
    """

    def __init__(self, optimizer_or_parameters, decay=0.999):
        who, source = type(self).__name__, optimizer_or_parameters
        self.decay, self.update_count = number(who, "decay", decay, *SHARE), 0
        self.parameters = source.parameters if isinstance(source, Optimizer) else leaves(who, source)
        self._lay_out()

    def _lay_out(self):
        self.xp, self.flat, self.views = one_vector(self.parameters)
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
        """Inside, the parameters hold the average; afterwards, even after an error, their own values again."""
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

    def state_dict(self, names=None):
        """The number of updates, the average as one vector on the host, and shapes by name, as an optimizer has them.
        """
        return {"update_count": self.update_count, "average": to_cpu(self.flat).copy(),
                "parameters": described(type(self).__name__, self.parameters, names)}

    def load_state_dict(self, state, names=None):
        """Restore a state from state_dict, under the same names. An error leaves everything as it was."""
        who, mine = type(self).__name__, self.state_dict(names)
        check_state(who, mine, state)
        average = arranged(who, {"average": self.flat}, mine["parameters"], state)["average"]
        if not np.isfinite(average).all():
            raise ValueError(f"{who}: average holds infinite numbers")
        self.update_count = whole(who, "update_count", state["update_count"], 0)
        self.flat[...] = to_device_of(average, self.flat)

    def __getstate__(self):
        """For copy and pickle: a copied average follows the parameters copied with it."""
        kept = ("parameters", "decay", "update_count", "flat")
        return {name: getattr(self, name) for name in kept}

    def __setstate__(self, state):
        vars(self).update(state)
        self._lay_out()
        self.flat[...] = state["flat"]

    def __repr__(self):
        return (f"ExponentialMovingAverage({self.flat.size:,} parameters, decay={self.decay}; "
                f"{self.update_count:,} updates done)")
