"""The pretended device refuses what a real one refuses, and nothing else."""

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import numpy as np
import pytest
import torch
from pretend_device import CPU, pretend
from torch import nn

HERE, THERE, ROWS = torch.ones(3, 4), "cuda", torch.tensor([0, 2])
MIXED = "Expected all tensors to be on the same device"
REFUSED = {
    "sum": lambda gpu: gpu + HERE,
    "sum the other way round": lambda gpu: HERE + gpu,
    "product": lambda gpu: gpu @ torch.ones(4, 2),
    "in place": lambda gpu: gpu.add_(HERE),
    "in place, on the CPU": lambda gpu: torch.zeros(3, 4).add_(gpu),
    "a number on the CPU is written to": lambda gpu: torch.tensor(0.0).add_(gpu.sum()),
    "a number on the GPU": lambda gpu: HERE * gpu.sum(),
    "out": lambda gpu: torch.add(gpu, gpu, out=torch.empty(3, 4)),
    "cat": lambda gpu: torch.cat([gpu, HERE]),
    "stack of numbers": lambda gpu: torch.stack([gpu.sum(), HERE.sum()]),
    "where": lambda gpu: torch.where(HERE > 0, gpu, 0.0),
    "mask": lambda gpu: gpu.masked_fill(HERE > 0, 0.0),
    "made on the CPU by default": lambda gpu: gpu * torch.arange(4),
    "of numpy": lambda gpu: gpu - torch.from_numpy(np.ones((3, 4), np.float32)),
    "index of a tensor on the CPU": lambda gpu: HERE[gpu[:, 0].long()],
    "index_select": lambda gpu: gpu.index_select(0, ROWS),
    "index_add": lambda gpu: gpu.index_add(0, ROWS, gpu[:2]),
    "values that are put": lambda gpu: gpu.index_put((ROWS,), HERE[:2]),
    "gather": lambda gpu: gpu.gather(0, torch.zeros(1, 4, dtype=torch.long)),
    "embedding": lambda gpu: nn.Embedding(5, 2).to(THERE)(ROWS),
    "layer": lambda gpu: nn.Linear(4, 2)(gpu),
    "GRU": lambda gpu: nn.GRU(4, 2).to(THERE)(HERE[None]),
    "attention": lambda gpu: nn.MultiheadAttention(4, 2)(gpu, gpu, gpu),
    "loss": lambda gpu: nn.functional.cross_entropy(gpu, torch.zeros(3, dtype=torch.long)),
    "foreach": lambda gpu: torch._foreach_mul_([gpu, HERE.clone()], [HERE, HERE]),
}


@pytest.fixture
def gpu():
    with pretend() as here:
        yield torch.ones(3, 4, device=here.device)


@pytest.mark.parametrize("mixes", REFUSED.values(), ids=REFUSED)
def test_tensors_of_two_devices_are_refused(gpu, mixes):
    with pytest.raises(RuntimeError, match=MIXED):
        mixes(gpu)


def test_so_they_are_on_the_way_back(gpu):
    class Forgetful(torch.autograd.Function):
        @staticmethod
        def forward(ctx, values):
            return values * 2

        @staticmethod
        def backward(ctx, gradient):
            return gradient * torch.ones(3, 4)

    with pytest.raises(RuntimeError, match=MIXED):
        Forgetful.apply(gpu.requires_grad_()).sum().backward()


def test_numpy_sees_no_tensor_of_a_gpu(gpu):
    for convert in (torch.Tensor.numpy, np.asarray, np.array):
        with pytest.raises(TypeError, match="to numpy"):
            convert(gpu)
    assert gpu.cpu().numpy().sum() == gpu.sum().item() == sum(map(sum, gpu.tolist())) == 12


def test_the_cpus_generator_draws_nothing_on_a_gpu(gpu):
    generator = torch.Generator().manual_seed(1)
    with pytest.raises(RuntimeError, match="generator"):
        torch.rand(3, generator=generator, device=THERE)
    with pytest.raises(RuntimeError, match="generator"):
        gpu.normal_(generator=generator)
    assert torch.rand(3, generator=generator).to(THERE).device == gpu.device


