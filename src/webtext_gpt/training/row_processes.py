"""Train on a CPU with one process per core, each of which computes some rows of a micro-batch.

By default all cores share each operation. Where another program keeps a core busy, the others wait
for it at each operation, a thousand times in a step of a small model. With a process for each core,
they wait once per step. The weights are in shared memory, and so are the gradients that each
process hands to the main process, which has the only optimizer.

Loss and gradients are those of the whole micro-batch, up to the order of summation.
"""

import math
import signal
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import torch
import torch.multiprocessing as mp
from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT
from webtext_gpt.model.gpt import IGNORED
from webtext_gpt.training.language_loss import Loss, language_loss, loss_to_compile, nats


class Recipe(NamedTuple):
    """Recipe for the training loss of a model, in any process."""

    end_of_text: int | None
    """See `language_loss`."""
    compile_model: bool | str
    """See `TrainingModule`."""

    def loss(self, model: GPT) -> Loss:
        """Return the loss, compiled if that is asked for."""
        if not self.compile_model:
            return language_loss(model, self.end_of_text)
        from webtext_gpt.training.compilation import compiled

        return compiled(loss_to_compile(model, self.end_of_text), self.compile_model)


class Request(NamedTuple):
    """Work for another process."""

    inputs: Any
    """`(B, T)` token ids, a NumPy array; so are `targets`."""
    targets: Any
    n_targets: int
    """Targets of the whole micro-batch, by which the loss is divided; 0 for the sum of nats."""
    seed: int
    """Seed of dropout."""
    autocast: torch.dtype | None
    """Type of mixed precision, if it is on."""


class RowProcesses:
    """The loss of batches whose rows are divided among this process and others.

    A call gives the training loss, whose backward pass gives the gradients of this process's rows;
    `add_gradients` adds those of the others. Operations of this process use one core until `close`
    is called, which the caller must do.

    Args:
        model: the model to train. Its weights are moved to shared memory, and must stay there.
        recipe: its loss.
        n: number of processes, this one included.
    """

    def __init__(self, model: GPT, recipe: Recipe, n: int) -> None:
        self.n = n
        self._model = model
        self._recipe = recipe
        self._loss = recipe.loss(model)
        self._asked: list[_Other] = []
        self._scale = math.nan
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)
        model.share_memory()
        self._others = [_Other(model, recipe) for _ in range(n - 1)]

    def __call__(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of a micro-batch, in nats.

        Args:
            inputs: `(B, T)` token ids.
            targets: `(B, T)` token ids, or `IGNORED`; each process needs one not ignored.

        Raises:
            UserError: a process has ended.
        """
        n_targets = int((targets != IGNORED).sum())
        x, y = self._divide(inputs, targets, n_targets)
        loss = _part(self._loss, x, y, n_targets) + sum(other.answer() for other in self._asked)
        loss.register_hook(self._keep_scale)
        return loss

    def _keep_scale(self, gradient: Tensor) -> None:
        self._scale = gradient.item()

    def add_gradients(self) -> None:
        """Add the gradients of the other processes' rows, after the backward pass of this one's.

        Raises:
            UserError: a process has ended.
        """
        for other in self._asked:
            other.answer()  # the gradients are complete
            for parameter, gradient in zip(_trained(self._model), other.gradients, strict=True):
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                parameter.grad.add_(gradient, alpha=self._scale)

    def nats(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of the losses of a batch, of a model in evaluation mode.

        Args:
            inputs: see a call.
            targets: see a call.

        Raises:
            UserError: a process has ended.
        """
        own = self._divide(inputs, targets, 0)
        of_own = nats(self._model, *own, self._recipe.end_of_text)
        return of_own + sum(other.answer() for other in self._asked)

    def _divide(self, inputs: Tensor, targets: Tensor, n_targets: int) -> tuple[Tensor, Tensor]:
        """Send their rows to the other processes, and return this one's."""
        n = min(self.n, len(inputs))
        own, *parts = zip(inputs.tensor_split(n), targets.tensor_split(n), strict=True)
        self._asked = self._others[: n - 1]
        autocast = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
        for other, (x, y) in zip(self._asked, parts, strict=True):
            seed = int(torch.randint(2**63 - 1, ())) if n_targets else 0
            other.ask(Request(x.numpy(), y.numpy(), n_targets, seed, autocast))
        return own

    def close(self) -> None:
        """End the other processes, and wait for that."""
        for other in self._others:
            other.close()
        torch.set_num_threads(self._threads)


class _Other:
    """Another process, as the main one sees it.

    Attributes:
        gradients: those of its rows, by parameter, in memory that it writes to.
    """

    def __init__(self, model: GPT, recipe: Recipe) -> None:
        flat = torch.zeros(sum(p.numel() for p in _trained(model))).share_memory_()
        self.gradients = _views(flat, model)
        context = mp.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, model, recipe, flat), daemon=True
        )
        self._process.start()
        theirs.close()

    def ask(self, request: Request) -> None:
        """Request the loss of some rows, then its gradients."""
        self._exchange(lambda: self._connection.send(request))

    def answer(self) -> float:
        """Wait for the loss or, on the second call, until the gradients are complete."""
        number: float = self._exchange(self._connection.recv)
        return number

    def _exchange(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except (EOFError, OSError) as error:
            self._process.join(5)
            raise UserError(
                "a process that computed rows of a batch has ended (exit code "
                f"{self._process.exitcode}); if memory ran out, set a smaller micro_batch_size; "
                "parallel_rows=false does without such processes"
            ) from error

    def close(self) -> None:
        """End the process, and wait for that."""
        self._connection.close()
        self._process.join()


def _serve(connection: Connection, model: GPT, recipe: Recipe, flat: Tensor) -> None:
    """Answer requests until the main process closes the connection or ends."""
    for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2"):
        if hasattr(signal, name):  # meant for the main process, which ends this one
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    torch.set_num_threads(1)
    loss, gradients = recipe.loss(model), _views(flat, model)
    try:
        while True:
            request: Request = connection.recv()
            x, y = torch.from_numpy(request.inputs), torch.from_numpy(request.targets)
            autocast = torch.autocast("cpu", request.autocast, enabled=request.autocast is not None)
            torch.default_generator.manual_seed(request.seed)
            model.train(request.n_targets > 0)
            if not model.training:
                with torch.inference_mode(), autocast:
                    connection.send(nats(model, x, y, recipe.end_of_text).item())
                continue
            with autocast:
                value = _part(loss, x, y, request.n_targets)
            connection.send(value.item())
            computed = torch.autograd.grad(value, list(_trained(model)), materialize_grads=True)
            torch._foreach_copy_(gradients, computed)
            connection.send(value.item())
    except (EOFError, OSError):
        return


def _part(loss: Loss, inputs: Tensor, targets: Tensor, n_targets: int) -> Tensor:
    """Return the rows' contribution to the mean over all targets of the micro-batch."""
    return loss(inputs, targets) * (int((targets != IGNORED).sum()) / n_targets)


def _trained(model: GPT) -> Iterator[torch.nn.Parameter]:
    return (parameter for parameter in model.parameters() if parameter.requires_grad)


def _views(flat: Tensor, model: GPT) -> list[Tensor]:
    """Return a view of the flat tensor for each trained parameter, of its shape."""
    parameters = list(_trained(model))
    parts = flat.split([p.numel() for p in parameters])
    return [part.view_as(p) for part, p in zip(parts, parameters, strict=True)]
