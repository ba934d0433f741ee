"""Our own models: a scikit-learn pipeline of trusted types, run by a thread of this process."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidemill.adapters.model_loading import LoadedModel, load_model
from tidemill.kit.errors import DeadlineExceeded, Invalid, TidemillError, Unavailable
from tidemill.model_server.runtimes.base import Claim, ModelOutputs
from tidemill.model_server.runtimes.frames import build_frame, plain_outputs
from tidemill.model_server.validation import Columns

_MOST_WAITING = 1024


@dataclass
class ModelThreads:
    """The threads that all in-process models share, and how many requests wait for them."""

    executor: ThreadPoolExecutor
    timeout_seconds: float
    waiting: int = 0

    @staticmethod
    def create(threads: int, timeout_seconds: float) -> "ModelThreads":
        return ModelThreads(ThreadPoolExecutor(threads, thread_name_prefix="model"), timeout_seconds)


class InProcessRuntime:
    def __init__(self, model: LoadedModel, types: Mapping[str, str], threads: ModelThreads) -> None:
        self._model = model
        self._types = types
        self._threads = threads

    @staticmethod
    async def load(directory: Path, flavor: str, types: Mapping[str, str], threads: ModelThreads) -> "InProcessRuntime":
        """Raises what `load_model` raises. Runs in a thread of its own: requests to other models go on meanwhile."""
        model = await asyncio.to_thread(load_model, directory, flavor)
        return InProcessRuntime(model, types, threads)

    async def predict(
        self, columns: Columns, params: Mapping[str, Any] | None, _claim: Claim | None = None
    ) -> ModelOutputs:
        threads = self._threads
        if threads.waiting >= _MOST_WAITING:
            raise Unavailable("model_busy", "Too many requests wait for the model.")
        threads.waiting += 1
        work = asyncio.get_running_loop().run_in_executor(threads.executor, self._predict, columns, params)
        work.add_done_callback(lambda _: self._one_less())
        try:
            async with asyncio.timeout(threads.timeout_seconds):
                return await asyncio.shield(work)
        except TimeoutError:
            work.cancel()
            raise DeadlineExceeded("predict_timeout", "The model did not answer in time.") from None

    async def close(self) -> None:
        del self._model

    def _one_less(self) -> None:
        self._threads.waiting -= 1

    def _predict(self, columns: Columns, params: Mapping[str, Any] | None) -> ModelOutputs:
        try:
            return plain_outputs(self._model.predict(build_frame(columns, self._types), params))
        except TidemillError:
            raise
        except Exception as error:
            raise Invalid("model_failed", f"The model failed to predict ({type(error).__name__}).") from error
