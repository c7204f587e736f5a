"""The top-level prefixes of an environment's bucket, grouped by what writes there."""

# data_prep: the four channels of the training job
TRAIN = "train/"
TRAIN_LST = "train_lst/"
TEST = "test/"  # the `validation` channel; the notebook called it test and its tools read it by that name
TEST_LST = "test_lst/"
CODE = "code/"  # of the scikit-learn algorithm: code/<digest>/train.py and the other files
MODELS = "models/"  # training output: models/<job>/output/model.tar.gz

# The workflow
INCOMING = "incoming/"  # an upload here starts the workflow, which never writes here, so it cannot loop
SCHEDULED = "scheduled/"  # images for the scheduled run
WAITING = "waiting/"  # a record of each image that arrived during a pause: waiting/<pause>/<version>/<key>
PREDICTIONS = "predictions/"
MANIFESTS = "manifests/"

# The bulk workflows
BULK = "bulk/"  # lists of images to classify: CSV, JSONL, S3 Inventory
TRANSFORMS = "transforms/"  # Batch Transform's outputs, until the predictions are collected

# The endpoint and what is computed from its captures
DATA_CAPTURE = "data-capture/"
GROUND_TRUTH = "ground-truth/"
MONITORING = "monitoring/"
PAUSE = "endpoint/pause.json"  # since when the endpoint is paused, or when it was resumed

# Retraining
RETRAINING = "retraining/"  # the run lock, and the inputs and outputs of each run's evaluation
RELEASES = "releases/"  # what the endpoint has served, and since when
READY_MARKER = "train/_READY"  # written last, when the data set is complete
