"""An algorithm's container image, in the registry of the region that a stack is deployed to."""

from aws_cdk import ArnFormat, Aws, CfnMapping, Fn, Stack

from stacks.shared.algorithm import Algorithm


class AlgorithmImage:
    """The image's URI and its repository's ARN in one stack. A mapping finds the region's account at deploy time."""

    def __init__(self, stack: Stack, algorithm: Algorithm) -> None:
        mapping = CfnMapping(
            stack,
            f"{algorithm.construct_id}Registry",
            mapping={region: {"account": account} for region, account in algorithm.registry_accounts.items()},
        )
        account = mapping.find_in_map(Aws.REGION, "account")
        name = f"{algorithm.container.repository}:{algorithm.tag}"
        self.uri = Fn.join("", [account, ".dkr.ecr.", Aws.REGION, ".", Aws.URL_SUFFIX, f"/{name}"])
        self.repository_arn = stack.format_arn(
            service="ecr",
            account=account,
            resource="repository",
            resource_name=algorithm.container.repository,
            arn_format=ArnFormat.SLASH_RESOURCE_NAME,
        )
