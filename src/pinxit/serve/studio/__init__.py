"""The studio page: what the served runs can do, to play with."""

from __future__ import annotations

from fastapi import FastAPI

from pinxit.serve.painters import Painters


def add_studio(app: FastAPI, painters: Painters) -> None:
    """The page at `/` and what it asks for."""
