"""Pictures, sound and film: the bytes stay as they are, pixels come when they are asked for, and nothing stranger decodes."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import atdata
from atdata import Audio, Image, SampleBatch, Video
from atdata.errors import NotFoundError, SampleError, UsageError


@atdata.packable
class Pic:
    image: Image
    label: int = 0


@atdata.packable
class Perhaps:
    image: Image | None


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def encoded(array: np.ndarray, encoding: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(array).save(file, format=encoding, **options)
    return file.getvalue()


def turned(orientation: int) -> bytes:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    return encoded(noise(4, 6), "PNG", exif=exif)


@pytest.mark.parametrize(
    ("encoding", "media_type"),
    [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("GIF", "image/gif"), ("WEBP", "image/webp"), ("TIFF", "image/tiff"),
     ("BMP", "image/bmp"), ("PPM", "image/x-portable-anymap")],
)  # fmt: skip
def test_bytes_stay_and_pixels_are_those_of_pillow(encoding: str, media_type: str, tmp_path: Path) -> None:
    data = encoded(noise(5, 7), encoding)
    (tmp_path / "a.img").write_bytes(data)
    for image in (Image(data), Image(tmp_path / "a.img"), Image(str(tmp_path / "a.img")), Image(memoryview(data))):
        assert (image.data, image.media_type) == (data, media_type)
        assert Pic.from_bytes(Pic(image).packed).image.data == data
        expected = PIL.Image.open(io.BytesIO(data))
        expected = expected.convert("RGB") if expected.mode == "P" else expected
        assert np.array_equal(image.array, np.asarray(expected))
        assert image.pil.size == (7, 5)


@pytest.mark.parametrize(
    "array",
    [noise(3, 4), noise(3, 4)[..., 0], np.dstack([noise(2, 2), noise(2, 2)[..., :1]]), np.array([[0, 65535]], "u2")],
    ids=["RGB", "grey", "RGBA", "16 bits"],
)
def test_an_array_comes_back_to_the_bit(array: np.ndarray) -> None:
    assert np.array_equal(Image(array).array, array)
    assert Image(array).array.dtype == array.dtype
    assert Image(PIL.Image.fromarray(array)).media_type == "image/png"


def test_what_is_not_encoded_is_encoded_as_one_says() -> None:
    assert Image(noise(3, 4), encoding="JPEG").media_type == "image/jpeg"
    for wrong in (noise(3, 4).astype("f8"), np.zeros(3, "u1"), np.zeros((2, 2, 7), "u1")):
        with pytest.raises(SampleError):
            Image(wrong)
    with pytest.raises(SampleError):
        Image(noise(2, 2), encoding="no such")
    with pytest.raises(UsageError):
        Audio(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_honoured_and_bytes_are_not_touched(orientation: int) -> None:
    image = Image(turned(orientation))
    upright = {
        1: noise(4, 6), 2: noise(4, 6)[:, ::-1], 3: noise(4, 6)[::-1, ::-1], 4: noise(4, 6)[::-1],
        5: noise(4, 6).transpose(1, 0, 2), 6: np.rot90(noise(4, 6), -1), 7: noise(4, 6).transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(noise(4, 6), 1),
    }[orientation]  # fmt: skip
    assert np.array_equal(image.array, upright)
    assert np.array_equal(np.asarray(image.pil), upright)
    assert np.array_equal(SampleBatch.of(Pic, [Pic(image)]).decode_images("image")[0], upright)
    assert image.data == turned(orientation)
    if orientation > 1:
        assert SampleBatch.of(Pic, [Pic(image)]).decode_images("image", size=(3, 2)).shape == (1, 3, 2, 3)


def test_a_batch_stacks_what_each_gives() -> None:
    batch = SampleBatch.of(Pic, [Pic(Image(noise(8, 9, seed))) for seed in range(40)])
    stacked = batch.decode_images("image")
    assert (stacked.dtype, stacked.shape) == (np.uint8, (40, 8, 9, 3))
    assert all(np.array_equal(stacked[seed], noise(8, 9, seed)) for seed in range(40))
    grey = batch.decode_images("image", mode="L")
    assert np.array_equal(grey[3], np.asarray(PIL.Image.fromarray(noise(8, 9, 3)).convert("L")))
    assert batch.decode_images("image", size=4).shape == (40, 4, 4, 3)
    assert batch.decode_images("image", size=(2, 5), mode="RGBA").shape == (40, 2, 5, 4)
    assert pickle.loads(pickle.dumps(batch)).samples == batch.samples
    assert SampleBatch.of(Pic, []).stored.keys() == {"image", "label"}
    assert SampleBatch(Pic, {"image": [], "label": []}).decode_images("image", size=3).shape == (0, 3, 3, 3)


def test_read_out_of_a_shard_a_batch_stacks_too(tmp_path: Path) -> None:
    pics = [Pic(Image(encoded(noise(64, 48, seed), "JPEG")), seed) for seed in range(20)]
    ds = atdata.write_samples(pics, tmp_path / "a.tar").as_type(Pic)
    (batch,) = ds.ordered(batch_size=20)
    assert batch.samples == pics
    assert np.array_equal(batch.decode_images("image"), np.stack([pic.image.array for pic in pics]))
    assert np.array_equal(batch.arrays["label"], np.arange(20))
    small = batch.decode_images("image", size=(16, 12)).astype(float)
    exact = np.stack([np.asarray(pic.image.pil.resize((12, 16), resample=PIL.Image.Resampling.BOX)) for pic in pics])
    assert np.abs(small - exact).mean() < 25  # of another filter


def test_what_cannot_be_stacked_is_named() -> None:
    mixed = SampleBatch.of(Pic, [Pic(Image(noise(2, 2))), Pic(Image(noise(2, 3)))])
    with pytest.raises(SampleError, match="size=") as caught:
        mixed.decode_images("image")
    assert caught.value.path == "image[1]"
    with pytest.raises(SampleError) as caught:
        SampleBatch.of(Pic, [Pic(Image(noise(2, 2))), Pic(Image(b"GIF89a no"))]).decode_images("image")
    assert caught.value.path == "image[1]"
    with pytest.raises(SampleError) as caught:
        SampleBatch.of(Perhaps, [Perhaps(None)]).decode_images("image")
    assert caught.value.path == "image[0]"
    with pytest.raises(UsageError):
        mixed.decode_images("image", mode="CMYK")
    with pytest.raises(NotFoundError):
        mixed.decode_images("picture")


def bomb() -> bytes:
    """A picture of 2 x 10^9 pixels in some hundred bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    header = (50_000).to_bytes(4, "big") + (40_000).to_bytes(4, "big") + b"\x08\x00\x00\x00\x00"
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(999))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "data", [b"", b"x", b"\xff\xd8\xff", encoded(noise(9, 9))[:-40], b"%!PS-Adobe-3.0 EPSF-3.0\n", bomb()]
)
def test_what_does_not_decode_is_an_error_and_its_bytes_stay(data: bytes) -> None:
    image = Pic.from_bytes(Pic(Image(data)).packed).image
    assert image.data == data
    for decode in (
        lambda: image.array,
        lambda: image.pil,
        lambda: SampleBatch.of(Pic, [Pic(image)]).decode_images("image"),
    ):
        with pytest.raises(SampleError):
            decode()