WIDER = {
    "double": lambda tensor: tensor.double(),
    "to": lambda tensor: tensor.to(torch.float64),
    "moved": lambda tensor: torch.ones(2, dtype=torch.float64).to(tensor.device),
    "of numpy": lambda tensor: torch.as_tensor(np.ones(2), device=tensor.device),
    "made": lambda tensor: torch.zeros(2, dtype=torch.float64, device=tensor.device),
    "sum": lambda tensor: tensor.sum(dtype=torch.float64),
}


@pytest.mark.parametrize("widen", WIDER.values(), ids=WIDER)
def test_a_mac_has_no_float64(widen):
    with pretend("mps") as here:
        single = torch.ones(2, device=here.device)
        with pytest.raises(TypeError, match="float64"):
            widen(single)
        assert single.cpu().double().dtype == torch.float64


ALLOWED = {
    "a number of the CPU": lambda gpu: gpu * torch.tensor(2.0),
    "a number of Python": lambda gpu: gpu * 2.0,
    "rows": lambda gpu: gpu[ROWS],
    "mask as an index": lambda gpu: gpu[HERE[:, 0] > 0],
    "index of numpy": lambda gpu: gpu[np.array([0, 2])],
    "a number that is put": lambda gpu: gpu.index_put((ROWS,), torch.tensor(2.0)),
    "made beside it": lambda gpu: (
        gpu + torch.arange(4, device=gpu.device) + torch.zeros_like(gpu) + gpu.new_ones(4)
    ),
    "moved": lambda gpu: gpu + HERE.to(gpu.device) + HERE.cuda() + HERE.to("cuda", torch.float32) + HERE.to(gpu),
    "moved by as_tensor": lambda gpu: (
        gpu + torch.as_tensor(HERE, device=THERE) + torch.as_tensor([1.0], device=THERE)
    ),
    "copied": lambda gpu: gpu.copy_(HERE),
    "set": lambda gpu: _set(gpu),
    "repeated": lambda gpu: gpu.repeat_interleave(torch.tensor([1, 2, 0], device=gpu.device), 0),
    "attention": lambda gpu: nn.MultiheadAttention(4, 2).to(THERE)(gpu, gpu, gpu)[0],
    "deep copy": lambda gpu: deepcopy(gpu),
}


def _set(gpu):
    gpu[0] = torch.zeros(4)
    return gpu


@pytest.mark.parametrize("works", ALLOWED.values(), ids=ALLOWED)
def test_what_a_real_one_lets_through(gpu, works):
    assert works(gpu).device == gpu.device


def test_views_and_what_is_in_a_module_are_where_their_memory_is(gpu):
    assert gpu[1:, ::2].T.detach().data.device == gpu.device
    assert gpu.is_cuda and not gpu.is_cpu and not HERE.is_cuda
    layer = nn.BatchNorm1d(4)
    weight = layer.weight
    layer.to(THERE)
    assert layer.weight is weight
    assert {tensor.device for tensor in (*layer.parameters(), *layer.buffers())} == {gpu.device}
    layer.load_state_dict(nn.BatchNorm1d(4).state_dict())
    assert layer.weight.device == gpu.device
    assert deepcopy(layer).cpu().running_mean.device == CPU


def test_gradients_lie_beside_what_they_are_of(gpu):
    layer, values = nn.GRU(4, 2).to(THERE), torch.ones(5, 4, requires_grad=True)
    packed = nn.utils.rnn.pack_padded_sequence(values.to(THERE).view(5, 1, 4), torch.tensor([5]))
    layer(packed)[0].data.sum().backward()
    assert values.grad.device == CPU
    assert values.grad.any()
    assert {tensor.grad.device for tensor in layer.parameters()} == {gpu.device}


def test_threads_pretend_too_and_only_meanwhile():
    with pretend() as here, ThreadPoolExecutor(1) as thread:
        assert thread.submit(lambda: torch.ones(2).to(THERE).exp().device).result() == here.device
        kept = torch.ones(2, device=THERE)
    assert here.kernels == {torch.ops.aten.exp.default}
    assert kept.device == CPU
    assert torch.cuda.is_available() == (torch.cuda.device_count() > 0)
