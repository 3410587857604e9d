"""Autograd functions for packed steps of utterances, with faster backward passes than torch's operations."""

from typing import Protocol

import torch
from torch import Tensor


class FunctionContext(Protocol):
    """The `ctx` of an autograd function, which passes tensors to its backward pass (torch's stub: only one)."""

    @property
    def saved_tensors(self) -> tuple[Tensor, ...]: ...

    def save_for_backward(self, *tensors: Tensor) -> None: ...


class SizedContext(FunctionContext, Protocol):
    """One that also passes a number of rows."""

    size: int


class PairMaximum(torch.autograd.Function):
    """Elementwise maximum of rows `even` (n,) and `odd` (n,) of values (N, D): (n, D).

    Each row is in one pair; a row without a partner is both `even` and `odd`. The gradient goes to the larger
    value, to `even` in a tie. torch's backward pass through a maximum of gathered rows takes a tenth of a training
    step.
    """

    @staticmethod
    def forward(ctx: FunctionContext, values: Tensor, even: Tensor, odd: Tensor) -> Tensor:
        first, second = values.index_select(0, even), values.index_select(0, odd)
        ctx.save_for_backward(even, odd, torch.ge(first, second, out=torch.empty_like(first)))
        return torch.maximum(first, second)

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] torch's stub: *grad_outputs
        ctx: FunctionContext, gradient: Tensor
    ) -> tuple[Tensor, None, None]:
        even, odd, is_even_larger = ctx.saved_tensors
        to_even = gradient * is_even_larger
        result = gradient.new_empty(int(odd[-1]) + 1 if len(odd) else 0, gradient.shape[1])
        return result.index_copy_(0, odd, gradient - to_even).index_copy_(0, even, to_even), None, None


class WithNeighbours(torch.autograd.Function):
    """Concatenate each row of values (N, D) with its neighbours: (N, 3 D) of [previous, row, next].

    A neighbour is 0 beyond the first and last row, and where `inner` (N - 1, 1) is 0: rows i and i + 1 are then of
    different utterances.
    """

    @staticmethod
    def forward(ctx: FunctionContext, values: Tensor, inner: Tensor) -> Tensor:
        ctx.save_for_backward(inner)
        dim = values.shape[1]
        rows = values.new_empty(len(values), 3 * dim)
        rows[:1, :dim], rows[-1:, 2 * dim :] = 0, 0
        torch.mul(values[:-1], inner, out=rows[1:, :dim])
        rows[:, dim : 2 * dim] = values
        torch.mul(values[1:], inner, out=rows[:-1, 2 * dim :])
        return rows

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] torch's stub: *grad_outputs
        ctx: FunctionContext, gradient: Tensor
    ) -> tuple[Tensor, None]:
        (inner,) = ctx.saved_tensors
        previous, current, following = gradient.chunk(3, 1)
        result = current.clone()
        result[:-1].addcmul_(previous[1:], inner)
        result[1:].addcmul_(following[:-1], inner)
        return result, None


class ScatterRows(torch.autograd.Function):
    """Scatter rows: (size, D) with values (n, D) at `indices` (n,), 0 elsewhere, in fewer passes than torch."""

    @staticmethod
    def forward(ctx: FunctionContext, values: Tensor, indices: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(indices)
        return values.new_zeros(size, values.shape[1]).index_copy_(0, indices, values)

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] torch's stub: *grad_outputs
        ctx: FunctionContext, gradient: Tensor
    ) -> tuple[Tensor, None, None]:
        return gradient.index_select(0, ctx.saved_tensors[0]), None, None


class GatherRows(torch.autograd.Function):
    """Gather rows `indices` (n,) of values (N, D), each at most once: the backward pass need not accumulate."""

    @staticmethod
    def forward(ctx: SizedContext, values: Tensor, indices: Tensor) -> Tensor:
        ctx.save_for_backward(indices)
        ctx.size = len(values)
        return values.index_select(0, indices)

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] torch's stub: *grad_outputs
        ctx: SizedContext, gradient: Tensor
    ) -> tuple[Tensor, None]:
        result = gradient.new_zeros(ctx.size, gradient.shape[1])
        return result.index_copy_(0, ctx.saved_tensors[0], gradient), None


class AttentionPooling(torch.autograd.Function):
    """Attention pooling: (N, D) sum_s softmax_s(q . x_s) x_s of values x (N, S, D) over steps with `mask` (N, S).

    The backward pass through both uses of x, w_s g + (dL/dscore_s) q, takes two passes over memory.
    """

    @staticmethod
    def forward(ctx: FunctionContext, values: Tensor, query: Tensor, mask: Tensor) -> Tensor:
        weight = (values @ query).masked_fill_(~mask, torch.finfo(values.dtype).min).softmax(1)
        ctx.save_for_backward(values, query, weight)
        return (weight.unsqueeze(1) @ values).squeeze(1)

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] torch's stub: *grad_outputs
        ctx: FunctionContext, gradient: Tensor
    ) -> tuple[Tensor, Tensor, None]:
        values, query, weight = ctx.saved_tensors
        score = weight * (values @ gradient.unsqueeze(2)).squeeze(2)
        score -= weight * score.sum(1, keepdim=True)
        result = (weight.unsqueeze(2) * gradient.unsqueeze(1)).addcmul_(score.unsqueeze(2), query)
        return result, values.flatten(0, 1).T @ score.flatten(), None
