"""What is asked of arguments before anything is drawn or cut: an array, pixels in [0, 1]."""

import numpy as np

from scratchnet.backend import kind_of


def check_array(who, name, x):
    """TypeError unless x is an array, on either device."""
    if not (isinstance(x, np.ndarray) or hasattr(x, "__array_namespace__")):
        raise TypeError(f"{who}: {name} must be an array, got {kind_of(x)}")


def check_pixels(who, images):
    """ValueError where pixels are NaN or outside of [0, 1]. On a GPU nothing is asked: every look would wait for it."""
    if isinstance(images, np.ndarray) and images.size:
        low, high = images.min(), images.max()
        if not (low >= 0 and high <= 1):  # so NaN, too
            raise ValueError(f"{who}: images have values from {low:.4g} to {high:.4g}, expected [0, 1]: divide by 255 "
                             f"if that is white")
