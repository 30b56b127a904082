"""What is not meta-learned: frozen features, in-context examples, random start, multi-task."""
