"""Show a run in a browser while it trains.

`progress` reads the files that training writes anyway; `server` shows them on a small local page,
which `train --watch-port` starts; `static/` is the page. The studio of `pinxit serve` has the same
view, with routes of its own.
"""
