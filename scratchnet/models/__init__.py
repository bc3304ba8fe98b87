"""The models: one family a folder, one model a file."""
