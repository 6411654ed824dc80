"""Results that are kept: by Streamlit where it serves, and plainly where pages are written as files, without a word
from Streamlit that nobody serves."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, update_wrapper
from typing import Any, Generic, TypeVar

import streamlit as st
from streamlit import runtime

T = TypeVar("T")


class Cached(Generic[T]):
    """A function whose last results are kept by its arguments, each for `seconds` where that is given."""

    def __init__(self, function: Callable[..., T], spinner: str, entries: int, seconds: float | None) -> None:
        options: dict[str, Any] = {"show_spinner": spinner or False, "max_entries": entries, "ttl": seconds}
        self.served: Any = st.cache_resource(function, **options)
        self.plain: Any = lru_cache(0 if seconds else entries)(function)
        update_wrapper(self, function)

    def __call__(self, *arguments: Any) -> T:
        return (self.served if runtime.exists() else self.plain)(*arguments)

    def clear(self) -> None:
        """Forget all results."""
        self.served.clear()
        self.plain.cache_clear()


def cached(entries: int, spinner: str = "", seconds: float | None = None) -> Callable[[Callable[..., T]], Cached[T]]:
    """Decorator: keep the last `entries` results; `spinner` is what a page says meanwhile."""
    return lambda function: Cached(function, spinner, entries, seconds)
