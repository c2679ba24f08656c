"""Attention: scores, masks, the weighted mean, many heads, and the same in blocks. One concept a file; import from the file that has it."""
