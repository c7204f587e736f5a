"""The top-level prefixes of an environment's bucket: who writes what where."""

# data_prep: the four channels of the training job
TRAIN = "train/"
TRAIN_LST = "train_lst/"
TEST = "test/"  # the `validation` channel; the notebook called it test and its tools read it by that name
TEST_LST = "test_lst/"
CODE = "code/"  # of the scikit-learn algorithm: code/<digest>/train.py and so on
MODELS = "models/"  # training output: models/<job>/output/model.tar.gz

# The workflow
INCOMING = "incoming/"  # an upload here starts the workflow; nothing else writes here, so it cannot loop
SCHEDULED = "scheduled/"  # images that wait for the scheduled run
WAITING = "waiting/"  # a record of each image that came while the endpoint was paused: waiting/<pause>/<version>/<key>
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
RETRAINING = "retraining/"  # the guard's ledger, and what a run evaluates
RELEASES = "releases/"  # what the endpoint served when
READY_MARKER = "train/_READY"  # written last: it says that a whole data set is there
