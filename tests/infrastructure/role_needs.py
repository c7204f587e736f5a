"""What each role must be able to do, and so all that it may do, in addition to the SageMaker calls of calls.py.

`action resource` per line, with `key=value` of a condition key where a condition narrows it; `{bucket}`, `{env}` and so
on are filled in. Requests are single: one object, one job.
"""

OBJECT = "arn:aws:s3:::{bucket}/"
SAGEMAKER = "arn:aws:sagemaker:us-east-1:111122223333:"
STATES = "arn:aws:states:us-east-1:111122223333:"
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
LIST_CAPTURES = "    s3:ListBucket arn:aws:s3:::{bucket} s3:prefix=data-capture/scones-{env}/AllTraffic/\n"
RESULT_WRITER = """
    s3:AbortMultipartUpload {object}manifests/x.json
    s3:GetObject {object}manifests/x.json
    s3:ListMultipartUploadParts {object}manifests/x.json
    s3:PutObject {object}manifests/x.json
"""

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
    "ClassifierRole": FUNCTION
    + """
    s3:GetObject {object}endpoint/pause.json
    s3:PutObject {object}waiting/20261126180000000/v/incoming/a.png
    """,
    "FilterConfidenceRole": FUNCTION
    + "    s3:PutObject {object}predictions/test/a.png/v.json s3:if-none-match=*\n"
    + "    s3:GetObject {object}predictions/test/a.png/v.json\n",
    # People who use the console (ops/console)
    "Reviewer": LIST
    + """
    cloudformation:DescribeStacks arn:aws:cloudformation:us-east-1:111122223333:stack/scones-{env}-Data/id
    cloudformation:DescribeStacks arn:aws:cloudformation:us-east-1:111122223333:stack/scones-{env}-Workflow/id
    cloudformation:DescribeStacks arn:aws:cloudformation:us-east-1:111122223333:stack/scones-{env}-Model/id
    states:ListExecutions {states}stateMachine:scones-{env}-classification
    states:DescribeExecution {states}execution:scones-{env}-classification:e
    states:DescribeStateMachineForExecution {states}execution:scones-{env}-classification:e
    states:GetExecutionHistory {states}execution:scones-{env}-classification:e
    states:ListExecutions {states}stateMachine:scones-{env}-DistributedMap
    states:DescribeExecution {states}execution:scones-{env}-DistributedMap:e
    states:DescribeStateMachineForExecution {states}execution:scones-{env}-DistributedMap:e
    states:GetExecutionHistory {states}execution:scones-{env}-DistributedMap:e
    states:ListExecutions {states}stateMachine:scones-{env}-BatchTransform
    states:DescribeExecution {states}execution:scones-{env}-BatchTransform:e
    states:DescribeStateMachineForExecution {states}execution:scones-{env}-BatchTransform:e
    states:GetExecutionHistory {states}execution:scones-{env}-BatchTransform:e
    sagemaker:DescribeEndpoint {sagemaker}endpoint/scones-{env}
    ssm:GetParameter {parameter}metadata
    cloudwatch:DescribeAlarms arn:aws:cloudwatch:us-east-1:111122223333:alarm:scones-{env}-drift
    cloudwatch:DescribeAlarms arn:aws:cloudwatch:us-east-1:111122223333:alarm:scones-{env}-update-errors
    cloudwatch:DescribeAlarms arn:aws:cloudwatch:us-east-1:111122223333:alarm:scones-{env}-update-latency
    s3:GetObject {object}manifests/x.json
    s3:GetObject {object}releases/2026.json
    s3:GetObject {object}endpoint/pause.json
    s3:GetObject {object}monitoring/drift/x.json
    s3:GetObject {object}incoming/a.png
    s3:GetObject {object}scheduled/a.png
    s3:GetObject {object}test/a.png
    s3:GetObjectVersion {object}incoming/a.png
    s3:GetObjectVersion {object}scheduled/a.png
    s3:GetObjectVersion {object}test/a.png
    s3:PutObject {object}incoming/a.png s3:if-none-match=*
    s3:GetObject {object}ground-truth/reviews/x.jsonl
    s3:PutObject {object}ground-truth/reviews/x.jsonl s3:if-none-match=*
    s3:PutObject {object}ground-truth/reviews/x.jsonl s3:if-match=e
    s3:GetObject {object}manifest.json
    s3:GetObject {object}train_lst/train.lst
    s3:GetObject {object}test_lst/test.lst
    s3:GetObject {object}train/a.png
    s3:PutObject {object}train/reviewed/x.png s3:if-none-match=*
    s3:PutObject {object}test/reviewed/x.png s3:if-none-match=*
    s3:PutObject {object}train_lst/train.lst s3:if-match=e
    s3:PutObject {object}test_lst/test.lst s3:if-match=e
    s3:PutObject {object}manifest.json s3:if-match=e
    s3:PutObject {object}train/_READY s3:if-none-match=*
    s3:PutObject {object}train/_READY s3:if-match=e
    cloudformation:DescribeStacks arn:aws:cloudformation:us-east-1:111122223333:stack/scones-{env}-Retraining/id
    states:ListExecutions {states}stateMachine:scones-{env}-retraining
    """,
    # People who also decide on models (ops/console/models.py)
    "Approver": """
    sagemaker:ListModelPackages *
    sagemaker:DescribeModelPackage {sagemaker}model-package/scones-{env}/1
    sagemaker:UpdateModelPackage {sagemaker}model-package/scones-{env}/1
    sagemaker:DescribeTrainingJob {sagemaker}training-job/scones-{env}-j
    sagemaker:ListTags {sagemaker}training-job/scones-{env}-j
    s3:GetObject {object}models/j/manifest.json
    s3:GetObject {object}models/j/predictions.json
    s3:GetObject {object}models/j/evaluation.json
    states:StartExecution {states}stateMachine:scones-{env}-retraining
    states:ListExecutions {states}stateMachine:scones-{env}-retraining
    states:GetExecutionHistory {states}execution:scones-{env}-retraining:e
    """,
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
    + LIST_CAPTURES
    + """
    s3:GetObject {object}data-capture/scones-{env}/AllTraffic/2026/01/01/00/a.jsonl
    s3:GetObject {object}models/j/baseline.json
    s3:PutObject {object}monitoring/drift/2026.json
    ssm:GetParameter {parameter}baseline-key
    """,
    "FindPredictionsRole": FUNCTION
    + LIST
    + """
    s3:GetObject {object}test/a.png
    s3:GetObject {object}incoming/a.png
    s3:GetObject {object}scheduled/a.png
    s3:GetObject {object}predictions/test/a.png/v.json
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
    s3:PutObject {object}manifests/x.json s3:if-none-match=*
    """,
    # S3 chooses the names of an inventory's files, so any object below bulk/ may be part of a list
    "DistributedMapRole": STATE_MACHINE
    + LIST
    + RESULT_WRITER
    + """
    s3:GetObject {object}bulk/images.csv
    s3:GetObject {object}bulk/images.manifest
    sns:Publish {topic}
    lambda:InvokeFunction {function:FindPredictions}
    lambda:InvokeFunction {function:SerializeImageData}
    lambda:InvokeFunction {function:Classifier}
    lambda:InvokeFunction {function:FilterConfidence}
    lambda:InvokeFunction {function:BulkSummary}
    states:StartExecution {machine:DistributedMap}
    states:DescribeExecution {execution:DistributedMap}:x
    states:RedriveExecution {execution:DistributedMap}:x
    states:StopExecution {execution:DistributedMap}:x
    """,
    "BatchTransformRole": STATE_MACHINE
    + LIST
    + RESULT_WRITER
    + """
    s3:GetObject {object}bulk/images.manifest
    sns:Publish {topic}
    lambda:InvokeFunction {function:ReadTransformOutput}
    lambda:InvokeFunction {function:FilterConfidence}
    lambda:InvokeFunction {function:BulkSummary}
    states:StartExecution {machine:BatchTransform}
    states:DescribeExecution {execution:BatchTransform}:x
    states:RedriveExecution {execution:BatchTransform}:x
    states:StopExecution {execution:BatchTransform}:x
    """,
    "ModelAccuracyRole": FUNCTION
    + LIST_CAPTURES
    + "    s3:ListBucket arn:aws:s3:::{bucket} s3:prefix=ground-truth/2026/\n"
    + """
    s3:GetObject {object}data-capture/scones-{env}/AllTraffic/2026/01/01/00/a.jsonl
    s3:GetObject {object}ground-truth/2026/01/01/00/a.jsonl
    s3:GetObject {object}ground-truth/reviews/x.jsonl
    s3:PutObject {object}monitoring/accuracy/2026.json
    """,
    "ReleaseLogRole": FUNCTION
    + """
    s3:PutObject {object}releases/2026.json
    sqs:SendMessage {queue:UndeliveredReleases}
    """,
    "EndpointPauseRole": STATE_MACHINE
    + LIST
    + """
    cloudformation:DescribeStacks arn:aws:cloudformation:us-east-1:111122223333:stack/scones-{env}-Model/id
    cloudformation:UpdateStack {stack:Model}
    ssm:GetParameters {parameter}artifact-uri
    ssm:GetParameters {parameter}algorithm
    ssm:GetParameters arn:aws:ssm:us-east-1:111122223333:parameter{bootstrap_version}
    s3:GetObject {object}endpoint/pause.json
    s3:PutObject {object}endpoint/pause.json
    states:ListExecutions {named_machine:retraining}
    states:StartExecution {named_machine:DistributedMap}
    sns:Publish {topic}
    """,
    "RetrainingWorkflowEventsRole": "    states:StartExecution {machine:RetrainingWorkflow}\n",
    "RetrainingWorkflowRole": STATE_MACHINE
    + """
    sns:Publish {topic}
    lambda:InvokeFunction {function:RetrainingGuard}
    lambda:InvokeFunction {function:ValidateDataSet}
    lambda:InvokeFunction {function:PrepareTraining}
    lambda:InvokeFunction {function:PrepareEvaluation}
    lambda:InvokeFunction {function:PrepareRollback}
    lambda:InvokeFunction {function:EvaluateModels}
    lambda:InvokeFunction {function:ReleaseModel}
    lambda:InvokeFunction {function:RestoreEndpoint}
    lambda:InvokeFunction {function:SmokeTest}
    lambda:InvokeFunction {function:RecordRelease}
    """,
    "RetrainingGuardRole": FUNCTION
    + LIST
    + """
    s3:GetObject {object}endpoint/pause.json
    s3:GetObject {object}retraining/ledger.json
    s3:PutObject {object}retraining/ledger.json
    states:DescribeExecution {execution:RetrainingWorkflow}:x
    """,
    "ValidateDataSetRole": FUNCTION
    + LIST
    + """
    s3:GetObject {object}manifest.json
    s3:GetObject {object}train/a.png
    s3:GetObject {object}train_lst/train.lst
    s3:GetObject {object}test/a.png
    s3:GetObject {object}test_lst/test.lst
    s3:PutObject {object}retraining/r/validation.manifest
    """,
    "PrepareTrainingRole": FUNCTION
    + LIST
    + """
    s3:GetObject {object}manifest.json
    s3:PutObject {object}models/j/manifest.json
    """,
    "PrepareEvaluationRole": FUNCTION + "    ssm:GetParameter {parameter}artifact-uri\n",
    "PrepareRollbackRole": FUNCTION
    + LIST
    + """
    ssm:GetParameter {parameter}artifact-uri
    s3:GetObject {object}releases/2026.json
    """,
    "EvaluateModelsRole": FUNCTION
    + LIST
    + """
    s3:GetObject {object}test_lst/test.lst
    s3:GetObject {object}retraining/r/candidate/a.png.out
    s3:PutObject {object}models/j/predictions.json
    s3:PutObject {object}models/j/evaluation.json
    s3:PutObject {object}models/j/smoke_test.json
    s3:PutObject {object}models/j/baseline.json
    """,
    "ReleaseModelRole": FUNCTION,
    "RestoreEndpointRole": FUNCTION,
    "SmokeTestRole": FUNCTION
    + LIST
    + """
    s3:GetObject {object}models/j/smoke_test.json
    s3:GetObject {object}test/a.png
    s3:GetObject {object}test_lst/test.lst
    """,
    "RecordReleaseRole": FUNCTION
    + LIST
    + """
    s3:GetObject {object}models/j/manifest.json
    s3:GetObject {object}models/j/evaluation.json
    """
    + "".join(
        f"    ssm:{action} {{parameter}}{name}\n"
        for name in ("artifact-uri", "algorithm", "metadata", "baseline-key")
        for action in ("GetParameter", "PutParameter")
    ),
    # Below its folder a training job writes more than its artifact, such as the profiler's output
    "SageMakerRole": """
    s3:GetObject {object}train/a.png
    s3:GetObject {object}train_lst/train.lst
    s3:GetObject {object}test/a.png
    s3:GetObject {object}test_lst/test.lst
    s3:GetObject {object}incoming/a.png
    s3:GetObject {object}scheduled/a.png
    s3:GetObject {object}bulk/images.manifest
    s3:GetObject {object}retraining/r/validation.manifest
    s3:GetObject {object}models/j/output/model.tar.gz
    s3:PutObject {object}models/j/output/model.tar.gz
    s3:PutObject {object}models/j/manifest.json
    s3:PutObject {object}models/j/predictions.json
    s3:PutObject {object}models/j/evaluation.json
    s3:PutObject {object}models/j/smoke_test.json
    s3:PutObject {object}models/j/baseline.json
    s3:PutObject {object}data-capture/scones-{env}/AllTraffic/2026/01/01/00/a.jsonl
    s3:PutObject {object}transforms/x/test/a.png.out
    s3:PutObject {object}retraining/r/candidate/a.png.out
    s3:PutObject {object}retraining/r/incumbent/a.png.out
    ecr:BatchCheckLayerAvailability arn:aws:ecr:us-east-1:811284229777:repository/image-classification
    ecr:BatchGetImage arn:aws:ecr:us-east-1:811284229777:repository/image-classification
    ecr:GetDownloadUrlForLayer arn:aws:ecr:us-east-1:811284229777:repository/image-classification
    ecr:BatchCheckLayerAvailability arn:aws:ecr:us-east-1:683313688378:repository/sagemaker-scikit-learn
    ecr:BatchGetImage arn:aws:ecr:us-east-1:683313688378:repository/sagemaker-scikit-learn
    ecr:GetDownloadUrlForLayer arn:aws:ecr:us-east-1:683313688378:repository/sagemaker-scikit-learn
    ecr:GetAuthorizationToken *
    cloudwatch:PutMetricData *
    """
    + LIST
    + "".join(
        f"    logs:{action} arn:aws:logs:us-east-1:111122223333:log-group:/aws/sagemaker/{group}{stream}\n"
        for group in ("TrainingJobs", "TransformJobs", "Endpoints/scones-{env}")
        for action, stream in (
            ("CreateLogGroup", ""),
            ("CreateLogStream", ":log-stream:j"),
            ("DescribeLogStreams", ":log-stream:"),
            ("PutLogEvents", ":log-stream:j"),
        )
    ),
}

