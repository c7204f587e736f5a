import os

# Set before the first import of numpy, which reads it: threads that wait for each other waste CPU time
os.environ["OPENBLAS_NUM_THREADS"] = "1"
