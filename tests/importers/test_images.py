"""Folders of images: pixels as Pillow shows them, labels from folders, nothing left out in silence."""

from __future__ import annotations

import os
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import atdata
from atdata.errors import ConflictError, MissingExtraError, SampleError, ShardNotFoundError, UsageError
from atdata.importers import open_path

Image = pytest.importorskip("PIL.Image", reason="reading images needs the extra [images]")

GREY = np.arange(20, dtype="u1").reshape(4, 5)
RGB = np.arange(60, dtype="u1").reshape(4, 5, 3)
RGBA = np.arange(80, dtype="u1").reshape(4, 5, 4)


def put(path: Path, pixels: np.ndarray = RGB, mode: str | None = None, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


@pytest.fixture
def imported(checked: Any) -> Any:
    """Import a folder as pixels, and check what came."""
    return lambda path: checked(atdata.from_images(path, pixels=True))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "pictures"


def test_class_folders(folder: Path, imported: Any, types_of: Any) -> None:
    for name in ("dog/2.png", "dog/10.png", "cat/a.png", "deep/er/cat/x.png"):
        put(folder / name)
    result, samples = imported(folder)
    assert types_of(result) == {
        "image": "NDArray[uint8] [4, 5, 3]",
        "label": "ClassLabel[cat, dog]",
        "file": "str",
    }
    assert result.kind == "images in class folders"
    assert result.notes == ()
    assert [(s.label, s.file) for s in samples] == [
        (0, "cat/a.png"),
        (0, "deep/er/cat/x.png"),
        (1, "dog/10.png"),
        (1, "dog/2.png"),
    ]
    assert all(np.array_equal(s.image, RGB) for s in samples)


def test_a_flat_folder(folder: Path, imported: Any, types_of: Any) -> None:
    put(folder / "b.PNG", GREY)
    put(folder / "a.bmp", GREY)
    result, samples = imported(folder)
    assert result.kind == "images"
    assert types_of(result) == {"image": "NDArray[uint8] [4, 5]", "file": "str"}
    assert [s.file for s in samples] == ["a.bmp", "b.PNG"]


def test_splits_are_a_field_of_their_own(folder: Path, imported: Any, types_of: Any) -> None:
    for name in ("train/cat/1.png", "train/dog/1.png", "test/cat/2.png"):
        put(folder / name)
    result, samples = imported(folder)
    assert result.kind == "images in class folders, in splits"
    assert types_of(result) == {
        "image": "NDArray[uint8] [4, 5, 3]",
        "label": "ClassLabel[cat, dog]",
        "split": "str",
        "file": "str",
    }
    assert [(s.split, s.label) for s in samples] == [("train", 0), ("train", 1), ("test", 0)]
    assert result.splits == {"train": 2, "test": 1}


def test_splits_without_classes_have_no_label(folder: Path, imported: Any, types_of: Any) -> None:
    put(folder / "train/1.png")
    result, _ = imported(folder)
    assert list(types_of(result)) == ["image", "split", "file"]


def test_classes_that_are_called_like_splits_and_others_are_classes(folder: Path, imported: Any, types_of: Any) -> None:
    put(folder / "train/1.png")
    put(folder / "plane/1.png")
    result, samples = imported(folder)
    assert types_of(result)["label"] == "ClassLabel[plane, train]"
    assert [s.label for s in samples] == [0, 1]


def test_an_image_outside_the_class_folders_has_no_label(folder: Path, imported: Any) -> None:
    put(folder / "cat/1.png")
    put(folder / "stray.png")
    result, samples = imported(folder)
    assert [s.label for s in samples] == [0, None]
    assert result.notes == ("label: empty in 1 row, so it is optional",)


@pytest.mark.parametrize(
    ("name", "pixels", "mode", "expected"),
    [
        ("grey.png", GREY, None, GREY),
        ("rgb.png", RGB, None, RGB),
        ("rgba.png", RGBA, None, RGBA),
        ("16.png", GREY.astype("u2") * 257, None, GREY.astype("u2") * 257),
        ("16.tif", GREY.astype("u2") * 257, None, GREY.astype("u2") * 257),
        ("float.tif", GREY.astype("f4") / 3, None, GREY.astype("f4") / 3),
        ("one-bit.png", (GREY > 9), None, (GREY > 9) * np.uint8(255)),
        ("cmyk.tif", np.zeros((2, 2, 3), "u1"), "CMYK", np.zeros((2, 2, 3), "u1")),
        ("palette.gif", np.full((2, 2), 7, "u1"), "P", np.full((2, 2, 3), 7, "u1")),
        ("grey-alpha.png", GREY, "LA", np.dstack([GREY, GREY, GREY, np.full_like(GREY, 255)])),
    ],
)
def test_modes(folder: Path, imported: Any, name: str, pixels: Any, mode: str | None, expected: np.ndarray) -> None:
    put(folder / name, pixels, mode)
    image = imported(folder)[1][0].image
    assert image.dtype == expected.dtype
    assert np.array_equal(image, expected)
    assert image.flags.writeable


def test_a_palette_with_transparency_keeps_it(folder: Path, imported: Any) -> None:
    folder.mkdir()
    image = Image.new("P", (2, 1))
    image.putpalette([1, 2, 3, 4, 5, 6])
    image.putdata([0, 1])
    image.save(folder / "p.png", transparency=1)
    assert imported(folder)[1][0].image.tolist() == [[[1, 2, 3, 255], [4, 5, 6, 0]]]


def test_the_orientation_a_camera_wrote_is_applied(folder: Path, imported: Any, types_of: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees, clockwise
    put(folder / "photo.png", RGB, exif=exif)
    result, (sample,) = imported(folder)
    assert np.array_equal(sample.image, np.rot90(RGB, -1))
    assert types_of(result)["image"] == "NDArray[uint8] [5, 4, 3]"


def test_images_of_several_looks_leave_open_what_they_do_not_share(folder: Path, imported: Any, types_of: Any) -> None:
    put(folder / "a.png", RGB)
    put(folder / "b.png", RGB[:2])
    assert types_of(imported(folder)[0])["image"] == "NDArray[uint8] [*, 5, 3]"
    put(folder / "c.png", GREY)
    result, _ = imported(folder)
    assert types_of(result)["image"] == "NDArray[uint8]"
    assert "image: 2 are uint8 of 3 channels, 1 are uint8 grey" in result.notes
    put(folder / "d.png", GREY.astype("u2"))
    result, _ = imported(folder)
    assert types_of(result)["image"] == "NDArray"
    assert "image: arrays of different dtypes, so its dtype is open" in result.notes


def test_what_decoding_loses_is_noted(folder: Path, imported: Any) -> None:
    folder.mkdir()
    frames = [Image.new("L", (2, 2), shade) for shade in (0, 255)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    notes = imported(folder)[0].notes
    assert "image: only the first picture of moving.gif" in notes


def deep_png(width: int = 1, height: int = 1) -> bytes:
    """An RGB image of 16 bits, which Pillow reads but does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = zlib.compress(bytes(7))
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_other_files_hidden_ones_and_links_that_leave_are_noted_and_not_read(folder: Path, imported: Any) -> None:
    put(folder / "cat/1.png")
    put(folder / ".thumbs/1.png")
    (folder / "README.txt").write_text("hello")
    (folder / "cat/.DS_Store").write_text("")
    outside = put(folder.parent / "elsewhere/secret.png")
    (folder / "cat/leaves.png").symlink_to(outside)
    (folder / "elsewhere").symlink_to(outside.parent, target_is_directory=True)
    (folder / "cat/again.png").symlink_to("1.png")
    os.mkfifo(folder / "cat/pipe")
    result, samples = imported(folder)
    assert [s.file for s in samples] == ["cat/1.png", "cat/again.png"]
    hidden, links, others = result.notes
    assert hidden == "passed over 2 (hidden): .thumbs, cat/.DS_Store"
    assert "elsewhere" in links
    assert "cat/leaves.png" in links
    assert others == "passed over 2 (no images): README.txt, cat/pipe"


def test_links_to_content_of_git_annex_are_read(folder: Path, imported: Any) -> None:
    store = folder.parent / ".git/annex/objects/aa/bb"
    (folder / "cat").mkdir(parents=True, exist_ok=True)
    for number in range(2):
        put(store / f"SHA256E-{number}.png")
        (folder / f"cat/{number}.png").symlink_to(f"../../.git/annex/objects/aa/bb/SHA256E-{number}.png")
    put(folder.parent / ".git/secret.png")
    (folder / "cat/secret.png").symlink_to("../../.git/secret.png")
    result, samples = imported(folder)
    assert [s.file for s in samples] == ["cat/0.png", "cat/1.png"]
    (note,) = result.notes
    assert note == "passed over 1 (links that lead out of the folder, or to folders): cat/secret.png"


@pytest.mark.parametrize("read", [atdata.open, atdata.from_images, atdata.from_tiff, atdata.from_csv])
def test_where_all_is_links_that_leave_they_are_named(folder: Path, read: Any) -> None:
    folder.mkdir(exist_ok=True)
    for name in ("1.png", "1.tif", "1.csv"):
        put(folder.parent / "elsewhere" / f"{name}.png").rename(folder.parent / "elsewhere" / name)
        (folder / name).symlink_to(folder.parent / "elsewhere" / name)
    with pytest.raises(UsageError) as caught:
        read(folder)
    assert "links that lead out of the folder, or to folders): 1.csv, 1.png, 1.tif" in (caught.value.actual or "")


ANNEX = ".git/annex/objects/x.png"


@pytest.mark.parametrize("nothing", ["nowhere.png", f"../{ANNEX}", f"../../{ANNEX}", "/nowhere/x.png"])
def test_an_image_that_is_a_link_to_nothing_is_an_error(folder: Path, nothing: str) -> None:
    put(folder / "cat/1.png")
    (folder / "cat/2.png").symlink_to(nothing)
    with pytest.raises(ShardNotFoundError, match="symbolic link is broken") as caught:
        open_path(folder, "Row")
    assert caught.value.uri == str(folder / "cat/2.png")
    assert "git annex get" in (caught.value.hint or "") or "annex" not in nothing


@pytest.mark.parametrize("damage", [b"", b"hello", b"\x89PNG\r\n\x1a\n", "half", "%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_an_image_that_cannot_be_decoded_is_named(folder: Path, damage: bytes | str) -> None:
    put(folder / "cat/1.png")
    bad = put(folder / "cat/2.png", np.random.default_rng(0).integers(0, 255, (40, 40, 3), "u1"))
    if damage == "half":
        damage = bad.read_bytes()[: bad.stat().st_size // 2]
    bad.write_bytes(damage.encode() if isinstance(damage, str) else damage)
    with pytest.raises(SampleError, match="cannot be decoded") as caught:
        open_path(folder, "Row")
    assert caught.value.uri == str(bad)


def deep(pixels: np.ndarray, key: bytes = b"") -> bytes:
    """A PNG of 16 bits, which Pillow reads but does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"tRNS", key) if key else b"", chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 1 << 16, shape, dtype=np.uint16)


def test_sixteen_bits_of_colour_stay_sixteen(folder: Path, imported: Any) -> None:
    folder.mkdir()
    given = {f"{channels}.png": noise(5, 7, channels) for channels in (2, 3, 4)}
    for name, pixels in given.items():
        (folder / name).write_bytes(deep(pixels))
    for sample in imported(folder)[1]:
        pixels = given[sample.file]
        if pixels.shape[2] == 2:
            pixels = pixels[..., [0, 0, 0, 1]]
        assert sample.image.dtype == np.uint16
        assert np.array_equal(sample.image, pixels)


def tiff(pages: list[np.ndarray], order: str, kinds: list[int] | None = None, planar: int = 1) -> bytes:
    """A TIFF of RGB pages, each of 16 bits or of 8, uncompressed."""
    parts = [{"<": b"II*\0", ">": b"MM\0*"}[order], b""]
    at, ends = 8, b""
    blocks = []
    for pixels, kind in zip(pages, kinds or [0] * len(pages), strict=True):
        height, width, channels = pixels.shape
        data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
        bits = struct.pack(f"{order}{channels}H", *[pixels.itemsize * 8] * channels)
        place = at + len(data) + len(bits)
        entries = [(254, 4, 1, kind), (256, 4, 1, width), (257, 4, 1, height), (258, 3, channels, at + len(data))]
        entries += [(259, 4, 1, 1), (262, 4, 1, 2), (273, 4, 1, at), (277, 4, 1, channels), (278, 4, 1, height)]
        entries += [(279, 4, 1, len(data)), (284, 4, 1, planar)]
        blocks.append((place, data + bits, entries))
        at = place + 2 + 12 * len(entries) + 4
    for number, (_place, data, entries) in enumerate(blocks):
        following = blocks[number + 1][0] if number + 1 < len(blocks) else 0
        ifd = struct.pack(f"{order}H", len(entries))
        ifd += b"".join(struct.pack(f"{order}HHII", *entry) for entry in entries)
        ends += data + ifd + struct.pack(f"{order}I", following)
    parts[1] = struct.pack(f"{order}I", blocks[0][0])
    return b"".join(parts) + ends


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bits_of_colour_in_tiff(folder: Path, imported: Any, order: str) -> None:
    folder.mkdir()
    (folder / "a.tif").write_bytes(tiff([noise(5, 7, 3)], order))
    (sample,) = imported(folder)[1]
    assert (sample.image.dtype, sample.image.tolist()) == (np.uint16, noise(5, 7, 3).tolist())


def test_sixteen_bits_that_cannot_be_read_are_refused(folder: Path) -> None:
    folder.mkdir()
    (folder / "a.ppm").write_bytes(b"P6 2 2 65535\n" + noise(2, 2, 3).astype(">u2").tobytes())
    with pytest.raises(SampleError, match="only 8 can be read") as caught:
        open_path(folder, "Row")
    assert caught.value.uri == str(folder / "a.ppm")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deep_ones", [False, True])
def test_a_stack_is_taken_whole(folder: Path, imported: Any, types_of: Any, order: str, deep_ones: bool) -> None:
    folder.mkdir()
    pages = [noise(4, 5, 3) // (1 if deep_ones else 257) + number for number in range(3)]
    pages = [page.astype(np.uint16 if deep_ones else np.uint8) for page in pages]
    (folder / "stack.tif").write_bytes(tiff(pages, order))
    result, (sample,) = imported(folder)
    assert np.array_equal(sample.image, np.stack(pages))
    assert types_of(result)["image"] == f"NDArray[{'uint16' if deep_ones else 'uint8'}] [3, 4, 5, 3]"
    assert not any("first picture" in note for note in result.notes)


def test_a_stack_that_pillow_writes(folder: Path, imported: Any) -> None:
    folder.mkdir()
    pages = [np.full((3, 2), shade, np.uint8) for shade in (1, 2, 3)]
    images = [Image.fromarray(page) for page in pages]
    images[0].save(folder / "stack.tiff", save_all=True, append_images=images[1:], compression="tiff_lzw")
    assert np.array_equal(imported(folder)[1][0].image, np.stack(pages))


def test_smaller_pictures_of_a_page_are_no_pages(folder: Path, imported: Any) -> None:
    folder.mkdir()
    page, small = np.full((4, 4, 3), 9, np.uint8), np.full((2, 2, 3), 9, np.uint8)
    (folder / "a.tif").write_bytes(tiff([page, small], "<", [0, 1]))
    assert np.array_equal(imported(folder)[1][0].image, page)


def test_pages_that_are_not_alike_are_refused(folder: Path) -> None:
    folder.mkdir()
    (folder / "a.tif").write_bytes(tiff([noise(4, 4, 3), noise(2, 2, 3)], "<"))
    with pytest.raises(SampleError, match="pages of several sizes") as caught:
        open_path(folder, "Row")
    assert caught.value.uri == str(folder / "a.tif")


def test_a_colour_that_is_transparent(folder: Path, imported: Any) -> None:
    folder.mkdir()
    Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)).save(folder / "rgb.png", transparency=(4, 5, 6))
    Image.fromarray(np.array([[1, 2]], np.uint8)).save(folder / "grey.png", transparency=2)
    colours, greys = noise(1, 2, 3), noise(1, 2, 1)
    (folder / "rgb16.png").write_bytes(deep(colours, colours[0, 1].astype(">u2").tobytes()))
    (folder / "grey16.png").write_bytes(deep(greys, greys[0, 1].astype(">u2").tobytes()))
    found = {sample.file: sample.image.tolist() for sample in imported(folder)[1]}
    assert found["rgb.png"] == [[[1, 2, 3, 255], [4, 5, 6, 0]]]
    assert found["grey.png"] == [[[1, 1, 1, 255], [2, 2, 2, 0]]]
    assert found["rgb16.png"] == [[[*colours[0, 0].tolist(), 65535], [*colours[0, 1].tolist(), 0]]]
    assert found["grey16.png"] == [[[*[int(greys[0, 0, 0])] * 3, 65535], [*[int(greys[0, 1, 0])] * 3, 0]]]