def test_sound_and_film_are_bytes_with_a_media_type() -> None:
    assert Audio(b"RIFF\0\0\0\0WAVEfmt ").media_type == "audio/wav"
    assert Audio(b"fLaC....").media_type == "audio/flac"
    assert Video(b"\0\0\0\x18ftypisom").media_type == "video/mp4"
    assert Video(b"?").media_type == "application/octet-stream"
    assert Audio(b"a") == Audio(b"a") != Video(b"a")
    assert len({Audio(b"a"), Audio(b"a")}) == 1
    assert "3 bytes" in repr(Audio(b"abc"))


def test_threads_are_those_of_the_process() -> None:
    batch = SampleBatch.of(Pic, [Pic(Image(noise(8, 9, seed))) for seed in range(9)])
    before = batch.decode_images("image")
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(batch.decode_images("image"), before) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_without_pillow_the_extra_is_named() -> None:
    program = (
        "import sys; sys.modules['PIL'] = None; import atdata\n"
        "try: atdata.Image(b'x').array\n"
        "except atdata.errors.MissingExtraError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "atdata[images]" in done.stdout, done.stderr


def test_a_mask_is_not_left_out_of_a_picture() -> None:
    with pytest.raises(SampleError, match="masked"):
        atdata.Image(np.ma.masked_array(np.zeros((2, 2), np.uint8), mask=True))
