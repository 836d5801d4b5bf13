"""What the public modules share and no program should import."""

__all__ = ()
