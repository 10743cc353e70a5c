"""Manifests and project files written or changed for the user: comments, order and style are kept (ruamel.yaml).

`init` and `adopt --write` call it. What is edited is parsed again by `load` before anything is sent.
"""
