"""The veil: what a look at an image's statistics says of its haze, taken away before the network begins.

Cloud of the transmission t and the colour A changes a pixel as I = J t + A (1 - t) (Koschmieder 1924), so the clear image is
J = k I + b with k = 1 / t and b = A (1 - k). Both are estimated for each band: for the whole image (`even`), then for each
place (`uneven`), and fitted in minutes, from statistics alone (`seen`, `fitting`).
"""

from thiefcloud.veil.fitting import fit_veil
from thiefcloud.veil.veil import Veil

__all__ = ["Veil", "fit_veil"]
