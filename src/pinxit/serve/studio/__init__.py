"""The studio page: what the served runs can do, to play with.

Three files without a framework and nothing from elsewhere: Gradio brings fonts, scripts and pings
of other hosts, and takes several times a slider's 80 ms (see docs/log.md).
"""
