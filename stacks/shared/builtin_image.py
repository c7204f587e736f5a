"""SageMaker's built-in Image Classification container: which registry holds it in which region.

The accounts are those of the SageMaker SDK's image-classification.json (a test compares them); to import the SDK
at synthesis would cost more than the rest of it.
"""

from aws_cdk import ArnFormat, Aws, CfnMapping, Fn, Stack

from stacks.shared.algorithm import ALGORITHM

REPOSITORY, TAG = ALGORITHM.split(":")

REGISTRY_ACCOUNTS = {
    "af-south-1": "455444449433",
    "ap-east-1": "286214385809",
    "ap-northeast-1": "501404015308",
    "ap-northeast-2": "306986355934",
    "ap-northeast-3": "867004704886",
    "ap-south-1": "991648021394",
    "ap-south-2": "628508329040",
    "ap-southeast-1": "475088953585",
    "ap-southeast-2": "544295431143",
    "ap-southeast-3": "951798379941",
    "ap-southeast-4": "106583098589",
    "ca-central-1": "469771592824",
    "ca-west-1": "190319476487",
    "cn-north-1": "390948362332",
    "cn-northwest-1": "387376663083",
    "eu-central-1": "813361260812",
    "eu-central-2": "680994064768",
    "eu-north-1": "669576153137",
    "eu-south-1": "257386234256",
    "eu-south-2": "104374241257",
    "eu-west-1": "685385470294",
    "eu-west-2": "644912444149",
    "eu-west-3": "749696950732",
    "il-central-1": "898809789911",
    "me-central-1": "272398656194",
    "me-south-1": "249704162688",
    "sa-east-1": "855470959533",
    "us-east-1": "811284229777",
    "us-east-2": "825641698319",
    "us-gov-east-1": "237065988967",
    "us-gov-west-1": "226302683700",
    "us-iso-east-1": "490574956308",
    "us-isob-east-1": "765400339828",
    "us-isof-east-1": "108575199400",
    "us-isof-south-1": "124985052026",
    "us-west-1": "632365934929",
    "us-west-2": "433757028032",
}


class BuiltinImage:
    """The container image as one stack sees it; the region is known at deploy time only."""

    def __init__(self, stack: Stack) -> None:
        mapping = CfnMapping(
            stack,
            "BuiltinImageRegistry",
            mapping={region: {"account": account} for region, account in REGISTRY_ACCOUNTS.items()},
        )
        account = mapping.find_in_map(Aws.REGION, "account")
        self.uri = Fn.join("", [account, ".dkr.ecr.", Aws.REGION, ".", Aws.URL_SUFFIX, f"/{REPOSITORY}:{TAG}"])
        self.repository_arn = stack.format_arn(
            service="ecr",
            account=account,
            resource="repository",
            resource_name=REPOSITORY,
            arn_format=ArnFormat.SLASH_RESOURCE_NAME,
        )
