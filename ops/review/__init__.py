"""People label pictures with low confidence; the labels become accuracy, training data and the next model.

- queue.py: the pictures to label, from the workflow's own record, the manifests of its executions
- records.py: a review, one object for each version of a picture, which is its ground truth as well
- publication.py: the reviewed pictures in the data set of the bucket; near_duplicates.py: which pictures are alike

Of the images that a `.lst` file names, those in the folder `reviewed/` (`train/reviewed/HASH.png`) were added from
reviews, and all others are the data set's own: `ListLine.source` (lambda_src/retraining/lst_file.py) says which.
"""
