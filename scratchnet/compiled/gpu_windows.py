"""Fused kernels for CuPy's arrays, of windows over images: convolution by gathering, and pooling.

Each thread finds the place of its number and reads what belongs there. Entry t of images is x[m, h, w, c]; of their
windows, y[m, p, q, c]. Window (p, q) holds x[m, p·sh + i − top, q·sw + j − left, c] for i < kh, j < kw.
"""

import numpy as np

from scratchnet.backend import array_module
from scratchnet.backend.products import matrix_product
from scratchnet.compiled.gpu import LONG, Kernel, fits, form_of
from scratchnet.compiled.table import OTHER, SHAPES
from scratchnet.ops import convolution, pooling

SIZES = "int H, int W, int C, int kh, int kw, int sh, int sw, int top, int left, int Ho, int Wo"
IN_IMAGE = "int c = t % C, w = t / C % W, h = t / C / W % H, m = t / C / W / H;"
IN_RESULT = "int c = t % C, q = t / C % Wo, p = t / C / Wo % Ho, m = t / C / Wo / Ho;"
EACH_ENTRY = """
    for (int i = 0; i < kh; i++) for (int j = 0; j < kw; j++) {
        int h = p * sh + i - top, w = q * sw + j - left, inside = h >= 0 && h < H && w >= 0 && w < W;"""
EACH_WINDOW = """
    for (int i = 0; i < kh; i++) for (int j = 0; j < kw; j++) {
        int p = (h + top - i) / sh, q = (w + left - j) / sw;
        if (p * sh != h + top - i || q * sw != w + left - j || p < 0 || q < 0 || p >= Ho || q >= Wo) continue;"""

unfold = Kernel("unfold", f"in x, out to, {SIZES}", """
    int c = t % C, j = t / C % kw, i = t / C / kw % kh, place = t / C / kw / kh;
    int q = place % Wo, p = place / Wo % Ho, m = place / Wo / Ho, h = p * sh + i - top, w = q * sw + j - left;
    to[t] = h >= 0 && h < H && w >= 0 && w < W ? x[((m * H + h) * W + w) * C + c] : 0;""")
fold = Kernel("fold", f"in rows, in b, out x, int biased, {SIZES}", IN_IMAGE + """
    float sum = biased ? b[c] : 0;""" + EACH_WINDOW + """
        sum += rows[((((m * Ho + p) * Wo + q) * kh + i) * kw + j) * C + c];
    }
    x[t] = sum;""")
winners = Kernel("winners", f"in x, float border, out y, bytes argmax, {SIZES}", IN_RESULT + """
    float best = 0; int place = -1;""" + EACH_ENTRY + """
        float v = inside ? x[((m * H + h) * W + w) * C + c] : border;
        if (place < 0 || v > best || (v != v && best == best)) { best = v; place = i * kw + j; }
    }
    y[t] = best; argmax[t] = place;""")
from_windows = Kernel("from_windows", f"in x, const bytes argmax, out y, int chosen, {SIZES}", IN_RESULT + """
    float sum = 0;""" + EACH_ENTRY + """
        if (inside) sum += x[((m * H + h) * W + w) * C + c] * (!chosen || argmax[t] == i * kw + j);
    }
    y[t] = sum;""")
into_windows = Kernel("into_windows", f"in y, const bytes argmax, out x, int chosen, {SIZES}", IN_IMAGE + """
    float sum = 0;""" + EACH_WINDOW + """
        int at = ((m * Ho + p) * Wo + q) * C + c;
        sum += y[at] * (!chosen || argmax[at] == i * kw + j);
    }
    x[t] = sum;""")


def sizes(image, kernel, stride, pads, result):
    """The arguments SIZES, for images (H, W, C) with windows at `result` (Ho, Wo) places."""
    return *image, *kernel, *stride, pads[0][0], pads[1][0], *result


def unfolded(x, kernel, stride, pads, result, columns=None):
    """Windows of x as rows (M, kh·kw·C), in zeros beyond the border; None if they are too many for a 32-bit index."""
    shape = (len(x) * result[0] * result[1], kernel[0] * kernel[1] * x.shape[3])
    if shape[0] * shape[1] >= LONG:
        return None
    columns = array_module(x).empty(shape, dtype=x.dtype) if columns is None else columns.reshape(shape)
    unfold(columns.size, x, columns, *sizes(x.shape[1:], kernel, stride, pads, result))
    return columns


@form_of(convolution.unfold_product)
def _(x, w, b, stride, pads, size, columns=None):
    if not fits(x, w, b, columns):
        return OTHER
    here = unfolded(x, w.shape[:2], stride, pads, size, columns)
    if here is None:
        return SHAPES
    y = matrix_product(here, w.reshape(-1, w.shape[3]))
    y = y if b is None else array_module(y).add(y, b, out=y)
    return y.reshape(len(x), *size, w.shape[3])


@form_of(convolution.weight_product)
def _(x, y, kernel, stride, pads):
    here = unfolded(x, kernel, stride, pads, y.shape[1:3]) if fits(x, y) else None
    if here is None:
        return OTHER
    return matrix_product(here.T, y.reshape(-1, y.shape[3])).reshape(*kernel, x.shape[3], y.shape[3])


@form_of(convolution.fold_product)
def _(y, w, b, stride, pads, size):
    (kh, kw, C, O), xp = w.shape, array_module(y)
    if not fits(y, w, b) or y.size // O * (kh * kw * C) >= LONG:
        return OTHER
    rows = matrix_product(y.reshape(-1, O), w.reshape(-1, O).T)
    x = xp.empty((len(y), *size, C), dtype=y.dtype)
    fold(x.size, rows, rows if b is None else b, x, int(b is not None),
         *sizes((*size, C), (kh, kw), stride, pads, y.shape[1:3]))
    return x


@form_of(convolution.winograd)
def _(x, w, b, pads, size):
    """Winograd's transforms are a dozen launches; to unfold and multiply takes three."""
    return convolution.unfold_product(x, w, b, (1, 1), pads, size) if fits(x, w) else OTHER


@form_of(convolution.winograd_weight)
def _(x, y, pads):
    return convolution.weight_product(x, y, (3, 3), (1, 1), pads) if fits(x, y) else OTHER


@form_of(pooling.winners)
def _(x, kernel, stride, pads, result):
    if not fits(x):
        return OTHER
    if kernel[0] * kernel[1] > 256:
        return SHAPES
    y = array_module(x).empty((len(x), *result, x.shape[3]), dtype=x.dtype)
    argmax = array_module(x).empty(y.shape, dtype=np.uint8)
    winners(y.size, x, -np.inf, y, argmax, *sizes(x.shape[1:], kernel, stride, pads, result))
    return y, argmax


def _between_windows(function, kernel_of):
    @form_of(function)
    def _(x, kernel, stride, pads, result, argmax=None):
        """x and the result are the images and what is read from the windows, or the other way round."""
        if not fits(x) or not (argmax is None or argmax.dtype == np.uint8 and argmax.flags.c_contiguous):
            return OTHER
        y = array_module(x).empty((len(x), *result, x.shape[3]), dtype=x.dtype)
        image, windows = (x, y) if kernel_of is from_windows else (y, x)
        kernel_of(y.size, x, x if argmax is None else argmax, y, int(argmax is not None),
                  *sizes(image.shape[1:], kernel, stride, pads, windows.shape[1:3]))
        return y


_between_windows(pooling.from_windows, from_windows)
_between_windows(pooling.into_windows, into_windows)
