import re

from tests.infrastructure.conftest import Template, text


def test_the_bucket_is_versioned_encrypted_and_closed(data: Template) -> None:
    bucket = data.named("AWS::S3::Bucket", "Bucket")
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] in {"AES256", "aws:kms"}
    assert all(bucket["PublicAccessBlockConfiguration"].values())
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]


def test_the_bucket_refuses_plain_http_and_old_tls(data: Template) -> None:
    statements = data.named("AWS::S3::BucketPolicy", "BucketPolicy")["PolicyDocument"]["Statement"]
    refused = [s["Condition"] for s in statements if s["Effect"] == "Deny" and s["Action"] == "s3:*"]
    assert {"Bool": {"aws:SecureTransport": "false"}} in refused
    assert {"NumericLessThan": {"s3:TlsVersion": 1.2}} in refused
    assert [s["Sid"] for s in statements if s["Effect"] == "Allow"] == ["DeliverInventories"]  # see test_deliveries.py


def test_the_bucket_notifies_eventbridge_without_a_custom_resource(data: Template) -> None:
    configuration = data.named("AWS::S3::Bucket", "Bucket")["NotificationConfiguration"]
    assert configuration == {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}
    assert not data.resources("AWS::Lambda::Function")


def test_captures_transforms_and_old_versions_expire_and_nothing_else_does(data: Template) -> None:
    rules = data.named("AWS::S3::Bucket", "Bucket")["LifecycleConfiguration"]["Rules"]
    assert [(rule["Prefix"], rule["ExpirationInDays"]) for rule in rules if "ExpirationInDays" in rule] == [
        ("data-capture/", 90),
        ("transforms/", 7),
        ("waiting/", 365),
    ]
    assert [r["NoncurrentVersionExpiration"] for r in rules if "NoncurrentVersionExpiration" in r] == [
        {"NoncurrentDays": 30}
    ]


def test_the_bucket_outlives_prod_but_not_dev(data: Template, environment: str) -> None:
    buckets = [r for r in data.content["Resources"].values() if r["Type"] == "AWS::S3::Bucket"]
    expected = "Retain" if environment == "prod" else "Delete"
    for bucket in buckets:
        assert bucket["DeletionPolicy"] == bucket["UpdateReplacePolicy"] == expected


def test_the_alert_topic_refuses_plain_http(data: Template) -> None:
    statements = data.only("AWS::SNS::TopicPolicy")["PolicyDocument"]["Statement"]
    (refused,) = [statement for statement in statements if statement["Effect"] == "Deny"]
    assert refused["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_only_this_environments_alarms_may_publish_to_the_alert_topic(data: Template, environment: str) -> None:
    statements = data.only("AWS::SNS::TopicPolicy")["PolicyDocument"]["Statement"]
    (allowed,) = [statement for statement in statements if statement["Effect"] == "Allow"]
    assert (allowed["Action"], allowed["Principal"]) == ("sns:Publish", {"Service": "cloudwatch.amazonaws.com"})
    assert allowed["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    assert text(allowed["Condition"]["ArnLike"]["aws:SourceArn"]).endswith(f":alarm:scones-{environment}-*")


def test_sagemakers_role_stays_in_this_bucket_and_this_image(data: Template) -> None:
    role = data.only("AWS::IAM::Role")
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    statements = {statement["Sid"]: statement for statement in data.statements("SageMakerRole")}

    def prefixes(sid: str) -> set[str]:
        return {re.sub(r"^<Bucket\w+\.Arn>/", "", text(arn)) for arn in statements[sid]["Resource"]}

    channels = {"train/*", "train_lst/*", "test/*", "test_lst/*"}
    lists = {
        "retraining/*/validation.manifest",
        "bulk/*.manifest",
    }  # lists of images to evaluate models on, and to classify
    images = {"incoming/*", "scheduled/*"}
    assert prefixes("ReadChannelsImagesAndArtifacts") == {*channels, *lists, *images, "models/*/output/*"}
    assert prefixes("WriteArtifactsCapturesAndTransforms") == {
        *(
            "models/*",
            "data-capture/*",
            "transforms/*",
            "retraining/*/candidate/*",
            "retraining/*/incumbent/*",
        )
    }
    # A release or a rollback may switch the algorithm, so the role pulls the images of both
    assert [text(arn).rpartition("/")[2] for arn in statements["PullImage"]["Resource"]] == [
        "image-classification",
        "sagemaker-scikit-learn",
    ]
    everywhere = {sid for sid, statement in statements.items() if statement["Resource"] == "*"}
    assert everywhere == {"SignInToRegistry", "PublishMetrics"}
    assert "Condition" in statements["PublishMetrics"]
