"""The studio page: try the served runs in a browser.

Plain files in `static/`: no framework, and nothing from other hosts. Gradio loads fonts and scripts
from other hosts, and its sliders took several times the 80 ms measured here (docs/log.md).
"""
