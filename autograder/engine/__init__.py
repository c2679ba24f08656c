"""Runs strangers' notebooks and reaches a verdict that they cannot touch.

`wire` is spoken by both sides. What `sandbox.INSIDE` names runs in the sandbox and is trusted with nothing; everything else is the trusted side.
"""
