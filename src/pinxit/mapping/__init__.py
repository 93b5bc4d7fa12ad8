"""Apply a finished model to all images of a source: a folder of Parquet files, block by block.

    tasks.py       what a model computes of a batch, as columns
    source.py      the images, decoded a batch at a time
    job.py         what one call does: model, images, options
    output.py      the folder that is written: its record, its parts, what is missing
    blocks.py      compute the blocks on this machine
    ray_blocks.py  compute them on a Ray cluster
    api.py         `map_images`: all of it

A block is a range of images, and its part of the output is written under a temporary name and then
renamed. So a part is complete or absent, and a call that was interrupted goes on.
"""