def test_a_decompression_bomb_is_refused(folder: Path) -> None:
    folder.mkdir()
    (folder / "bomb.png").write_bytes(deep_png(50_000, 50_000))
    with pytest.raises(SampleError, match="more pixels") as caught:
        open_path(folder, "Row")
    assert caught.value.uri == str(folder / "bomb.png")


def test_a_name_that_is_no_text_is_refused(folder: Path) -> None:
    put(folder / "a.png")
    (folder / "a.png").rename(os.fsdecode(os.fsencode(folder) + b"/\xff.png"))
    with pytest.raises(SampleError, match="not valid Unicode"):
        open_path(folder, "Row")


def test_a_folder_that_changes_in_between_is_refused(folder: Path) -> None:
    put(folder / "a.png")
    result = open_path(folder, "Row")
    put(folder / "a.png", RGB[:2])
    with pytest.raises(ConflictError, match="changed"):
        next(result.samples())


def test_without_pillow_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from atdata.importers import images

    put(folder / "a.png")
    images._pillow.cache_clear()
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingExtraError, match=r"\[images\]"):
        open_path(folder, "Row")


# -- as they are


def test_pictures_stay_the_bytes_they_are(folder: Path, checked: Any, types_of: Any) -> None:
    for name in ("cat/1.png", "dog/2.jpg", "dog/3.webp"):
        put(folder / name)
    result, samples = checked(atdata.from_images(folder))
    assert types_of(result) == {"image": "Image", "label": "ClassLabel[cat, dog]", "file": "str"}
    assert result.notes == ("image: 3 are uint8 of 3 channels",) or result.notes == ()
    assert [s.image.data for s in samples] == [(folder / s.file).read_bytes() for s in samples]
    assert [s.label for s in samples] == [0, 1, 1]
    assert np.array_equal(samples[0].image.array, RGB)
    assert atdata.open(folder).sample_type.__name__ == "Pictures"


