"""How often to try again, and how long to wait before."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from executors.errors import ConfigurationError
from executors.failures import kind_of

__all__ = ["RetryPolicy"]

Value = TypeVar("Value")


@dataclass(frozen=True)
class RetryPolicy:
    """Attempts of a chunk, with waits that double and differ from chunk to chunk.

    The wait is a function of the chunk alone (no clock, no random state): chunks that failed
    together do not come back together, a run can be repeated.

    Arguments:
        attempts: Attempts in all, at least 1.
        delay: Seconds before the second attempt, on average.
        longest: Upper bound of a wait in seconds.
    Raises: ConfigurationError for numbers out of range.
    """

    attempts: int = 3
    delay: float = 1.0
    longest: float = 60.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            msg = f"--retries must be at least 0, found {self.attempts - 1}"
            raise ConfigurationError(msg)
        if not (math.isfinite(self.delay) and self.delay >= 0):
            msg = f"--retry-delay must be a number of seconds, 0 or more, found {self.delay}"
            raise ConfigurationError(msg)

    def pause(self, key: str, attempt: int) -> float:
        """Seconds to wait after failed attempt number ``attempt`` (from 1) of chunk ``key``.

        Example:
            >>> waits = [RetryPolicy(delay=2.0).pause("chunk", n) for n in (1, 2, 3)]
            >>> [1 <= waits[0] < 3, 2 <= waits[1] < 6, 4 <= waits[2] < 12]
            [True, True, True]
        """
        word = hashlib.blake2b(f"{key}#{attempt}".encode(), digest_size=8).digest()
        jitter = 0.5 + int.from_bytes(word, "little") / 2**64
        return min(self.delay * 2.0 ** (attempt - 1) * jitter, self.longest)

    def wait(self, key: str, attempt: int) -> None:
        """Sleep for `pause`."""
        time.sleep(self.pause(key, attempt))

    def call(
        self,
        function: Callable[[], Value],
        key: str,
        worth_it: Callable[[BaseException], bool] = lambda error: kind_of(error) == "transient",
    ) -> tuple[Value, int]:
        """Call until it succeeds, fails for good or no attempt is left; return value, attempts.

        Arguments:
            function: What to call.
            key: Identity of the work, see `pause`.
            worth_it: Whether an exception may pass.
        Raises: what the last attempt raised.
        """
        attempt = 1
        while True:
            try:
                return function(), attempt
            except Exception as error:
                if attempt >= self.attempts or not worth_it(error):
                    raise
            self.wait(key, attempt)
            attempt += 1
