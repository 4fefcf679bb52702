"""Names of `app.sharing`, as the slices that count know them."""

from __future__ import annotations

from app.sharing.masking import (
    MASK_BELOW,
    MASKED,
    NO_DATA,
    NOT_ASKED,
    SHOWN_CONFIDENCES,
    Cell,
    CellState,
    Total,
    cells,
    counted,
    masked_cell,
    masked_cells,
    masks_detections,
    suppress,
    total_of,
)
from app.sharing.rows import counted_cases, labels, readable_cases, readable_detections

__all__ = [
    "MASKED",
    "MASK_BELOW",
    "NOT_ASKED",
    "NO_DATA",
    "SHOWN_CONFIDENCES",
    "Cell",
    "CellState",
    "Total",
    "cells",
    "counted",
    "counted_cases",
    "labels",
    "masked_cell",
    "masked_cells",
    "masks_detections",
    "readable_cases",
    "readable_detections",
    "suppress",
    "total_of",
]