@pytest.mark.parametrize("odd", ["stack.tif", "deep.png"])
def test_a_picture_that_an_image_would_not_show_whole_makes_all_pixels(folder: Path, checked: Any, odd: str) -> None:
    put(folder / "a.png", GREY.astype("u2"))
    if odd == "stack.tif":
        put(folder / odd, GREY.astype("u2"), save_all=True, append_images=[Image.fromarray(GREY.astype("u2"))])
    else:
        (folder / odd).write_bytes(deep(noise(1, 2, 3), b""))
    result, samples = checked(atdata.from_images(folder))
    assert {sample.image.dtype for sample in samples} == {np.dtype("u2")}
    assert f"image: pixels, for an image would not show all of {odd}" in result.notes


def test_a_damaged_picture_is_found_before_anything_is_written(folder: Path) -> None:
    put(folder / "a.png")
    (folder / "b.png").write_bytes((folder / "a.png").read_bytes()[:45])
    with pytest.raises(SampleError, match="cannot be decoded") as caught:
        atdata.open(folder)
    assert caught.value.uri == str(folder / "b.png")


def test_tiff_stacks_are_whole(folder: Path, checked: Any, types_of: Any) -> None:
    pages = [Image.fromarray(GREY.astype("u2") * n) for n in range(3)]
    folder.mkdir()
    pages[0].save(folder / "a.tif", save_all=True, append_images=pages[1:])
    put(folder / "passed-over.png")
    for path in (folder, folder / "a.tif"):
        result, (sample,) = checked(atdata.from_tiff(path))
        assert types_of(result) == {"image": "NDArray[uint16] [3, 4, 5]", "file": "str"}
        assert np.array_equal(sample.image, np.stack(pages))
    with pytest.raises(UsageError, match="no images"):
        atdata.from_tiff(folder / "passed-over.png")


