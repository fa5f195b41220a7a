"""One piece of work at a time in a thread, whose error comes back."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Background:
    """Does one thing at a time beside the main thread. An error is kept until it is asked for.

    The thread is waited for when Python ends, so work that has begun is finished, after an error elsewhere too.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    @property
    def busy(self) -> bool:
        """Whether the work is still being done."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def begun(self) -> bool:
        """Whether there is work whose end nobody has asked for yet."""
        return self._thread is not None

    def start(self, work: Callable[[], None]) -> None:
        """Begin; what was begun before must have been waited for.

        Args:
            work: is called in the thread.
        """
        assert self._thread is None, "wait for the work before"

        def run() -> None:
            try:
                work()
            except BaseException as error:  # the main thread raises it
                self._error = error

        self._thread = threading.Thread(target=run, name=self._name)
        self._thread.start()

    def wait(self) -> BaseException | None:
        """Wait for the end of the work, and give its error, once."""
        if self._thread is None:
            return None
        self._thread.join()
        self._thread, error, self._error = None, self._error, None
        return error
