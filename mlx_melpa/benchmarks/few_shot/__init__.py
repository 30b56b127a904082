"""Few-shot tables over recipes: `melpa bench few-shot`."""
