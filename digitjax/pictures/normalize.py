"""Any page -> what the page reader sees: light and contrast are the same everywhere."""

import cv2
import numpy as np
from jaxtyping import Float32, Real

# The window in which light and contrast are measured, in pixels: a digit or two; and the noise below which contrast
# isn't raised, in levels of 255.
WINDOW, MIN_DEVIATION = 49, 5.0

LIMIT = 4.0


def normalize_page(gray: Real[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Subtracts the mean of each pixel's surroundings and divides by their standard deviation; -4 to 4."""
    gray = gray.astype(np.float32)
    mean = cv2.blur(gray, (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT_101)
    variance = cv2.blur(gray * gray, (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT_101) - mean * mean
    return ((gray - mean) / np.sqrt(variance.clip(0) + MIN_DEVIATION**2)).clip(-LIMIT, LIMIT)
