"""What each role must be able to do, and by that also all that it may do.

`action resource` per line; `{bucket}`, `{env}` and so on are filled in. Requests are single: one object, one job.
"""

OBJECT = "arn:aws:s3:::{bucket}/"
SAGEMAKER = "arn:aws:sagemaker:us-east-1:111122223333:"
LAMBDA = "arn:aws:lambda:us-east-1:111122223333:function:"

FUNCTION = """
    logs:CreateLogStream {own_logs}
    logs:PutLogEvents {own_logs}
    xray:PutTelemetryRecords *
    xray:PutTraceSegments *
"""
STATE_MACHINE = """
    logs:CreateLogDelivery *
    logs:DeleteLogDelivery *
    logs:DescribeLogGroups *
    logs:DescribeResourcePolicies *
    logs:GetLogDelivery *
    logs:ListLogDeliveries *
    logs:PutResourcePolicy *
    logs:UpdateLogDelivery *
    xray:GetSamplingRules *
    xray:GetSamplingTargets *
    xray:PutTelemetryRecords *
    xray:PutTraceSegments *
"""
LIST = "    s3:ListBucket arn:aws:s3:::{bucket}\n"

NEEDS = {
    "SerializeImageDataRole": FUNCTION
    + LIST
    + """
    s3:GetObject {object}test/a.png
    s3:GetObject {object}incoming/a.png
    s3:GetObject {object}scheduled/a.png
    s3:GetObjectVersion {object}test/a.png
    s3:GetObjectVersion {object}incoming/a.png
    s3:GetObjectVersion {object}scheduled/a.png
    """,
    "ClassifierRole": FUNCTION + "    sagemaker:InvokeEndpoint {sagemaker}endpoint/scones-{env}\n",
    "FilterConfidenceRole": FUNCTION + "    s3:PutObject {object}predictions/test/a.png/v.json\n",
    "ClassificationWorkflowRole": STATE_MACHINE
    + LIST
    + """
    s3:PutObject {object}manifests/x.json
    sns:Publish {topic}
    lambda:InvokeFunction {function:SerializeImageData}
    lambda:InvokeFunction {function:Classifier}
    lambda:InvokeFunction {function:FilterConfidence}
    """,
    "ClassificationWorkflowEventsRole": "    states:StartExecution {machine:ClassificationWorkflow}\n",
    "DriftMonitorRole": FUNCTION
    + LIST
    + """
    s3:GetObject {object}data-capture/scones-{env}/AllTraffic/2026/01/01/00/a.jsonl
    s3:GetObject {object}models/j/baseline.json
    s3:PutObject {object}monitoring/drift/2026.json
    ssm:GetParameter arn:aws:ssm:us-east-1:111122223333:parameter/scones/{env}/model/baseline-key
    """,
    "FindPredictionsRole": FUNCTION
    + LIST
    + """
    s3:GetObject {object}test/a.png
    s3:GetObject {object}incoming/a.png
    s3:GetObject {object}scheduled/a.png
    s3:GetObject {object}predictions/test/a.png/v.json
    s3:GetObjectVersion {object}test/a.png
    s3:GetObjectVersion {object}incoming/a.png
    s3:GetObjectVersion {object}scheduled/a.png
    s3:GetObjectVersion {object}predictions/test/a.png/v.json
    """,
    "ReadTransformOutputRole": FUNCTION
    + LIST
    + """
    s3:GetObject {object}test/a.png
    s3:GetObject {object}incoming/a.png
    s3:GetObject {object}scheduled/a.png
    s3:GetObject {object}transforms/x/test/a.png.out
    """,
    "BulkSummaryRole": FUNCTION
    + LIST
    + """
    s3:GetObject {object}manifests/x.json
    s3:PutObject {object}manifests/x.json
    """,
    "SageMakerRole": """
    s3:GetObject {object}train/a.png
    s3:GetObject {object}train_lst/train.lst
    s3:GetObject {object}test/a.png
    s3:GetObject {object}test_lst/test.lst
    s3:GetObject {object}incoming/a.png
    s3:GetObject {object}scheduled/a.png
    s3:GetObject {object}bulk/images.manifest
    s3:GetObject {object}retraining/ledger.json
    s3:GetObject {object}models/j/output/model.tar.gz
    s3:GetObject {object}models/j/baseline.json
    s3:PutObject {object}models/j/output/model.tar.gz
    s3:PutObject {object}data-capture/scones-{env}/AllTraffic/2026/01/01/00/a.jsonl
    s3:PutObject {object}transforms/x/test/a.png.out
    s3:PutObject {object}answers/a.out
    s3:PutObject {object}retraining/ledger.json
    ecr:BatchCheckLayerAvailability arn:aws:ecr:us-east-1:811284229777:repository/image-classification
    ecr:BatchGetImage arn:aws:ecr:us-east-1:811284229777:repository/image-classification
    ecr:GetDownloadUrlForLayer arn:aws:ecr:us-east-1:811284229777:repository/image-classification
    ecr:GetAuthorizationToken *
    cloudwatch:PutMetricData *
    """
    + LIST
    + "".join(
        f"    logs:{action} arn:aws:logs:us-east-1:111122223333:log-group:/aws/sagemaker/{group}\n"
        for group in ("TrainingJobs:log-stream:j", "TransformJobs:log-stream:j", "Endpoints/{env}/Data:log-stream:j")
        for action in ("CreateLogGroup", "CreateLogStream", "DescribeLogStreams", "PutLogEvents")
    ),
}

# Nobody may do any of these
NEVER = """
    s3:DeleteObject {object}test/a.png
    s3:DeleteObjectVersion {object}predictions/test/a.png/v.json
    s3:PutBucketPolicy arn:aws:s3:::{bucket}
    s3:PutObject {object}incoming/a.png
    s3:PutObject {object}test/a.png
    s3:GetObject arn:aws:s3:::another-bucket/test/a.png
    s3:PutObject arn:aws:s3:::another-bucket/predictions/a.json
    s3:ListBucket arn:aws:s3:::another-bucket
    sagemaker:InvokeEndpoint {sagemaker}endpoint/another
    sagemaker:DeleteEndpoint {sagemaker}endpoint/scones-{env}
    lambda:InvokeFunction arn:aws:lambda:us-east-1:111122223333:function:another
    lambda:UpdateFunctionCode {function:Classifier}
    sns:Publish arn:aws:sns:us-east-1:111122223333:another
    iam:PutRolePolicy arn:aws:iam::111122223333:role/any
    iam:CreateRole arn:aws:iam::111122223333:role/any
    iam:PassRole arn:aws:iam::111122223333:role/any
    sts:AssumeRole arn:aws:iam::111122223333:role/any
    kms:Decrypt arn:aws:kms:us-east-1:111122223333:key/any
    kms:ScheduleKeyDeletion arn:aws:kms:us-east-1:111122223333:key/any
    ssm:PutParameter arn:aws:ssm:us-east-1:111122223333:parameter/another
    logs:PutLogEvents arn:aws:logs:us-east-1:111122223333:log-group:another:log-stream:s
"""
