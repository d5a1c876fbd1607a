"""Arrays by name in one file: any name, damage, and sizes that lie."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ipuc.errors import ContainerError, IpucError, OptionError, TooLarge
from ipuc.npz import read_array, read_arrays, write_arrays

ODD_NAMES = ["file", "allow_pickle", "", "a/b", "../up", "x", "x.npy", "nul\0in", "größe", "a=b"]


def test_any_tensor_name_works(tmp_path: Path) -> None:
    arrays = {name: np.full((at + 1,), at, np.float32) for at, name in enumerate(ODD_NAMES)}
    write_arrays(tmp_path / "a.npz", arrays)
    found = read_arrays(tmp_path / "a.npz")
    assert list(found) == ODD_NAMES
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


def test_numpy_reads_the_file(tmp_path: Path) -> None:
    arrays = {"file": np.arange(6).reshape(2, 3), "scalar": np.float16(2), "": np.zeros((0, 3))}
    write_arrays(tmp_path / "a.npz", {name: np.asarray(one) for name, one in arrays.items()})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        assert found.files == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == np.asarray(array).dtype


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), max_size=12),
        hnp.arrays(
            st.sampled_from(["f4", "f2", "?", "i4", "i8", "u1"]),
            hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
        ),
        max_size=4,
    )
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, np.ndarray]
) -> None:
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    write_arrays(path, arrays)
    found = read_arrays(path)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_equal_arrays_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_arrays(tmp_path / name, {"x": np.arange(5)})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_arrays(path, {"x": np.arange(5)})
    before = path.read_bytes()
    with pytest.raises(ValueError, match="Object arrays"):
        write_arrays(path, {"x": np.arange(5), "y": np.array([object()])})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_beyond_the_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="too long"):
        write_arrays(tmp_path / "a.npz", {"n" * 70_000: np.arange(2)})
    assert not list(tmp_path.iterdir())


def _header_of(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue()


def test_a_header_that_asks_for_terabytes_is_refused(tmp_path: Path) -> None:
    lying = _header_of((1 << 40,)) + bytes(64)
    (tmp_path / "a.npy").write_bytes(lying)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("x.npy", lying)
    for read in (read_array, read_arrays):
        with pytest.raises(ContainerError, match="announces 4398046511104 bytes"):
            read(tmp_path / ("a.npy" if read is read_array else "a.npz"))


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.npy", _header_of((1 << 20,)) + bytes(4 << 20))
    assert (tmp_path / "a.npz").stat().st_size < 10_000
    with pytest.raises(TooLarge, match="limit is 1000000"):
        read_arrays(tmp_path / "a.npz", 1_000_000)
    assert read_arrays(tmp_path / "a.npz")["x"].size == 1 << 20


def test_python_objects_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([{}], object), allow_pickle=True)
    with pytest.raises(ContainerError, match="Python objects"):
        read_arrays(tmp_path / "a.npz")


@given(st.data())
def test_a_damaged_file_is_refused_or_unchanged(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("npz")
    path = folder / "a.npz"
    array = np.arange(7, dtype=np.float32)
    write_arrays(path, {"x": array})
    whole = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(whole)
    try:
        found = read_arrays(path)
    except IpucError:
        return
    # What the checksum does not cover: names, dates and attributes of members.
    assert all(one.tobytes() == array.tobytes() for one in found.values())
