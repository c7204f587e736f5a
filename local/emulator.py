"""Runs the AWS emulator with this project's adapters: `python -m local.emulator`, configured by its environment."""

import gc

import ministack.app

from local import adapters

if __name__ == "__main__":
    adapters.apply()
    gc.set_threshold(10_000)  # services and clients stay once loaded: with Python's 700 they are traversed too often
    ministack.app.main()
