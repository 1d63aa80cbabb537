"""Names the version of this package, for modules below the API; nothing else is here."""

__version__ = "0.1.0"
