"""The errors a person can cause and mend: each names the thing, the value and the remedy."""


class MelpaError(Exception):
    """Any failure with a remedy in its message; the command line prints it without a traceback."""


class RecipeError(MelpaError):
    """A recipe or a setting that can't be used."""


class DataError(MelpaError):
    """Examples that can't be read, or are too few."""


class ModelError(MelpaError):
    """A base model that can't be loaded or adapted."""


class StoreError(MelpaError):
    """A user, version or run that the store can't give or take."""


class ExportError(MelpaError):
    """An adapter that can't be written, or does not do what it did here."""
