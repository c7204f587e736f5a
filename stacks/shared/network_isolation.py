"""The condition under which a role may create a model or a training job: its container has no network.

Without a network, a container reaches only what SageMaker copies into it.
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
"""

ISOLATED = {"Bool": {"sagemaker:NetworkIsolation": "true"}}
