"""The real `cdk` command against the local cloud: untouched app, untouched templates."""

import os
import shlex
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3

from data_prep.options import EnvironmentName
from local.cloud import ACCOUNT, REGION, LocalCloud, LocalCloudError, running_cloud, tail
from local.dev import function_code
from local.terminal import say, stage
from stacks.config import CDK_QUALIFIER, PROJECT_ROOT, EnvironmentConfig

_CDK = str(PROJECT_ROOT / "node_modules" / ".bin" / "cdk")
_QUIET = ["--no-notices", "--no-color", "--ci"]


def deploy_environment(env: EnvironmentName = "dev") -> None:
    """Run `cdk bootstrap` and `cdk deploy`; the model's stacks wait until a model is trained."""
    cloud, config = running_cloud(env)
    with stage("cdk synth and bootstrap"), ThreadPoolExecutor() as pool:
        bootstrapped = pool.submit(bootstrap, cloud, config)
        assembly = synthesize(cloud, config.name)
        bootstrapped.result()
    deploy_ready_stacks(cloud, config, assembly)


def deploy_ready_stacks(cloud: LocalCloud, config: EnvironmentConfig, assembly: Path) -> None:
    parameters = boto3.client("ssm").get_parameters(Names=[config.artifact_parameter])["Parameters"]
    pattern = f"{config.name}/*" if parameters else f"{config.name}/Data"
    with stage(f'cdk deploy "{pattern}"'):
        deploy(cloud, assembly, pattern)
        # `dev` updates code outside CloudFormation, which leaves that code in place if the template is unchanged
        functions = function_code.deployed_functions(config.stage_name, access_key=cloud.emulator.access_key)
        function_code.send(function_code.changed(functions, function_code.read(PROJECT_ROOT, function_code.FOLDER)))
    if not parameters:
        say("No model is trained yet: run `python -m local train`, then `deploy` again for the rest.")


def synthesize(cloud: LocalCloud, environment: str) -> Path:
    """Render the templates of one environment; returns the cloud assembly to deploy from."""
    assembly = cloud.directory / "cdk.out"
    _cdk(cloud, "synth", "--quiet", "--output", str(assembly), "--context", f"only={environment}")
    return assembly


def bootstrap(cloud: LocalCloud, config: EnvironmentConfig | None = None) -> None:
    """Create the bucket and the roles that `cdk deploy` uses, unless they exist.

    config: of an environment that may have its own ones, as CONTRIBUTING.md describes.
    """
    folder = cloud.directory / "tmp"  # it is gone when the cloud stops
    done = folder / f"bootstrapped-{config.qualifier if config else CDK_QUALIFIER}"
    if not done.exists():
        own = bootstrap_options(config, bound(config)) if config and config.bootstrap_qualifier else []
        # Outside the project, so that cdk finds no app: it would synthesize it into a directory shared by all clouds
        _cdk(cloud, "bootstrap", f"aws://{ACCOUNT}/{REGION}", *own, directory=folder)
        done.touch()


def bound(config: EnvironmentConfig) -> str:
    """Deploy the environment's boundary; returns the policy's ARN."""
    cloudformation, name = boto3.client("cloudformation"), f"boundary-of-{config.stage_name}"
    values = {"Environment": config.name, "Qualifier": config.qualifier}
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=(PROJECT_ROOT / "stacks" / "delivery" / "boundary.yaml").read_text(),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    (output,) = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]
    return output["OutputValue"]


def bootstrap_options(config: EnvironmentConfig, boundary_arn: str) -> list[str]:
    """The options of a `cdk bootstrap` for this environment only."""
    return [
        *("--qualifier", config.qualifier),
        *("--toolkit-stack-name", f"CDKToolkit-{config.name}"),
        *("--cloudformation-execution-policies", boundary_arn),
        *("--custom-permissions-boundary", boundary_arn.rpartition("/")[2]),
        "--apply-permissions-boundary-to-all-roles",
    ]


def deploy(cloud: LocalCloud, assembly: Path, pattern: str) -> None:
    """`cdk deploy`; `pattern` selects stacks, as in `dev/*`."""
    _cdk(cloud, "deploy", pattern, "--app", str(assembly), "--require-approval", "never", "--concurrency", "4")


def deploy_source(cloud: LocalCloud, source: Path, environment: str) -> None:
    """`cdk deploy` of all stacks of an environment, as the project in `source` describes them."""
    # Nobody reviews these changes, and creating a change set takes the emulator as long as making the changes
    options = ("--method=direct", "--require-approval=never", "--concurrency=4", f"--context=only={environment}")
    # Not cdk.json's own app, which needs .venv: a copy of the project has none
    application = shlex.join([sys.executable, "app.py"])
    output = str(cloud.directory / "cdk.out")
    _cdk(cloud, "deploy", f"{environment}/*", "--app", application, "--output", output, *options, directory=source)


def _cdk(cloud: LocalCloud, *arguments: str, directory: Path = PROJECT_ROOT) -> None:
    log = cloud.directory / f"cdk-{arguments[0]}.log"
    with log.open("ab") as output:
        output.write(f"$ cdk {' '.join(arguments)}\n".encode())
        output.flush()
        begun = output.tell()
        status = cloud.run(
            [_CDK, *arguments, *_QUIET],
            program=_CDK,
            log=output,
            directory=directory,
            PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        )
    if status:
        end = tail(log, after=begun)
        raise LocalCloudError(f"`cdk {arguments[0]}` ended with status {status}; the end of {log}:\n{end}")
