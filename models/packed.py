"""Steps of utterances in training: what torch has for them is slow on the way back."""

import torch
from torch import Tensor


class Larger(torch.autograd.Function):
    """The larger of rows `even` and `odd`; each row stands in one pair, and where it is both it is alone.

    The gradient goes to the larger, to `even` of two that are equal. torch's own way back through a maximum of
    gathered rows takes a tenth of a training step.
    """

    @staticmethod
    def forward(ctx, values: Tensor, even: Tensor, odd: Tensor) -> Tensor:
        first, second = values.index_select(0, even), values.index_select(0, odd)
        ctx.save_for_backward(even, odd, torch.ge(first, second, out=torch.empty_like(first)))
        return torch.maximum(first, second)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        even, odd, won = ctx.saved_tensors
        to_even = gradient * won
        below = gradient.new_empty(int(odd[-1]) + 1 if len(odd) else 0, gradient.shape[1])
        return below.index_copy_(0, odd, gradient - to_even).index_copy_(0, even, to_even), None, None


class Beside(torch.autograd.Function):
    """(N, 3 D): each row between the one before and the one after it, 0 where `inner` (N - 1, 1) is 0."""

    @staticmethod
    def forward(ctx, values: Tensor, inner: Tensor) -> Tensor:
        ctx.save_for_backward(inner)
        dim = values.shape[1]
        row = values.new_empty(len(values), 3 * dim)
        row[:1, :dim], row[-1:, 2 * dim :] = 0, 0
        torch.mul(values[:-1], inner, out=row[1:, :dim])
        row[:, dim : 2 * dim] = values
        torch.mul(values[1:], inner, out=row[:-1, 2 * dim :])
        return row

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        (inner,) = ctx.saved_tensors
        before, own, after = gradient.chunk(3, 1)
        below = own.clone()
        below[:-1].addcmul_(before[1:], inner)
        below[1:].addcmul_(after[:-1], inner)
        return below, None


class Laid(torch.autograd.Function):
    """(`size`, D): rows `values` at `where`, 0 elsewhere; torch would fill the zeros, copy them, and then lay."""

    @staticmethod
    def forward(ctx, values: Tensor, where: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(where)
        return values.new_zeros(size, values.shape[1]).index_copy_(0, where, values)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient.index_select(0, ctx.saved_tensors[0]), None, None


class Taken(torch.autograd.Function):
    """The rows `where` of values (N, D), each row once at most: the way back need not add up."""

    @staticmethod
    def forward(ctx, values: Tensor, where: Tensor) -> Tensor:
        ctx.save_for_backward(where)
        ctx.size = len(values)
        return values.index_select(0, where)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        below = gradient.new_zeros(ctx.size, gradient.shape[1])
        return below.index_copy_(0, ctx.saved_tensors[0], gradient), None


class Attended(torch.autograd.Function):
    """(N, D) sum_s softmax_s(q . x_s) x_s of values (N, S, D) over steps that are `real` (N, S).

    The way back through both uses of x at once, w_s g + (dL/dscore_s) q, in two walks through the memory.
    """

    @staticmethod
    def forward(ctx, values: Tensor, query: Tensor, real: Tensor) -> Tensor:
        weight = (values @ query).masked_fill_(~real, torch.finfo(values.dtype).min).softmax(1)
        ctx.save_for_backward(values, query, weight)
        return (weight.unsqueeze(1) @ values).squeeze(1)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        values, query, weight = ctx.saved_tensors
        score = weight * (values @ gradient.unsqueeze(2)).squeeze(2)
        score -= weight * score.sum(1, keepdim=True)
        below = (weight.unsqueeze(2) * gradient.unsqueeze(1)).addcmul_(score.unsqueeze(2), query)
        return below, values.flatten(0, 1).T @ score.flatten(), None
