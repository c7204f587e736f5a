"""An algorithm's container image: which registry holds it in which region."""

from aws_cdk import ArnFormat, Aws, CfnMapping, Fn, Stack

from stacks.shared.algorithm import Algorithm


class AlgorithmImage:
    """The container image as one stack sees it; the region is known at deploy time only."""

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
