"""CelebA: a folder or its archive, the centre crop, subsets, and damaged or missing files."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from equipoise.cli import main as cli
from equipoise.core import catalog
from equipoise.data import celeba
from equipoise.errors import DataError, SettingError

NUMBERS = (*range(1, 9), *range(162_769, 162_775), 202_599)


def face(number):
    """An image of 178 × 218 pixels: one colour in the centre, another in the first 16 and the last 14 rows."""
    pixels = np.full((218, 178, 3), (255, 0, 255), np.uint8)
    pixels[16:204] = (40 + 10 * (number % 20), 128, 60)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=95, subsampling=0)
    return content.getvalue()


def write_folder(root):
    folder = root / "celeba" / "img_align_celeba"
    folder.mkdir(parents=True)
    for number in NUMBERS:
        (folder / f"{number:06}.jpg").write_bytes(face(number))
    return folder


def write_archive(root, **more):
    (root / "celeba").mkdir(parents=True)
    path = root / "celeba" / "img_align_celeba.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in NUMBERS:
            archive.writestr(f"img_align_celeba/{number:06}.jpg", face(number))
        for name, content in more.items():
            archive.writestr(name, content)
    return path


def built(place, **options):
    message = {"root": str(place), "cache": str(place / "cache"), "published": False, "image_size": 16, **options}
    return catalog.build("data", "celeba", message)


@pytest.mark.parametrize("write", [write_folder, write_archive])
def test_centre_crop_and_published_split(tmp_path, write):
    write(tmp_path)
    data = built(tmp_path, image_size=64)
    assert (data.count("train"), data.count("held_out")) == (10, 5), "up to 162770.jpg, and from there on"
    for split, numbers in (("train", NUMBERS[:10]), ("held_out", NUMBERS[10:])):
        batch = data.stream(split, len(numbers), 0).batch(0)
        assert batch.condition is None
        pixels = (batch.real + 1) * 127.5
        assert (pixels - pixels.mean(dim=(2, 3), keepdim=True)).abs().max() < 4, "nothing of the rows above and below"
        red = sorted(pixels[:, 0].mean(dim=(1, 2)).tolist())
        assert red == pytest.approx(sorted(40 + 10 * (number % 20) for number in numbers), abs=3)


def test_images_are_decoded_once_and_reused_on_resume(tmp_path):
    folder = write_folder(tmp_path)
    data = built(tmp_path)
    assert [step.task for step in data.prepare()][-1] == "decoding images"
    assert list(data.prepare()) == []
    resolve = data.resolve()
    assert resolve.resolve() == resolve
    assert resolve.stream("train", 2, 0).batch(0).real.equal(data.stream("train", 2, 0).batch(0).real)
    (folder / "000003.jpg").write_bytes(face(17))
    with pytest.raises(DataError, match=r"changed since this run started: 1 file was modified \(000003\.jpg\)"):
        resolve.resolve()


def test_only_images_are_unpacked_into_the_cache(tmp_path):
    write_archive(tmp_path, **{"../../000010.jpg": face(1), "notes.txt": b"no image"})
    built(tmp_path).resolve()
    result = {path.name for path in tmp_path.rglob("*") if path.suffix in (".jpg", ".txt")}
    inside = {path.name for path in (tmp_path / "cache").rglob("*.jpg")}
    assert result == inside == {f"{number:06}.jpg" for number in (*NUMBERS, 10)}


def test_missing_data_names_the_remedy(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.run(["train", "celeba", "--model", "dcgan:celeba64"]) == 2
    assert capsys.readouterr().err == (
        f"equipoise: CelebA is not in {tmp_path}/data/celeba and cannot be downloaded automatically: get "
        "img_align_celeba.zip from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html and put it there, or pass its "
        "folder with --option data.root=FOLDER\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_part_of_celeba_needs_published_false(tmp_path):
    write_folder(tmp_path)
    with pytest.raises(
        DataError, match=r"is not the complete CelebA: 000009\.jpg and 202,583 more are missing; unpack"
    ):
        built(tmp_path, published=True).resolve()


def test_archive_with_wrong_digest_is_refused(tmp_path):
    write_archive(tmp_path)
    with pytest.raises(
        DataError, match=r"img_align_celeba\.zip is damaged, or is another file: its MD5 .*; get it again"
    ):
        built(tmp_path, published=True).resolve()


def test_damaged_files_are_refused(tmp_path):
    path = write_archive(tmp_path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"img_align_celeba\.zip is damaged: it cannot be unpacked; get it again from"):
        built(tmp_path).resolve()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == []
    path.unlink()
    folder = write_folder(tmp_path)
    (folder / "000004.jpg").write_bytes(face(4)[:500])
    with pytest.raises(
        DataError, match=r"^img_align_celeba/000004\.jpg cannot be used: damaged or truncated; get img_align"
    ):
        built(tmp_path).resolve()


def test_spec_and_counts_need_no_files():
    data = catalog.build("data", "celeba")
    assert (data.count("train"), data.count("held_out")) == (162_770, 39_829)
    assert data.spec.shape == (3, 64, 64)
    assert data.suggestion.model == "dcgan:celeba64"
    with pytest.raises(SettingError, match="image_size = 100 is not supported by 'celeba'; use 16, 32, 64 or 128"):
        catalog.build("data", "celeba", {"image_size": 100})


def test_dcgan_celeba64_suits_64_pixels():
    data = catalog.build("data", "celeba")
    assert catalog.presets("models", "dcgan")["celeba64"]["width"] == 64
    assert data.spec.shape[-1] == 64
    assert data.count("train") + data.count("held_out") == celeba.COUNT
