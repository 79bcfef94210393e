"""Muon: its arithmetic beside torch's and a singular value decomposition, and its groups."""

import copy
import functools

import pytest
import torch
from torch import nn

from webtext_gpt.checkpoint.space import PLAIN_BYTES, estimated_bytes
from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.training import orthogonalization
from webtext_gpt.training.optim import adamw, moments, muon
from webtext_gpt.training.orthogonalization import newton_schulz

CONFIG = GPTConfig(n_layer=2, n_head=2, n_embd=16, block_size=8, vocab_size=20)


def _model_with_gradients() -> GPT:
    torch.manual_seed(0)
    model = GPT(CONFIG)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    return model


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Iterate in the dtype of the matrices, also on CPUs with bf16 instructions."""
    monkeypatch.setattr(orthogonalization, "iteration_dtype", lambda _, dtype: dtype)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("columns", [24, 64])
def test_newton_schulz_flattens_the_singular_values(columns: int) -> None:
    """Jordan's iteration leaves singular values near 1 and keeps the singular vectors."""
    matrices = torch.randn(3, 16, columns, generator=torch.Generator().manual_seed(1))
    U, _, Vh = torch.linalg.svd(matrices, full_matrices=False)
    factors = newton_schulz(matrices)
    inside = U.mT @ factors @ Vh.mT  # diagonal if the singular vectors are kept
    values = inside.diagonal(dim1=1, dim2=2)
    assert values.min() > 0.65
    assert values.max() < 1.25
    assert (inside - torch.diag_embed(values)).abs().max() < 1e-4


@pytest.mark.usefixtures("exact")
def test_newton_schulz_maps_each_singular_value_by_the_quintic() -> None:
    """Nearly singular matrices of 8 rows and 12 or 40 columns; the latter use Gram matrices."""
    generator = torch.Generator().manual_seed(2)
    U, _ = torch.linalg.qr(torch.randn(8, 8, generator=generator, dtype=torch.float64))
    V, _ = torch.linalg.qr(torch.randn(40, 8, generator=generator, dtype=torch.float64))
    values = torch.tensor([1, 0.5, 0.2, 0.1, 1e-2, 1e-3, 1e-5, 0], dtype=torch.float64)
    expected = values / values.norm()
    for _ in range(5):
        expected = 3.4445 * expected - 4.7750 * expected**3 + 2.0315 * expected**5
    for wide in (V[:12], V):
        basis = torch.linalg.qr(wide)[0].mT
        matrix = (U * values @ basis).float()
        factor = newton_schulz(matrix[None])[0].double()
        torch.testing.assert_close(factor, U * expected @ basis, atol=2e-4, rtol=0)


def test_matrices_move_as_torchs_muon_moves_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """`torch.optim.Muon` on the same gradients, query, key and value apart; it iterates in bf16."""
    model = _model_with_gradients()
    block = model.blocks[1]
    stacked = block.attn.c_attn.weight
    theirs = [nn.Parameter(part.detach().clone()) for part in stacked.chunk(3)]
    theirs += [nn.Parameter(block.mlp.c_fc.weight.detach().clone())]
    reference = torch.optim.Muon(theirs, lr=0.02, momentum=0.9, weight_decay=0.3)
    optimizer = muon(model, lr=0.02, momentum=0.9, weight_decay=0.3)
    for step in range(3):
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter) + step
        gradients = [*stacked.grad.chunk(3), block.mlp.c_fc.weight.grad]
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()
        reference.step()
    torch.testing.assert_close(stacked.detach(), torch.cat(theirs[:3]).detach(), atol=2e-3, rtol=0)
    ours = block.mlp.c_fc.weight.detach()
    torch.testing.assert_close(ours, theirs[3].detach(), atol=2e-3, rtol=0)


def test_a_tall_matrix_moves_further() -> None:
    """An update of r rows and c columns has singular values near lr sqrt(max(1, r / c))."""
    model = _model_with_gradients()
    before = copy.deepcopy(model)
    muon(model, lr=0.5, weight_decay=0).step()
    for name, scale in {"mlp.c_fc": 2.0, "mlp.c_proj": 1.0, "attn.c_proj": 1.0}.items():
        moved = (
            before.blocks[0].get_submodule(name).weight - model.blocks[0].get_submodule(name).weight
        )
        values = torch.linalg.svdvals(moved.detach()) / (0.5 * scale)
        assert 0.7 < values.median() <= values.max() < 1.25, name


