"""Importing this module installs tasuki: what a fork server preloads first after install()."""

from tasuki import install

__all__ = ()

install()
