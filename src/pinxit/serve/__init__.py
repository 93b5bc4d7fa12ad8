"""Finished runs behind an API that programs speak already, and a page where a person plays."""
