"""Training: prepare a model, run the loop, write a run folder, resume it exactly.

`api.train` and `api.resume` are the entry points; `session.Session` runs the generator
`loop.train_steps` and decides when to validate, save and stop.
"""
