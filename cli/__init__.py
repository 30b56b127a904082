"""The command line of mlx-melpa: one file per command."""
