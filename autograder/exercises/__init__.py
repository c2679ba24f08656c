"""What each chapter's exercises demand: cases, known-wrong and also-right solutions. One file a chapter."""
