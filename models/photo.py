"""Write one of scikit-learn's two photographs as a picture file.

Usage: python models/photo.py photo.png [china.jpg|flower.jpg]
"""

from __future__ import annotations

import sys

from PIL import Image
from sklearn.datasets import load_sample_image

if __name__ == "__main__":
    name = sys.argv[2] if len(sys.argv) > 2 else "china.jpg"
    Image.fromarray(load_sample_image(name)).save(sys.argv[1])
    print(f"{sys.argv[1]}: {name}, from scikit-learn")
