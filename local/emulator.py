"""Runs the AWS emulator with this project's adapters: `python -m local.emulator`, configured by its environment."""

import ministack.app

from local import adapters

if __name__ == "__main__":
    adapters.apply()
    ministack.app.main()
