import os

# Set before the first import of numpy or scikit-learn, which read them: threads that wait for each other waste CPU time
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
