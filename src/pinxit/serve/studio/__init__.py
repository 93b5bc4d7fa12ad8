"""The studio page: try the served runs in a browser.

Plain files in `static/`, without a framework, and nothing from other hosts. Gradio loads fonts and
scripts from elsewhere, and took several times the 80 ms that a slider takes here (docs/log.md).
"""
