"""Time in the local cloud: what takes a minute on AWS takes a second here, as far as it is a wait and not work.

It holds for the Wait states and retries of state machines and for the stand-in's canaries. The periods of alarms stay
what they are.
"""

SECONDS_PER_MINUTE = 1.0
SCALE = SECONDS_PER_MINUTE / 60
