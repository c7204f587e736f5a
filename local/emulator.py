"""The AWS emulator as a process: `python -m local.emulator`, with our adapters, configured by its environment."""

import ministack.app

from local import adapters

if __name__ == "__main__":
    adapters.apply()
    ministack.app.main()
