"""Data sources: lazily read, cached, and clear about what is missing or damaged."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgemeta.data import Digits, Folder, Glyphs, Omniglot, open_source
from edgemeta.data.omniglot import load_runs
from edgemeta.errors import DataError, DataMissingError
from edgemeta.meta.episodes import EpisodeSampler


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEMETA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def small_omniglot(root: Path, *, packed: bool) -> None:
    """Two alphabets of two characters, three drawers."""
    rng = np.random.default_rng(0)
    folder = root / ("tree" if packed else ".") / "images_background"
    for alphabet in ("Greek", "Latin"):
        for character in ("character01", "character02"):
            (folder / alphabet / character).mkdir(parents=True)
            for drawer in range(3):
                image = Image.fromarray(rng.integers(0, 2, (105, 105)).astype(np.uint8) * 255).convert("1")
                image.save(folder / alphabet / character / f"0001_{drawer:02d}.png")
    if packed:
        with zipfile.ZipFile(root / "images_background.zip", "w") as archive:
            for path in sorted(folder.rglob("*.png")):
                archive.write(path, path.relative_to(folder.parent).as_posix())


@pytest.mark.parametrize("packed", [True, False])
def test_omniglot_reads_zips_and_folders_alike(tmp_path, packed):
    small_omniglot(tmp_path, packed=packed)
    data = Omniglot(tmp_path).load(28, 28)
    assert data.pixels.shape == (12, 28, 28)
    assert data.classes == tuple(f"{a}/character0{c}" for a in ("Greek", "Latin") for c in (1, 2))
    assert data.domains.tolist() == [0, 0, 1, 1]
    assert [len(m) for m in data.members()] == [3] * 4


def test_a_second_start_reads_the_cache(tmp_path, own_cache, monkeypatch):
    small_omniglot(tmp_path, packed=True)
    first = Omniglot(tmp_path).load(20, 20)
    assert len(list(own_cache.glob("*.npz"))) == 1
    monkeypatch.setattr("edgemeta.data.omniglot._decode_part", lambda files: pytest.fail("decoded again"))
    assert (Omniglot(tmp_path).load(20, 20).pixels == first.pixels).all()


def test_a_changed_folder_is_decoded_again(tmp_path):
    """The top folder's own time does not change when a file further down does."""
    small_omniglot(tmp_path, packed=False)
    character = tmp_path / "images_background" / "Greek" / "character01"
    first = Omniglot(tmp_path).load(20, 20)
    assert first.pixels[0].max() > 0
    Image.new("1", (105, 105)).save(character / "0001_00.png")
    assert Omniglot(tmp_path).load(20, 20).pixels[0].max() == 0
    shutil.copytree(character, character.with_name("character03"))
    assert len(Omniglot(tmp_path).load(20, 20).classes) == 5
    shutil.rmtree(character)
    assert len(Omniglot(tmp_path).load(20, 20).classes) == 4


def test_a_damaged_cache_is_passed_over(tmp_path, own_cache):
    small_omniglot(tmp_path, packed=True)
    first = Omniglot(tmp_path).load(20, 20)
    for path in own_cache.glob("*.npz"):
        path.write_bytes(path.read_bytes()[:200])
    assert (Omniglot(tmp_path).load(20, 20).pixels == first.pixels).all()


def test_missing_and_damaged_data_name_themselves(tmp_path):
    with pytest.raises(DataMissingError, match=r"images_background\.zip"):
        Omniglot(tmp_path).load(28, 28)
    (tmp_path / "images_background.zip").write_bytes(b"PK nonsense")
    with pytest.raises(DataError, match="damaged"):
        Omniglot(tmp_path).load(28, 28)
    with zipfile.ZipFile(tmp_path / "images_background.zip", "w") as archive:
        archive.writestr("images_background/A/character01/0001_01.png", b"no image")
    with pytest.raises(DataError, match=r"0001_01\.png"):
        Omniglot(tmp_path).load(28, 28)


def flip_the_first_members_data(packed: Path) -> None:
    data = bytearray(packed.read_bytes())
    data[60 : 60 + 40] = bytes(255 - b for b in data[60 : 60 + 40])
    packed.write_bytes(data)


def lock_the_first_member(packed: Path) -> None:
    data = bytearray(packed.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    packed.write_bytes(data)


@pytest.mark.parametrize("harm", [flip_the_first_members_data, lock_the_first_member])
def test_a_damaged_or_locked_member_names_its_zip(tmp_path, harm):
    with zipfile.ZipFile(tmp_path / "images_background.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("A/c1/0001_01.png", np.random.default_rng(0).integers(0, 9, 2000).astype(np.uint8).tobytes())
    harm(tmp_path / "images_background.zip")
    with pytest.raises(DataError, match=r"images_background\.zip is damaged or locked .*fetch it again"):
        Omniglot(tmp_path).load(28, 28)


def drawing(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (side, side)).save(buffer, "png")
    return buffer.getvalue()


LIST = b"run01/test/item01.png run01/training/class01.png"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"run01/class_labels.txt": b"\n"}, r"run01/class_labels\.txt is empty"),
        ({"run01/class_labels.txt": b"\xff\xfe a"}, r"run01/class_labels\.txt is damaged"),
        ({"run01/class_labels.txt": b"one two three"}, r"run01/class_labels\.txt is damaged"),
        ({"run01/class_labels.txt": None, "x/run01/class_labels.txt": LIST}, r"all_runs\.zip holds no runNN"),
        ({"run01/test/item01.png": None}, r"names run01/test/item01\.png, which is not there"),
        ({"run01/test/item01.png": drawing(50)}, r"item01\.png is 50 x 50, not 105 x 105"),
    ],
)
def test_damaged_runs_name_the_file_and_the_mend(tmp_path, changes, named):
    files = {
        "run01/class_labels.txt": LIST,
        "run01/test/item01.png": drawing(105),
        "run01/training/class01.png": drawing(105),
    }
    write_files(tmp_path / "all_runs.zip", files)
    assert load_runs(tmp_path, 28, 28)[0].truth.tolist() == [0]
    write_files(tmp_path / "all_runs.zip", {**files, **changes})
    with pytest.raises(DataError, match=named):
        load_runs(tmp_path, 28, 28)


