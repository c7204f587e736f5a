import os

# Read as numpy is imported, so before anything else is: threads that wait for one another burn the processor
os.environ["OPENBLAS_NUM_THREADS"] = "1"
