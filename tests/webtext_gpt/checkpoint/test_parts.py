"""Checkpoints in parts: pieces are assembled, damage is found, incomplete folders are refused."""

import itertools
import random
import shutil
from pathlib import Path

import pytest
import torch

from webtext_gpt.checkpoint.load import describe, load_language_model
from webtext_gpt.checkpoint.parts import (
    COMPLETE,
    STATE,
    Piece,
    SavedParameters,
    part_contents,
    part_name,
    pieces_of_file,
    write_complete,
)
from webtext_gpt.checkpoint.store import (
    damage,
    open_checkpoint,
    read_checkpoint,
    restore_replaced,
    write_file,
)
from webtext_gpt.errors import UserError
from webtext_gpt.files import partial_path
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.tokenizer import build_char_vocabulary

CONFIG = GPTConfig(n_layer=1, n_head=1, n_embd=8, block_size=4, vocab_size=4)
PARTS = 3


@pytest.fixture
def saved(tmp_path: Path) -> tuple[GPT, Path]:
    """A model saved by three processes, its flattened parameters cut at uneven places."""
    torch.manual_seed(0)
    model = GPT(CONFIG)
    names = [f"model.{name}" for name, _ in model.named_parameters()]
    folder = tmp_path / "checkpoints" / "step-00000007.ckpt"
    folder.mkdir(parents=True)
    parts: list[list[Piece]] = [[] for _ in range(PARTS)]
    for name, parameter in model.named_parameters():
        flat = parameter.detach().flatten()
        cuts = [0, len(flat) // 3, 2 * len(flat) // 3 + 1, len(flat)]
        for part, begin, end in zip(parts, cuts, cuts[1:], strict=False):
            values = {"weight": flat[begin:end], "exp_avg": 2 * flat[begin:end]}
            part.append(Piece(f"model.{name}", begin, values))
    for number, pieces in enumerate(parts):
        write_file(part_contents(pieces), folder / part_name(number))
    description = {
        "shapes": {f"model.{n}": list(p.shape) for n, p in model.named_parameters()},
        "tied": {"model.lm_head.weight": "model.wte.weight"},
        "groups": [{"lr": 0.5, "names": names}],
        "step": 7.0,
    }
    state = {**describe(model, build_char_vocabulary(["abc"])), "global_step": 7}
    write_file({**state, "parts": description}, folder / STATE)
    write_complete(folder, PARTS)
    return model, folder


def test_parts_are_read_as_one_checkpoint(saved: tuple[GPT, Path]) -> None:
    model, folder = saved
    loaded, tokenizer = load_language_model(folder)
    assert loaded.lm_head.weight is loaded.wte.weight
    assert tokenizer.encode("cab") == [2, 0, 1]
    whole = read_checkpoint(folder)
    weights = whole["state_dict"]
    assert weights["model.lm_head.weight"] is weights["model.wte.weight"]
    assert weights.keys() == {f"model.{name}" for name in model.state_dict()}
    optimizer = torch.optim.AdamW(model.parameters())
    optimizer.load_state_dict(whole["optimizer_states"][0])  # the form that torch expects
    for name, value in model.named_parameters():
        assert torch.equal(loaded.get_parameter(name), value)
        assert torch.equal(optimizer.state[value]["exp_avg"], 2 * value)
        assert optimizer.state[value]["step"] == 7


def test_any_range_is_assembled_from_its_pieces() -> None:
    values = torch.arange(100.0)
    cuts = [0, 1, 40, 41, 99, 100]
    pieces = [
        Piece("w", begin, {"weight": values[begin:end]}) for begin, end in itertools.pairwise(cuts)
    ]
    random.Random(0).shuffle(pieces)
    saved = SavedParameters(pieces)
    for start in range(100):
        for length in (1, 2, 39, 100 - start):
            if start + length <= 100:
                found = saved.read("w", "weight", start, length)
                assert torch.equal(found, values[start : start + length])
    with pytest.raises(UserError, match="lacks 5 of the values of w"):
        saved.read("w", "weight", 95, 10)


def test_one_file_and_parts_give_the_same_values(saved: tuple[GPT, Path], tmp_path: Path) -> None:
    _, folder = saved
    parts = open_checkpoint(folder)
    write_file(parts.contents(), tmp_path / "whole.ckpt")
    file = open_checkpoint(tmp_path / "whole.ckpt")
    names = parts.state["parts"]["groups"][0]["names"]
    for name in names:
        for key in ("weight", "exp_avg"):
            ours, theirs = (c.parameters([names]).read(name, key, 3, 5) for c in (parts, file))
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize("seed", range(20))
def test_a_folder_cut_at_a_random_byte_is_damaged(saved: tuple[GPT, Path], seed: int) -> None:
    _, folder = saved
    assert damage(folder) is None
    draw = random.Random(seed)
    file = draw.choice(sorted(folder.iterdir()))
    data = file.read_bytes()
    file.write_bytes(data[: draw.randrange(len(data) - 1)])
    assert damage(folder) is not None


@pytest.mark.parametrize("seed", range(30))
def test_a_flipped_bit_is_found_or_changes_nothing(saved: tuple[GPT, Path], seed: int) -> None:
    _, folder = saved
    before = read_checkpoint(folder)["state_dict"]
    draw = random.Random(seed)
    file = folder / part_name(draw.randrange(PARTS))
    data = bytearray(file.read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    file.write_bytes(data)
    if damage(folder) is None:
        after = read_checkpoint(folder)["state_dict"]
        assert all(torch.equal(after[name], value) for name, value in before.items())


def test_altered_values_are_found(saved: tuple[GPT, Path]) -> None:
    """torch does not notice them when it maps the file."""
    _, folder = saved
    file = folder / part_name(1)
    value = saved[0].wte.weight.detach().flatten()[15].numpy().tobytes()
    data = file.read_bytes()
    at = data.index(value)
    file.write_bytes(data[:at] + bytes([value[0] ^ 1]) + data[at + 1 :])
    read_checkpoint(folder)
    assert "does not have its checksum" in damage(folder) or "CRC" in damage(folder)


def test_the_manifest_is_synced_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (STATE, part_name(0)):
        (tmp_path / name).write_bytes(b"x")
    synced: list[Path] = []
    monkeypatch.setattr(
        "os.fsync", lambda number: synced.append(Path(f"/proc/self/fd/{number}").readlink())
    )
    write_complete(tmp_path, 1)
    assert synced == [partial_path(tmp_path / COMPLETE), tmp_path]


def test_moments_are_found_by_the_numbers_of_the_groups() -> None:
    """FSDP numbers parameters in the order of the model, not in that of the groups."""
    names = [["matrix a", "matrix b"], ["gain"]]
    numbers = {"matrix a": 0, "gain": 1, "matrix b": 2}
    checkpoint = {
        "state_dict": {name: torch.zeros(2) for name in numbers},
        "optimizer_states": [
            {
                "state": {n: {"exp_avg": torch.full((2,), float(n))} for n in range(3)},
                "param_groups": [{"params": [0, 2]}, {"params": [1]}],
            }
        ],
    }
    for piece in pieces_of_file(checkpoint, names):
        assert piece.values["exp_avg"].tolist() == [numbers[piece.name]] * 2


def test_a_run_whose_best_is_damaged_is_read_from_the_next(
    saved: tuple[GPT, Path], capsys: pytest.CaptureFixture
) -> None:
    model, folder = saved
    newer = folder.with_name("step-00000009.ckpt")
    shutil.copytree(folder, newer)
    (folder.parent / "best.ckpt").symlink_to(newer.name)
    file = newer / part_name(1)
    content = bytearray(file.read_bytes())
    place = content.index(model.wte.weight.detach().flatten()[12:20].numpy().tobytes())
    content[place] ^= 1
    file.write_bytes(content)
    loaded, _ = load_language_model(folder.parents[1])
    assert torch.equal(loaded.wte.weight, model.wte.weight)
    said = capsys.readouterr().err
    assert "best.ckpt is damaged (part-00001.ckpt: " in said
    assert f"{folder} is used instead" in said
    with pytest.raises(UserError, match="step-00000009.ckpt cannot be read as a checkpoint: part-"):
        load_language_model(newer)


def test_a_checkpoint_set_aside_by_a_killed_run_is_restored(saved: tuple[GPT, Path]) -> None:
    _, folder = saved
    old = folder.with_name(f".{folder.name}.old")
    folder.rename(old)
    restore_replaced(folder.parents[1])
    assert damage(folder) is None
    folder.rename(old)
    (old / part_name(2)).unlink()  # half removed
    restore_replaced(folder.parents[1])
    assert not folder.exists()


def test_an_incomplete_folder_is_refused(saved: tuple[GPT, Path]) -> None:
    _, folder = saved
    (folder / COMPLETE).unlink()
    with pytest.raises(UserError, match="step-00000007.ckpt is not complete"):
        open_checkpoint(folder)
