"""``HOST:PORT`` in settings. What is wrong with one is said by those who know the setting's name."""


def split(text: str) -> tuple[str, int] | None:
    """Host and port, of an IPv6 address without its brackets; None when it is not of that form."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdecimal()) or int(port) > 65_535:
        return None
    return host, int(port)
