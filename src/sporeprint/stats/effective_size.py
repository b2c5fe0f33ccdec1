"""How many independent rows dependent ones are worth: copies of a row, or rows of one patient, do not say more than one."""

import numpy as np
import numpy.typing as npt


def effective_size(unit: npt.NDArray[np.intp]) -> float:
    """Units of equal size that would leave a mean as uncertain as these do, whose rows are all alike (Kish 1965, section 8.2).

    (sum of m)^2 / (sum of m^2) of m rows each: the number of units where all have as many rows, fewer where some have more; never more
    than there are. Rows of a unit that differ say a little more than this counts, so that intervals are rather too wide than too narrow.

    Args:
        unit: index of each row's unit [n].
    """
    sizes = np.bincount(unit).astype(np.float64)
    return float(len(unit) / np.square(sizes).sum() * len(unit)) if len(unit) else 0.0


def share_of_size(unit: npt.NDArray[np.intp] | None, where: npt.NDArray[np.bool_] | None = None) -> float:
    """`effective_size` as a share of the rows, of all or of some of them; 1 where every row is a unit of its own, and of no rows."""
    if unit is None:
        return 1.0
    chosen = unit if where is None else unit[where]
    return effective_size(chosen) / len(chosen) if len(chosen) else 1.0