def write_files(packed: Path, files: dict[str, bytes | None]) -> None:
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            if content is not None:
                archive.writestr(name, content)


def test_folder_one_class_a_sub_folder(tmp_path):
    for name, level in (("dark", 10), ("light", 240)):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.new("RGB", (30, 20 + i), (level, level, level)).save(tmp_path / name / f"{i}.png")
    (tmp_path / "empty").mkdir()
    data = Folder(tmp_path).load(16, 16)
    assert data.classes == ("dark", "light")
    assert data.pixels.shape == (4, 16, 16, 3)
    assert data.pixels[data.labels == 0].max() < 20
    (tmp_path / "dark" / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"broken\.jpg"):
        Folder(tmp_path).load(16, 16)


def test_digits_are_the_real_ones():
    from sklearn.datasets import load_digits

    real, ours = load_digits(), Digits().load()
    assert (ours.labels == real.target).all()
    assert np.abs((255 - ours.pixels.astype(float)) / 255 * 16 - real.images).max() < 0.04


def test_glyphs_follow_from_their_seed():
    source = Glyphs(seed=4, alphabets=2, characters=3, drawers=4)
    a, b = source.load(32, 32), source.load(32, 32)
    assert (a.pixels == b.pixels).all()
    assert a.pixels.shape == (24, 32, 32)
    assert (Glyphs(seed=5, alphabets=2, characters=3, drawers=4).load(32, 32).pixels != a.pixels).any()
    ink = 1.0 - a.pixels.mean((1, 2)) / 255
    assert ink.min() > 0.005 and ink.max() < 0.6
    # Drawings of one character resemble each other more than those of different characters do.
    flat = a.pixels.reshape(24, -1).astype(float)
    means = np.stack([flat[m].mean(0) for m in a.members()])
    own = np.mean([np.linalg.norm(flat[m] - means[c], axis=1).mean() for c, m in enumerate(a.members())])
    other = np.mean([np.linalg.norm(flat[m] - means[c - 1], axis=1).mean() for c, m in enumerate(a.members())])
    assert own < other


def test_training_and_evaluation_parts_never_meet(tmp_path):
    background, evaluation = open_source("glyphs"), open_source("glyphs", part="evaluation")
    assert isinstance(background, Glyphs) and isinstance(evaluation, Glyphs)
    assert background.seed != evaluation.seed
    assert {open_source(f"glyphs:{s}").seed for s in range(5)}.isdisjoint(  # type: ignore[attr-defined]
        {open_source(f"glyphs:{s}", part="evaluation").seed for s in range(5)}  # type: ignore[attr-defined]
    )


@pytest.mark.parametrize("spec", ["", "mnist", "omniglot", "omniglot:", "glyphs:x", "digits:3", "folder:"])
def test_unknown_specs_list_the_known(spec):
    with pytest.raises(DataError, match="known are"):
        open_source(spec)


def test_episodes_are_reproducible_and_disjoint():
    data = Glyphs(alphabets=3, characters=6, drawers=8).load(8, 8)
    sampler = EpisodeSampler(data, ways=5, shots=3, queries=4, within=1.0)
    one, two = (sampler.draw(np.random.default_rng(9)) for _ in range(2))
    assert (one.support == two.support).all() and (one.query == two.query).all()
    for _ in range(20):
        episode = sampler.draw(np.random.default_rng())
        assert not set(episode.support.ravel()) & set(episode.query.ravel())
        classes = data.labels[episode.support]
        assert (classes == classes[:, :1]).all() and (data.labels[episode.query] == classes[:, :1]).all()
        assert len(set(classes[:, 0])) == 5
        assert len(set(data.domains[classes[:, 0]])) == 1


def test_impossible_episodes_say_why():
    data = Glyphs(alphabets=1, characters=4, drawers=5).load(8, 8)
    with pytest.raises(DataError, match="need 5 classes that large; the data has 4 of 4"):
        EpisodeSampler(data, ways=5, shots=1, queries=1)
    with pytest.raises(DataError, match="at least 1"):
        EpisodeSampler(data, ways=2, shots=0, queries=1)


def test_held_out_domains_share_no_class():
    data = Glyphs(alphabets=5, characters=3, drawers=2).load(8, 8)
    kept, away = data.split_domains(2, seed=0)
    assert set(kept.classes).isdisjoint(away.classes)
    assert len(kept.classes) == 9 and len(away.classes) == 6
    assert len(kept) + len(away) == len(data)


def test_real_omniglot_and_runs(omniglot):
    data = Omniglot(omniglot, "evaluation").load(28, 28)
    assert (len(data), len(data.classes), len(np.unique(data.domains))) == (13180, 659, 20)
    runs = load_runs(omniglot, 28, 28)
    assert len(runs) == 20
    assert all(sorted(run.truth.tolist()) == list(range(20)) for run in runs)
    assert runs[0].training.shape == runs[0].test.shape == (20, 28, 28)
