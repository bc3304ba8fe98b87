"""Checks of arguments before anything is drawn: is it an array, do its pixels lie in [0, 1]?"""

import numpy as np

from scratchnet.backend import kind_of


def check_array(who, name, x):
    """TypeError unless x is an array, on either device."""
    if not (isinstance(x, np.ndarray) or hasattr(x, "__array_namespace__")):
        raise TypeError(f"{who}: {name} must be an array, got {kind_of(x)}")


def check_pixels(who, images):
    """ValueError if a pixel is NaN or outside [0, 1]. Images on a GPU pass unchecked: each look would wait for it."""
    if isinstance(images, np.ndarray) and images.size:
        low, high = images.min(), images.max()
        if not (low >= 0 and high <= 1):  # catches NaN as well
            raise ValueError(f"{who}: images have values from {low:.4g} to {high:.4g}, expected [0, 1]: divide by 255 "
                             f"if white is 255")
