"""From a chapter's one source to what students open, what authors check, and what nbgrader releases."""
