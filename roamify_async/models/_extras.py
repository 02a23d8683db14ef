"""Errors for optional packages that are not installed."""


def missing(error: ModuleNotFoundError, package: str, extra: str) -> ImportError:
    """Return the error for a package of an extra, or *error* if a package that it needs is missing."""
    if (error.name or "").partition(".")[0] != package:
        return error
    return ImportError(f"this needs {package}: pip install 'roamify-async[{extra}]'", name=package)
