"""Devices that are somewhere else: reached over SSH or adb, measured there, nothing left running."""
