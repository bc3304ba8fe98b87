"""Layers: Modules with one op each. A layer is called like a function.

An op without weights needs no layer: `Sequential(Dense(…), ops.relu, …)`. Layers that draw their initial weights take
`rng`. Images are (N, H, W, C): N images of H × W pixels with C channels. Sizes that are not whole numbers ≥ 1
and other settings out of range raise a ValueError.
"""

from scratchnet.layers.convolution import Conv2D, Conv2DTranspose
from scratchnet.layers.discriminators import MinibatchDiscrimination, SpectralConv2D, SpectralDense, leaky
from scratchnet.layers.embedding import Embedding, TimeEmbedding
from scratchnet.layers.linear import Dense, Maxout
from scratchnet.layers.normalization import BatchNorm, Dropout, LayerNorm
from scratchnet.layers.pooling import AvgPool2D, MaxPool2D, MaxPoolWithArgmax, Unpool, UpSampling2D
from scratchnet.layers.recurrent import LSTM
from scratchnet.layers.sequential import Sequential, check_digits, check_drawn
from scratchnet.layers.shape import Flatten, Reshape

__all__ = ["LSTM", "AvgPool2D", "BatchNorm", "Conv2D", "Conv2DTranspose", "Dense", "Dropout", "Embedding", "Flatten",
           "LayerNorm", "MaxPool2D", "MaxPoolWithArgmax", "Maxout", "MinibatchDiscrimination", "Reshape", "Sequential",
           "SpectralConv2D", "SpectralDense", "TimeEmbedding", "Unpool", "UpSampling2D", "check_digits",
           "check_drawn", "leaky"]
