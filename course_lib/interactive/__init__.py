"""Interactive figures: each with alt text and a static frame for pages without Python."""