def test_embeddings_gains_and_biases_move_as_adamw_moves_them() -> None:
    model = _model_with_gradients()
    reference = copy.deepcopy(model)
    blocks = {n for n, p in model.blocks.named_parameters(prefix="blocks") if p.dim() == 2}
    assert len(blocks) == 8
    rest = {n: p for n, p in reference.named_parameters() if n not in blocks}
    for name, parameter in model.named_parameters():
        if name in rest:
            rest[name].grad = parameter.grad.clone()
    theirs = torch.optim.AdamW(
        [
            {"params": [p for p in rest.values() if p.dim() == 2], "weight_decay": 0.2},
            {"params": [p for p in rest.values() if p.dim() == 1], "weight_decay": 0.0},
        ],
        lr=3e-3,
        betas=(0.8, 0.9),
        fused=True,
    )
    ours = muon(model, adamw_lr=3e-3, adamw_betas=(0.8, 0.9), adamw_weight_decay=0.2)
    for _ in range(2):
        ours.step()
        theirs.step()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, reference.get_parameter(name)) == (name in rest), name


def test_parameters_without_a_gradient_stay() -> None:
    """As after a step that the guard skips."""
    model = _model_with_gradients()
    optimizer = muon(model)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    before, state = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    for number, values in optimizer.state_dict()["state"].items():
        assert all(torch.equal(values[k], state["state"][number][k]) for k in values)


def test_a_loaded_state_goes_on_exactly() -> None:
    model = _model_with_gradients()
    optimizer = muon(model)
    optimizer.step()
    resumed = copy.deepcopy(model)
    for parameter, own in zip(model.parameters(), resumed.parameters(), strict=True):
        own.grad = parameter.grad.clone()
    other = muon(resumed)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for _ in range(2):
        optimizer.step()
        other.step()
    for parameter, own in zip(model.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(parameter, own)


def test_the_iterations_compile_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """On GPUs; here, by a backend that runs what was traced as it is."""
    traced: list[int] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> torch.fx.GraphModule:
        traced.append(1)
        return graph

    monkeypatch.setattr(orthogonalization, "is_compiled_on", lambda _: True)
    compiler = functools.partial(torch.compile, backend=backend)
    monkeypatch.setattr(orthogonalization.torch, "compile", compiler)
    orthogonalization._compiled.cache_clear()
    square = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(3))
    long = torch.randn(2, 4, 16, generator=torch.Generator().manual_seed(4))
    compiled = [newton_schulz(matrices) for matrices in (square, long, square)]
    assert len(traced) == 2  # one for each shape
    monkeypatch.undo()
    orthogonalization._compiled.cache_clear()
    for matrices, factors in zip((square, long, square), compiled, strict=True):
        assert torch.equal(factors, newton_schulz(matrices))


def test_iterations_are_compiled_only_on_gpus_with_a_compiler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not orthogonalization.is_compiled_on(torch.device("cpu"))
    monkeypatch.setattr(orthogonalization, "find_spec", lambda _: object())
    for found in ("/usr/bin/gcc", None):
        monkeypatch.setattr(orthogonalization.shutil, "which", lambda _, found=found: found)
        orthogonalization._has_gpu_compiler.cache_clear()
        assert orthogonalization.is_compiled_on(torch.device("cuda")) == bool(found)
    orthogonalization._has_gpu_compiler.cache_clear()


@pytest.mark.parametrize("copies", [0, 1])
def test_the_size_of_a_checkpoint_is_that_of_the_real_states(copies: int) -> None:
    """Also with an average, which the state of every parameter holds."""
    model = _model_with_gradients()
    model.blocks[0].mlp.c_fc.weight.requires_grad_(False)
    for optimizer, by_muon in ((muon(model), True), (adamw(model), False)):
        optimizer.step()
        if copies:
            for parameter, state in optimizer.state.items():
                state["average"] = torch.zeros_like(parameter)
        tensors = [value for state in optimizer.state.values() for value in state.values()]
        kept = sum(value.numel() for value in tensors if value.dim())
        weights = sum(parameter.numel() for parameter in model.parameters())
        size = estimated_bytes(model, moments(model, by_muon=by_muon), averages=copies)
        assert size == 4 * (weights + kept) + PLAIN_BYTES


def test_each_process_orthogonalizes_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes of one after another: 5 matrices make shares of 3 and 2."""
    matrices = torch.randn(5, 4, 6, generator=torch.Generator().manual_seed(3))
    shares: list[torch.Tensor] = []
    monkeypatch.setattr(orthogonalization.dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(
        orthogonalization.dist, "all_gather_into_tensor", lambda every, mine: shares.append(mine)
    )
    for rank in range(2):
        monkeypatch.setattr(orthogonalization.dist, "get_rank", lambda rank=rank: rank)
        orthogonalization.newton_schulz_shared(matrices)
    assert [len(share) for share in shares] == [3, 3]
    torch.testing.assert_close(torch.cat(shares)[:5], newton_schulz(matrices))


def test_a_frozen_body_is_refused() -> None:
    model = GPT(CONFIG)
    model.blocks.requires_grad_(False)
    with pytest.raises(UserError, match="optimizer=adamw"):
        muon(model)