# What no role may do
NEVER = """
    s3:DeleteObject {object}test/a.png
    s3:DeleteObjectVersion {object}predictions/test/a.png/v.json
    s3:PutBucketPolicy arn:aws:s3:::{bucket}
    s3:PutObject {object}incoming/a.png
    s3:PutObject {object}test/a.png
    s3:PutObject {object}predictions/test/a.png/v.json
    s3:PutObject {object}code/d/train.py
    s3:GetObject arn:aws:s3:::another-bucket/test/a.png
    s3:PutObject arn:aws:s3:::another-bucket/predictions/a.json
    s3:ListBucket arn:aws:s3:::another-bucket
    sagemaker:InvokeEndpoint {sagemaker}endpoint/another
    sagemaker:CreateModel {sagemaker}model/scones-{env}-j
    sagemaker:CreateModel {sagemaker}model/scones-{env}-j sagemaker:NetworkIsolation=false
    sagemaker:CreateTrainingJob {sagemaker}training-job/scones-{env}-j
    sagemaker:DeleteEndpoint {sagemaker}endpoint/scones-{env}
    cloudformation:UpdateStack {stack:Model} cloudformation:TemplateUrl=https://example.com/template.json
    cloudformation:UpdateStack {stack:Data}
    cloudformation:DeleteStack {stack:Model}
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
