"""Decoding on this machine: llama.cpp, and the loop that all local models share.

`hetagent.engine.decode` and `hetagent.engine.chat` know no inference library; only
`hetagent.engine.llama` and `hetagent.engine.probe` load llama.cpp.
"""
