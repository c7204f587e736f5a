"""Translates errors of AWS, and of the connection to it, into one line: what is wrong, and how to fix it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError

from data_prep.errors import DataPrepError
from data_prep.target import is_loopback

_SIGN_IN = "set AWS_PROFILE, or sign in with `aws login` or `aws sso login`"

# Codes that several services share: "Common Errors" of their API references. S3 has its own names.
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
_INVALID = {
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "InvalidAccessKeyId",
    "InvalidToken",
    "AuthFailure",
    "OptInRequired",
}
_SIGNATURE = {
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
    "IncompleteSignature",
    "RequestTimeTooSkewed",
    "RequestInTheFuture",
}
# HEAD requests have no body to name an error in
DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "NotAuthorized", "403"}


@dataclass(frozen=True)
class Explanation:
    """Why a request to AWS failed, and what to do about it; `fix` is empty if unknown."""

    problem: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.problem}: {self.fix}" if self.fix else self.problem


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Raise errors of AWS, and of the connection to it, as DataPrepError."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise DataPrepError(str(explain(error))) from None


def explain(error: BotoCoreError | ClientError) -> Explanation:
    """Explain an error of boto3 to the user of a command."""
    return _refusal(error) if isinstance(error, ClientError) else _failure(error)


def _refusal(error: ClientError) -> Explanation:
    code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
    refused = f"AWS refused {error.operation_name} ({code})" + (f": {message}" if message else "")
    if code in _EXPIRED:
        return Explanation(
            f"the AWS credentials have expired ({code})", f"{_sign_in_again()}, or renew AWS_SESSION_TOKEN"
        )
    if code in _INVALID:
        return Explanation(
            f"AWS does not know these credentials ({code}: {message})",
            "check AWS_PROFILE and the AWS_* variables, and that the region is enabled in the account",
        )
    if code in _SIGNATURE:
        return Explanation(refused, "check AWS_SECRET_ACCESS_KEY and this machine's clock")
    if code in DENIED:
        return Explanation(refused, f"the caller needs the permission for {error.operation_name}")
    return Explanation(refused)


def _failure(error: BotoCoreError) -> Explanation:  # noqa: PLR0911 - one for each kind of failure
    match error:
        case exceptions.NoCredentialsError():
            return Explanation("there are no AWS credentials", _SIGN_IN)
        case exceptions.PartialCredentialsError():
            return Explanation(
                f"the AWS credentials are incomplete: {error}", "set all of them, or none and AWS_PROFILE"
            )
        case exceptions.ProfileNotFound():
            return Explanation(
                f"there is no AWS profile {error.kwargs['profile']}",
                "set AWS_PROFILE to one that `aws configure list-profiles` shows, or unset it",
            )
        case exceptions.NoRegionError():
            return Explanation("there is no AWS region", "set AWS_REGION, or a region in the AWS profile")
        case exceptions.SSOError() | exceptions.TokenRetrievalError():
            return Explanation(
                f"not signed in to IAM Identity Center, or the session has expired: {error}",
                f"`aws sso login{_profile()}`",
            )
        case exceptions.LoginError():
            return Explanation(
                f"not signed in with `aws login`, or the session has expired: {error}", f"`aws login{_profile()}`"
            )
        case exceptions.MissingDependencyException():
            # Not a requirement of this project: once installed, botocore would sign every request with it
            return Explanation(
                "the credentials of `aws login` need the Python package awscrt, which is not installed",
                '`.venv/bin/uv pip install "botocore[crt]"`, or sign in with `aws sso login`',
            )
        case exceptions.CredentialRetrievalError() | exceptions.MetadataRetrievalError():
            return Explanation(
                f"the AWS credentials cannot be retrieved: {error}", f"check the AWS profile{_profile()}"
            )
        case exceptions.InvalidConfigError() | exceptions.ConfigParseError() | exceptions.InvalidRegionError():
            return Explanation(
                f"the AWS configuration is wrong: {error}", "correct it in ~/.aws/config or the AWS_* variables"
            )
        case exceptions.ConnectionError() | exceptions.HTTPClientError():
            return _unreachable(error)
    return Explanation(f"{type(error).__name__}: {error}")


def _unreachable(error: BotoCoreError) -> Explanation:
    if is_loopback(str(error.kwargs.get("endpoint_url", ""))):
        return Explanation(f"the local cloud does not respond: {error}", "start it with `python -m local up`")
    return Explanation(f"cannot reach AWS: {error}", "check the network, its proxy and the region")


def _sign_in_again() -> str:
    return f"sign in again, for example with `aws sso login{_profile()}`"


def _profile() -> str:
    """The option `--profile` for the shell's profile; empty if there is none."""
    profile = os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE")
    return f" --profile {profile}" if profile else ""
