"""Serve finished runs: the OpenAI API, the studio page, and tools of the Model Context Protocol.

`server` runs the application that `app` builds. `api` has the routes, `dialogue` builds responses,
`inference` runs the models in batches, `media` decodes and encodes images, `studio` is the page.
"""
