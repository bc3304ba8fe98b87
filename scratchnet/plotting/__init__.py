"""Pictures of digits, loss curves, scatter plots, tables and GIFs: one look for every demo, readable in grey.

Digits are dark ink on white paper everywhere: a pixel of 0 is paper, a pixel of 1 is ink. Images with three channels
are colours and stay as they are. Pixels beyond [0, 1] are clipped. Nothing here touches pyplot or its backend.
Arrays may be on either device, or Tensors. Files are replaced as a whole; missing folders are made.
"""

from scratchnet.plotting.charts import curves, heat_map, matrices, scatter, training_curves
from scratchnet.plotting.gif import save_gif
from scratchnet.plotting.images import frame, image_grid, image_rows, save_frame
from scratchnet.plotting.plane import plane_frame, points
from scratchnet.plotting.stacked import stacked_frame
from scratchnet.plotting.tables import read_log, table

__all__ = ["curves", "frame", "heat_map", "image_grid", "image_rows", "matrices", "plane_frame", "points",
           "read_log", "save_frame", "save_gif", "scatter", "stacked_frame", "table", "training_curves"]
