"""Runs on the Hugging Face Hub: publish one, download one.

names.py     owner/name, hf:owner/name@revision
privacy.py   what a published run must not hold: paths and names of this machine
contents.py  the files of a run that are sent, and why the others are not
card.py      the model card
push.py      publish a run in one commit
download.py  download a run, and no pickle
failures.py  errors of the hub and of the connection
"""
