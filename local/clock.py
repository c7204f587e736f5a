"""Time in the local cloud: a wait of a minute on AWS is a second here.

This applies to the Wait states and retries of state machines, and to the stand-in's canaries, but not to the periods of
alarms: who waits for the end of an alarm lets a minute pass (local/cloud.py).
"""

SECONDS_PER_MINUTE = 1.0
SCALE = SECONDS_PER_MINUTE / 60