def test_numbers_of_a_tiff_have_the_sign_that_it_says(folder: Path) -> None:
    """Pillow has 32 bits with a sign and 8 without, whatever the file says; so does what it writes, until that is changed."""
    folder.mkdir()
    bits = np.array([[0, 1, 100], [-1, -(2**31), 2**31 - 1]], np.int32)
    pages = [Image.fromarray(bits), Image.fromarray(bits[::-1].copy())]
    pages[0].save(folder / "int32.tif", save_all=True, append_images=pages[1:])
    signs = [struct.pack("<HHIHH", 339, 3, 1, sign, 0) for sign in (2, 1)]
    data = (folder / "int32.tif").read_bytes()
    assert data.count(signs[0]) == 2
    (folder / "uint32.tif").write_bytes(data.replace(*signs))
    Image.fromarray(bits.astype(np.uint8)).save(folder / "int8.tif", tiffinfo={339: 2})
    for dtype in (np.int32, np.uint32):
        place = folder / f"{np.dtype(dtype)}.tif"
        (sample,) = atdata.from_tiff(place)
        assert sample.image.dtype == dtype
        assert np.array_equal(sample.image, np.stack([bits, bits[::-1]]).view(dtype))
        assert np.array_equal(atdata.Image(place).array, bits.view(dtype))
    (sample,) = atdata.from_tiff(folder / "int8.tif")
    assert (sample.image.dtype, sample.image.tolist()) == (np.int8, bits.astype(np.int8).tolist())


def test_what_pixels_would_not_show_is_refused(folder: Path) -> None:
    folder.mkdir()
    place = folder / "planes.tif"
    place.write_bytes(tiff([noise(4, 4, 3)], "<", planar=2))
    for read in (lambda: atdata.from_tiff(place), lambda: atdata.Image(place).array):
        with pytest.raises(SampleError, match="planes of more than 8 bits"):
            read()
    place.unlink()
    Image.new("RGBX", (4, 3)).save(folder / "unknown.tif")
    with pytest.raises(SampleError, match="channels of which nothing says what they are"):
        atdata.from_tiff(folder)
    (sample,) = atdata.from_images(folder)  # the bytes of the file, whole
    assert sample.image.data == (folder / "unknown.tif").read_bytes()
