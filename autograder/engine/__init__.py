"""Runs strangers' notebooks and reaches a verdict that they cannot touch.

`wire` is spoken by both sides. `inside` and `zygote` run in the sandbox and are trusted with nothing; everything else is the trusted side.
"""
